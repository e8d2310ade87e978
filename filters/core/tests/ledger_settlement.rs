//! Guarantees of settlement: nothing is created or lost (`conservation`), a refund changes only its own
//! cell (`a_refund_changes_only_its_own_cell`), order does not matter (`settlement_does_not_depend_on_order`), and a refund leaves
//! out what time has refilled (`a_late_refund_has_no_effect`).
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_memory;

use headgate_core::ledger::{
    BucketCost, Ledger, MILLION, OnContention, Reservations, Rule, RuleSpec, Settled,
};
use ledger_memory::{Memory, START, open, reserve, semantic, spec, tokens};
use proptest::prelude::*;

/// A stream: cost in percent, share used in percent of that, disturbance of reserve and settle.
#[derive(Clone, Copy, Debug)]
struct Stream {
    percent: u64,
    used: u64,
    lost_swaps: (u64, u64),
    /// Its worker dies before it settles.
    dies: bool,
}

fn streams(most: usize, dying: bool) -> impl Strategy<Value = Vec<Stream>> {
    let lost_swaps = || prop_oneof![4 => Just(0), 1 => 0u64..16, 1 => Just(u64::MAX)];
    let dies = if dying { 0.2 } else { 0.0 };
    let stream = (
        1u64..12,
        0u64..200,
        lost_swaps(),
        lost_swaps(),
        prop::bool::weighted(dies),
    );
    prop::collection::vec(
        stream.prop_map(|(percent, used, before, after, dies)| Stream {
            percent,
            used,
            lost_swaps: (before, after),
            dies,
        }),
        1..most,
    )
}

/// Everything a ledger reported, ns.
#[derive(Default)]
struct Sum {
    refunded: u64,
    debited: u64,
    evaporated: u64,
    clipped: u64,
    unwritten: u64,
}

