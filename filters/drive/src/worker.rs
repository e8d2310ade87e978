//! The state of one worker thread, shared by its filters.
//!
//! Each configuration update creates a new root in the same worker, and old roots live until their last stream has ended. All
//! roots of one filter share one [`Vm`]. Filters of different names have different configurations, so each name has its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use headgate_core::effects::{Effect, Step};
use headgate_core::metrics;
use headgate_core::vm::{Stages, Vm};

use crate::Proxy;
use crate::perform::{Next, perform};
use crate::stats::PendingCounts;

/// The state of one filter. Borrowed within a callback only; callbacks do not nest.
pub type SharedVm = Rc<RefCell<Vm>>;

/// One worker thread.
#[derive(Debug)]
pub struct Worker {
    /// By the filter's name.
    filters: RefCell<Vec<(Vec<u8>, SharedVm)>>,
    counts: RefCell<PendingCounts>,
    lost_attempts: Cell<u64>,
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

impl Worker {
    /// A worker without filters.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            filters: RefCell::new(Vec::new()),
            counts: RefCell::new(PendingCounts::new()),
            lost_attempts: Cell::new(0),
        }
    }

    /// The state of the filter with this name; a new one if there is none.
    #[must_use]
    pub fn filter(&self, name: &[u8], default_stages: Stages) -> SharedVm {
        let mut filters = self.filters.borrow_mut();
        if let Some((_, vm)) = filters.iter().find(|(known, _)| known == name) {
            return Rc::clone(vm);
        }
        let vm = Rc::new(RefCell::new(Vm::new(default_stages)));
        filters.push((name.to_owned(), Rc::clone(&vm)));
        vm
    }

    /// Counts a compare-and-swap attempt that another worker won.
    pub fn count_lost_attempt(&self) {
        self.lost_attempts.set(self.lost_attempts.get() + 1);
    }

    pub(crate) fn perform<P: Proxy>(&self, proxy: &P, step: Step) -> Next {
        perform(proxy, &mut self.counts.borrow_mut(), step)
    }

    /// Adds these counts, and passes all counts on to the proxy.
    pub(crate) fn flush<P: Proxy>(&self, proxy: &P, mut counts: Vec<Effect>) {
        let lost = self.lost_attempts.take();
        if lost > 0 {
            counts.push(Effect::Count(metrics::lost_attempts(), lost));
        }
        self.perform(proxy, Step::with(counts));
        self.counts.borrow_mut().flush(proxy);
    }
}
