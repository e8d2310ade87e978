//! Effects and replies, done.
//!
//! Invariant: in their order, each at most once; one that the host refuses is reported and the rest go on. Only
//! a reply that cannot be sent stops the stream: a refusal never becomes an admission.

use headgate_core::effects::{Effect, Flow, Reply, Splice, Step};
use proxy_wasm::types::Action;

use crate::abi::{self, Buffer, Level, Map, Status};
use crate::host::complain;
use crate::{pairs, tally};

/// Performs a step and says how Envoy goes on.
pub(crate) fn step(step: Step) -> Action {
    for effect in step.effects {
        perform(effect);
    }
    match step.flow {
        Flow::Continue => Action::Continue,
        Flow::Pause => Action::Pause,
        Flow::Reply(reply) => {
            answer(&reply);
            // Envoy sends it once this callback has returned.
            Action::Pause
        }
    }
}

fn perform(effect: Effect) {
    let (what, done) = match effect {
        Effect::AddRequestHeader(name, value) => (
            "add a request header",
            abi::add_header(Map::Request, name.as_bytes(), value.as_bytes()),
        ),
        Effect::SetRequestHeader(name, value) => (
            "set a request header",
            set_header(Map::Request, &name, &value),
        ),
        Effect::RemoveRequestHeader(name) => (
            "remove a request header",
            abi::remove_header(Map::Request, name.as_bytes()),
        ),
        Effect::SetResponseHeader(name, value) => (
            "set a response header",
            set_header(Map::Response, &name, &value),
        ),
        Effect::RemoveResponseHeader(name) => (
            "remove a response header",
            abi::remove_header(Map::Response, name.as_bytes()),
        ),
        Effect::AmendRequestBody(splice, length) => {
            ("amend the request body", amend(&splice, length))
        }
        Effect::ReplaceResponseBody(bytes) => (
            "replace a part of the response body",
            abi::set_buffer(Buffer::ResponseBody, &bytes),
        ),
        Effect::Warn(line) => return abi::log(Level::Warn, &line),
        Effect::SetState(name, value) => (
            "set filter state",
            abi::set_property(name.as_bytes(), value.as_bytes()),
        ),
        Effect::Count(metric, by) => return tally::count(metric, by),
        Effect::Observe(metric, value) => return tally::observe(metric, value),
    };
    if let Err(status) = done {
        complain(what, status);
    }
}

/// The whole body is here: a request is amended where its last bytes came.
#[inline(never)]
fn amend(splice: &Splice, length: Option<u64>) -> Result<(), Status> {
    let body = abi::buffer(Buffer::RequestBody, 0, i32::MAX as usize)?;
    // A splice outside the body does not belong to it: forward the body unchanged.
    let Some(amended) = splice.apply(&body) else {
        return Ok(());
    };
    abi::set_buffer(Buffer::RequestBody, &amended)?;
    match length {
        Some(length) => set_header(Map::Request, "content-length", &length.to_string()),
        None => Ok(()),
    }
}

fn set_header(map: Map, name: &str, value: &str) -> Result<(), Status> {
    abi::set_header(map, name.as_bytes(), value.as_bytes())
}

#[cold]
fn answer(reply: &Reply) {
    let details = reply.details.as_bytes();
    // Of a gRPC reply, the body is what becomes `grpc-message`.
    let body = match reply.grpc {
        Some(_) => reply.message.as_bytes(),
        None => &reply.body,
    };
    let headers = pairs::write(&reply.headers);
    let sent = abi::send_reply(reply.status, details, &headers, body, reply.grpc);
    if let Err(status) = sent {
        complain(&format!("send the reply {}", reply.details), status);
    }
}
