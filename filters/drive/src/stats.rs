//! The statistics of a proxy, and the counts that it does not know yet.
//!
//! A call into the proxy for each count of each request would be a tenth of the filter's cost, so counts wait for the next
//! flush, about a second.
//!
//! Invariant: nothing waits longer than until the next tick, or until the filter's configuration is removed. A VM that traps
//! loses the counts since its last tick.

use headgate_core::metrics::Metric;

use crate::actions::{Refused, report_refused};
use crate::{Actions, Proxy};

/// Histogram values that may wait; with more, all are flushed at once.
const MAX_VALUES: usize = 256;

/// The statistics of a proxy.
///
/// A proxy without labels uses [`Metric::rendered`] as the name. A proxy with labels creates the statistics of
/// [`FAMILIES`](headgate_core::metrics::FAMILIES) once and then uses [`Metric::family`] and [`Metric::label_values`].
/// [`Metric::id`] holds the proxy's id of a statistic.
///
/// # Errors
/// Each method returns [`Refused`] if the proxy did nothing.
pub trait Stats {
    /// Adds to a counter.
    fn count(&self, counter: &Metric, by: u64) -> Result<(), Refused>;

    /// Records a value in a histogram.
    fn observe(&self, histogram: &Metric, value: u64) -> Result<(), Refused>;
}

/// Counts of one worker that the proxy does not know yet.
#[derive(Debug)]
pub(crate) struct PendingCounts {
    /// Counters with a [`Metric::pending`] above 0.
    counters: Vec<Metric>,
    /// Values of histograms, in their order.
    values: Vec<(Metric, u64)>,
}

impl PendingCounts {
    pub(crate) const fn new() -> Self {
        Self {
            counters: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds to a counter.
    pub(crate) fn count(&mut self, counter: Metric, by: u64) {
        let pending = counter.pending();
        let before = pending.replace(pending.get().saturating_add(by));
        if before == 0 && by > 0 {
            self.counters.push(counter);
        }
    }

    /// Records a value in a histogram.
    pub(crate) fn observe(&mut self, proxy: &impl Proxy, histogram: Metric, value: u64) {
        self.values.push((histogram, value));
        if self.values.len() >= MAX_VALUES {
            self.flush(proxy);
        }
    }

    /// Passes everything on to the proxy.
    #[inline(never)]
    pub(crate) fn flush<P: Stats + Actions>(&mut self, proxy: &P) {
        while let Some(counter) = self.counters.pop() {
            let by = counter.pending().take();
            if let Err(refused) = proxy.count(&counter, by) {
                report_refused(proxy, "count", refused);
            }
        }
        for (histogram, value) in std::mem::take(&mut self.values) {
            if let Err(refused) = proxy.observe(&histogram, value) {
                report_refused(proxy, "record a value", refused);
            }
        }
    }
}
