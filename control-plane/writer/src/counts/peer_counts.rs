//! The counts of the other replicas, and the schedule of publishing one's own.
//!
//! A killed replica cannot delete its counts. Therefore each replica publishes a heartbeat, and counts that stay unchanged for
//! [`EXPIRY`] are ignored. Each replica measures this on its own clock.
//!
//! Pure: the clock is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_model::ReplicaCounts;

use super::Peer;

/// Shortest time between two publications of a replica.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time between two publications, also of unchanged counts.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);
/// Age after which the counts of a replica are ignored: three missed heartbeats.
pub(crate) const EXPIRY: Duration = Duration::from_secs(35);

/// Schedule of publishing the own counts.
#[derive(Debug, Default)]
pub(crate) struct PublishSchedule {
    last: Option<(ReplicaCounts, Duration)>,
}

impl PublishSchedule {
    /// When these counts are published: now, or later.
    pub(crate) fn due(&self, counts: &ReplicaCounts, clock: Duration) -> Duration {
        match &self.last {
            None => clock,
            Some((published, at)) if published == counts => *at + HEARTBEAT,
            Some((_, at)) => *at + MIN_INTERVAL,
        }
    }

    /// Records a publication at `clock`, also a failed one.
    pub(crate) fn published(&mut self, counts: ReplicaCounts, clock: Duration) {
        self.last = Some((counts, clock));
    }
}

/// The published counts of the other replicas.
#[derive(Debug, Default)]
pub(crate) struct PeerCounts {
    replicas: BTreeMap<String, Entry>,
}

/// The last published counts of a replica.
#[derive(Debug)]
struct Entry {
    version: String,
    at: Duration,
    counts: ReplicaCounts,
    peer: Peer,
}

impl PeerCounts {
    /// Sets the counts of a replica that were read at `clock`. An unchanged `version` keeps their age.
    pub(crate) fn update(
        &mut self,
        replica: &str,
        version: &str,
        (peer, counts): (Peer, ReplicaCounts),
        clock: Duration,
    ) {
        let known = self.replicas.get(replica);
        let at = known
            .filter(|known| known.version == version)
            .map_or(clock, |known| known.at);
        let entry = Entry {
            version: version.to_owned(),
            at,
            counts,
            peer,
        };
        self.replicas.insert(replica.to_owned(), entry);
    }

    /// Removes a replica whose object was deleted.
    pub(crate) fn remove(&mut self, replica: &str) {
        self.replicas.remove(replica);
    }

    /// Keeps only replicas whose objects exist.
    pub(crate) fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.replicas.retain(|replica, _| exists(replica));
    }

    /// The counts that have not expired at `clock`.
    pub(crate) fn current(&self, clock: Duration) -> impl Iterator<Item = &ReplicaCounts> {
        self.unexpired(clock).map(|entry| &entry.counts)
    }

    /// The replicas whose counts have not expired at `clock`.
    pub(crate) fn peers(&self, clock: Duration) -> Vec<Peer> {
        self.unexpired(clock)
            .map(|entry| entry.peer.clone())
            .collect()
    }

    fn unexpired(&self, clock: Duration) -> impl Iterator<Item = &Entry> {
        let all = self.replicas.values();
        all.filter(move |entry| clock < entry.at + EXPIRY)
    }

    /// The objects of expired replicas, with their `resourceVersion`s.
    pub(crate) fn expired(&self, clock: Duration) -> Vec<(String, String)> {
        let all = self.replicas.iter();
        all.filter(|(_, entry)| clock >= entry.at + EXPIRY)
            .map(|(replica, entry)| (replica.clone(), entry.version.clone()))
            .collect()
    }

    /// When the next replica expires.
    pub(crate) fn next_expiry(&self, clock: Duration) -> Option<Duration> {
        let ends = self.replicas.values().map(|entry| entry.at + EXPIRY);
        ends.filter(|end| *end > clock).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use headgate_model::ProxyGroup;

    use super::*;

    fn counts(connected: u32) -> ReplicaCounts {
        let group = ProxyGroup {
            namespaces: ["default".to_owned()].into(),
            ..ProxyGroup::default()
        };
        ReplicaCounts {
            proxies: BTreeMap::from([(group, connected)]),
            ..ReplicaCounts::default()
        }
    }

    fn entry(connected: u32) -> (Peer, ReplicaCounts) {
        (Peer::default(), counts(connected))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_change_is_published_five_seconds_after_the_last_and_a_heartbeat_every_ten() {
        let mut schedule = PublishSchedule::default();
        assert_eq!(schedule.due(&counts(1), at(3)), at(3), "the first at once");
        schedule.published(counts(1), at(3));
        assert_eq!(schedule.due(&counts(2), at(4)), at(8));
        assert_eq!(schedule.due(&counts(2), at(30)), at(8), "long due");
        assert_eq!(schedule.due(&counts(1), at(4)), at(13));
    }

    #[test]
    fn a_replica_counts_while_its_object_changes() {
        let mut peer_counts = PeerCounts::default();
        peer_counts.update("a", "1", entry(2), at(0));
        peer_counts.update("b", "7", entry(3), at(0));
        peer_counts.update("a", "2", entry(2), at(20));
        // A relist repeats it, which does not renew it.
        peer_counts.update("b", "7", entry(3), at(30));
        assert_eq!(peer_counts.current(at(34)).count(), 2);
        assert_eq!(peer_counts.next_expiry(at(34)), Some(at(35)));
        assert_eq!(
            peer_counts.current(at(35)).collect::<Vec<_>>(),
            [&counts(2)]
        );
        assert_eq!(
            peer_counts.expired(at(35)),
            [("b".to_owned(), "7".to_owned())]
        );
        assert_eq!(peer_counts.next_expiry(at(35)), Some(at(55)));
        peer_counts.update("b", "8", entry(3), at(36));
        assert_eq!(
            peer_counts.current(at(36)).count(),
            2,
            "it has published again"
        );
        peer_counts.remove("a");
        peer_counts.retain(|name| name != "b");
        assert_eq!(peer_counts.current(at(36)).count(), 0);
        assert_eq!(peer_counts.next_expiry(at(36)), None);
    }
}
