//! When a changed world is published: [`Debouncer`], and losses of endpoints sooner than other churn.
//!
//! Pure, over an injected clock. Requests go to an endpoint that was lost until proxies know, so a loss goes out like an intent,
//! after 20 ms. A rollout loses hundreds, and each publication plans everything anew: after one, the next losses wait for 200 ms, or
//! ten times what it took, so that they cost a tenth of the time. Invariant: every loss is published at most 1 s after it was
//! heard of, and most of them much sooner.

use std::time::{Duration, Instant};

use headgate_source::change::Change;
use headgate_xds::debounce::{Debouncer, Urgency};

/// From a loss to its publication.
const LOSS: Duration = Duration::from_millis(20);
/// Between two publications for losses alone, at least and at most; and how many times what one takes.
const BETWEEN: Duration = Duration::from_millis(200);
const AT_MOST: Duration = Duration::from_secs(1);
const TIMES: u32 = 10;

/// Gathers changes and says when to publish.
#[derive(Debug, Default)]
pub(crate) struct Rhythm {
    debouncer: Debouncer,
    /// When the losses gathered so far are due.
    loss: Option<Instant>,
    /// Before when no further losses are published on their own account.
    rests: Option<Instant>,
    /// There were losses in what was published last.
    lost: bool,
}

impl Rhythm {
    /// The world changed at `now`; `None` where only what is said of it did: that is for people who watch `status`, and as
    /// urgent as what they mean to do next.
    pub(crate) fn changed(&mut self, change: Option<Change>, now: Instant) {
        match change {
            Some(Change::Churn) => self.debouncer.changed(Urgency::Churn, now),
            Some(Change::Loss) => {
                let due = now + LOSS;
                let due = self.rests.map_or(due, |rested| due.max(rested));
                self.loss.get_or_insert(due);
            }
            Some(Change::Intent) | None => self.debouncer.changed(Urgency::Intent, now),
        }
    }

    /// When to publish, if anything changed.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.debouncer.due().into_iter().chain(self.loss).min()
    }

    /// Whether to publish now; if so, everything gathered is taken as published.
    pub(crate) fn publish(&mut self, now: Instant) -> bool {
        let publish = self.due().is_some_and(|due| due <= now);
        if publish {
            self.debouncer = Debouncer::default();
            self.lost = self.loss.take().is_some();
            if self.lost {
                self.rests = Some(now + BETWEEN);
            }
        }
        publish
    }

    /// What was gathered is published at `now`, which took so long.
    pub(crate) fn published(&mut self, took: Duration, now: Instant) {
        if self.lost {
            let rest = (took * TIMES).clamp(BETWEEN, AT_MOST).saturating_sub(took);
            self.rests = self.rests.max(Some(now + rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_lost_endpoint_goes_out_as_soon_as_a_label_however_much_else_comes_and_goes() {
        let t = Instant::now();
        let mut rhythm = Rhythm::default();
        for n in 0..100 {
            rhythm.changed(Some(Change::Churn), t + n * MS);
        }
        rhythm.changed(Some(Change::Loss), t + 100 * MS);
        rhythm.changed(Some(Change::Churn), t + 110 * MS);
        assert_eq!(rhythm.due(), Some(t + 120 * MS));
        assert!(!rhythm.publish(t + 119 * MS));
        assert!(rhythm.publish(t + 120 * MS));
        assert_eq!(rhythm.due(), None, "the churn went with it");
    }

    #[test]
    fn hundreds_of_losses_are_a_few_publications_and_none_waits_long() {
        let t = Instant::now();
        let (mut rhythm, mut published) = (Rhythm::default(), 0);
        let mut waits = None;
        for n in 0..1000 {
            let now = t + n * MS;
            if n % 3 == 0 {
                rhythm.changed(Some(Change::Loss), now);
                waits.get_or_insert(now);
            }
            if rhythm.publish(now) {
                published += 1;
                let waited = now - waits.take().unwrap_or(now);
                assert!(waited <= BETWEEN, "{waited:?}");
            }
        }
        assert_eq!(published, 5);
    }

    #[test]
    fn losses_cost_a_tenth_of_the_time_and_wait_for_a_second_at_most() {
        let t = Instant::now();
        for (took, rests) in [(1, 200), (50, 500), (400, 1000)] {
            let mut rhythm = Rhythm::default();
            rhythm.changed(Some(Change::Loss), t);
            assert!(rhythm.publish(t + LOSS));
            rhythm.published(took * MS, t + LOSS + took * MS);
            rhythm.changed(Some(Change::Loss), t + LOSS + took * MS);
            let begun = rhythm.due().map(|due| due - (t + LOSS));
            assert_eq!(begun, Some(rests * MS), "{took} ms");
        }
    }

    #[test]
    fn a_loss_rests_after_losses_alone_not_after_a_label() {
        let t = Instant::now();
        let mut rhythm = Rhythm::default();
        rhythm.changed(Some(Change::Loss), t);
        assert!(rhythm.publish(t + LOSS));
        rhythm.published(100 * MS, t + LOSS + 100 * MS);
        let later = t + 5000 * MS;
        rhythm.changed(Some(Change::Intent), later);
        assert!(rhythm.publish(later + 20 * MS));
        rhythm.published(100 * MS, later + 120 * MS);
        rhythm.changed(Some(Change::Loss), later + 130 * MS);
        assert_eq!(rhythm.due(), Some(later + 130 * MS + LOSS));
    }

    #[test]
    fn an_intent_does_not_wait_for_losses_to_rest() {
        let t = Instant::now();
        let mut rhythm = Rhythm::default();
        rhythm.changed(Some(Change::Loss), t);
        assert!(rhythm.publish(t + LOSS));
        rhythm.changed(Some(Change::Loss), t + 30 * MS);
        assert_eq!(rhythm.due(), Some(t + LOSS + BETWEEN));
        rhythm.changed(Some(Change::Intent), t + 40 * MS);
        assert_eq!(rhythm.due(), Some(t + 60 * MS));
    }
}
