//! Periodic charges: a realtime session is charged on each tick of the worker while it is open.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::effects::Effect;
use crate::evictions::Evictions;
use crate::host::Host;
use crate::ledger::Ledger;

/// A session or stream that is charged while it is open.
pub(crate) trait Periodic {
    /// Charges the use since the last charge, if a charge is due. `now` is in ns. Returns the counters to raise.
    fn tick(
        &mut self,
        ledger: &mut Ledger,
        evictions: &mut Evictions,
        now: u64,
        host: &dyn Host,
    ) -> Vec<Effect>;
}

/// All open ones of a worker. Each belongs to its stream, and is dropped with it.
#[derive(Debug, Default)]
pub(crate) struct Open(Vec<Weak<RefCell<dyn Periodic>>>);

impl Open {
    /// Adds a new one.
    pub(crate) fn add<T: Periodic + 'static>(&mut self, one: T) -> Rc<RefCell<T>> {
        let one = Rc::new(RefCell::new(one));
        let shared: Rc<RefCell<dyn Periodic>> = one.clone();
        self.0.push(Rc::downgrade(&shared));
        one
    }

    /// Charges every one that is due. Returns the counters to raise.
    pub(crate) fn tick(
        &mut self,
        ledger: &mut Ledger,
        evictions: &mut Evictions,
        host: &dyn Host,
    ) -> Vec<Effect> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let now = host.now();
        self.0.retain(|one| one.strong_count() > 0);
        let open = self.0.iter().filter_map(Weak::upgrade);
        open.flat_map(|one| one.borrow_mut().tick(ledger, evictions, now, host))
            .collect()
    }
}
