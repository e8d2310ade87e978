//! Realtime sessions (WebSocket), charged by minutes and bytes while they are open.
//!
//! A session may last for hours, so its charge cannot wait for its end. On its tick, at least once a minute, the worker takes the use
//! since the last charge from the buckets. What a bucket does not have becomes debt. The reservation pays the first minute.

use std::cell::RefCell;
use std::rc::Rc;

use headgate_contract::Realtime;
use headgate_dialect::Passed;

use crate::answer::count_moved;
use crate::decision::Ticket;
use crate::effects::Effect;
use crate::evictions::Evictions;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::periodic::Periodic;

/// Time between two charges of a session, ns.
const PERIOD: u64 = 10_000_000_000;
const MINUTE: u64 = 60_000_000_000;

/// A session that is open.
#[derive(Debug)]
pub(crate) struct Session {
    price: Realtime,
    began: u64,
    charged_at: u64,
    /// Bytes in both directions.
    bytes: u64,
    /// Tokens that were charged so far, the reservation included.
    charged: u64,
    /// The reservation, and the data for the settlement at the end.
    pub(crate) ticket: Box<Ticket>,
}

/// A session, shared by its stream and the tick of the worker.
pub(crate) type SharedSession = Rc<RefCell<Session>>;

impl Session {
    /// A session that begins now. Its first minute is reserved.
    pub(crate) fn new(ticket: Box<Ticket>, price: Realtime, now: u64) -> Self {
        Self {
            price,
            began: now,
            charged_at: now,
            bytes: 0,
            charged: u64::from(price.tokens_per_minute),
            ticket,
        }
    }

    /// Bytes pass, in either direction.
    pub(crate) fn pass(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The use so far, in tokens. Every minute that has begun counts.
    fn used(&self, now: u64) -> u64 {
        let minutes = now.saturating_sub(self.began) / MINUTE + 1;
        let time = minutes.saturating_mul(u64::from(self.price.tokens_per_minute));
        time.saturating_add(self.bytes / u64::from(self.price.bytes_per_token.max(1)))
    }

    /// Charges what it has used since the last charge.
    pub(crate) fn charge(
        &mut self,
        ledger: &mut Ledger,
        evictions: &mut Evictions,
        now: u64,
        host: &dyn Host,
    ) -> Vec<Effect> {
        self.charged_at = now;
        let tokens = self.used(now).saturating_sub(self.charged);
        if tokens == 0 {
            return Vec::new();
        }
        self.charged += tokens;
        // In `semantic`, which has no price for tokens, each further minute costs as much as the first.
        let minutes = tokens / u64::from(self.price.tokens_per_minute.max(1));
        let passed = Passed {
            bytes: 0,
            tokens,
            messages: minutes,
        };
        let admitted = &mut self.ticket.admitted;
        let charges = admitted.charges.iter_mut();
        let more: Vec<u64> = charges.map(|charge| charge.add_input(passed)).collect();
        let settled = ledger.debit(&mut admitted.held, &more, now, host);
        let mut effects = Vec::new();
        count_moved(&settled, &self.ticket, evictions, now, &mut effects);
        effects
    }
}

impl Periodic for Session {
    fn tick(
        &mut self,
        ledger: &mut Ledger,
        evictions: &mut Evictions,
        now: u64,
        host: &dyn Host,
    ) -> Vec<Effect> {
        match now.saturating_sub(self.charged_at) >= PERIOD {
            true => self.charge(ledger, evictions, now, host),
            false => Vec::new(),
        }
    }
}
