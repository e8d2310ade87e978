//! `ServedModel`s: contents, schedule and writes.

mod scheduler;
mod status;
mod write;

pub(crate) use self::write::{ModelWriter, write_models};
