//! What a change of capacity or refill does: every bucket keeps the share that is used, however often the
//! window changes, and streams that reserved before an edit settle after it.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_world;

use headgate_core::ledger::{Ledger, Reservations, Rule, RuleSpec, Window};
use ledger_world::{Memory, START, open, reserve, semantic, spec, spend, tokens};
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

/// The share of a bucket that is left, as a client is told.
fn left(rule: &Rule, key: &str, now: u64, memory: &Memory) -> f64 {
    let spends = [spend(rule, key, 0, 1000)];
    let held = Ledger::new().reserve(spends.into_iter(), now, memory);
    let held = held.unwrap();
    let balance = held.spends()[0].balance();
    balance.remaining as f64 / balance.limit as f64
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

#[test]
fn a_changed_window_keeps_the_share_that_is_used() {
    for from in windows() {
        for to in windows() {
            let memory = Memory::default();
            let (old, new) = (open(spec("r", from), &memory), open(spec("r", to), &memory));
            let mut ledger = Ledger::new();
            let mut ask = |rule, key, cost| {
                reserve(&mut ledger, rule, key, cost, 1000, START, &memory).is_ok()
            };
            assert!(ask(&old, "a", 600) && ask(&old, "b", 100));
            assert!(near(left(&new, "a", START, &memory), 0.4));
            assert!(!ask(&new, "a", 401));
            assert!(ask(&new, "a", 399), "{from:?} {to:?}");
            assert!(
                near(left(&new, "b", START, &memory), 0.9),
                "the whole set is rescaled"
            );
            assert!(near(left(&old, "b", START, &memory), 0.9), "and back");
        }
    }
}

/// Capacity and refill in the same proportion are the same window, and nothing is rewritten.
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

    /// Ten edits, each met by a request, cost what one costs: roundings of a nanosecond each.
    #[test]
    fn ten_edits_are_one_edit(
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
        let mut ask = |rule, key, cost| {
            reserve(&mut ledger, rule, key, cost, 1000, START, &memory).unwrap()
        };
        ask(&old, "k", 300);
        let held = ask(&old, "k", reserved);
        if met {
            ask(&new, "another of the set", 1);
        }
        let settled = ledger.settle(held, &[old.window().cells(used, 1000)], START, &memory)[0];
        let expected = 1.0 - (300 + used) as f64 / 1000.0;
        prop_assert!(near(left(&new, "k", START, &memory), expected.max(0.0)));
        // Told in the window that it was reserved in.
        let share = |ns: u64| ns as f64 / from.span() as f64;
        let moved = share(settled.debited) - share(settled.refunded);
        prop_assert!(near(moved, (used as f64 - reserved as f64) / 1000.0));
        prop_assert!(near(share(settled.evaporated), 0.0) && near(share(settled.clipped), 0.0));
    }
}

/// What happens between edits: a reserve, or the settlement of a stream that used less than it reserved.
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
    held: Reservations,
    window: Window,
    /// The share that time has still to give back before this stream's own arrival time.
    ahead: f64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Over any edits the ledger holds what a bucket counted in shares holds: refunds never give back more
    /// than was reserved and time has not given back, and nothing is lost but roundings.
    #[test]
    fn edits_never_over_credit(ops in prop::collection::vec(op(), 1..80)) {
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
                        Ok(held) => {
                            prop_assert!(fits <= 1.0 + 1e-6, "admitted at {fits}");
                            used = fits;
                            streams.push(Stream { held, window: *rule.window(), ahead: fits });
                        }
                        Err(_) => prop_assert!(fits > 1.0 - 1e-6, "refused at {fits}"),
                    }
                }
                Op::Settle(which, percent) if !streams.is_empty() => {
                    let Stream { held, window, ahead } = streams.swap_remove(which % streams.len());
                    let reserved = held.spends()[0].cells();
                    let cells = reserved * percent / 100;
                    let settled = ledger.settle(held, &[cells], now, &memory)[0];
                    let refunded = settled.refunded as f64 / window.span() as f64;
                    let unused = (reserved - cells) as f64 / f64::from(window.burst().get());
                    let due = unused.min(ahead.max(0.0));
                    // A cell that is gone gives nothing back; its bucket is full.
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

/// What time gave back under a faster window is not given back again under a slower one.
#[test]
fn a_late_refund_buys_nothing_after_two_edits() {
    let memory = Memory::default();
    let (slow, fast) = (tokens(1000, 86_400), tokens(1000, 1));
    let (slow, fast) = (
        open(spec("r", slow), &memory),
        open(spec("r", fast), &memory),
    );
    let mut ledger = Ledger::new();
    let mut ask = |rule, key, now| reserve(&mut ledger, rule, key, 1000, 1000, now, &memory);
    let held = ask(&slow, "k", START).unwrap();
    ask(&fast, "another", START).unwrap();
    let later = START + fast.window().span();
    let again = ask(&slow, "k", later).unwrap();
    let settled = ledger.settle(held, &[0], later, &memory)[0];
    assert!(settled.refunded <= 2, "{settled:?}");
    drop(again);
    assert!(reserve(&mut ledger, &slow, "k", 1, 1000, later, &memory).is_err());
}

/// A debt beyond what the edited rule allows is dropped with the rescaling write, and counted.
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
    let held = reserve(&mut ledger, &hour, "k", 1000, 1000, START, &memory).unwrap();
    let full = u64::from(hour.window().burst().get());
    ledger.settle(held, &[6 * full], START, &memory);
    let other = reserve(&mut ledger, &month, "another", 1, 1000, START, &memory).unwrap();
    let span = month.window().span();
    assert_eq!(other.spends()[0].balance().clipped_ns, 4 * span);
    let tat = memory.cell(&month, month.fingerprint(&["k"])).unwrap();
    assert_eq!(tat - START, 2 * span, "the window and one of debt");
}

/// Two workers, of which one has the new configuration and the other not yet.
#[test]
fn workers_on_both_sides_of_an_edit_spend_one_budget() {
    let memory = Memory::default();
    let rules = [semantic(), tokens(1000, 86_400)].map(|window| open(spec("r", window), &memory));
    let mut workers = [Ledger::new(), Ledger::new()];
    let mut ask = |turn: usize| {
        let (ledger, rule) = (&mut workers[turn % 2], &rules[turn % 2]);
        reserve(ledger, rule, "k", 10, 1000, START, &memory).is_ok()
    };
    let admitted = (0..200).filter(|turn| ask(*turn)).count();
    assert!((99..=100).contains(&admitted), "{admitted}");
}
