//! The contexts of the proxy: roots (one for each configuration of a filter) and streams.
//!
//! Invariant: a stream ends exactly once, when its context is deleted, which Envoy does at every ending but a trap.

use headgate_core::headers::Headers;
use headgate_drive::{Exchange, Next, Root, Worker};
use proxy_wasm::traits::{Context, HttpContext, RootContext as ProxyRootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::abi::{self, Buffer, Map, Status};
use crate::host::{Call, log_host_error};
use crate::pairs;
use crate::worker::{DEFAULT_STAGES, WORKER};

/// Period of ticks, in milliseconds: unwritten settlements are written, and counts are passed on to the host.
const TICK: u32 = 1000;

/// One configuration of one filter.
#[derive(Debug)]
pub(crate) struct RootContext {
    root: Root,
}

impl Default for RootContext {
    fn default() -> Self {
        Self {
            root: Root::new(DEFAULT_STAGES.get()),
        }
    }
}

impl Context for RootContext {}

impl ProxyRootContext for RootContext {
    fn on_configure(&mut self, size: usize) -> bool {
        let call = Call::default();
        let name = [b"plugin_name".as_slice(), b"plugin_root_id"]
            .map(|path| abi::property(path).unwrap_or_default())
            .join(&0);
        let json = abi::buffer(Buffer::Configuration, 0, size).map_err(Into::into);
        let configured = WORKER.with(|worker| self.root.configure(worker, &call, &name, json));
        if configured && let Err(status) = abi::tick_every(TICK) {
            log_host_error("tick", status);
        }
        configured
    }

    fn on_tick(&mut self) {
        WORKER.with(|worker| self.root.tick(worker, &Call::default()));
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(HttpStream {
            exchange: self.root.open(),
            held: 0,
            #[cfg(feature = "trap")]
            trap: false,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Settlements that are not written yet are written when the context is deleted. (Not in `on_done`: the host calls a module that
/// exports it for each stream as well.)
impl Drop for RootContext {
    fn drop(&mut self) {
        WORKER.with(|worker| self.root.tick(worker, &Call::default()));
    }
}

/// One request and its response.
#[derive(Debug)]
struct HttpStream {
    exchange: Exchange,
    /// Bytes of the request body that are held and have been read: Envoy returns them again.
    held: usize,
    #[cfg(feature = "trap")]
    trap: bool,
}

impl HttpStream {
    /// Runs a step of the exchange.
    fn step(
        &mut self,
        step: impl FnOnce(&mut Exchange, &mut usize, &Worker, &Call) -> Next,
    ) -> Action {
        let call = Call::default();
        let next = WORKER.with(|worker| step(&mut self.exchange, &mut self.held, worker, &call));
        #[cfg(feature = "trap")]
        self.trap_if_requested(next);
        match next {
            Next::Continue => Action::Continue,
            Next::Hold | Next::Answered => Action::Pause,
        }
    }
}

impl Context for HttpStream {}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        self.step(|exchange, _, worker, call| {
            exchange.request_headers(worker, call, headers(Map::Request), end)
        })
    }

    /// Envoy shows all bytes that are held, so only the new ones are read.
    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        self.step(|exchange, held, worker, call| {
            let bytes = || new_bytes(Buffer::RequestBody, *held, size);
            let next = exchange.request_body(worker, call, bytes, end);
            *held = match next {
                Next::Hold => size,
                Next::Continue | Next::Answered => 0,
            };
            next
        })
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.step(|exchange, _, worker, call| exchange.request_trailers(worker, call))
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        self.step(|exchange, _, worker, call| {
            exchange.response_headers(worker, call, || headers(Map::Response), end)
        })
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        self.step(|exchange, _, worker, call| {
            let bytes = || new_bytes(Buffer::ResponseBody, 0, size);
            exchange.response_body(worker, call, bytes, end)
        })
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.step(|exchange, _, worker, call| {
            exchange.response_trailers(worker, call, || headers(Map::ResponseTrailers))
        })
    }
}

/// The stream ends when its context is deleted: after every other callback of it, with its properties still there. (Not in `on_log`,
/// which is called just before: each callback costs 2 µs.)
impl Drop for HttpStream {
    fn drop(&mut self) {
        WORKER.with(|worker| self.exchange.end(worker, &Call::default()));
    }
}

#[cfg(feature = "trap")]
impl HttpStream {
    /// Ends the VM once the reserve is made, if the request has the header for it.
    fn trap_if_requested(&mut self, next: Next) {
        self.trap |= headers(Map::Request).get("x-headgate-trap") == Some(b"now");
        if self.trap && next == Next::Continue {
            std::process::abort();
        }
    }
}

/// The headers of a message; none if the host refuses.
pub(crate) fn headers(map: Map) -> Headers {
    let bytes = received(abi::header_pairs(map), "return the headers");
    pairs::read(bytes).unwrap_or_default()
}

/// The bytes of a buffer from `from` on; none if the host refuses. The core then sees a body that ends too early, and refuses
/// what it cannot read.
pub(crate) fn new_bytes(buffer: Buffer, from: usize, size: usize) -> Vec<u8> {
    match size.saturating_sub(from) {
        0 => Vec::new(),
        new => received(abi::buffer(buffer, from, new), "return a body"),
    }
}

fn received(bytes: Result<Vec<u8>, Status>, action: &str) -> Vec<u8> {
    bytes.unwrap_or_else(|status| {
        log_host_error(action, status);
        Vec::new()
    })
}
