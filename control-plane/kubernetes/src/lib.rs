//! The Kubernetes API: connection, watches and their health, Headgate's own kinds, and the rights that the control plane uses.
//!
//! ```text
//! connect ──▶ watch (list and watch of one kind) ──▶ pruning (fields that are kept) ──▶ update ──▶ reducers (crate `source`)
//!                      └▶ health (state of every watch) ◀── prober (readiness of the API server)
//! access (table of watched and written resources) ──▶ RBAC manifest, review
//! ```
//!
//! Invariant: a watch that fails is retried, and its last objects stay. This crate decides nothing about traffic.

pub mod access;
pub mod blocks;
pub mod clock;
mod conditions;
mod connect;
pub mod discovery;
pub mod fault;
pub mod faults;
pub mod health;
pub mod kinds;
pub mod listing;
pub mod log_limit;
pub mod models;
pub mod object;
pub mod own_kinds;
pub mod policies;
mod probe;
pub mod prober;
pub mod pruning;
pub mod review;
pub mod tokens;
pub mod update;
pub mod watch;
mod watched_kind;

pub use connect::{Access, Client, ConnectError, connect};
pub use probe::{ApiServerProbe, Reachability, is_ready};
pub use watched_kind::WatchedKind;
