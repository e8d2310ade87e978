//! The house as cargo sees it: which crate depends on which, read from `cargo metadata`.
//!
//! Holds no opinion: what is *allowed* stands in `tests/`, once, as a table. Nothing that ships
//! depends on this crate.

pub mod house;
pub mod links;
pub mod log_fields;
pub mod modules;
pub mod sources;
