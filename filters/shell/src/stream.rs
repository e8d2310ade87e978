//! The context of one request: callbacks in, steps of the core's state machine out.
//!
//! Invariants: a hook whose bytes the stream does not want makes no hostcall; of a body only the new bytes are
//! read, also while it is held and Envoy shows all of it again each time; the stream ends once, where its
//! context is deleted, which Envoy does at every ending but a trap.

use headgate_core::headers::Headers;
use headgate_core::stream::Stream;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::abi::{self, Buffer, Map};
use crate::host::{Call, complain};
use crate::vms::Shared;
use crate::{pairs, perform};

/// One request and its answer.
#[derive(Debug)]
pub(crate) struct HttpStream {
    vm: Shared,
    stream: Stream,
    /// Bytes of the request's body that are held and have been read: Envoy shows them again.
    held: usize,
    #[cfg(feature = "trap")]
    trap: bool,
}

impl HttpStream {
    pub(crate) fn open(vm: Shared) -> Self {
        let stream = vm.borrow().open();
        Self {
            vm,
            stream,
            held: 0,
            #[cfg(feature = "trap")]
            trap: false,
        }
    }

    /// How a request goes on whose bytes decide nothing any more.
    fn unread(&self) -> Action {
        match self.stream.answered() {
            true => Action::Pause,
            false => Action::Continue,
        }
    }

    /// Ends the VM once the reserve is made, if the request asks for it.
    #[cfg(feature = "trap")]
    fn trap_if_asked(&self, action: Action) {
        if self.trap && action == Action::Continue {
            std::process::abort();
        }
    }
}

fn new_bytes(buffer: Buffer, from: usize, size: usize) -> Vec<u8> {
    let new = size.saturating_sub(from);
    if new == 0 {
        return Vec::new();
    }
    abi::buffer(buffer, from, new).unwrap_or_else(|status| {
        // The core then sees a body that ends too early, and refuses what it cannot read.
        complain("show a body", status);
        Vec::new()
    })
}

fn headers(map: Map) -> Headers {
    let bytes = abi::header_pairs(map).unwrap_or_else(|status| {
        complain("show the headers", status);
        Vec::new()
    });
    pairs::read(bytes).unwrap_or_default()
}

impl Context for HttpStream {}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        let headers = headers(Map::Request);
        #[cfg(feature = "trap")]
        {
            self.trap = headers.get("x-headgate-trap") == Some(b"now");
        }
        let call = Call::default();
        let vm = &mut *self.vm.borrow_mut();
        let action = perform::step(self.stream.request_headers(vm, &call, headers, end));
        #[cfg(feature = "trap")]
        self.trap_if_asked(action);
        action
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !self.stream.wants_request_body() {
            return self.unread();
        }
        let chunk = new_bytes(Buffer::RequestBody, self.held, size);
        let call = Call::default();
        let vm = &mut *self.vm.borrow_mut();
        let action = perform::step(self.stream.request_body(vm, &call, &chunk, end));
        self.held = match action {
            Action::Pause => size,
            _ => 0,
        };
        #[cfg(feature = "trap")]
        self.trap_if_asked(action);
        action
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if !self.stream.wants_request_body() {
            return self.unread();
        }
        let vm = &mut *self.vm.borrow_mut();
        perform::step(self.stream.request_trailers(vm, &Call::default()))
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        if !self.stream.wants_response() {
            return Action::Continue;
        }
        let headers = match self.stream.wants_response_headers() {
            true => headers(Map::Response),
            false => Headers::default(),
        };
        let vm = &mut *self.vm.borrow_mut();
        let call = Call::default();
        perform::step(self.stream.response_headers(vm, &call, &headers, end))
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !self.stream.wants_response_body() {
            if !end {
                self.stream.more_to_come();
            }
            return Action::Continue;
        }
        let chunk = new_bytes(Buffer::ResponseBody, 0, size);
        let vm = &mut *self.vm.borrow_mut();
        let call = Call::default();
        perform::step(self.stream.response_body(vm, &call, &chunk, end))
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if !self.stream.wants_response_body() {
            return Action::Continue;
        }
        let vm = &mut *self.vm.borrow_mut();
        perform::step(self.stream.response_trailers(vm, &Call::default()))
    }
}

/// The stream ends where its context is deleted: after whatever else Envoy has to say of it, and with the stream's
/// properties still there. (Not in `on_log`, which is called just before: each callback is a way into the VM of 2 µs.)
impl Drop for HttpStream {
    fn drop(&mut self) {
        let vm = &mut *self.vm.borrow_mut();
        // Nothing can be held or answered any more: only the effects count.
        perform::step(self.stream.end(vm, &Call::default()));
    }
}
