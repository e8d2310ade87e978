//! The ledger: the balance of every bucket, shared by all workers of a proxy.
//!
//! Place in the flow: `cost → **reserve** → upstream → usage → **settle**`. A reserve is governor's
//! GCRA on a cell in shared memory; a settlement changes the same cell itself, because governor
//! cannot take anything afterwards. Each of them is one compare-and-swap on that cell, and the balance that
//! a client sees is computed from it: no worker keeps a balance of its own.
//!
//! Invariant: in any stretch of `t` ns, what a bucket reserved less what it gave back is at most
//! `T + t`, whatever workers, races, VM deaths and configuration swaps do, as long as no live key is
//! evicted. Rounding and lost writes never add budget;
//! what that costs clients is reported in [`Settled`].
//!
//! ```text
//! window   cost, capacity ⇄ cells ⇄ ns             worker   the Ledger of one VM: reserve, settle, flush
//! rule     window, table, policies                  request  costs, balances, refusals, reservations
//! cell     arrival time and the settlement rule     gcra     governor on a shared cell
//! table    ways of one set in one shared value      access   bounded compare-and-swap
//! timeline the window of a set, and edits of it     placement  the set of a key
//! ```
//!
//! Not bounded by the ledger: a stream's refund is limited by the arrival time after its own
//! reserve, which refunds of *other* streams do not move back. So clients that reserve much, use
//! nothing and renew before that time passes can keep unused refill beyond one window and spend it
//! at once later. Over any stretch the invariant above still holds.

mod access;
mod cell;
mod encoding;
mod fingerprint;
mod gcra;
mod pending;
mod placement;
mod request;
mod rule;
mod table;
mod timeline;
mod window;
mod worker;

pub use cell::Settled;
pub use fingerprint::{Fingerprint, Key};
pub use request::{
    Balance, BucketCost, DeferredSettlement, Reason, Refused, Reservation, Reservations,
};
pub use rule::{OnContention, Rule, RuleError, RuleSpec};
pub use window::{MILLION, Window, WindowError};
pub use worker::Ledger;

/// Format of keys and values in shared data. A module that changes either must change this, because the data outlives modules.
const FORMAT: &str = "headgate.ledger/2";

/// Attempts before a write is given up. With two workers on one hot key, 4–15 % of single attempts fail.
const TRIES: usize = 32;
