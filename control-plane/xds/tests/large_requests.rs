//! The work for a request grows with the number of its names, not with the square of it.

// The clock of a thread has no safe binding.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use headgate_xds::session::{Protocol, Request, Session, SubscriptionUpdate};
use headgate_xds::{Kind, Options, Resource, Snapshot};

const NAMES: usize = 500;
/// The large request has this many times as many names as the small one.
const GROWTH: usize = 16;
/// Where the work is in proportion to the names, and the caches of the processor are too small, it takes up to twice the growth.
/// Where it is in proportion to the square of the names, it takes 256 times as long.
const MAX_TIMES: i64 = 4 * GROWTH as i64;

fn snapshot(kind: Kind, names: &[String]) -> Arc<Snapshot> {
    let resource = |name: &String| Resource::new(kind, name.as_str(), name.clone());
    Arc::new(Snapshot::new(names.iter().map(resource)).unwrap())
}

/// The time for which this thread has run, in nanoseconds: other processes do not change it.
fn cpu_time() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writes.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn change(names: &[String], subscribes: bool) -> SubscriptionUpdate {
    let held = names.iter().map(|name| (name.clone(), "1".to_owned()));
    SubscriptionUpdate::Change {
        subscribe: if subscribes { names.to_vec() } else { vec![] },
        unsubscribe: Vec::new(),
        initial_versions: held.collect(),
    }
}

/// The CPU time, in nanoseconds, that it takes until a client has what it should: it reconnects with `names` in versions that the server does not
/// know, receives everything that is due, and accepts it.
fn reconnects(protocol: Protocol, kind: Kind, snapshot: &Arc<Snapshot>, names: &[String]) -> i64 {
    let options = Options {
        in_flight: usize::MAX,
        ..Options::default()
    };
    let mut session = Session::new(protocol, Arc::new(options), snapshot.clone());
    let request = |nonce: String, subscription| Request {
        kind,
        nonce,
        error: None,
        subscription,
    };
    let first = match protocol {
        Protocol::Delta => change(names, !kind.is_full_state()),
        Protocol::StateOfTheWorld => SubscriptionUpdate::Replace {
            names: names.to_vec(),
            version_info: "1".to_owned(),
        },
    };
    let (begun, now) = (cpu_time(), Instant::now());
    session.request(request(String::new(), first), now).unwrap();
    while let Some(response) = session.poll(now) {
        let answer = match protocol {
            Protocol::Delta => change(&[], false),
            Protocol::StateOfTheWorld => SubscriptionUpdate::Replace {
                names: names.to_vec(),
                version_info: response.version.to_string(),
            },
        };
        session
            .request(request(response.nonce, answer), now)
            .unwrap();
    }
    assert!(!session.status().is_empty());
    cpu_time() - begun
}

#[test]
fn a_client_that_reconnects_with_many_names_costs_in_proportion_to_them() {
    let many = NAMES * GROWTH;
    let names: Vec<String> = (0..many).map(|n| format!("resource-{n:06}")).collect();
    for protocol in [Protocol::Delta, Protocol::StateOfTheWorld] {
        for kind in Kind::PUSH_ORDER {
            // Each filter configuration is a response of its own, and a snapshot has a handful of them.
            for is_known in [false, true]
                .into_iter()
                .filter(|known| !known || kind != Kind::Extension)
            {
                let fastest = |names: &[String]| {
                    let known = if is_known { names } else { &[] };
                    let snapshot = snapshot(kind, known);
                    let runs = (0..3).map(|_| reconnects(protocol, kind, &snapshot, names));
                    runs.min().unwrap()
                };
                let (few, all) = (fastest(&names[..NAMES]), fastest(&names));
                assert!(
                    all < few * MAX_TIMES,
                    "{protocol:?} {kind} known={is_known}: {NAMES} names took {few} ns, {many} took {all} ns"
                );
            }
        }
    }
}
