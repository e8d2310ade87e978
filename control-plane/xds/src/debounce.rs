//! The delay between a change and its publication (rule 7). Pure, over an injected clock.
//!
//! A change that an operator intends goes out after 20 ms, long enough to collect the objects of one `apply`. Endpoint churn
//! alone waits until it has been quiet for 100 ms, at most 1 s, so that a rollout of many pods causes a few pushes. Churn never
//! delays an intended change.
//!
//! Invariant: in whatever order changes come, each is published at most 20 ms (intent) or 1 s (churn) after it was made.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use headgate_xds::debounce::{Debouncer, Urgency};
//!
//! let t = Instant::now();
//! let mut debouncer = Debouncer::default();
//! debouncer.changed(Urgency::Churn, t);
//! assert_eq!(debouncer.due(), Some(t + Duration::from_millis(100)));
//! assert!(!debouncer.publish(t + Duration::from_millis(99)));
//! assert!(debouncer.publish(t + Duration::from_millis(100)));
//! assert_eq!(debouncer.due(), None);
//! ```

use std::time::{Duration, Instant};

/// The urgency of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Endpoints appeared or disappeared.
    Churn,
    /// An operator changed something: a label, a weight, a policy.
    Intent,
}

/// The delays of a [`Debouncer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// From the first intended change to its publication: 20 ms.
    pub intent: Duration,
    /// How long churn must have been quiet: 100 ms.
    pub quiet: Duration,
    /// The longest time from the first churn to its publication: 1 s.
    pub churn: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            intent: Duration::from_millis(20),
            quiet: Duration::from_millis(100),
            churn: Duration::from_secs(1),
        }
    }
}

/// Collects changes and decides when to publish them.
#[derive(Clone, Debug, Default)]
pub struct Debouncer {
    delays: Delays,
    first_intent: Option<Instant>,
    first_churn: Option<Instant>,
    last_churn: Option<Instant>,
}

impl Debouncer {
    /// A debouncer with the given delays.
    #[must_use]
    pub fn new(delays: Delays) -> Self {
        Self {
            delays,
            ..Self::default()
        }
    }

    /// Records a change made at `now`.
    pub fn changed(&mut self, urgency: Urgency, now: Instant) {
        match urgency {
            Urgency::Intent => {
                self.first_intent.get_or_insert(now);
            }
            Urgency::Churn => {
                self.first_churn.get_or_insert(now);
                self.last_churn = Some(now);
            }
        }
    }

    /// When to publish; `None` if nothing has changed.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let intent = self.first_intent.map(|at| at + self.delays.intent);
        let churn = self
            .first_churn
            .zip(self.last_churn)
            .map(|(first, last)| (first + self.delays.churn).min(last + self.delays.quiet));
        match (intent, churn) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether to publish at `now`. If so, all changes collected so far count as published.
    pub fn publish(&mut self, now: Instant) -> bool {
        let publish = self.due().is_some_and(|due| due <= now);
        if publish {
            *self = Self::new(self.delays);
        }
        publish
    }
}
