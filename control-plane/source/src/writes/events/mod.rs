//! Events on objects: what `kubectl describe` shows.
//!
//! Invariant: one Event per thing to say, by a name made of what it says and of which object; said again, it counts.

mod allowance;
mod render;
mod speech;
mod tell;

pub use self::allowance::Allowance;
pub use self::speech::{Speech, Utterance};
pub(crate) use self::tell::Teller;
