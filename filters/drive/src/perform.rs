//! A step of the core, performed.
//!
//! Invariant: effects are performed in their order, each at most once. One that the proxy refuses is logged, and the rest go on.
//! A stream whose reply cannot be sent stops all the same: a refusal never becomes an admission.

use headgate_core::effects::{Effect, Flow, Reply, Splice, Step};

use crate::Proxy;
use crate::actions::{Actions, Message, Refused, Severity, report_refused};
use crate::stats::PendingCounts;

/// How the stream goes on after a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// On to the next filter.
    Continue,
    /// The message is held until a later callback continues it.
    Hold,
    /// The request was answered here. Nothing of it may go on, even if the reply could not be sent.
    Answered,
}

/// Performs a step.
pub(crate) fn perform<P: Proxy>(proxy: &P, counts: &mut PendingCounts, step: Step) -> Next {
    for effect in step.effects {
        perform_effect(proxy, counts, effect);
    }
    match step.flow {
        Flow::Continue => Next::Continue,
        Flow::Pause => Next::Hold,
        Flow::Reply(reply) => {
            send(proxy, &reply);
            Next::Answered
        }
    }
}

fn perform_effect<P: Proxy>(proxy: &P, counts: &mut PendingCounts, effect: Effect) {
    let (what, done) = match effect {
        Effect::AddRequestHeader(name, value) => (
            "add a request header",
            proxy.add_header(Message::Request, &name, &value),
        ),
        Effect::SetRequestHeader(name, value) => (
            "set a request header",
            proxy.set_header(Message::Request, &name, &value),
        ),
        Effect::RemoveRequestHeader(name) => (
            "remove a request header",
            proxy.remove_header(Message::Request, &name),
        ),
        Effect::SetResponseHeader(name, value) => (
            "set a response header",
            proxy.set_header(Message::Response, &name, &value),
        ),
        Effect::RemoveResponseHeader(name) => (
            "remove a response header",
            proxy.remove_header(Message::Response, &name),
        ),
        Effect::AmendRequestBody(splices, length) => (
            "amend the request body",
            amend_request_body(proxy, &splices, length),
        ),
        Effect::ReplaceResponseBody(bytes) => (
            "replace a part of the response body",
            proxy.replace_body(Message::Response, &bytes),
        ),
        Effect::Warn(line) => return proxy.log(Severity::Warning, &line),
        Effect::SetState(name, value) => ("set filter state", proxy.set_state(&name, &value)),
        Effect::Count(metric, by) => return counts.count(metric, by),
        Effect::Observe(metric, value) => return counts.observe(proxy, metric, value),
    };
    if let Err(refused) = done {
        report_refused(proxy, what, refused);
    }
}

/// The body is complete here: a request is amended in the callback that brings its last bytes.
#[inline(never)]
fn amend_request_body<A: Actions>(
    proxy: &A,
    splices: &[Splice],
    length: Option<u64>,
) -> Result<(), Refused> {
    let body = proxy.request_body()?;
    // A splice outside the body does not belong to it: forward the body unchanged.
    let Some(amended) = Splice::apply_all(splices, &body) else {
        return Ok(());
    };
    proxy.replace_body(Message::Request, &amended)?;
    match length {
        Some(length) => proxy.set_header(Message::Request, "content-length", &length.to_string()),
        None => Ok(()),
    }
}

#[cold]
fn send<A: Actions>(proxy: &A, reply: &Reply) {
    if let Err(refused) = proxy.reply(reply) {
        report_refused(proxy, &format!("send the reply {}", reply.details), refused);
    }
}
