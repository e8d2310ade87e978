//! The queue of Events: which Events the leader writes, and how often.

use std::collections::BTreeSet;
use std::time::Duration;

use headgate_model::{CarrierKey, Finding, Severity, Subject};
use headgate_writer::EventQueue;
use headgate_writer::PendingEvent;

fn object(name: &str) -> Subject {
    let key = CarrierKey {
        namespace: "default".to_owned(),
        kind: "deployment".to_owned(),
        name: name.to_owned(),
    };
    key.into()
}

fn finding(object: &str, message: &str) -> Finding {
    Finding {
        object: self::object(object),
        reason: "Reason",
        severity: Severity::Warning,
        origin: object.to_owned(),
        message: message.to_owned(),
    }
}

fn states(messages: &[&str]) -> BTreeSet<Finding> {
    messages.iter().map(|text| finding("o", text)).collect()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The next Events: the message, and whether it counts again.
fn next_messages(queue: &mut EventQueue, clock: Duration) -> Vec<(String, bool)> {
    let mut messages = Vec::new();
    while let Some(pending) = queue.next(clock) {
        messages.push((pending.finding.message, pending.is_new));
    }
    messages
}

fn message(message: &str, is_new: bool) -> (String, bool) {
    (message.to_owned(), is_new)
}

#[test]
fn a_state_has_one_event_while_it_lasts_and_another_when_it_returns() {
    let mut queue = EventQueue::default();
    queue.set_leading(true, at(0));
    queue.observe(states(&["held"]), Vec::new(), at(0));
    assert_eq!(
        next_messages(&mut queue, at(0)),
        [message("held", false)],
        "an Event may exist already"
    );
    for clock in 1..50 {
        queue.observe(states(&["held"]), Vec::new(), at(clock));
    }
    assert_eq!(next_messages(&mut queue, at(50)), []);
    queue.observe(states(&["held", "bad"]), Vec::new(), at(51));
    assert_eq!(next_messages(&mut queue, at(51)), [message("bad", true)]);
    queue.observe(states(&[]), Vec::new(), at(52));
    assert_eq!(next_messages(&mut queue, at(52)), []);
    queue.observe(states(&["held"]), vec![finding("o", "drained")], at(53));
    assert_eq!(
        next_messages(&mut queue, at(53)),
        [message("held", true), message("drained", true)]
    );
}

#[test]
fn a_new_leader_repeats_current_states_and_recent_events_as_not_new() {
    let mut queue = EventQueue::default();
    queue.observe(states(&["held", "gone"]), Vec::new(), at(0));
    queue.observe(states(&["held"]), vec![finding("o", "long ago")], at(10));
    queue.observe(states(&["held"]), vec![finding("o", "promoted")], at(400));
    assert_eq!(next_messages(&mut queue, at(400)), [], "it does not lead");
    queue.set_leading(true, at(415));
    assert_eq!(
        next_messages(&mut queue, at(415)),
        [message("held", false), message("promoted", false)]
    );
    // From now on it reports new Events.
    queue.observe(states(&["held"]), vec![finding("o", "promoted")], at(416));
    assert_eq!(
        next_messages(&mut queue, at(416)),
        [message("promoted", true)]
    );
    queue.set_leading(false, at(417));
    queue.observe(states(&["held", "bad"]), Vec::new(), at(418));
    assert_eq!(next_messages(&mut queue, at(418)), []);
}

#[test]
fn a_flapping_object_has_25_events_at_most_and_others_are_unaffected() {
    let mut queue = EventQueue::default();
    queue.set_leading(true, at(0));
    queue.observe(states(&[]), Vec::new(), at(0));
    let mut written = 0;
    for n in 0..200 {
        let now = if n % 2 == 0 {
            states(&["bad"])
        } else {
            states(&[])
        };
        queue.observe(now, Vec::new(), at(n));
        written += next_messages(&mut queue, at(n)).len();
    }
    assert_eq!(written, 25);
    assert_eq!(queue.take_dropped(), 75);
    queue.observe(
        BTreeSet::from([finding("another", "bad")]),
        Vec::new(),
        at(200),
    );
    assert_eq!(next_messages(&mut queue, at(200)), [message("bad", true)]);
    // One more after five minutes.
    queue.observe(states(&["bad"]), Vec::new(), at(301));
    assert_eq!(next_messages(&mut queue, at(301)), [message("bad", true)]);
}

#[test]
fn failed_events_wait_in_order_without_a_further_cost() {
    let mut queue = EventQueue::default();
    queue.set_leading(true, at(0));
    queue.observe(states(&["a", "b"]), Vec::new(), at(0));
    let both: Vec<PendingEvent> = std::iter::from_fn(|| queue.next(at(0))).collect();
    assert_eq!(both.len(), 2);
    assert_eq!(queue.next(at(0)), None);
    assert_eq!(queue.retry(both.clone()), []);
    assert_eq!(
        std::iter::from_fn(|| queue.next(at(0))).collect::<Vec<_>>(),
        both
    );
    let mut tries = 0;
    for _ in 0..100 {
        assert_eq!(queue.retry(both.clone()), []);
        tries += next_messages(&mut queue, at(1)).len();
    }
    assert_eq!(tries, 200);
}

#[test]
fn an_event_that_always_fails_blocks_no_others_and_is_dropped() {
    let mut queue = EventQueue::default();
    queue.set_leading(true, at(0));
    queue.observe(states(&["poison"]), Vec::new(), at(0));
    let first: Vec<PendingEvent> = queue.next(at(0)).into_iter().collect();
    assert_eq!(queue.retry(first), []);
    let mut given_up = Vec::new();
    let mut tries = 0;
    for n in 0..20 {
        let fresh = n.to_string();
        queue.observe(
            states(&["poison"]),
            vec![finding(&fresh, &fresh)],
            at(n + 1),
        );
        let next = queue.next(at(n + 1)).map(|next| next.finding.message);
        assert_eq!(next, Some(fresh), "what is new comes first");
        if let Some(mut pending) = queue.next(at(n + 1)) {
            pending.tries += 1;
            tries += 1;
            given_up.extend(queue.retry(vec![pending]));
        }
    }
    assert_eq!(given_up.len(), 1);
    assert_eq!(given_up[0].finding.message, "poison");
    assert_eq!((given_up[0].tries, tries), (8, 8));
}

#[test]
fn a_new_leader_has_an_event_for_every_current_state() {
    let mut queue = EventQueue::default();
    let all: BTreeSet<Finding> = (0..5000)
        .map(|n| finding(&format!("o{n}"), "held"))
        .collect();
    queue.observe(all.clone(), Vec::new(), at(0));
    queue.set_leading(true, at(1));
    let mut received = BTreeSet::new();
    for _ in 0..100 {
        received.extend(queue.next(at(1)).map(|next| next.finding));
    }
    // A state that ends before its Event is written has no Event.
    let over: BTreeSet<Finding> = all.difference(&received).take(10).cloned().collect();
    let rest: BTreeSet<Finding> = all.difference(&over).cloned().collect();
    queue.observe(rest.clone(), Vec::new(), at(2));
    received.extend(std::iter::from_fn(|| queue.next(at(2))).map(|next| next.finding));
    assert!(received == rest, "{} of {}", received.len(), rest.len());
    assert_eq!(queue.take_dropped(), 0);
}

#[test]
fn waiting_events_are_bounded_and_the_newest_stay() {
    let mut queue = EventQueue::default();
    queue.set_leading(true, at(0));
    queue.observe(states(&[]), Vec::new(), at(0));
    let happened = (0..5000).map(|n| finding(&format!("o{n}"), "happened"));
    queue.observe(states(&[]), happened.collect(), at(1));
    let mut left = Vec::new();
    while let Some(pending) = queue.next(at(1)) {
        left.push(pending.finding.object);
    }
    assert_eq!(left.len(), 1024);
    assert_eq!(left.last(), Some(&object("o4999")));
    assert_eq!(queue.take_dropped(), 5000 - 1024);
}
