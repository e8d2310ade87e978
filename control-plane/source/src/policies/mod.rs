//! The policies as Kubernetes objects: the contract's specs with metadata and status, and the definitions the API server
//! is given of them.
//!
//! Invariant: the specs are the contract's own types, so a file, the API server and a filter agree on every field.

mod crd;
mod resource;

pub use self::crd::{crds, yaml};
pub use self::resource::{
    PolicyStatus, TokenBucket, TokenBucketPolicy, TrafficTag, TrafficTagPolicy,
};
