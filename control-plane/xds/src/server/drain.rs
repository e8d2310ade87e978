//! The schedule of a drain: when each open stream ends, so that proxies reconnect elsewhere without all coming at once. Pure.
//!
//! Invariant: every stream that is open when the drain begins ends within it. The streams of one connection end together (only
//! then can the proxy leave the connection), and connections are spread evenly, in the order in which they were opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::fleet::StreamId;

/// The end of each stream. A stream that is not in it ends at once: it was opened during the drain, or the server closes
/// without one.
pub(super) type DrainSchedule = BTreeMap<StreamId, Instant>;

/// The moments at which `n` connections end: the first at once, then one after each n-th part of `over`, so that the last one
/// too has such a part to connect elsewhere before `over` has passed.
fn moments(n: usize, over: Duration) -> impl Iterator<Item = Duration> {
    let parts = u32::try_from(n).unwrap_or(u32::MAX).max(1);
    (0..n).map(move |i| over.mul_f64(i as f64 / f64::from(parts)))
}

/// The end of each of these streams, counted from `now`. A stream without an address counts as a connection of its own.
pub(super) fn schedule(
    streams: impl IntoIterator<Item = (StreamId, Option<SocketAddr>)>,
    over: Duration,
    now: Instant,
) -> DrainSchedule {
    let mut connections: Vec<(Option<SocketAddr>, Vec<StreamId>)> = Vec::new();
    let mut by_address: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for (stream, address) in streams {
        match address.and_then(|address| by_address.get(&address)) {
            Some(at) => connections[*at].1.push(stream),
            None => {
                by_address.extend(address.map(|address| (address, connections.len())));
                connections.push((address, vec![stream]));
            }
        }
    }
    let moments = moments(connections.len(), over);
    let connections = connections.into_iter().zip(moments);
    connections
        .flat_map(|((_, streams), after)| streams.into_iter().map(move |s| (s, now + after)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: usize, over: u64) -> Vec<f64> {
        let moments = moments(n, Duration::from_secs(over));
        moments.map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn connections_end_evenly_and_the_last_before_the_time_is_up() {
        assert_eq!(seconds(0, 10), [0.0; 0]);
        assert_eq!(seconds(1, 10), [0.0]);
        assert_eq!(seconds(4, 10), [0.0, 2.5, 5.0, 7.5]);
        assert_eq!(seconds(3, 0), [0.0, 0.0, 0.0]);
        let many = seconds(10_000, 10);
        assert!(many.is_sorted() && many[9_999] < 10.0);
        let in_the_third_second = many.iter().filter(|at| (2.0..3.0).contains(*at)).count();
        assert_eq!(in_the_third_second, 1_000);
    }

    #[test]
    fn the_streams_of_one_connection_end_together() {
        let address = |port: u16| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let streams = [
            (1, address(1)),
            (2, address(2)),
            (3, address(1)),
            (4, None),
            (5, None),
        ];
        let now = Instant::now();
        let over = Duration::from_secs(8);
        let ends = schedule(streams.map(|(n, a)| (StreamId(n), a)), over, now);
        let after = |n: u64| (ends[&StreamId(n)] - now).as_secs();
        assert_eq!([1, 2, 3, 4, 5].map(after), [0, 2, 0, 4, 6]);
    }
}
