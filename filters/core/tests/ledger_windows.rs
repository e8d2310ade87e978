//! Changes of capacity or refill: every bucket keeps its used share, however often the window changes, and
//! streams that reserved before an edit settle after it.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_memory;

use headgate_core::ledger::{Ledger, Reservations, Rule, RuleSpec, Window};
use ledger_memory::{Memory, START, bucket_cost, open, reserve, semantic, spec, tokens};
use proptest::prelude::*;

fn windows() -> Vec<Window> {
    vec![
        semantic(),
        tokens(1000, 1),
        tokens(1000, 60),
        tokens(1000, 86_400),
        tokens(1000, 30 * 86_400),
    ]
}

fn window() -> impl Strategy<Value = Window> {
    prop::sample::select(windows())
}

/// The remaining share of a bucket, as clients get it.
fn left(rule: &Rule, key: &str, now: u64, memory: &Memory) -> f64 {
    let costs = [bucket_cost(rule, key, 0, 1000)];
    let reservation = Ledger::new().reserve(costs.into_iter(), now, memory);
    let reservation = reservation.unwrap();
    let balance = reservation.as_slice()[0].balance();
    balance.remaining as f64 / balance.limit as f64
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

#[test]
fn a_changed_window_keeps_the_used_share_of_each_bucket() {
    for from in windows() {
        for to in windows() {
            let memory = Memory::default();
            let (old, new) = (open(spec("r", from), &memory), open(spec("r", to), &memory));
            let mut ledger = Ledger::new();
            let mut try_reserve = |rule, key, cost| {
                reserve(&mut ledger, rule, key, cost, 1000, START, &memory).is_ok()
            };
            assert!(try_reserve(&old, "a", 600) && try_reserve(&old, "b", 100));
            assert!(near(left(&new, "a", START, &memory), 0.4));
            assert!(!try_reserve(&new, "a", 401));
            assert!(try_reserve(&new, "a", 399), "{from:?} {to:?}");
            assert!(
                near(left(&new, "b", START, &memory), 0.9),
                "the whole set is rescaled"
            );
            assert!(near(left(&old, "b", START, &memory), 0.9), "and back");
        }
    }
}

/// Capacity and refill in the same proportion are the same window, and no cell is rewritten.
#[test]
fn the_same_window_of_another_capacity_is_the_same_bucket() {
    let memory = Memory::default();
    let full = open(spec("r", tokens(100, 10)), &memory);
    let half = open(spec("r", tokens(50, 10)), &memory);
    let mut ledger = Ledger::new();
    reserve(&mut ledger, &full, "k", 100, 100, START, &memory).unwrap();
    assert!(reserve(&mut ledger, &half, "k", 1, 50, START, &memory).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Ten edits with a request after each cost as much as one edit, except roundings of a nanosecond each.
    #[test]
    fn ten_edits_have_the_effect_of_one(
        edits in prop::collection::vec(window(), 10),
        last in window(),
        used in 1u128..1000,
    ) {
        let share = |edits: &[Window]| {
            let memory = Memory::default();
            let mut ledger = Ledger::new();
            let first = open(spec("r", semantic()), &memory);
            reserve(&mut ledger, &first, "k", used, 1000, START, &memory).unwrap();
            for window in edits.iter().chain([&last]) {
                let rule = open(spec("r", *window), &memory);
                reserve(&mut ledger, &rule, "other", 1, 1_000_000, START, &memory).unwrap();
            }
            left(&open(spec("r", last), &memory), "k", START, &memory)
        };
        let (one, ten) = (share(&[]), share(&edits));
        prop_assert!(near(one, ten), "{} {}", one, ten);
        prop_assert!(near(one, 1.0 - used as f64 / 1000.0));
    }

    /// A stream that reserved before an edit and settles after it gives back or takes the share that it would
    /// have without the edit.
    #[test]
    fn a_stream_settles_across_an_edit(
        from in window(),
        to in window(),
        reserved in 100u128..500,
        used in 0u128..700,
        met in any::<bool>(),
    ) {
        let memory = Memory::default();
        let (old, new) = (open(spec("r", from), &memory), open(spec("r", to), &memory));
        let mut ledger = Ledger::new();
        let mut try_reserve = |rule, key, cost| {
            reserve(&mut ledger, rule, key, cost, 1000, START, &memory).unwrap()
        };
        try_reserve(&old, "k", 300);
        let reservation = try_reserve(&old, "k", reserved);
        if met {
            try_reserve(&new, "another of the set", 1);
        }
        let settled = ledger.settle(reservation, &[old.window().cells(used, 1000)], START, &memory)[0];
        let expected = 1.0 - (300 + used) as f64 / 1000.0;
        prop_assert!(near(left(&new, "k", START, &memory), expected.max(0.0)));
        // In the window of the reservation.
        let share = |ns: u64| ns as f64 / from.span() as f64;
        let moved = share(settled.debited) - share(settled.refunded);
        prop_assert!(near(moved, (used as f64 - reserved as f64) / 1000.0));
        prop_assert!(near(share(settled.evaporated), 0.0) && near(share(settled.clipped), 0.0));
    }
}

/// An operation between edits: a reserve, or the settlement of a stream that used less than it reserved.
#[derive(Clone, Debug)]
enum Op {
    Reserve(u128),
    Settle(usize, u64),
    /// In thousandths of the window in force.
    Advance(u64),
    Edit(Window),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1u128..400).prop_map(Op::Reserve),
        5 => (any::<usize>(), 0u64..100).prop_map(|(which, used)| Op::Settle(which, used)),
        4 => (0u64..500).prop_map(Op::Advance),
        3 => window().prop_map(Op::Edit),
    ]
}

