//! Policies that are objects of an API server.

mod observe;
mod watch;

pub use self::watch::{Options, Policies};
