//! The source of carriers of a Kubernetes API server.
//!
//! ```text
//! list, watch (crate `kubernetes`) ──▶ shapes (kept fields) ──▶ objects ──▶ store (reducer) ──▶ Observed (watch channel)
//! ```
//!
//! Invariant: an observation is a function of the current objects, and none is published until all Pods and Services are known. An owner
//! kind that cannot be read holds back the pods that it may own and nothing else; InferencePools that cannot be read hold back
//! nothing. While the API server is away, the last observation stays. Only `source` uses the network or a clock.

mod carrier_change;
mod carriers;
mod desired_replicas;
mod external;
mod findings;
mod grouping;
mod groups;
mod identity;
mod ignored_advice;
mod ignored_labels;
mod initial_sync;
mod invalidation;
mod mesh;
pub(crate) mod objects;
mod offers;
mod owners;
mod parts;
mod pod_use;
mod references;
mod roles;
mod selector_index;
mod selectors;
mod serving;
mod shapes;
mod source;
mod store;
mod unread_pools;
mod unready;
mod variants;

pub(crate) use external::refused_by_default;
pub use external::{AllowedEndpoint, InvalidAllowed};
pub(crate) use findings::no_selector;
pub(crate) use selectors::selects;
pub use source::{Kubernetes, Options};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
