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
//!
//! Invariant of the crate: a client that acknowledges everything and waits long enough runs exactly
//! its scope's snapshot; until then it never routes to a cluster that it does not have.

pub mod options;
pub mod pace;
pub mod resource;
pub mod snapshot;
pub mod world;

pub use options::Options;
pub use resource::{Kind, Resource, ResourceKey};
pub use snapshot::{Inconsistent, Snapshot};
pub use world::{Peer, Refused, Scope, World};
