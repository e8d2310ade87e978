//! The time of the next publication: debounced for churn, at once for edits, soon for lost endpoints.
//!
//! Pure: the clock is an argument. Proxies send requests to a lost endpoint until they know of the loss, so a loss is published
//! after 20 ms, as an edit is. A rollout loses hundreds of endpoints, and each publication plans everything again: after one, the
//! next losses wait for 200 ms, or for ten times the duration of the last publication, so that they take a tenth of the CPU time.
//! Invariant: every loss is published at most 1 s after it was observed.

use std::time::{Duration, Instant};

use headgate_model::Change;
use headgate_xds::debounce::{Debouncer, Urgency};

/// Time from a loss to its publication.
const LOSS: Duration = Duration::from_millis(20);
/// Shortest time between two publications of losses.
const MIN_LOSS_INTERVAL: Duration = Duration::from_millis(200);
/// Longest time between two publications of losses.
const MAX_LOSS_INTERVAL: Duration = Duration::from_secs(1);
/// The interval as a multiple of the duration of the last publication.
const DURATION_FACTOR: u32 = 10;

/// Changes that wait for publication, and when they are due.
#[derive(Debug, Default)]
pub(crate) struct PublishScheduler {
    debouncer: Debouncer,
    /// When the waiting losses are due.
    loss: Option<Instant>,
    /// The earliest time of the next publication of losses.
    next_loss_allowed: Option<Instant>,
    /// Whether the last publication included losses.
    lost: bool,
}

impl PublishScheduler {
    /// Records a change at `now`; `None` stands for changed findings. Operators wait for those, so they are as urgent as an edit.
    pub(crate) fn changed(&mut self, change: Option<Change>, now: Instant) {
        match change {
            Some(Change::Churn) => self.debouncer.changed(Urgency::Churn, now),
            Some(Change::Loss) => {
                let due = now + LOSS;
                let due = self.next_loss_allowed.map_or(due, |rested| due.max(rested));
                self.loss.get_or_insert(due);
            }
            Some(Change::Intent) | None => self.debouncer.changed(Urgency::Intent, now),
        }
    }

    /// When to publish next; `None` if nothing waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.debouncer.due().into_iter().chain(self.loss).min()
    }

    /// Whether to publish at `now`. If so, nothing waits after that.
    pub(crate) fn publish(&mut self, now: Instant) -> bool {
        let publish = self.due().is_some_and(|due| due <= now);
        if publish {
            self.debouncer = Debouncer::default();
            self.lost = self.loss.take().is_some();
            if self.lost {
                self.next_loss_allowed = Some(now + MIN_LOSS_INTERVAL);
            }
        }
        publish
    }

    /// Records that a publication ended at `now`, and its duration.
    pub(crate) fn published(&mut self, took: Duration, now: Instant) {
        if self.lost {
            let rest = (took * DURATION_FACTOR)
                .clamp(MIN_LOSS_INTERVAL, MAX_LOSS_INTERVAL)
                .saturating_sub(took);
            self.next_loss_allowed = self.next_loss_allowed.max(Some(now + rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_lost_endpoint_is_published_as_soon_as_a_label_despite_other_changes() {
        let t = Instant::now();
        let mut scheduler = PublishScheduler::default();
        for n in 0..100 {
            scheduler.changed(Some(Change::Churn), t + n * MS);
        }
        scheduler.changed(Some(Change::Loss), t + 100 * MS);
        scheduler.changed(Some(Change::Churn), t + 110 * MS);
        assert_eq!(scheduler.due(), Some(t + 120 * MS));
        assert!(!scheduler.publish(t + 119 * MS));
        assert!(scheduler.publish(t + 120 * MS));
        assert_eq!(scheduler.due(), None, "the churn went with it");
    }

    #[test]
    fn hundreds_of_losses_are_few_publications_with_short_waits() {
        let t = Instant::now();
        let (mut scheduler, mut published) = (PublishScheduler::default(), 0);
        let mut waits = None;
        for n in 0..1000 {
            let now = t + n * MS;
            if n % 3 == 0 {
                scheduler.changed(Some(Change::Loss), now);
                waits.get_or_insert(now);
            }
            if scheduler.publish(now) {
                published += 1;
                let waited = now - waits.take().unwrap_or(now);
                assert!(waited <= MIN_LOSS_INTERVAL, "{waited:?}");
            }
        }
        assert_eq!(published, 5);
    }

    #[test]
    fn losses_cost_a_tenth_of_the_time_and_wait_for_a_second_at_most() {
        let t = Instant::now();
        for (took, next_loss_allowed) in [(1, 200), (50, 500), (400, 1000)] {
            let mut scheduler = PublishScheduler::default();
            scheduler.changed(Some(Change::Loss), t);
            assert!(scheduler.publish(t + LOSS));
            scheduler.published(took * MS, t + LOSS + took * MS);
            scheduler.changed(Some(Change::Loss), t + LOSS + took * MS);
            let begun = scheduler.due().map(|due| due - (t + LOSS));
            assert_eq!(begun, Some(next_loss_allowed * MS), "{took} ms");
        }
    }

    #[test]
    fn a_loss_waits_only_after_other_losses_and_not_after_a_label() {
        let t = Instant::now();
        let mut scheduler = PublishScheduler::default();
        scheduler.changed(Some(Change::Loss), t);
        assert!(scheduler.publish(t + LOSS));
        scheduler.published(100 * MS, t + LOSS + 100 * MS);
        let later = t + 5000 * MS;
        scheduler.changed(Some(Change::Intent), later);
        assert!(scheduler.publish(later + 20 * MS));
        scheduler.published(100 * MS, later + 120 * MS);
        scheduler.changed(Some(Change::Loss), later + 130 * MS);
        assert_eq!(scheduler.due(), Some(later + 130 * MS + LOSS));
    }

    #[test]
    fn an_intent_does_not_wait_for_losses() {
        let t = Instant::now();
        let mut scheduler = PublishScheduler::default();
        scheduler.changed(Some(Change::Loss), t);
        assert!(scheduler.publish(t + LOSS));
        scheduler.changed(Some(Change::Loss), t + 30 * MS);
        assert_eq!(scheduler.due(), Some(t + LOSS + MIN_LOSS_INTERVAL));
        scheduler.changed(Some(Change::Intent), t + 40 * MS);
        assert_eq!(scheduler.due(), Some(t + 60 * MS));
    }
}
