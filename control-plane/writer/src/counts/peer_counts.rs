//! The replicas of all replicas, and when to publish one's own.
//!
//! A replica that is killed says nothing any more, so each publishes again from time to time, and one that was not heard for
//! [`SILENCE`] counts no more. That is judged by how long its object was *seen* unchanged on one's own clock.
//!
//! Pure: the clock is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_model::ReplicaCounts;

use super::Peer;

/// Least time between two publications of one replica.
pub(crate) const APART: Duration = Duration::from_secs(5);
/// Most time between two publications, changed or not.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a replica may be silent and still count: three beats missed.
pub(crate) const SILENCE: Duration = Duration::from_secs(35);

/// When a replica publishes its own tally.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<(ReplicaCounts, Duration)>,
}

impl Pace {
    /// When this tally is to be published: now, or later.
    pub(crate) fn due(&self, tally: &ReplicaCounts, clock: Duration) -> Duration {
        match &self.last {
            None => clock,
            Some((said, at)) if said == tally => *at + HEARTBEAT,
            Some((_, at)) => *at + APART,
        }
    }

    /// It was published, or tried to be, at `clock`.
    pub(crate) fn published(&mut self, tally: ReplicaCounts, clock: Duration) {
        self.last = Some((tally, clock));
    }
}

/// What the other replicas published.
#[derive(Debug, Default)]
pub(crate) struct PeerCounts {
    replicas: BTreeMap<String, Heard>,
}

#[derive(Debug)]
struct Heard {
    version: String,
    at: Duration,
    tally: ReplicaCounts,
    peer: Peer,
}

impl PeerCounts {
    /// A replica's object is, at `clock`, this.
    pub(crate) fn hear(
        &mut self,
        replica: &str,
        version: &str,
        (peer, tally): (Peer, ReplicaCounts),
        clock: Duration,
    ) {
        let known = self.replicas.get(replica);
        let at = known
            .filter(|known| known.version == version)
            .map_or(clock, |known| known.at);
        let heard = Heard {
            version: version.to_owned(),
            at,
            tally,
            peer,
        };
        self.replicas.insert(replica.to_owned(), heard);
    }

    /// A replica's object is gone.
    pub(crate) fn forget(&mut self, replica: &str) {
        self.replicas.remove(replica);
    }

    /// Only these are there.
    pub(crate) fn keep(&mut self, there: impl Fn(&str) -> bool) {
        self.replicas.retain(|replica, _| there(replica));
    }

    /// The replicas of those that live at `clock`.
    pub(crate) fn live(&self, clock: Duration) -> impl Iterator<Item = &ReplicaCounts> {
        self.living(clock).map(|heard| &heard.tally)
    }

    /// Who lives at `clock`, by name.
    pub(crate) fn peers(&self, clock: Duration) -> Vec<Peer> {
        self.living(clock).map(|heard| heard.peer.clone()).collect()
    }

    fn living(&self, clock: Duration) -> impl Iterator<Item = &Heard> {
        let all = self.replicas.values();
        all.filter(move |heard| clock < heard.at + SILENCE)
    }

    /// Those that were silent for too long, with the version of their objects.
    pub(crate) fn dead(&self, clock: Duration) -> Vec<(String, String)> {
        let dead = self.replicas.iter();
        dead.filter(|(_, heard)| clock >= heard.at + SILENCE)
            .map(|(replica, heard)| (replica.clone(), heard.version.clone()))
            .collect()
    }

    /// When the next one will have been silent for too long.
    pub(crate) fn next(&self, clock: Duration) -> Option<Duration> {
        let ends = self.replicas.values().map(|heard| heard.at + SILENCE);
        ends.filter(|end| *end > clock).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn tally(connected: u32) -> ReplicaCounts {
        let namespaces: BTreeSet<String> = ["default".to_owned()].into();
        ReplicaCounts {
            proxies: BTreeMap::from([(namespaces, connected)]),
            ..ReplicaCounts::default()
        }
    }

    fn heard(connected: u32) -> (Peer, ReplicaCounts) {
        (Peer::default(), tally(connected))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_change_is_published_five_seconds_after_the_last_and_a_beat_every_ten() {
        let mut pace = Pace::default();
        assert_eq!(pace.due(&tally(1), at(3)), at(3), "the first at once");
        pace.published(tally(1), at(3));
        assert_eq!(pace.due(&tally(2), at(4)), at(8));
        assert_eq!(pace.due(&tally(2), at(30)), at(8), "long due");
        assert_eq!(pace.due(&tally(1), at(4)), at(13));
    }

    #[test]
    fn a_replica_counts_while_its_object_is_seen_to_change() {
        let mut board = PeerCounts::default();
        board.hear("a", "1", heard(2), at(0));
        board.hear("b", "7", heard(3), at(0));
        board.hear("a", "2", heard(2), at(20));
        // Told again by a relist, which is no sign of life.
        board.hear("b", "7", heard(3), at(30));
        assert_eq!(board.live(at(34)).count(), 2);
        assert_eq!(board.next(at(34)), Some(at(35)));
        assert_eq!(board.live(at(35)).collect::<Vec<_>>(), [&tally(2)]);
        assert_eq!(board.dead(at(35)), [("b".to_owned(), "7".to_owned())]);
        assert_eq!(board.next(at(35)), Some(at(55)));
        board.hear("b", "8", heard(3), at(36));
        assert_eq!(board.live(at(36)).count(), 2, "it lives after all");
        board.forget("a");
        board.keep(|name| name != "b");
        assert_eq!(board.live(at(36)).count(), 0);
        assert_eq!(board.next(at(36)), None);
    }
}
