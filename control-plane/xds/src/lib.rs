//! A generic xDS server: it delivers named, hashed, encoded resources to Envoys and learns what each
//! of them took. It knows nothing of models.
//!
//! ```text
//! World (snapshots per scope) ──▶ session (pure, one per stream) ──▶ server (tonic) ──▶ Envoy
//!                                     │  ▲ requests, timers
//!                                     ▼  └──────────────────────────────────────────────┘
//!                                   fleet (who runs what, who refused what, who waits for what)
//! ```
//!
//! - [`resource`] and [`snapshot`]: what is delivered; versions are content hashes.
//! - [`world`]: the port through which a caller says who may have what.
//! - [`pace`]: when a changed world is worth publishing.
//! - [`session`]: every rule of delivery, as a state machine without clock, socket or task.
//! - [`fleet`]: what is known of every connected proxy.
//! - [`loads`]: which clusters proxies report that they cannot reach.
//! - [`server`]: the only module that names tonic's services; it performs what a session says.
//!
//! Invariant of the crate: a client that acknowledges everything and waits long enough runs exactly
//! its scope's snapshot; until then it never routes to a cluster that it does not have.

pub mod fleet;
pub mod loads;
pub mod options;
pub mod pace;
pub mod resource;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod world;

pub use fleet::Fleet;
pub use loads::Loads;
pub use options::Options;
pub use resource::{Kind, Resource, ResourceKey};
pub use server::XdsServer;
pub use snapshot::{Inconsistent, Snapshot};
pub use world::{Peer, Refused, Scope, World};
