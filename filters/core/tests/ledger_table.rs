//! What the shared table and requests over several buckets promise: `all_or_nothing`, keys that are never evicted below
//! `maxKeys`, evictions beyond it, `bounded_memory`, and windows that change.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_world;

use std::collections::BTreeMap;

use headgate_core::ledger::{Ledger, OnContention, RuleError, RuleSpec};
use ledger_world::{Dice, Memory, START, narrow, open, reserve, semantic, spec, spend, tokens};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// A request that one bucket refuses leaves all the others as they would be without it, lost swaps or not.
    #[test]
    fn all_or_nothing(
        before in prop::collection::vec((0..3usize, 1u128..10), 0..12),
        wants in prop::collection::vec((0..3usize, 1u128..10), 0..5),
        disturb in prop_oneof![
            2 => Just(0u64),
            1 => any::<u64>(),
            1 => (1u64..256).prop_map(|bits| bits << 8),
        ],
    ) {
        let left = |asks: bool| {
            let memory = Memory::default();
            let rule = |i| spec(&format!("r{i}"), semantic());
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
            ledger.flush(START, &memory);
            assert_eq!(ledger.unwritten(), 0);
            let peek: Vec<_> = rules.iter().map(|rule| spend(rule, "k", 0, 100)).collect();
            let reserved = ledger.reserve(peek.into_iter(), START, &memory).unwrap();
            reserved.spends().iter().map(|s| s.balance().remaining).collect::<Vec<_>>()
        };
        prop_assert_eq!(left(true), left(false));
    }

    /// Against a table with room for everybody: whatever a table with room for eight of many keys admits, the roomy one would
    /// have admitted too.
    #[test]
    fn eviction_is_never_free(
        ops in prop::collection::vec((0..24usize, 1u64..60, 0u64..40), 1..200),
    ) {
        let memory = Memory::default();
        let rule = open(narrow("r", semantic()), &memory);
        let span = rule.window().span();
        let mut ledger = Ledger::new();
        let mut ideal: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut now, mut evictions) = (START, 0);
        for (key, percent, step) in ops {
            now += span / 1000 * step;
            let cost = u128::from(percent);
            if let Ok(reserved) = reserve(&mut ledger, &rule, &key.to_string(), cost, 100, now, &memory) {
                let tat = ideal.entry(key).or_default();
                *tat = now.max(*tat) + reserved.spends()[0].cells();
                prop_assert!(*tat <= now + span, "key {key} got more than without evictions");
                evictions += usize::from(reserved.spends()[0].balance().evicted);
            }
        }
        let live = ideal.values().filter(|tat| **tat > now).count();
        prop_assert!(evictions >= live.saturating_sub(8), "each is counted");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However many keys appear, the shared table and a worker keep their bounds.
    #[test]
    fn bounded_memory(
        max_keys in 1u32..200,
        keys in 1usize..3000,
        contended in any::<bool>(),
    ) {
        let memory = Memory::default();
        let rule = open(RuleSpec {
            max_keys,
            on_contention: OnContention::Admit,
            ..spec("r", semantic())
        }, &memory);
        let sets = max_keys.div_ceil(16) as usize;
        let mut ledger = Ledger::new();
        for key in 0..keys {
            if contended {
                memory.disturb(u64::MAX);
            }
            let _ = reserve(&mut ledger, &rule, &key.to_string(), 1, 10_000, START, &memory);
            prop_assert!(ledger.unwritten() <= 1024);
        }
        let (values, bytes) = memory.size();
        // The seed and the number of sets stand beside the sets.
        prop_assert!(values <= sets + 2, "{values}");
        prop_assert!(bytes <= (sets + 2) * 100 + sets * 64 * 16, "{bytes}");
    }
}

/// A million tenants and a hot one, in the default table: nobody is evicted, and the hot one's bucket is as if it were alone.
#[test]
fn up_to_max_keys_no_bucket_is_touched_by_anothers() {
    const KEYS: u64 = 1_000_000;
    let memory = Memory::default();
    let alone = Memory::default();
    let spec = RuleSpec {
        max_keys: 1 << 20,
        ..spec("r", tokens(1_000_000, 86_400))
    };
    let (rule, lonely) = (open(spec.clone(), &memory), open(spec, &alone));
    let (mut ledger, mut other) = (Ledger::new(), Ledger::new());
    let ask = |ledger: &mut Ledger, rule, key: &str, memory: &Memory| {
        let held = reserve(ledger, rule, key, 10, 1_000_000, START, memory).unwrap();
        *held.spends()[0].balance()
    };
    for key in 0..KEYS {
        let balance = ask(&mut ledger, &rule, &format!("tenant-{key}"), &memory);
        assert!(!balance.evicted, "after {key} keys");
        if key % 50_000 == 0 {
            let here = ask(&mut ledger, &rule, "hot", &memory);
            assert_eq!(here, ask(&mut other, &lonely, "hot", &alone));
        }
    }
    // 16 bytes a key, and the keys and headers of 65 536 sets.
    let (sets, bytes) = memory.size();
    assert!(sets <= 65_536 + 2);
    assert!(bytes < 16 * 1_000_001 + 65_538 * 64, "{bytes}");
}

