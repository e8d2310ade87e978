//! What is counted, until it is told to the host: a hostcall for each count of each request would be a tenth of what the
//! filter costs.
//!
//! Invariant: nothing waits longer than until the next tick, or the end of the filter's configuration; a VM that traps
//! takes what was counted since its last tick with it.

use std::cell::RefCell;

use headgate_core::metrics::{Metric, MetricKind};

use crate::abi::{self, Statistic, Status};
use crate::host::complain;

/// Values that may wait; more are told at once.
const MOST_VALUES: usize = 256;

thread_local! {
    static TALLY: RefCell<Tally> = const { RefCell::new(Tally::new()) };
}

struct Tally {
    /// Counters that have counted.
    counted: Vec<Metric>,
    /// Values of histograms, in their order.
    values: Vec<(Metric, u64)>,
    /// The host's number of each statistic, sorted by name. They are good for as long as the VM lives.
    numbers: Vec<(String, u32)>,
}

/// Adds to a counter.
pub(crate) fn count(metric: Metric, by: u64) {
    let waiting = metric.waiting();
    let before = waiting.replace(waiting.get().saturating_add(by));
    if before == 0 && by > 0 {
        TALLY.with_borrow_mut(|tally| tally.counted.push(metric));
    }
}

/// Records a value in a histogram.
pub(crate) fn observe(metric: Metric, value: u64) {
    TALLY.with_borrow_mut(|tally| {
        tally.values.push((metric, value));
        if tally.values.len() >= MOST_VALUES {
            tally.tell();
        }
    });
}

/// Tells the host everything.
pub(crate) fn tell() {
    TALLY.with_borrow_mut(Tally::tell);
}

impl Tally {
    const fn new() -> Self {
        Self {
            counted: Vec::new(),
            values: Vec::new(),
            numbers: Vec::new(),
        }
    }

    fn tell(&mut self) {
        while let Some(metric) = self.counted.pop() {
            let by = metric.waiting().take();
            let told = self.number(&metric).and_then(|id| abi::count(id, by));
            if let Err(status) = told {
                complain("count", status);
            }
        }
        for (metric, value) in std::mem::take(&mut self.values) {
            let told = self.number(&metric).and_then(|id| abi::observe(id, value));
            if let Err(status) = told {
                complain("record a value", status);
            }
        }
    }

    fn number(&mut self, metric: &Metric) -> Result<u32, Status> {
        if let Some(id) = metric.number().get() {
            return Ok(*id);
        }
        let name = metric.rendered();
        let found = self.numbers.binary_search_by(|(n, _)| n.as_str().cmp(name));
        let id = match found {
            Ok(at) => self.numbers[at].1,
            Err(at) => {
                let kind = match metric.kind() {
                    MetricKind::Counter => Statistic::Counter,
                    MetricKind::Histogram => Statistic::Histogram,
                };
                let id = abi::define_metric(kind, name)?;
                self.numbers.insert(at, (name.to_owned(), id));
                id
            }
        };
        Ok(*metric.number().get_or_init(|| id))
    }
}
