//! A Kubernetes API server as the source of the world.
//!
//! ```text
//! list, watch ──▶ picked (what is kept of the JSON) ──▶ objects ──▶ store (reducer) ──▶ Observed (watch channel)
//! ```
//!
//! Invariant: what is published is a function of the objects as the API server told them, and nothing is before every watch
//! has listed once. While the API server is away the last world stays. Only `connect`, `watch`,
//! `pulse` and `source` touch the network or a clock.

mod carriers;
mod connect;
pub(crate) mod fault;
mod groups;
mod kinds;
pub(crate) mod objects;
pub(crate) mod picked;
pub(crate) mod pulse;
mod selectors;
mod serving;
mod settled;
mod source;
mod state;
mod store;
pub(crate) mod watch;

pub use connect::{Access, Client, ConnectError, connect};
pub use kinds::{Kind, KindError};
pub use source::{Kubernetes, Options};
pub use state::{ApiState, Lost, States, WatchState};
pub(crate) use store::What;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