/// Beyond `maxKeys` the key that owes the least loses its cell, and the newcomer does not take over a debt beyond a window.
#[test]
fn a_newcomer_starts_where_the_evicted_key_stood_but_inherits_no_debt() {
    let memory = Memory::default();
    let rule = open(
        RuleSpec {
            debt: 5 * semantic().span(),
            ..narrow("r", semantic())
        },
        &memory,
    );
    let span = rule.window().span();
    let mut ledger = Ledger::new();
    let held: Vec<_> = (0..8)
        .map(|key| {
            reserve(
                &mut ledger,
                &rule,
                &key.to_string(),
                100,
                100,
                START,
                &memory,
            )
            .unwrap()
        })
        .collect();
    let over = u64::from(rule.window().burst().get()) * 3;
    for held in held {
        ledger.settle(held, &[over], START, &memory);
    }
    // All owe three windows; a newcomer is refused as one whose bucket is empty, and nothing more.
    let refused = reserve(&mut ledger, &rule, "new", 10, 100, START, &memory).unwrap_err();
    assert_eq!((refused.remaining, refused.reset_ns), (0, span));
    let later = START + span / 2;
    let held = reserve(&mut ledger, &rule, "new", 10, 100, later, &memory);
    assert!(held.is_err(), "each refusal looks at it anew");
    let later = START + span * 2 + span / 2;
    let held = reserve(&mut ledger, &rule, "new", 10, 100, later, &memory).unwrap();
    let balance = held.spends()[0].balance();
    assert!(balance.evicted);
    assert_eq!(balance.clipped_ns, 0);
}

#[test]
fn what_a_newcomer_does_not_inherit_is_counted_as_clipped() {
    let memory = Memory::default();
    let rule = open(
        RuleSpec {
            debt: 5 * semantic().span(),
            ..narrow("r", semantic())
        },
        &memory,
    );
    let span = rule.window().span();
    let mut ledger = Ledger::new();
    let cells = u64::from(rule.window().burst().get());
    // Nothing is reserved and three windows are used: a debt that settlement alone writes.
    let settle = |ledger: &mut Ledger, key: &str| {
        let held = reserve(ledger, &rule, key, 0, 100, START, &memory).unwrap();
        ledger.settle(held, &[3 * cells], START, &memory)[0]
    };
    for key in 0..8 {
        assert!(!settle(&mut ledger, &key.to_string()).evicted);
    }
    let ninth = settle(&mut ledger, "ninth");
    assert!(ninth.evicted);
    // It takes over one of three windows.
    assert_eq!(ninth.clipped, 2 * span);
    let tat = memory.cell(&rule, rule.fingerprint(&["ninth"])).unwrap();
    assert_eq!(tat, START + 4 * span);
}

/// Whoever needs a set first creates it, also of two VMs at once; nobody needs a creator.
#[test]
fn any_vm_may_create_and_none_overwrites_another() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let other = open(spec("r", semantic()), &memory);
    assert_eq!(rule.fingerprint(&["k"]), other.fingerprint(&["k"]));
    memory.intrude(move |memory| {
        reserve(&mut Ledger::new(), &other, "k", 60, 100, START, memory).unwrap();
    });
    let second = reserve(&mut Ledger::new(), &rule, "k", 60, 100, START, &memory);
    assert!(second.is_err(), "the first one's 60 are seen");
    reserve(&mut Ledger::new(), &rule, "k", 40, 100, START, &memory).unwrap();
}

#[test]
fn configuring_again_keeps_every_balance() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    reserve(&mut Ledger::new(), &rule, "k", 60, 100, START, &memory).unwrap();
    let before = memory.image();
    for max_keys in [16, 64, 1, 256, 1 << 14] {
        let spec = RuleSpec {
            max_keys,
            ..spec("r", semantic())
        };
        let again = Ledger::configure(vec![spec], &memory, &Dice(99)).unwrap();
        assert_eq!(again[0].fingerprint(&["k"]), rule.fingerprint(&["k"]));
        let refused = reserve(&mut Ledger::new(), &again[0], "k", 41, 100, START, &memory);
        // One set of 16 keys serves up to 256; far beyond, the table starts anew.
        assert_eq!(refused.is_err(), max_keys <= 256, "{max_keys}");
        if max_keys <= 256 {
            assert_eq!(memory.image(), before);
        }
    }
}

#[test]
fn another_key_starts_full_buckets() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    reserve(&mut Ledger::new(), &rule, "k", 100, 100, START, &memory).unwrap();
    let by_model = RuleSpec {
        key: "model".into(),
        ..spec("r", semantic())
    };
    let other = open(by_model, &memory);
    reserve(&mut Ledger::new(), &other, "k", 100, 100, START, &memory).unwrap();
}

