//! A Kubernetes API server: the connection, watches and their health, Headgate's own kinds and the rights that are used.
//!
//! ```text
//! connect ──▶ watch (list and watch of one kind) ──▶ pruning (fields that are kept) ──▶ update ──▶ reducers (crate `source`)
//!                      └▶ health (state of every watch) ◀── prober (is the API server ready?)
//! access (table of what is watched and written) ──▶ RBAC manifest, review
//! ```
//!
//! Invariant: a watch that fails is tried again, and its last objects stay. This crate decides nothing about traffic.

pub mod access;
pub mod clock;
mod connect;
pub mod discovery;
pub mod fault;
pub mod faults;
pub mod health;
pub mod kinds;
pub mod models;
pub mod object;
pub mod policies;
mod probe;
pub mod prober;
pub mod pruning;
pub mod reduce;
pub mod review;
pub mod update;
pub mod watch;
mod watched_kind;

pub use connect::{Access, Client, ConnectError, connect};
pub use probe::{ApiServerProbe, Reach, is_ready};
pub use watched_kind::WatchedKind;
