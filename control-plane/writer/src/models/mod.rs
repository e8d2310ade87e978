//! `ServedModel`s: what to write, when, and the writes.

mod scheduler;
mod status;
mod write;

pub(crate) use self::write::{ModelWriter, write_models};
