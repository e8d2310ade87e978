//! What the shared table and requests over several buckets promise: `all_or_nothing`,
//! `eviction_is_never_free`, `bounded_memory`.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_world;

use std::collections::BTreeMap;

use headgate_core::ledger::{
    Flush, Ledger, Lending, OnContention, RuleError, RuleSpec, TableShape,
};
use ledger_world::{Dice, Memory, START, open, reserve, semantic, spec, spend, tokens};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// A request that one bucket refuses leaves all the others as they would be without it, slices
    /// and lost swaps or not.
    #[test]
    fn all_or_nothing(
        before in prop::collection::vec((0..3usize, 1u128..10), 0..12),
        wants in prop::collection::vec((0..3usize, 1u128..10), 0..5),
        slices in any::<bool>(),
        disturb in prop_oneof![
            2 => Just(0u64),
            1 => any::<u64>(),
            1 => (1u64..256).prop_map(|bits| bits << 8),
        ],
    ) {
        let left = |asks: bool| {
            let memory = Memory::default();
            let lending = if slices { Lending::WhileFull } else { Lending::Never };
            let rule = |i| RuleSpec { lending, ..spec(&format!("r{i}"), semantic()) };
            let rules: Vec<_> = (0..3).map(|i| open(rule(i), &memory)).collect();
            let empty = open(spec("empty", tokens(10, 60)), &memory);
            let mut ledger = Ledger::new();
            reserve(&mut ledger, &empty, "k", 10, 10, START, &memory).unwrap();
            for (rule, cost) in &before {
                let _ = reserve(&mut ledger, &rules[*rule], "k", *cost, 100, START, &memory);
            }
            if asks {
                let mut spends: Vec<_> =
                    wants.iter().map(|(rule, cost)| spend(&rules[*rule], "k", *cost, 100)).collect();
                spends.push(spend(&empty, "k", 1, 10));
                memory.disturb(disturb);
                assert!(ledger.reserve(spends.iter().copied(), START, &memory).is_err());
                memory.calm();
            }
            ledger.flush(START, &memory, Flush::Done);
            assert_eq!(ledger.holdings(), (0, 0));
            let peek: Vec<_> = rules.iter().map(|rule| spend(rule, "k", 0, 100)).collect();
            let reserved = ledger.reserve(peek.into_iter(), START, &memory).unwrap();
            reserved.spends().iter().map(|s| s.balance().remaining).collect::<Vec<_>>()
        };
        prop_assert_eq!(left(true), left(false));
    }

    /// Against a table with room for everybody: whatever a table with room for two or three of many
    /// keys admits, the roomy one would have admitted too.
    #[test]
    fn eviction_is_never_free(
        ways in 1u8..4,
        ops in prop::collection::vec((0..7usize, 1u64..60, 0u64..40, any::<bool>(), 0u64..200), 1..200),
    ) {
        let memory = Memory::default();
        let rule = open(RuleSpec {
            table: TableShape::new(1, ways).unwrap(),
            ..spec("r", semantic())
        }, &memory);
        let span = rule.window().span();
        let mut ledger = Ledger::new();
        let mut ideal: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut now, mut held, mut evictions, mut admitted) = (START, Vec::new(), 0, 0);
        for (key, percent, step, settles, used) in ops {
            now += span / 1000 * step;
            if settles && !held.is_empty() {
                let (key, stream): (usize, headgate_core::ledger::Held) = held.swap_remove(used as usize % held.len());
                let cells = stream.spends()[0].cells() * used / 100;
                let settled = ledger.settle(stream, &[cells], now, &memory)[0];
                let tat = ideal.get_mut(&key).unwrap();
                *tat = *tat + settled.debited - settled.refunded;
                continue;
            }
            let cost = u128::from(percent);
            if let Ok(reserved) = reserve(&mut ledger, &rule, &key.to_string(), cost, 100, now, &memory) {
                let tat = ideal.entry(key).or_default();
                *tat = now.max(*tat) + reserved.spends()[0].cells();
                prop_assert!(*tat <= now + span, "key {key} got more than without evictions");
                evictions += usize::from(reserved.spends()[0].balance().evicted);
                admitted += 1;
                held.push((key, reserved));
            }
        }
        let keys = ideal.len();
        prop_assert!(evictions >= keys.saturating_sub(usize::from(ways)), "each is counted");
        prop_assert!(admitted > 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However many keys appear, the shared table keeps its size and a worker its bounds.
    #[test]
    fn bounded_memory(
        sets in 1u32..20,
        ways in 1u8..10,
        keys in 1usize..3000,
        contended in any::<bool>(),
    ) {
        let memory = Memory::default();
        let table = TableShape::new(sets, ways).unwrap();
        let rule = open(RuleSpec {
            table,
            lending: Lending::WhileFull,
            on_contention: OnContention::Admit,
            ..spec("r", semantic())
        }, &memory);
        let size = memory.size();
        prop_assert!(size.1 >= table.bytes() && size.1 < table.bytes() + 100 * (sets as usize + 2));
        let mut ledger = Ledger::new();
        for key in 0..keys {
            if contended {
                memory.disturb(u64::MAX);
            }
            let _ = reserve(&mut ledger, &rule, &key.to_string(), 1, 10_000, START, &memory);
            let (slices, pending) = ledger.holdings();
            prop_assert!(slices <= 256 && pending <= 1024, "{slices} {pending}");
        }
        prop_assert_eq!(memory.size(), size);
    }
}

