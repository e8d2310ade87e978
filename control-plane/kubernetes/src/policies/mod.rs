//! Policies: their CustomResourceDefinitions, and their cache with their stored status.
//!
//! Invariant: kinds and specs are the contract's own, so a file, the API server and a filter agree on every field, and nothing here names a
//! kind.

mod cache;
mod controller;
mod crd;
mod resource;
mod stored;
mod stored_status;

pub use self::cache::PolicyCache;
pub use self::controller::{Controller, InvalidController};
pub use self::crd::{crds, yaml};
pub use self::stored::{PolicyShape, StoredPolicy};
pub use self::stored_status::StoredStatus;
