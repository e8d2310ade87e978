//! The policies as Kubernetes objects: the contract's specs with metadata and status, and the definitions the API server
//! is given of them; the watch of them, and the writing of their status.
//!
//! ```text
//! watch ──▶ seen (reducer) ──▶ plan ──▶ outcomes, counts of proxies ──▶ status, desk ──▶ write
//! ```
//!
//! Invariant: the specs are the contract's own types, so a file, the API server and a filter agree on every field.

mod controller;
mod crd;
mod desk;
mod resource;
mod seen;
mod status;
mod stored;
mod watch;
mod write;

pub use self::controller::{Controller, InvalidController};
pub use self::crd::{crds, yaml};
pub use self::desk::{Desk, Due, PACE, Standing, Standings, Write};
pub use self::resource::{
    ControllerStatus, PolicyStatus, TokenBucket, TokenBucketPolicy, TrafficTag, TrafficTagPolicy,
};
pub use self::seen::{Seen, StoredStatus};
pub use self::status::{ACCEPTED, Counts, PROGRAMMED, RESOLVED_REFS, to_write};
pub use self::stored::{Says, Stored};
pub use self::watch::{Options, Policies};
pub use self::write::write_statuses;
