//! When a changed world is worth publishing (rule 7): pure, over an injected clock.
//!
//! An operator's change goes out after 20 ms, long enough to gather the objects of one `apply`.
//! Endpoint churn alone waits until it is quiet for 100 ms, at most 1 s, so that a rollout of many
//! pods is a few pushes. Churn never delays an intent. Invariant: whatever the order of changes,
//! every change is published at most 20 ms (intent) or 1 s (churn) after it was made.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use headgate_xds::pace::{Pace, Urgency};
//!
//! let t = Instant::now();
//! let mut pace = Pace::default();
//! pace.changed(Urgency::Churn, t);
//! assert_eq!(pace.due(), Some(t + Duration::from_millis(100)));
//! assert!(!pace.publish(t + Duration::from_millis(99)));
//! assert!(pace.publish(t + Duration::from_millis(100)));
//! assert_eq!(pace.due(), None);
//! ```

use std::time::{Duration, Instant};

/// How urgent a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Endpoints came or went.
    Churn,
    /// Somebody meant it: a label, a weight, a policy.
    Intent,
}

/// The waits of a [`Pace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// From the first intent to its publication: 20 ms.
    pub intent: Duration,
    /// How long churn must be quiet: 100 ms.
    pub quiet: Duration,
    /// From the first churn to its publication at the latest: 1 s.
    pub churn: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            intent: Duration::from_millis(20),
            quiet: Duration::from_millis(100),
            churn: Duration::from_secs(1),
        }
    }
}

/// Gathers changes and says when to publish.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    waits: Waits,
    first_intent: Option<Instant>,
    first_churn: Option<Instant>,
    last_churn: Option<Instant>,
}

impl Pace {
    /// A pace with the given waits.
    #[must_use]
    pub fn new(waits: Waits) -> Self {
        Self {
            waits,
            ..Self::default()
        }
    }

    /// A change was made at `now`.
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

    /// When to publish, if anything changed.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let intent = self.first_intent.map(|at| at + self.waits.intent);
        let churn = self
            .first_churn
            .zip(self.last_churn)
            .map(|(first, last)| (first + self.waits.churn).min(last + self.waits.quiet));
        match (intent, churn) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether to publish now; if so, everything gathered is taken as published.
    pub fn publish(&mut self, now: Instant) -> bool {
        let publish = self.due().is_some_and(|due| due <= now);
        if publish {
            *self = Self::new(self.waits);
        }
        publish
    }
}
