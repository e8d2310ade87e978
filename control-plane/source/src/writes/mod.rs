//! What the control plane writes to a Kubernetes API: status of policies, Events on objects, and what it needs for that.
//!
//! ```text
//! plan, proxies ──▶ Known ─┬─▶ counts (own ConfigMap) ──▶ board of all replicas ─┐
//!                          ├─────────────────────────────────────────────────────┴▶ standings ──▶ status  ┐ while this
//!                          └─▶ speech (what is news) ──▶ Events                                           ┘ one leads
//! lease ──▶ leading
//! ```
//!
//! Every replica serves proxies from its own watch; the one that holds the Lease writes for all.
//!
//! Invariant: nothing here is waited for by what serves proxies. What decides (`election`, `board`, `speech`, `allowance`) is
//! pure and is told the time; what writes retries for as long as the API server is away, and says what is lost meanwhile.

pub mod counts;
mod events;
mod faults;
mod lease;
mod writer;

pub(crate) use self::counts::WeightCounts;
pub use self::counts::{
    Edition, Editions, Peer, Peers, Refusal, Tally, WeightsHeld, editions, same_weights,
    weights_edition,
};
pub use self::events::{Allowance, Speech, Utterance};
pub use self::faults::{Failing, FaultPlace, Faults};
pub use self::lease::{Election, Step, Times};
pub use self::writer::{Known, Options, Sources, Writer};
