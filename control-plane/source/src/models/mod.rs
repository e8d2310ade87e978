//! `ServedModel`s of an API server.

mod observe;
mod watch;

pub use self::watch::{Models, Options};