struct Stream {
    reservation: Reservations,
    window: Window,
    /// The share that time still has to refill before the arrival time of this stream.
    ahead: f64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Over any edits the ledger equals a bucket that counts in shares: a refund is at most the part of the
    /// reservation that time has not refilled, and only roundings are lost.
    #[test]
    fn edits_never_refund_too_much(ops in prop::collection::vec(op(), 1..80)) {
        let memory = Memory::default();
        let mut rule = open(spec("r", semantic()), &memory);
        let mut ledger = Ledger::new();
        let mut streams: Vec<Stream> = Vec::new();
        // The share that is used. Below zero after refunds; a reserve begins at zero.
        let (mut now, mut used) = (START, 0.0_f64);
        for op in ops {
            match op {
                Op::Edit(window) => {
                    rule = open(spec("r", window), &memory);
                    // The first reserve under it rescales the set.
                    reserve(&mut ledger, &rule, "another", 1, 1_000_000, now, &memory).unwrap();
                }
                Op::Advance(thousandths) => {
                    let ns = rule.window().span() / 1000 * thousandths;
                    now += ns;
                    let share = ns as f64 / rule.window().span() as f64;
                    used -= share;
                    streams.iter_mut().for_each(|stream| stream.ahead -= share);
                }
                Op::Reserve(cost) => {
                    let share = cost as f64 / 1000.0;
                    let fits = used.max(0.0) + share;
                    match reserve(&mut ledger, &rule, "k", cost, 1000, now, &memory) {
                        Ok(reservation) => {
                            prop_assert!(fits <= 1.0 + 1e-6, "admitted at {fits}");
                            used = fits;
                            streams.push(Stream { reservation, window: *rule.window(), ahead: fits });
                        }
                        Err(_) => prop_assert!(fits > 1.0 - 1e-6, "refused at {fits}"),
                    }
                }
                Op::Settle(which, percent) if !streams.is_empty() => {
                    let Stream { reservation, window, ahead } = streams.swap_remove(which % streams.len());
                    let reserved = reservation.as_slice()[0].cells();
                    let cells = reserved * percent / 100;
                    let settled = ledger.settle(reservation, &[cells], now, &memory)[0];
                    let refunded = settled.refunded as f64 / window.span() as f64;
                    let unused = (reserved - cells) as f64 / f64::from(window.burst().get());
                    let due = unused.min(ahead.max(0.0));
                    // A missing cell has no refund, because its bucket is full.
                    let gone = used <= 0.0 && settled.refunded == 0;
                    prop_assert!(gone || near(refunded, due), "{refunded} of {due}");
                    used -= refunded;
                }
                Op::Settle(..) => {}
            }
            prop_assert!(near(left(&rule, "k", now, &memory), 1.0 - used.clamp(0.0, 1.0)));
        }
    }
}

/// A refund under a slower window leaves out what time refilled under a faster one.
#[test]
fn a_late_refund_has_no_effect_after_two_edits() {
    let memory = Memory::default();
    let (slow, fast) = (tokens(1000, 86_400), tokens(1000, 1));
    let (slow, fast) = (
        open(spec("r", slow), &memory),
        open(spec("r", fast), &memory),
    );
    let mut ledger = Ledger::new();
    let mut try_reserve =
        |rule, key, now| reserve(&mut ledger, rule, key, 1000, 1000, now, &memory);
    let reservation = try_reserve(&slow, "k", START).unwrap();
    try_reserve(&fast, "another", START).unwrap();
    let later = START + fast.window().span();
    let again = try_reserve(&slow, "k", later).unwrap();
    let settled = ledger.settle(reservation, &[0], later, &memory)[0];
    assert!(settled.refunded <= 2, "{settled:?}");
    drop(again);
    assert!(reserve(&mut ledger, &slow, "k", 1, 1000, later, &memory).is_err());
}

/// The write that rescales a cell drops the debt above the limit of the edited rule, and counts it.
#[test]
fn a_debt_above_the_new_rules_is_clipped_and_counted() {
    let memory = Memory::default();
    let of = |window: Window, debt| RuleSpec {
        max_debt: window.debt(debt),
        ..spec("r", window)
    };
    let hour = open(of(tokens(1000, 3600), None), &memory);
    let month = open(of(tokens(1000, 30 * 86_400), None), &memory);
    let mut ledger = Ledger::new();
    let reservation = reserve(&mut ledger, &hour, "k", 1000, 1000, START, &memory).unwrap();
    let full = u64::from(hour.window().burst().get());
    ledger.settle(reservation, &[6 * full], START, &memory);
    let other = reserve(&mut ledger, &month, "another", 1, 1000, START, &memory).unwrap();
    let span = month.window().span();
    assert_eq!(other.as_slice()[0].balance().clipped_ns, 4 * span);
    let tat = memory.cell(&month, month.fingerprint(&["k"])).unwrap();
    assert_eq!(tat - START, 2 * span, "the window and one of debt");
}

/// Two workers: one has the new configuration, the other one does not have it yet.
#[test]
fn workers_on_both_sides_of_an_edit_spend_one_budget() {
    let memory = Memory::default();
    let rules = [semantic(), tokens(1000, 86_400)].map(|window| open(spec("r", window), &memory));
    let mut workers = [Ledger::new(), Ledger::new()];
    let mut try_reserve = |turn: usize| {
        let (ledger, rule) = (&mut workers[turn % 2], &rules[turn % 2]);
        reserve(ledger, rule, "k", 10, 1000, START, &memory).is_ok()
    };
    let admitted = (0..200).filter(|turn| try_reserve(*turn)).count();
    assert!((99..=100).contains(&admitted), "{admitted}");
}
