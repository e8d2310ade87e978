//! Effects and replies, done.
//!
//! Invariant: in their order, each at most once; one that the host refuses is reported and the rest go on. Only
//! a reply that cannot be sent stops the stream: a refusal never becomes an admission.

use std::cell::RefCell;

use headgate_core::effects::{Effect, Flow, Reply, Step};
use headgate_core::metrics::{Metric, MetricKind};
use proxy_wasm::types::Action;

use crate::abi::{self, Map, Statistic, Status};
use crate::host::complain;
use crate::pairs;

thread_local! {
    /// The host's number of each statistic, sorted by name. They are good for as long as the VM lives.
    static METRICS: RefCell<Vec<(String, u32)>> = const { RefCell::new(Vec::new()) };
}

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
    let done = match &effect {
        Effect::SetRequestHeader(name, value) => set_header(Map::Request, name, value),
        Effect::RemoveRequestHeader(name) => abi::remove_header(Map::Request, name.as_bytes()),
        Effect::SetResponseHeader(name, value) => set_header(Map::Response, name, value),
        Effect::RemoveResponseHeader(name) => abi::remove_header(Map::Response, name.as_bytes()),
        Effect::SetState(name, value) => abi::set_property(name.as_bytes(), value.as_bytes()),
        Effect::Count(metric, by) => metric_id(metric).and_then(|id| abi::count(id, *by)),
        Effect::Observe(metric, value) => metric_id(metric).and_then(|id| abi::observe(id, *value)),
    };
    if let Err(status) = done {
        complain(name(&effect), status);
    }
}

/// What an effect does, for the log.
fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::SetRequestHeader(..) => "set a request header",
        Effect::RemoveRequestHeader(_) => "remove a request header",
        Effect::SetResponseHeader(..) => "set a response header",
        Effect::RemoveResponseHeader(_) => "remove a response header",
        Effect::SetState(..) => "set filter state",
        Effect::Count(..) => "count",
        Effect::Observe(..) => "record a value",
    }
}

fn set_header(map: Map, name: &str, value: &str) -> Result<(), Status> {
    abi::set_header(map, name.as_bytes(), value.as_bytes())
}

fn metric_id(metric: &Metric) -> Result<u32, Status> {
    if let Some(id) = metric.number().get() {
        return Ok(*id);
    }
    let id = METRICS.with_borrow_mut(|known| {
        let name = metric.rendered();
        let at = match known.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) => return Ok(known[at].1),
            Err(at) => at,
        };
        let kind = match metric.kind() {
            MetricKind::Counter => Statistic::Counter,
            MetricKind::Histogram => Statistic::Histogram,
        };
        let id = abi::define_metric(kind, name)?;
        known.insert(at, (name.to_owned(), id));
        Ok(id)
    })?;
    Ok(*metric.number().get_or_init(|| id))
}

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