#[test]
fn a_changed_window_keeps_the_share_that_is_used() {
    let memory = Memory::default();
    let rule = open(spec("r", tokens(100, 1000)), &memory);
    reserve(&mut Ledger::new(), &rule, "k", 75, 100, START, &memory).unwrap();
    let units = |rule: &headgate_core::ledger::Rule, capacity: u128| {
        let peek = spend(rule, "k", 0, capacity);
        let held = Ledger::new()
            .reserve([peek].into_iter(), START, &memory)
            .unwrap();
        let remaining = held.spends()[0].balance().remaining;
        rule.window().units(remaining, capacity * 1000)
    };
    // The same in either direction, however long the window is.
    for (capacity, seconds, left) in [(100, 10, 24_999), (200, 100_000, 49_999), (4, 1, 999)] {
        let changed = open(spec("r", tokens(capacity, seconds)), &memory);
        let seen = units(&changed, capacity);
        assert!(seen.abs_diff(left) <= 1, "{capacity}/{seconds}: {seen}");
    }
    let scaled = open(spec("r", tokens(50, 1000)), &memory);
    let same = reserve(&mut Ledger::new(), &scaled, "k", 13, 50, START, &memory);
    assert!(same.is_err(), "capacity and refill halved: the same window");
}

/// Edits come and go while a stream runs. Its settlement moves what it would have moved without them, of the same share.
#[test]
fn a_settlement_over_changes_of_the_window_moves_its_share() {
    let cells = |rule: &headgate_core::ledger::Rule, units| rule.window().cells(units, 100);
    for edits in 0..=4 {
        for (used, left) in [(0, 100), (20, 80), (90, 10)] {
            let memory = Memory::default();
            let rule = open(spec("r", tokens(100, 1000)), &memory);
            let mut ledger = Ledger::new();
            let held = reserve(&mut ledger, &rule, "k", 50, 100, START, &memory).unwrap();
            let mut current = rule.clone();
            for edit in 0..edits {
                let seconds = [10, 40_000, 7, 999][edit];
                current = open(spec("r", tokens(100, seconds)), &memory);
                // A reserve brings the set into the new window; it takes next to nothing.
                let tiny = spend(&current, "k", 0, 100);
                let tiny = headgate_core::ledger::Spend { cost: 1, ..tiny };
                ledger.reserve([tiny].into_iter(), START, &memory).unwrap();
            }
            ledger.settle(held, &[cells(&rule, used)], START, &memory);
            let peek = spend(&current, "k", 0, 100);
            let held = ledger.reserve([peek].into_iter(), START, &memory).unwrap();
            let seen = current
                .window()
                .units(held.spends()[0].balance().remaining, 100_000);
            let expected = left * 1000;
            assert!(
                seen <= expected && seen + 2 > expected - 2,
                "{edits} {used}: {seen}"
            );
        }
    }
}

/// The time that a stream ran in a short window has given back what it reserved: a longer window afterwards does not undo that.
#[test]
fn a_refund_over_changes_of_the_window_is_never_too_much() {
    for edits in [vec![10, 1000], vec![10, 1000, 10, 1000, 10, 1000]] {
        let memory = Memory::default();
        let rule = open(spec("r", tokens(100, 1000)), &memory);
        let mut ledger = Ledger::new();
        let held = reserve(&mut ledger, &rule, "k", 50, 100, START, &memory).unwrap();
        let mut now = START;
        let mut current = rule.clone();
        for seconds in &edits {
            now += 6_000_000_000;
            current = open(spec("r", tokens(100, *seconds)), &memory);
            let tiny = headgate_core::ledger::Spend {
                cost: 1,
                ..spend(&current, "k", 0, 100)
            };
            ledger.reserve([tiny].into_iter(), now, &memory).unwrap();
        }
        // By now the reservation has long been refilled. Take all there is, then refund.
        now += 6_000_000_000;
        let all = reserve(&mut ledger, &current, "k", 100, 100, now, &memory);
        assert!(all.is_err() || all.is_ok());
        let settled = ledger.settle(held, &[0], now, &memory)[0];
        assert_eq!(settled.refunded, 0, "{edits:?}");
        assert!(settled.evaporated > 0);
    }
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
fn rules_outside_their_limits_are_refused() {
    let memory = Memory::default();
    let configure = |spec| Ledger::configure(vec![spec], &memory, &Dice(7)).map(drop);
    for max_keys in [0, RuleSpec::MAX_KEYS + 1] {
        let spec = RuleSpec {
            max_keys,
            ..spec("r", semantic())
        };
        assert_eq!(configure(spec), Err(RuleError::Keys { max_keys }));
    }
    let debt = 1 << 62;
    let spec = RuleSpec {
        debt,
        ..spec("r", semantic())
    };
    assert_eq!(configure(spec), Err(RuleError::Debt { debt }));
}