impl Sum {
    fn add(&mut self, settled: &Settled) {
        self.refunded += settled.refunded;
        self.debited += settled.debited;
        self.evaporated += settled.evaporated;
        self.clipped += settled.clipped;
        self.unwritten += settled.unwritten;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Σ charged = Σ settled + evaporated, both as reported and as the cell shows it. The clock
    /// stands still until all have reserved, then moves, so that some refunds come too late.
    #[test]
    fn conservation(
        streams in streams(24, true),
        admit in any::<bool>(),
        pause in prop_oneof![Just(0u64), 0u64..1500],
    ) {
        let memory = Memory::default();
        let rule = open(RuleSpec {
            on_contention: if admit { OnContention::Admit } else { OnContention::Refuse },
            ..spec("r", semantic())
        }, &memory);
        let span = rule.window().span();
        let (mut live, mut killed) = (Ledger::new(), Ledger::new());
        let mut reservations: Vec<(Reservations, Stream)> = Vec::new();
        let (mut reserved, mut stands, mut killed_had_unwritten) = (0, 0, false);
        for stream in &streams {
            memory.lose_swaps(stream.lost_swaps.0);
            let ledger = if stream.dies { &mut killed } else { &mut live };
            let percent = u128::from(stream.percent);
            let outcome = reserve(ledger, &rule, "k", percent, 100, START, &memory);
            memory.stop_interference();
            let Ok(outcome) = outcome else { continue };
            let ns = outcome.as_slice()[0].cells();
            reserved += ns;
            if stream.dies {
                stands += ns;
                killed_had_unwritten |= outcome.as_slice()[0].balance().owed;
            } else {
                reservations.push((outcome, *stream));
            }
        }
        drop(killed);
        let now = START + span / 1000 * pause;
        let (mut used, mut sum) = (0, Sum::default());
        for (reservation, stream) in reservations {
            let cells = reservation.as_slice()[0].cells() * stream.used / 100;
            used += cells;
            memory.lose_swaps(stream.lost_swaps.1);
            sum.add(&live.settle(reservation, &[cells], now, &memory)[0]);
            memory.stop_interference();
        }
        // Unwritten changes of this worker are counted as unwritten and later as deferred.
        live.flush(now, &memory);
        let mut deferred = Sum::default();
        live.take_deferred().iter().for_each(|c| deferred.add(&c.settled));
        prop_assert_eq!(live.unwritten(), 0);
        if !admit {
            let moved = deferred.refunded + deferred.debited + deferred.evaporated + deferred.clipped;
            prop_assert_eq!(moved, sum.unwritten, "nothing kept back is lost");
            sum.add(&Settled { unwritten: 0, ..Settled::default() });
            let charged = reserved - sum.refunded - deferred.refunded + sum.debited + deferred.debited;
            let settled = used + stands;
            let evaporated = sum.evaporated + deferred.evaporated;
            let clipped = sum.clipped + deferred.clipped;
            prop_assert_eq!(charged + clipped, settled + evaporated);
        }
        // With a frozen clock the cell has exactly the same sum.
        let clipped = sum.clipped + deferred.clipped;
        if pause == 0 && reserved > 0 && !killed_had_unwritten && clipped == 0 {
            let tat = memory.cell(&rule, rule.fingerprint(&["k"])).unwrap_or(START);
            prop_assert_eq!(tat - START, used + stands);
        }
    }

    /// A refund changes only the cell of its reservation, also if the window has changed meanwhile; then it
    /// gives back the same share.
    #[test]
    fn a_refund_changes_only_its_own_cell(
        percents in prop::collection::vec(1u128..50, 1..6),
        which in any::<prop::sample::Index>(),
    ) {
        let memory = Memory::default();
        let rule = open(spec("r", semantic()), &memory);
        let mut ledger = Ledger::new();
        let mut reservations: Vec<_> = percents.iter().enumerate().map(|(i, p)| {
            reserve(&mut ledger, &rule, &i.to_string(), *p, 100, START, &memory).unwrap()
        }).collect();
        let changed = open(spec("r", tokens(100, 60)), &memory);
        for i in 0..percents.len() {
            reserve(&mut ledger, &changed, &i.to_string(), 10, 100, START, &memory).unwrap();
        }
        let cells = |rule: &Rule| -> Vec<_> {
            (0..percents.len()).map(|i| memory.cell(rule, rule.fingerprint(&[&i.to_string()]))).collect()
        };
        let (before, stood) = (memory.image(), cells(&rule));
        let mine = which.index(percents.len());
        let stream = reservations.swap_remove(mine);
        let reserved = stream.as_slice()[0].cells();
        let settled = ledger.settle(stream, &[0], START, &memory);
        prop_assert!(settled[0].refunded <= reserved && settled[0].refunded + 2 >= reserved);
        let after = memory.image();
        let touched: Vec<_> = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).collect();
        prop_assert_eq!(touched.len(), 1, "one set of one table");
        let (key, value) = touched[0];
        let changed_words = value.chunks(8).zip(before[key].chunks(8)).filter(|(a, b)| a != b).count();
        prop_assert_eq!(changed_words, 1, "one arrival time");
        let share = u128::from(reserved) * u128::from(changed.window().span()) / u128::from(rule.window().span());
        let given = u128::from(stood[mine].unwrap() - cells(&rule)[mine].unwrap());
        prop_assert!(given <= share && given + 2 >= share, "{} of {}, its own", given, share);
    }

    /// Settlements of one instant with no reserve between them leave the same cells in any order.
    /// Some streams have settled earlier: then refunds may reach below now, where any clamp or lift
    /// would make a difference between orders.
    #[test]
    fn settlement_does_not_depend_on_order(
        streams in streams(12, false),
        early in prop::collection::vec(any::<bool>(), 12),
        step in 0u64..20,
        pause in 0u64..400,
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let run = |shuffled: bool| {
            let memory = Memory::default();
            let rule = open(RuleSpec {
                    // Clipping of debt depends on the order, so leave enough space for all debts.
                max_debt: semantic().debt(Some(100 * 1_000_000)),
                ..spec("r", semantic())
            }, &memory);
            let (mut ledger, mut now) = (Ledger::new(), START);
            let mut reservations: Vec<_> = streams.iter().map(|stream| {
                now += rule.window().span() / 1000 * step;
                let percent = u128::from(stream.percent);
                reserve(&mut ledger, &rule, "k", percent, 100, now, &memory).ok()
            }).collect();
            for (slot, _) in reservations.iter_mut().zip(&early).filter(|(_, early)| **early) {
                if let Some(reserved) = slot.take() {
                    ledger.settle(reserved, &[0], now, &memory);
                }
            }
            now += rule.window().span() / 1000 * pause;
            let order: Vec<_> = order.iter().copied().filter(|i| *i < reservations.len()).collect();
            let mut clipped = 0;
            for i in if shuffled { order } else { (0..reservations.len()).collect() } {
                let Some(reserved) = reservations[i].take() else { continue };
                let cells = reserved.as_slice()[0].cells() * streams[i].used / 100;
                clipped += ledger.settle(reserved, &[cells], now, &memory)[0].clipped;
            }
            (clipped, memory.image())
        };
        let (straight, shuffled) = (run(false), run(true));
        prop_assert_eq!(straight.0, 0);
        prop_assert_eq!(straight.1, shuffled.1);
    }

