//! One request from its headers to its end, as a state machine: each callback of the proxy is a method that
//! answers with effects.

use crate::effects::Step;
use crate::headers::Headers;
use crate::host::Host;
use crate::vm::Vm;

/// One request and its answer.
#[derive(Debug)]
pub struct Stream {}

impl Stream {
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// The request headers. `end`: there is no body.
    pub fn request_headers(
        &mut self,
        _vm: &mut Vm,
        _host: &dyn Host,
        _headers: &Headers<'_>,
        _end: bool,
    ) -> Step {
        Step::go_on()
    }

    /// The next bytes of the request body, only the new ones. `end`: they are the last.
    pub fn request_body(
        &mut self,
        _vm: &mut Vm,
        _host: &dyn Host,
        _chunk: &[u8],
        _end: bool,
    ) -> Step {
        Step::go_on()
    }

    /// The request's trailers: its body is complete.
    pub fn request_trailers(&mut self, _vm: &mut Vm, _host: &dyn Host) -> Step {
        Step::go_on()
    }

    /// The response headers. `end`: there is no body.
    pub fn response_headers(
        &mut self,
        _vm: &mut Vm,
        _host: &dyn Host,
        _headers: &Headers<'_>,
        _end: bool,
    ) -> Step {
        Step::go_on()
    }

    /// The next bytes of the response body, only the new ones. `end`: they are the last.
    pub fn response_body(
        &mut self,
        _vm: &mut Vm,
        _host: &dyn Host,
        _chunk: &[u8],
        _end: bool,
    ) -> Step {
        Step::go_on()
    }

    /// The answer's trailers: its body is complete.
    pub fn response_trailers(&mut self, _vm: &mut Vm, _host: &dyn Host) -> Step {
        Step::go_on()
    }

    /// The stream is over, however it ended (`on_log`). Once; further calls do nothing.
    pub fn end(&mut self, _vm: &mut Vm, _host: &dyn Host) -> Step {
        Step::go_on()
    }

    /// Whether request body bytes still decide something; otherwise the shell skips the host call.
    #[must_use]
    pub fn wants_request_body(&self) -> bool {
        false
    }

    /// Whether the response headers decide something; otherwise an empty view may be passed.
    #[must_use]
    pub fn wants_response_headers(&self) -> bool {
        false
    }

    /// Whether response body bytes are metered; otherwise the shell skips the host call.
    #[must_use]
    pub fn wants_response_body(&self) -> bool {
        false
    }
}
