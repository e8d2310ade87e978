//! Duration of convergence: from the first response of a change until every connected proxy has ACKed all responses.
//!
//! Pure: times are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use headgate_xds::Kind;
use headgate_xds::fleet::StreamId;

/// The responses that are not acknowledged yet.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Number of responses without an answer.
    pending: BTreeMap<(StreamId, Kind), usize>,
    /// Streams whose last answer for a type was a NACK: they have not converged.
    rejected: BTreeSet<(StreamId, Kind)>,
    /// Time of the first response since the last convergence.
    started: Option<SystemTime>,
}

impl Deliveries {
    /// A response was sent.
    pub(super) fn sent(&mut self, stream: StreamId, kind: Kind, at: SystemTime) {
        self.started.get_or_insert(at);
        *self.pending.entry((stream, kind)).or_default() += 1;
    }

    /// A response was ACKed. Returns the duration of the convergence if this was the last pending ACK.
    pub(super) fn acked(
        &mut self,
        stream: StreamId,
        kind: Kind,
        at: SystemTime,
    ) -> Option<Duration> {
        self.rejected.remove(&(stream, kind));
        self.answered(stream, kind);
        self.converged(at)
    }

    /// A response was NACKed.
    pub(super) fn nacked(&mut self, stream: StreamId, kind: Kind) {
        self.answered(stream, kind);
        self.rejected.insert((stream, kind));
    }

    /// A stream ended. Returns the duration of the convergence if only this stream was pending.
    pub(super) fn disconnected(&mut self, stream: StreamId, at: SystemTime) -> Option<Duration> {
        self.pending.retain(|(of, _), _| *of != stream);
        self.rejected.retain(|(of, _)| *of != stream);
        self.converged(at)
    }

    /// Forgets everything, because events were missed.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    fn answered(&mut self, stream: StreamId, kind: Kind) {
        if let Some(pending) = self.pending.get_mut(&(stream, kind)) {
            *pending -= 1;
            if *pending == 0 {
                self.pending.remove(&(stream, kind));
            }
        }
    }

    fn converged(&mut self, at: SystemTime) -> Option<Duration> {
        if !self.pending.is_empty() || !self.rejected.is_empty() {
            return None;
        }
        at.duration_since(self.started.take()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_change_converges_with_the_last_ack_of_all_proxies() {
        let (one, two) = (StreamId(1), StreamId(2));
        let mut deliveries = Deliveries::default();
        deliveries.sent(one, Kind::Cluster, at(0));
        deliveries.sent(two, Kind::Cluster, at(10));
        assert_eq!(deliveries.acked(one, Kind::Cluster, at(30)), None);
        deliveries.sent(one, Kind::Listener, at(40));
        assert_eq!(deliveries.acked(two, Kind::Cluster, at(50)), None);
        let converged = deliveries.acked(one, Kind::Listener, at(90));
        assert_eq!(converged, Some(Duration::from_millis(90)));
    }

    #[test]
    fn a_nack_delays_convergence_until_an_ack_or_the_end_of_the_stream() {
        let stream = StreamId(1);
        let mut deliveries = Deliveries::default();
        deliveries.sent(stream, Kind::Cluster, at(0));
        deliveries.nacked(stream, Kind::Cluster);
        deliveries.sent(stream, Kind::Listener, at(10));
        assert_eq!(deliveries.acked(stream, Kind::Listener, at(20)), None);
        deliveries.sent(stream, Kind::Cluster, at(100));
        let converged = deliveries.acked(stream, Kind::Cluster, at(120));
        assert_eq!(converged, Some(Duration::from_millis(120)));
        deliveries.sent(stream, Kind::Cluster, at(200));
        let ended = deliveries.disconnected(stream, at(250));
        assert_eq!(ended, Some(Duration::from_millis(50)));
    }
}
