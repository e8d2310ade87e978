//! Events on objects: what `kubectl describe` shows.
//!
//! Invariant: one Event per thing to say, by a name made of what it says and of which object; said again, it counts.

mod queue;
mod rate_limiter;
mod recorder;
mod render;

pub use self::queue::{EventQueue, PendingEvent};
pub use self::rate_limiter::EventRateLimiter;
pub(crate) use self::recorder::EventRecorder;
