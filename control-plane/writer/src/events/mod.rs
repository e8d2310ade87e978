//! Events on objects, which `kubectl describe` shows.
//!
//! Invariant: equal findings of an object share one Event, whose name is a hash of both. A repetition increases its count.

mod queue;
mod rate_limiter;
mod recorder;
mod render;

pub use self::queue::{EventQueue, PendingEvent};
pub use self::rate_limiter::EventRateLimiter;
pub(crate) use self::recorder::{EventRecorder, LogLimits};
