//! How a request that is answered here, or let go, is counted and refused.

use crate::decide::Decision;
use crate::effects::Effect;
use crate::headers::Headers;
use crate::metrics::{self, Metric};
use crate::refusal::Refusal;

/// The model label of what is not in the plan.
pub(crate) const UNKNOWN: &str = "unknown";

/// Refuses a request whose body could not be read.
#[cold]
pub(crate) fn refuse_early(refusal: &Refusal, headers: &Headers) -> Decision {
    refuse(&Labels::default(), refusal, headers)
}

/// Refuses a request and counts it.
#[cold]
pub(crate) fn refuse(labels: &Labels<'_>, refusal: &Refusal, headers: &Headers) -> Decision {
    let effects = vec![labels.count(refusal.code())];
    Decision::Reply(effects, refusal.reply(is_grpc(headers)).into())
}

fn is_grpc(headers: &Headers) -> bool {
    let content = headers.get("content-type").unwrap_or_default();
    content.starts_with(b"application/grpc")
}

/// Labels of the request counter, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) model: &'a str,
    pub(crate) version: &'a str,
    pub(crate) lane: &'static str,
}

impl Default for Labels<'_> {
    fn default() -> Self {
        Self {
            namespace: "",
            model: UNKNOWN,
            version: "",
            lane: "",
        }
    }
}

impl Labels<'_> {
    /// The request counter of an outcome.
    pub(crate) fn requests(&self, outcome: &str) -> Metric {
        metrics::requests(self.namespace, self.model, self.version, self.lane, outcome)
    }

    /// Counts the request under an outcome.
    pub(crate) fn count(&self, outcome: &str) -> Effect {
        Effect::Count(self.requests(outcome), 1)
    }
}
