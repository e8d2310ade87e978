//! Several candidates and one Lease.

use std::time::Duration;

use headgate_writer::Election;
use headgate_writer::Step;
use headgate_writer::Times;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wall(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// The API server: one record and its version.
#[derive(Default)]
struct Store {
    lease: Option<Lease>,
    version: u64,
}

impl Store {
    /// Whether the write was accepted.
    fn perform(&mut self, step: Step) -> bool {
        let spec = match step {
            Step::Wait => return false,
            Step::Create(_) if self.lease.is_some() => return false,
            Step::Create(spec) => spec,
            Step::Replace(_, version) if version != self.version.to_string() => return false,
            Step::Replace(spec, _) => spec,
        };
        self.put(spec);
        true
    }

    fn put(&mut self, spec: LeaseSpec) {
        self.version += 1;
        let mut lease = Lease {
            spec: Some(spec),
            ..Lease::default()
        };
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease);
    }

    fn spec(&self) -> &LeaseSpec {
        self.lease.as_ref().unwrap().spec.as_ref().unwrap()
    }
}

/// One round of a candidate whose wall clock is `skew` seconds off.
fn round(candidate: &mut Election, store: &mut Store, clock: Duration, skew: i64) -> bool {
    let now = wall(1_800_000_000 + i64::try_from(clock.as_secs()).unwrap() + skew);
    let step = candidate.next_step(store.lease.as_ref(), clock, now);
    let written = store.perform(step);
    if written {
        candidate.renewed(clock);
    }
    written
}

fn candidate(name: &str) -> Election {
    Election::new(name.to_owned(), Times::default())
}

#[test]
fn the_first_candidate_leads_and_another_one_only_after_a_lease_duration_without_a_change() {
    let (mut a, mut b, mut store) = (candidate("a"), candidate("b"), Store::default());
    assert!(round(&mut a, &mut store, at(0), 0));
    assert!(
        a.leads(at(9)) && !a.leads(at(10)),
        "for as long as it renews"
    );
    // The clock of b is a day ahead: by the times of the record, the holder would be dead.
    let day = 86_400;
    assert!(!round(&mut b, &mut store, at(1), day));
    assert!(
        !round(&mut b, &mut store, at(15), day),
        "seen for 14 s only"
    );
    assert!(round(&mut a, &mut store, at(15), 0));
    assert!(!round(&mut b, &mut store, at(17), day), "it changed");
    assert!(!round(&mut b, &mut store, at(31), day));
    assert!(round(&mut b, &mut store, at(32), day));
    assert!(!a.leads(at(32)) && b.leads(at(32)));
    assert!(!round(&mut a, &mut store, at(33), 0));
    assert_eq!(store.spec().holder_identity.as_deref(), Some("b"));
    assert_eq!(store.spec().lease_transitions, Some(1));
    assert_eq!(store.spec().lease_duration_seconds, Some(15));
}

#[test]
fn a_candidate_waits_for_the_end_of_the_lease_and_the_leader_does_not_wait() {
    let mut store = Store::default();
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    assert!(round(&mut a, &mut store, at(0), 0));
    assert!(!round(&mut b, &mut store, at(3), 0));
    assert_eq!((a.vacant(), b.vacant()), (None, Some(at(18))));
    assert!(round(&mut b, &mut store, at(18), 0));
    assert_eq!(b.vacant(), None);
}

#[test]
fn a_renewal_keeps_the_time_of_acquisition() {
    let (mut a, mut store) = (candidate("a"), Store::default());
    round(&mut a, &mut store, at(0), 0);
    let first = store.spec().clone();
    round(&mut a, &mut store, at(2), 0);
    let second = store.spec().clone();
    assert_eq!(first.acquire_time, second.acquire_time);
    assert_eq!(second.renew_time, Some(MicroTime(wall(1_800_000_002))));
    assert_eq!(second.lease_transitions, Some(0));
}

#[test]
fn one_of_two_candidates_replaces_a_dead_holder() {
    let (mut a, mut b, mut store) = (candidate("a"), candidate("b"), Store::default());
    round(&mut candidate("dead"), &mut store, at(0), 0);
    for candidate in [&mut a, &mut b] {
        assert!(!round(candidate, &mut store, at(0), 0));
    }
    let seen = store.lease.clone();
    let steps = [&mut a, &mut b].map(|c| c.next_step(seen.as_ref(), at(15), wall(0)));
    let won = steps.map(|step| store.perform(step));
    assert_eq!(won, [true, false]);
}

#[test]
fn a_resigned_leader_is_replaced_at_once() {
    let (mut a, mut b, mut store) = (candidate("a"), candidate("b"), Store::default());
    round(&mut a, &mut store, at(0), 0);
    assert!(!round(&mut b, &mut store, at(1), 0));
    assert!(
        b.resign(store.lease.as_ref().unwrap(), wall(1)).is_none(),
        "not its own"
    );
    let free = a.resign(store.lease.as_ref().unwrap(), wall(1)).unwrap();
    assert!(store.perform(free));
    assert!(!a.leads(at(1)));
    assert!(round(&mut b, &mut store, at(2), 0));
}

#[test]
fn a_deleted_lease_is_created_again_and_its_former_holder_does_not_lead() {
    let (mut a, mut b, mut store) = (candidate("a"), candidate("b"), Store::default());
    round(&mut a, &mut store, at(0), 0);
    store.lease = None;
    assert!(round(&mut b, &mut store, at(1), 0));
    assert!(!round(&mut a, &mut store, at(2), 0));
    assert!(!a.leads(at(2)));
}

#[derive(Debug, Clone)]
enum Act {
    /// This candidate reads and writes.
    Round(usize),
    /// This candidate reads now and writes later, if it may.
    Slow(usize),
    /// Time passes.
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Act::Round),
        2 => (0..3_usize).prop_map(Act::Slow),
        3 => (1..8_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    /// Holds for any wall clocks and any delay of writes.
    #[test]
    fn at_most_one_candidate_leads(
        acts in proptest::collection::vec(act(), 1..80),
        skews in proptest::array::uniform3(-100_000..100_000_i64),
    ) {
        let mut all = ["a", "b", "c"].map(candidate);
        let mut slow: Vec<(usize, Duration, Step)> = Vec::new();
        let (mut store, mut clock) = (Store::default(), at(0));
        for act in acts {
            match act {
                Act::Round(i) => _ = round(&mut all[i], &mut store, clock, skews[i]),
                Act::Slow(i) => {
                    // A candidate has one request at a time.
                    if let Some(place) = slow.iter().position(|(who, ..)| *who == i) {
                        let (i, read_at, step) = slow.remove(place);
                        if store.perform(step) {
                            all[i].renewed(read_at);
                        }
                    }
                    let seconds = i64::try_from(clock.as_secs()).unwrap();
                    let now = wall(1_800_000_000 + seconds + skews[i]);
                    let step = all[i].next_step(store.lease.as_ref(), clock, now);
                    slow.push((i, clock, step));
                }
                Act::Pass(seconds) => clock += at(seconds),
            }
            let leaders = all.iter().filter(|candidate| candidate.leads(clock)).count();
            prop_assert!(leaders <= 1);
        }
    }
}
