//! One request and its response: callbacks of the proxy become steps of the core, which are performed.
//!
//! Invariant: headers and bytes are passed as closures, which run only if the stream needs them.

use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::Proxy;
use crate::perform::Next;
use crate::worker::{SharedVm, Worker};

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    vm: SharedVm,
    stream: Stream,
}

impl Exchange {
    pub(crate) fn new(vm: SharedVm) -> Self {
        let stream = Stream::new();
        Self { vm, stream }
    }

    /// The request headers. `end`: there is no body.
    pub fn request_headers<P: Proxy>(
        &mut self,
        worker: &Worker,
        proxy: &P,
        headers: Headers,
        end: bool,
    ) -> Next {
        let vm = &mut *self.vm.borrow_mut();
        worker.perform(proxy, self.stream.request_headers(vm, proxy, headers, end))
    }

    /// The next bytes of the request body, each byte once. `end`: they are the last.
    pub fn request_body<P: Proxy, B: AsRef<[u8]>>(
        &mut self,
        worker: &Worker,
        proxy: &P,
        bytes: impl FnOnce() -> B,
        end: bool,
    ) -> Next {
        if !self.stream.wants_request_body() {
            return self.next_of_unread_request();
        }
        let bytes = bytes();
        let vm = &mut *self.vm.borrow_mut();
        let step = self.stream.request_body(vm, proxy, bytes.as_ref(), end);
        worker.perform(proxy, step)
    }

    /// The request trailers: the body is complete.
    pub fn request_trailers<P: Proxy>(&mut self, worker: &Worker, proxy: &P) -> Next {
        if !self.stream.wants_request_body() {
            return self.next_of_unread_request();
        }
        let vm = &mut *self.vm.borrow_mut();
        worker.perform(proxy, self.stream.request_trailers(vm, proxy))
    }

    /// How a request goes on whose body is not read, or no longer read.
    fn next_of_unread_request(&self) -> Next {
        match self.stream.answered() {
            true => Next::Answered,
            false => Next::Continue,
        }
    }

    /// The response headers. `end`: there is no body.
    pub fn response_headers<P: Proxy>(
        &mut self,
        worker: &Worker,
        proxy: &P,
        headers: impl FnOnce() -> Headers,
        end: bool,
    ) -> Next {
        if !self.stream.wants_response() {
            return Next::Continue;
        }
        let headers = match self.stream.wants_response_headers() {
            true => headers(),
            false => Headers::default(),
        };
        let vm = &mut *self.vm.borrow_mut();
        let step = self.stream.response_headers(vm, proxy, &headers, end);
        worker.perform(proxy, step)
    }

    /// The next bytes of the response body, each byte once. `end`: they are the last.
    pub fn response_body<P: Proxy, B: AsRef<[u8]>>(
        &mut self,
        worker: &Worker,
        proxy: &P,
        bytes: impl FnOnce() -> B,
        end: bool,
    ) -> Next {
        if !self.stream.wants_response_body() {
            if !end {
                self.stream.more_to_come();
            }
            return Next::Continue;
        }
        let bytes = bytes();
        let vm = &mut *self.vm.borrow_mut();
        let step = self.stream.response_body(vm, proxy, bytes.as_ref(), end);
        worker.perform(proxy, step)
    }

    /// The response trailers: the body is complete.
    pub fn response_trailers<P: Proxy>(
        &mut self,
        worker: &Worker,
        proxy: &P,
        trailers: impl FnOnce() -> Headers,
    ) -> Next {
        let trailers = match self.stream.wants_response_trailers() {
            true => trailers(),
            false if self.stream.wants_response_body() => Headers::default(),
            false => return Next::Continue,
        };
        let vm = &mut *self.vm.borrow_mut();
        let step = self.stream.response_trailers(vm, proxy, &trailers);
        worker.perform(proxy, step)
    }

    /// The end of the stream, however it ended. To be called once, while the proxy still knows the stream's properties.
    pub fn end<P: Proxy>(&mut self, worker: &Worker, proxy: &P) {
        let vm = &mut *self.vm.borrow_mut();
        // Nothing can be held or answered now: only the effects count.
        worker.perform(proxy, self.stream.end(vm, proxy));
    }
}
