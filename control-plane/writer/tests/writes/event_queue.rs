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

/// What it says now: the message, and whether it counts once more.
fn says(queue: &mut EventQueue, clock: Duration) -> Vec<(String, bool)> {
    let mut said = Vec::new();
    while let Some(pending) = queue.next(clock) {
        said.push((pending.finding.message, pending.is_new));
    }
    said
}

fn said(message: &str, is_new: bool) -> (String, bool) {
    (message.to_owned(), is_new)
}

#[test]
fn a_leader_says_a_state_once_while_it_lasts_and_again_when_it_comes_back() {
    let mut queue = EventQueue::default();
    queue.set_leading(true, at(0));
    queue.observe(states(&["held"]), Vec::new(), at(0));
    assert_eq!(
        says(&mut queue, at(0)),
        [said("held", false)],
        "it may have been said before"
    );
    for clock in 1..50 {
        queue.observe(states(&["held"]), Vec::new(), at(clock));
    }
    assert_eq!(says(&mut queue, at(50)), []);
    queue.observe(states(&["held", "bad"]), Vec::new(), at(51));
    assert_eq!(says(&mut queue, at(51)), [said("bad", true)]);
    queue.observe(states(&[]), Vec::new(), at(52));
    assert_eq!(says(&mut queue, at(52)), []);
    queue.observe(states(&["held"]), vec![finding("o", "drained")], at(53));
    assert_eq!(
        says(&mut queue, at(53)),
        [said("held", true), said("drained", true)]
    );
}

#[test]
fn one_that_takes_over_says_what_is_so_and_what_happened_lately_as_perhaps_said() {
    let mut queue = EventQueue::default();
    queue.observe(states(&["held", "gone"]), Vec::new(), at(0));
    queue.observe(states(&["held"]), vec![finding("o", "long ago")], at(10));
    queue.observe(states(&["held"]), vec![finding("o", "promoted")], at(400));
    assert_eq!(says(&mut queue, at(400)), [], "it does not lead");
    queue.set_leading(true, at(415));
    assert_eq!(
        says(&mut queue, at(415)),
        [said("held", false), said("promoted", false)]
    );
    // What is new from now on is its own to say.
    queue.observe(states(&["held"]), vec![finding("o", "promoted")], at(416));
    assert_eq!(says(&mut queue, at(416)), [said("promoted", true)]);
    queue.set_leading(false, at(417));
    queue.observe(states(&["held", "bad"]), Vec::new(), at(418));
    assert_eq!(says(&mut queue, at(418)), []);
}

#[test]
fn an_object_that_flaps_is_quiet_after_25_events_and_others_are_not() {
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
        written += says(&mut queue, at(n)).len();
    }
    assert_eq!(written, 25);
    assert_eq!(queue.take_dropped(), 75);
    queue.observe(
        BTreeSet::from([finding("another", "bad")]),
        Vec::new(),
        at(200),
    );
    assert_eq!(says(&mut queue, at(200)), [said("bad", true)]);
    // One more after five minutes.
    queue.observe(states(&["bad"]), Vec::new(), at(301));
    assert_eq!(says(&mut queue, at(301)), [said("bad", true)]);
}

#[test]
fn what_could_not_be_written_waits_in_its_order_and_costs_nothing_more() {
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
        tries += says(&mut queue, at(1)).len();
    }
    assert_eq!(tries, 200);
}

#[test]
fn what_is_always_answered_by_an_error_holds_up_nothing_and_is_given_up() {
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
fn one_that_takes_over_says_all_that_is_so_however_much_it_is() {
    let mut queue = EventQueue::default();
    let all: BTreeSet<Finding> = (0..5000)
        .map(|n| finding(&format!("o{n}"), "held"))
        .collect();
    queue.observe(all.clone(), Vec::new(), at(0));
    queue.set_leading(true, at(1));
    let mut said = BTreeSet::new();
    for _ in 0..100 {
        said.extend(queue.next(at(1)).map(|next| next.finding));
    }
    // What is over before it is said is not said any more.
    let over: BTreeSet<Finding> = all.difference(&said).take(10).cloned().collect();
    let rest: BTreeSet<Finding> = all.difference(&over).cloned().collect();
    queue.observe(rest.clone(), Vec::new(), at(2));
    said.extend(std::iter::from_fn(|| queue.next(at(2))).map(|next| next.finding));
    assert!(said == rest, "{} of {}", said.len(), rest.len());
    assert_eq!(queue.take_dropped(), 0);
}

#[test]
fn while_the_api_server_is_away_what_waits_is_bounded_and_the_newest_stays() {
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