/// Who comes back after losing the cell starts where it stood, and counts as an eviction.
#[test]
fn a_key_that_was_thrown_out_is_not_refilled() {
    let memory = Memory::default();
    let rule = open(
        RuleSpec {
            table: TableShape::new(1, 2).unwrap(),
            ..spec("r", semantic())
        },
        &memory,
    );
    let mut ledger = Ledger::new();
    let mut ask = |key: &str, cost| reserve(&mut ledger, &rule, key, cost, 100, START, &memory);
    ask("a", 100).unwrap();
    ask("b", 100).unwrap();
    assert!(
        ask("c", 1).is_err(),
        "a newcomer starts at the fullest cell it replaces"
    );
    assert!(ask("a", 1).is_err(), "and being refused throws nobody out");
    assert!(ask("b", 1).is_err());
    let later = START + rule.window().span();
    let mut ask = |key: &str, cost| reserve(&mut ledger, &rule, key, cost, 100, later, &memory);
    assert!(ask("c", 100).unwrap().spends()[0].balance().evicted);
    assert!(ask("d", 100).unwrap().spends()[0].balance().evicted);
    assert!(ask("a", 1).is_err());
}

/// The table is made once; whoever comes later reads one marker per rule, and a VM that may not
/// create says so.
#[test]
fn configuring_again_keeps_every_balance() {
    let memory = Memory::default();
    let late = Ledger::configure(vec![spec("r", semantic())], &memory, None);
    assert_eq!(late.unwrap_err(), RuleError::NoTable { rule: "r".into() });
    let rule = open(spec("r", semantic()), &memory);
    reserve(&mut Ledger::new(), &rule, "k", 60, 100, START, &memory).unwrap();
    let before = memory.image();
    for creator in [None, Some(&Dice(99) as &dyn headgate_core::ports::Entropy)] {
        let again = Ledger::configure(vec![spec("r", semantic())], &memory, creator).unwrap();
        assert_eq!(memory.image(), before);
        assert_eq!(again[0].fingerprint(&["k"]), rule.fingerprint(&["k"]));
        assert!(reserve(&mut Ledger::new(), &again[0], "k", 41, 100, START, &memory).is_err());
    }
    reserve(&mut Ledger::new(), &rule, "k", 40, 100, START, &memory).unwrap();
}

#[test]
fn a_changed_window_starts_a_fresh_bucket() {
    let memory = Memory::default();
    let rule = open(spec("r", tokens(100, 10)), &memory);
    let changed = open(spec("r", tokens(100, 11)), &memory);
    let scaled = open(spec("r", tokens(50, 10)), &memory);
    let mut ledger = Ledger::new();
    reserve(&mut ledger, &rule, "k", 100, 100, START, &memory).unwrap();
    assert!(reserve(&mut ledger, &changed, "k", 100, 100, START, &memory).is_ok());
    let same = reserve(&mut ledger, &scaled, "k", 1, 50, START, &memory);
    assert!(
        same.is_err(),
        "capacity and refill halved together: the same T, the same bucket"
    );
}

#[test]
fn key_parts_keep_their_borders() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let of = |parts: &[&str]| rule.fingerprint(parts);
    assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    assert_ne!(of(&["a"]), of(&["a", ""]));
    assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
}

#[test]
fn shapes_outside_their_limits_are_refused() {
    for (sets, ways) in [
        (0, 1),
        (1, 0),
        (TableShape::MAX_SETS + 1, 1),
        (1, TableShape::MAX_WAYS + 1),
    ] {
        assert_eq!(
            TableShape::new(sets, ways),
            Err(RuleError::Shape { sets, ways })
        );
    }
}
