//! Labels of the request counter.

use crate::effects::Effect;
use crate::metrics::{self, Metric};

/// The model label of a request for a model outside the plan.
pub(crate) const UNKNOWN: &str = "unknown";

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
