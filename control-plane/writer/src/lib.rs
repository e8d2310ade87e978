//! Writes of a replica to the Kubernetes API: status of policies and `ServedModel`s, Events, and the counts of its proxies.
//!
//! ```text
//! plan, proxies ──▶ ReplicaState ─┬─▶ counts (own ConfigMap) ──▶ counts of all replicas ─┐
//!                                 ├─────────────────────────────────────────────────────┴▶ status  ┐ while this replica
//!                                 └─▶ events                                                       ┘ is the leader
//! lease ──▶ leading
//! ```
//!
//! Every replica serves proxies from its own watches. The replica that holds the Lease writes for all.
//!
//! Invariant: nothing that serves proxies waits for a write. Decisions (`election`, `peer_counts`, `queue`, `rate_limiter`,
//! `scheduler`) are pure and take the time as an argument. Writers retry while the API server is away, and report failing writes.

mod conditions;
pub mod counts;
mod events;
mod lease;
mod models;
pub mod policies;
mod state;
mod tasks;

pub use self::counts::{Peer, Peers, WeightCounts};
pub use self::events::{EventQueue, EventRateLimiter, PendingEvent};
pub use self::lease::{Election, Step, Times};
pub use self::state::ReplicaState;
pub use self::tasks::{Options, Sources, Writer};
