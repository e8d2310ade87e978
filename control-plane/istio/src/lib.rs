//! The objects of Istio that route a model's versions and run the filter, from the plan.
//!
//! ```text
//! Plan, Objects ──▶ targets (Service, port and subset of each version) ──▶ desired ──▶ printed (manifests and findings of `translate --istio`)
//!                                                                             │
//!                             stored objects (watch), time ──▶ steps ◀────────┘
//!                                                                ├─▶ writes (server-side apply), in two phases
//!                                                                └─▶ routed versions ──▶ status of the ServedModel ──▶ plan
//! ```
//!
//! A version is routed once its subset and its route have existed for [`SETTLE`](steps::SETTLE), whoever wrote them, and while no
//! `DestinationRule` of another person hides the subset (`conflicts`). Proxies of the mesh get routed versions only.
//!
//! Invariant: no route names a subset that proxies may not know yet, and a weight never changes an object. The decisions (`targets`,
//! `desired`, `steps`) are pure; `watch` and `writer` perform them.

mod conflicts;
mod default_config;
mod desired;
mod envoy_filter;
mod fields;
mod findings;
mod foreign_findings;
mod gateway_hosts;
mod host_rule;
mod inbound;
mod lookup;
mod manifest;
mod object;
mod options;
mod printed;
pub mod steps;
mod stored;
mod subset_labels;
mod targets;
mod virtual_service;
mod watch;
mod writer;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

pub use conflicts::{Conflict, ConflictKind};
pub use desired::desired;
pub use gateway_hosts::{GatewayRoute, GatewayRoutes, RouteKind};
pub use host_rule::HostRule;
pub use manifest::IstioKind;
pub use object::{Desired, ObjectKey};
pub use options::{Options, ProxyNamespaces, XdsService};
pub use printed::findings;
pub use stored::{Stored, StoredObject};
pub use virtual_service::VirtualService;
pub use watch::{StoredObjects, read, watch};
pub use writer::{MeshState, Mode, Writer, write};
