//! Policies: the types of their CustomResourceDefinitions, and their stored status.
//!
//! Invariant: the specs are the contract's own types, so a file, the API server and a filter agree on every field.

mod cache;
mod controller;
mod crd;
mod resource;
mod stored;
mod stored_status;

pub use self::cache::PolicyCache;
pub use self::controller::{Controller, InvalidController};
pub use self::crd::{crds, yaml};
pub use self::resource::{TokenBucket, TokenBucketPolicy, TrafficTag, TrafficTagPolicy};
pub use self::stored::{PolicyShape, StoredPolicy};
pub use self::stored_status::StoredStatus;
