//! The part of a request body that passes after the decision. It is charged as it passes.
//!
//! The filter never holds an upload, and holds only the first message of a gRPC stream. So it decides before it knows the whole prompt.
//! It takes the rest from the buckets at once. What a bucket does not have becomes debt.

use headgate_dialect::{BodyScanner, Passed};

use crate::answer::count_moved;
use crate::decision::Ticket;
use crate::effects::Effect;
use crate::host::Host;
use crate::vm::Vm;

/// Bytes of prompt that are charged together. A smaller number would write to the buckets more often.
const PIECE_BYTES: u64 = 64 << 10;
/// Tokens of prompt that are charged together, for the same reason.
const PIECE_TOKENS: u64 = 16 << 10;

/// The rest of a request body.
#[derive(Debug)]
pub(crate) struct Passing {
    /// Reads the rest; `None` if only its bytes count.
    scanner: Option<Box<BodyScanner>>,
    /// Bytes that the reservation covers.
    prepaid: u64,
    /// Bytes, tokens and messages that passed and are not charged yet.
    unpaid: Passed,
}

impl Passing {
    /// A body whose bytes are counted. `prepaid`: how many of them the reservation covers.
    pub(crate) fn of_bytes(prepaid: u64) -> Self {
        Self {
            scanner: None,
            prepaid,
            unpaid: Passed::default(),
        }
    }

    /// A body whose scanner has decided.
    pub(crate) fn of_scanner(scanner: BodyScanner) -> Self {
        Self {
            scanner: Some(Box::new(scanner)),
            prepaid: 0,
            unpaid: Passed::default(),
        }
    }

    /// The next bytes pass. Returns the counters to raise.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        ticket: &mut Ticket,
        vm: &mut Vm,
        host: &dyn Host,
    ) -> Vec<Effect> {
        let passed = match &mut self.scanner {
            Some(scanner) => scanner.pass(bytes),
            None => {
                let len = bytes.len() as u64;
                let beyond = len.saturating_sub(self.prepaid);
                self.prepaid -= len - beyond;
                Passed {
                    bytes: beyond,
                    ..Passed::default()
                }
            }
        };
        let unpaid = &mut self.unpaid;
        unpaid.bytes = unpaid.bytes.saturating_add(passed.bytes);
        unpaid.tokens = unpaid.tokens.saturating_add(passed.tokens);
        unpaid.messages = unpaid.messages.saturating_add(passed.messages);
        let due =
            unpaid.messages > 0 || unpaid.bytes >= PIECE_BYTES || unpaid.tokens >= PIECE_TOKENS;
        match due {
            true => charge(std::mem::take(unpaid), ticket, vm, host),
            false => Vec::new(),
        }
    }

    /// Hands the rest, which is not charged yet, to the settlement.
    pub(crate) fn end(self, ticket: &mut Ticket) {
        for charge in &mut ticket.admitted.charges {
            charge.add_input(self.unpaid);
        }
    }
}

/// Charges every bucket for what passed.
fn charge(passed: Passed, ticket: &mut Ticket, vm: &mut Vm, host: &dyn Host) -> Vec<Effect> {
    let admitted = &mut ticket.admitted;
    let more: Vec<u64> = admitted
        .charges
        .iter_mut()
        .map(|charge| charge.add_input(passed))
        .collect();
    let now = host.now();
    let settled = vm.ledger.debit(&mut admitted.held, &more, now, host);
    let mut effects = Vec::new();
    count_moved(&settled, ticket, &mut vm.evictions, now, &mut effects);
    effects
}
