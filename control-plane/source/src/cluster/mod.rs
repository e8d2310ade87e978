//! A Kubernetes API server as the source of the world.
//!
//! ```text
//! list, watch ──▶ picked (what is kept of the JSON) ──▶ objects ──▶ store (reducer) ──▶ Observed (watch channel)
//! ```
//!
//! Invariant: what is published is a function of the objects as the API server told them, and nothing is before all Pods and
//! Services are known; an owner's kind that cannot be read keeps back the pods that it may own, and nothing else, and
//! InferencePools that cannot be read keep back nothing. While the API server is away the last world stays. Only `connect`, `discovery`, `watch`, `steps`, `pulse` and `source` touch the
//! network or a clock.

mod carriers;
mod desired_replicas;
mod external;
mod filing;
mod findings;
mod groups;
mod ignored_advice;
mod ignored_labels;
mod initial_sync;
mod lineage;
mod mentions;
pub(crate) mod objects;
mod offers;
mod parts;
mod roles;
mod selectors;
mod serving;
mod settled;
mod shapes;
mod source;
mod store;
mod touched;
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