    /// A refund after time has refilled the whole reserve of the stream changes nothing; an earlier one
    /// gives back at most the part that is still ahead. Reserving and refunding in turn at one instant
    /// therefore admits at most a window and the part that is still ahead.
    #[test]
    fn a_late_refund_has_no_effect(
        reserves in prop::collection::vec((1u128..=100, 0u64..700), 1..40),
        pause in 0u64..1200,
    ) {
        let memory = Memory::default();
        let rule = open(spec("r", semantic()), &memory);
        let key = rule.fingerprint(&["k"]);
        let span = rule.window().span();
        let (mut ledger, mut now) = (Ledger::new(), START);
        let mut streams = Vec::new();
        for (percent, step) in reserves {
            now += span / 1000 * step;
            let start = memory.start(&rule, key, now);
            if let Ok(reserved) = reserve(&mut ledger, &rule, "k", percent, 100, now, &memory) {
                let cells = reserved.as_slice()[0].cells();
                let end = memory.start(&rule, key, now);
                prop_assert_eq!(end, start + cells);
                streams.push((reserved, cells, end));
            }
        }
        now += span / 1000 * pause;
        let (mut admitted, mut ahead) = (0, 0);
        let drain = |ledger: &mut Ledger, admitted: &mut u64| {
            while let Ok(r) = reserve(ledger, &rule, "k", 1, 100, now, &memory) {
                *admitted += r.as_slice()[0].cells();
            }
        };
        for (reservation, cells, end) in streams {
            let before = memory.image();
            let settled = ledger.settle(reservation, &[0], now, &memory)[0];
            prop_assert_eq!(settled.refunded + settled.evaporated, cells);
            prop_assert!(settled.refunded <= end.saturating_sub(now));
            if end <= now {
                prop_assert_eq!(settled.evaporated, cells);
                prop_assert_eq!(memory.image(), before, "not even written");
            }
            ahead += cells.min(end.saturating_sub(now));
            drain(&mut ledger, &mut admitted);
        }
        prop_assert!(admitted <= span + ahead, "{admitted} > {span} + {ahead}");
    }
}

/// Regression: a refund without that bound admitted 61 windows of work in one instant.
#[test]
fn sixty_one_old_streams_get_no_refund() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let span = rule.window().span();
    let mut ledger = Ledger::new();
    let full = |now| {
        let bucket_cost = BucketCost {
            rule: &rule,
            key: rule.fingerprint(&["k"]),
            cost: 100 * MILLION,
            capacity: 100 * MILLION,
            unscaled_capacity: 100 * MILLION,
        };
        (bucket_cost, now)
    };
    let mut old = Vec::new();
    for turn in 0..61 {
        let (bucket_cost, now) = full(START + turn * span);
        old.push(
            ledger
                .reserve([bucket_cost].into_iter(), now, &memory)
                .unwrap(),
        );
    }
    let now = START + 61 * span;
    let mut passed = 0;
    for reservation in old {
        ledger.settle(reservation, &[0], now, &memory);
        let (bucket_cost, now) = full(now);
        passed += usize::from(
            ledger
                .reserve([bucket_cost].into_iter(), now, &memory)
                .is_ok(),
        );
    }
    assert_eq!(passed, 1);
}
