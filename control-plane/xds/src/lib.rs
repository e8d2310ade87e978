//! A generic xDS server. It delivers named, hashed, encoded resources to Envoys and records what each of them accepts and
//! rejects. It knows nothing of models.
//!
//! ```text
//! SnapshotProvider (snapshots per scope) ──▶ session (pure, one per stream) ──▶ server (tonic) ──▶ Envoy
//!                                               │  ▲ requests, timers                                │
//!                                               ▼  └─────────────────────────────────────────────────┘
//!                                             fleet (what each proxy runs, rejects, waits for)
//! ```
//!
//! - [`resource`], [`origin`], [`snapshot`]: the resources, the objects they were made from, and consistent sets of resources.
//!   Versions are content hashes.
//! - [`provider`]: the port through which a caller decides which proxy may have which snapshots.
//! - [`connection`], [`forwarded`], [`peer`]: the transport, the identity that a proxy in front of this server forwards, and a
//!   proxy as its connection and its node describe it.
//! - [`refusal`]: refused connections and streams, counted by reason.
//! - [`debounce`]: the delay between a change and its publication.
//! - [`session`]: every rule of delivery, as a state machine without clock, socket or task.
//! - [`wire`]: protobuf messages to inputs of a session, and its outputs to protobuf messages.
//! - [`fleet`]: the state of every connected proxy.
//! - `memory`: the return of unused memory to the system.
//! - [`loads`]: the clusters that proxies report as unreachable.
//! - [`server`]: the only module that names tonic's services; it performs what a session decides.
//!
//! Invariant of the crate: a client that acknowledges everything and waits long enough runs exactly its scope's snapshot; until
//! then it never routes to a cluster that it does not have.

pub mod connection;
pub mod counts;
pub mod debounce;
pub mod fleet;
pub mod forwarded;
pub mod loads;
mod memory;
pub mod options;
pub mod origin;
pub mod peer;
pub mod provider;
pub mod refusal;
pub mod resource;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod wire;

pub use connection::{Connection, ConnectionInfo, PeerIdentity};
pub use fleet::Fleet;
pub use loads::Loads;
pub use options::Options;
pub use origin::{Origin, OriginObject};
pub use peer::Peer;
pub use provider::{PermissionDenied, Scope, SnapshotProvider};
pub use refusal::{Refusal, Refusals};
pub use resource::{Kind, Resource, ResourceKey, content_hash};
pub use server::XdsServer;
pub use snapshot::{Inconsistent, Snapshot};
