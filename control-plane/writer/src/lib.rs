//! Writes of one replica to a Kubernetes API: status of policies and `ServedModel`s, Events, and the counts of its proxies.
//!
//! ```text
//! plan, proxies ──▶ Known ─┬─▶ counts (own ConfigMap) ──▶ counts of all replicas ─┐
//!                          ├────────────────────────────────────────────────────┴▶ status  ┐ while this replica
//!                          └─▶ events                                                      ┘ is the leader
//! lease ──▶ leading
//! ```
//!
//! Every replica serves proxies from its own watch; the one that holds the Lease writes for all.
//!
//! Invariant: nothing that serves proxies waits for a write. Decisions (`election`, `board`, `speech`, `allowance`) are
//! pure and take the time as an argument; writers retry while the API server is away, and report what is not written.

mod conditions;
pub mod counts;
mod events;
mod lease;
mod models;
pub mod policies;
mod writer;

pub use self::counts::{Peer, Peers};
pub use self::events::{EventQueue, EventRateLimiter, PendingEvent};
pub use self::lease::{Election, Step, Times};
pub use self::writer::{Known, Options, Sources, Writer};
