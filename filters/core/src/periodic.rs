//! Charges on the tick of the worker, for what is open for longer than a request.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::effects::Effect;
use crate::evictions::Evictions;
use crate::host::Host;
use crate::ledger::Ledger;

/// Something open that is charged while it lasts.
pub(crate) trait Periodic {
    /// Charges what was used since the last charge, if that was long enough ago. `now` in ns. Returns the counters to raise.
    fn tick(
        &mut self,
        ledger: &mut Ledger,
        evictions: &mut Evictions,
        now: u64,
        host: &dyn Host,
    ) -> Vec<Effect>;
}

/// All of a worker that are open. Each belongs to its stream, and leaves with it.
#[derive(Debug, Default)]
pub(crate) struct Open(Vec<Weak<RefCell<dyn Periodic>>>);

impl Open {
    /// Adds one that begins.
    pub(crate) fn add<T: Periodic + 'static>(&mut self, one: T) -> Rc<RefCell<T>> {
        let one = Rc::new(RefCell::new(one));
        let shared: Rc<RefCell<dyn Periodic>> = one.clone();
        self.0.push(Rc::downgrade(&shared));
        one
    }

    /// Charges each that is due. Returns the counters to raise.
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
