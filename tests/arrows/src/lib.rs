//! The workspace as cargo sees it: the dependencies between crates, from `cargo metadata`.
//!
//! The *allowed* dependencies are a table in `tests/`. No shipped crate depends on this crate.

pub mod links;
pub mod log_fields;
pub mod modules;
pub mod sources;
pub mod workspace;
