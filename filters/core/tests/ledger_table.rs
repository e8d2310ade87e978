//! Guarantees of the shared table and of requests over several buckets: `all_or_nothing`,
//! `an_eviction_never_refills_a_bucket`, `bounded_memory`.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_memory;

use std::cell::RefCell;
use std::collections::BTreeMap;

use headgate_core::ledger::{Ledger, OnContention, Reservations, Rule, RuleSpec};
use headgate_core::ports::{CasMismatch, Cells};
use ledger_memory::{
    FixedEntropy, Memory, START, bucket_cost, fill_set, open, reserve, semantic, spec, tokens,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// A request that one bucket refuses leaves all the others as they would be without it, lost swaps or
    /// not.
    #[test]
    fn all_or_nothing(
        before in prop::collection::vec((0..3usize, 1u128..10), 0..12),
        wants in prop::collection::vec((0..3usize, 1u128..10), 0..5),
        lost_swaps in prop_oneof![
            2 => Just(0u64),
            1 => any::<u64>(),
            1 => (0u32..64).prop_map(|bits| u64::MAX >> bits),
            1 => (1u64..8).prop_map(|first| u64::MAX << first),
        ],
    ) {
        let left = |reserves: bool| {
            let memory = Memory::default();
            let rule = |i| spec(&format!("r{i}"), semantic());
            let rules: Vec<_> = (0..3).map(|i| open(rule(i), &memory)).collect();
            let empty = open(spec("empty", tokens(10, 60)), &memory);
            let mut ledger = Ledger::new();
            reserve(&mut ledger, &empty, "k", 10, 10, START, &memory).unwrap();
            for (rule, cost) in &before {
                let _ = reserve(&mut ledger, &rules[*rule], "k", *cost, 100, START, &memory);
            }
            if reserves {
                let mut costs: Vec<_> =
                    wants.iter().map(|(rule, cost)| bucket_cost(&rules[*rule], "k", *cost, 100)).collect();
                costs.push(bucket_cost(&empty, "k", 1, 10));
                memory.lose_swaps(lost_swaps);
                assert!(ledger.reserve(costs.iter().copied(), START, &memory).is_err());
                memory.stop_interference();
            }
            ledger.flush(START, &memory);
            assert_eq!(ledger.unwritten(), 0);
            let peek: Vec<_> = rules.iter().map(|rule| bucket_cost(rule, "k", 0, 100)).collect();
            let reserved = ledger.reserve(peek.into_iter(), START, &memory).unwrap();
            reserved.as_slice().iter().map(|s| s.balance().remaining).collect::<Vec<_>>()
        };
        prop_assert_eq!(left(true), left(false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Compared with a table that has a cell for every key: a set that is too small for its keys admits nothing that the
    /// large table would refuse. (Without refunds: the refunds of others can make the bucket of an evicted key fuller,
    /// which no table of bounded size prevents.)
    #[test]
    fn an_eviction_never_refills_a_bucket(
        ops in prop::collection::vec((0..80usize, 1u64..60, 0u64..4, 0u64..100), 1..200),
    ) {
        let memory = Memory::default();
        let rule = open(spec("r", semantic()), &memory);
        let span = rule.window().span();
        let mut ledger = Ledger::new();
        let mut ideal: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut now, mut evictions, mut admitted) = (START, 0, 0);
        let start = (0..80).map(|key| (key, 10 + key as u64 % 50, 0, 0));
        for (key, percent, step, more) in start.chain(ops) {
            now += span / 1000 * step;
            let cost = u128::from(percent);
            let result = reserve(&mut ledger, &rule, &key.to_string(), cost, 100, now, &memory);
            let Ok(reserved) = result else { continue };
            let tat = ideal.entry(key).or_default();
            let reservation = &reserved.as_slice()[0];
            *tat = now.max(*tat) + reservation.cells();
            prop_assert!(*tat <= now + span, "key {} got more than without evictions", key);
            evictions += usize::from(reservation.balance().evicted);
            admitted += 1;
            // Sometimes it uses more than it reserved.
            let used = reservation.cells() + reservation.cells() * more.saturating_sub(90) / 10;
            let settled = ledger.settle(reserved, &[used], now, &memory)[0];
            *tat += settled.debited;
            prop_assert!(!settled.evicted);
        }
        prop_assert!(evictions > 0, "each is counted");
        prop_assert!(admitted > 64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However many keys appear, the shared table and a worker keep their bounds.
    #[test]
    fn bounded_memory(
        max_keys in 1u32..320,
        keys in 1usize..3000,
        contended in any::<bool>(),
    ) {
        let memory = Memory::default();
        let rule = open(RuleSpec {
            max_keys,
            on_contention: OnContention::Admit,
            ..spec("r", semantic())
        }, &memory);
        let sets = max_keys.div_ceil(16).next_power_of_two() as usize;
        let mut ledger = Ledger::new();
        for key in 0..keys {
            if contended {
                memory.lose_swaps(u64::MAX);
            }
            let _ = reserve(&mut ledger, &rule, &key.to_string(), 1, 10_000, START, &memory);
            prop_assert!(ledger.unwritten() <= 1024);
        }
        let (values, bytes) = memory.size();
        prop_assert!(values <= sets + 2, "and what all VMs agree on");
        prop_assert!(bytes <= 100 + sets * (100 + 40 + 64 * 16));
    }
}

/// Up to `maxKeys` no bucket affects another one. A million random tenants and a hot one, all of them active.
#[test]
fn up_to_max_keys_no_bucket_loses_its_cell() {
    let memory = Sets(RefCell::new(vec![None; (1 << 16) + 2]));
    let spec = RuleSpec {
        max_keys: 1 << 20,
        ..spec("r", tokens(1_000_000, 86_400))
    };
    let rule = Ledger::configure(vec![spec], &memory, &FixedEntropy(7))
        .unwrap()
        .remove(0);
    let mut ledger = Ledger::new();
    let mut try_reserve = |key: &str, cost| {
        let costs = [bucket_cost(&rule, key, cost, 1_000_000)];
        let reservation = ledger.reserve(costs.into_iter(), START, &memory).unwrap();
        *reservation.as_slice()[0].balance()
    };
    let mut hot = 0;
    for tenant in 0..1_000_000 {
        if tenant % 20_000 == 0 {
            hot += try_reserve("hot", 2000).cells;
        }
        let balance = try_reserve(&tenant.to_string(), 1);
        assert!(!balance.evicted, "tenant {tenant}");
    }
    let balance = try_reserve("hot", 0);
    assert_eq!(balance.limit - balance.remaining, hot);
    let sets = memory.0.borrow();
    let longest = sets.iter().flatten().map(|(set, _)| set.len()).max();
    assert!(longest < Some(40 + 64 * 16), "not even one set is full");
}

/// The shared data of one large table, indexed by the number at the end of a key: a map of names would be ten times
/// slower.
struct Sets(RefCell<Vec<Option<Versioned>>>);

type Versioned = (Vec<u8>, u32);

impl Sets {
    fn index(&self, key: &str) -> usize {
        let (_, set) = key.rsplit_once('/').unwrap();
        let last = self.0.borrow().len() - 1;
        match set {
            "seed" => last,
            "widths" => last - 1,
            set => usize::from_str_radix(set, 16).unwrap(),
        }
    }
}

impl Cells for Sets {
    fn get(&self, key: &str) -> Option<Versioned> {
        self.0.borrow()[self.index(key)].clone()
    }

    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        let index = self.index(key);
        let slot = &mut self.0.borrow_mut()[index];
        if slot.as_ref().map(|(_, cas)| *cas) != cas {
            return Err(CasMismatch);
        }
        *slot = Some((value.to_vec(), cas.unwrap_or(0) + 1));
        Ok(())
    }
}

/// A set has one way for each key, until keys with full buckets give their way to other keys.
#[test]
fn a_set_grows_by_one_way_at_a_time() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let mut ledger = Ledger::new();
    assert!(
        memory.sets(&rule).is_empty(),
        "nothing before the first use"
    );
    let ways = || (memory.sets(&rule)[0].len() - 40) / 16;
    let mut try_reserve = |key: usize, now| {
        let reservation =
            reserve(&mut ledger, &rule, &key.to_string(), 50, 100, now, &memory).unwrap();
        reservation.as_slice()[0].balance().evicted
    };
    for key in 0..64 {
        assert!(!try_reserve(key, START));
        assert_eq!(ways(), key + 1);
    }
    assert!(try_reserve(64, START), "the 65th live key");
    assert_eq!(ways(), 64);
    let later = START + rule.window().span();
    for key in 100..164 {
        assert!(!try_reserve(key, later), "all are full again");
    }
    assert_eq!(ways(), 64);
}

/// Two VMs create the same set at once: one creates it, the other adds to it.
#[test]
fn a_set_that_two_workers_create_at_once_keeps_both_writes() {
    for other in ["mine", "another"] {
        let memory = Memory::default();
        let rule = open(spec("r", semantic()), &memory);
        let theirs = rule.clone();
        memory.run_before_next_swap(move |memory| {
            reserve(&mut Ledger::new(), &theirs, other, 30, 100, START, memory).unwrap();
        });
        let mut ledger = Ledger::new();
        reserve(&mut ledger, &rule, "mine", 30, 100, START, &memory).unwrap();
        let taken = rule.window().cells(60, 100);
        let cells = ["mine", "another"]
            .map(|key| memory.start(&rule, rule.fingerprint(&[key]), START) - START);
        assert_eq!(cells.iter().sum::<u64>(), taken);
    }
}

/// Two VMs draw the hash key at once: both use the one that was stored.
#[test]
fn the_hash_key_is_drawn_once() {
    let memory = Memory::default();
    memory.run_before_next_swap(|memory| {
        let specs = vec![spec("r", semantic())];
        Ledger::configure(specs, memory, &FixedEntropy(1)).unwrap();
    });
    let of = |dice| {
        let specs = vec![spec("r", semantic())];
        let rules = Ledger::configure(specs, &memory, &FixedEntropy(dice)).unwrap();
        rules[0].fingerprint(&["k"])
    };
    assert_eq!(of(2), of(3));
    let alone = Memory::default();
    let rules = Ledger::configure(vec![spec("r", semantic())], &alone, &FixedEntropy(1)).unwrap();
    assert_eq!(rules[0].fingerprint(&["k"]), of(4));
}

/// A key that returns after it lost its cell starts with the balance of the cell that it gets, and counts as an eviction.
#[test]
fn an_evicted_key_is_not_refilled() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let mut ledger = Ledger::new();
    fill_set(&rule, 2, 100, START, &memory);
    let mut try_reserve = |key: &str, cost, now| {
        let reservation = reserve(&mut ledger, &rule, key, cost, 100, now, &memory).ok()?;
        Some(reservation.as_slice()[0].balance().evicted)
    };
    assert_eq!(try_reserve("a", 60, START), Some(false));
    assert_eq!(try_reserve("b", 100, START), Some(false));
    assert_eq!(
        try_reserve("c", 41, START),
        None,
        "a newcomer starts where a stands"
    );
    assert_eq!(try_reserve("c", 40, START), Some(true));
    assert_eq!(try_reserve("a", 1, START), None);
    let later = START + rule.window().span();
    assert_eq!(try_reserve("d", 100, later), Some(false));
    assert_eq!(
        try_reserve("a", 100, later),
        Some(false),
        "full again, nobody is evicted"
    );
}

/// At most one window of the debt of an evicted key is inherited; the dropped rest is counted.
#[test]
fn an_eviction_drops_debt_above_one_window() {
    let memory = Memory::default();
    let window = semantic();
    let rule = open(
        RuleSpec {
            max_debt: window.debt(Some(10_000_000)),
            ..spec("r", window)
        },
        &memory,
    );
    let mut ledger = Ledger::new();
    let full = u64::from(window.burst().get());
    let mut use_up = |key: &str, cost, windows: u64| {
        let reservation: Reservations =
            reserve(&mut ledger, &rule, key, cost, 100, START, &memory).unwrap();
        ledger.settle(reservation, &[windows * full], START, &memory)[0]
    };
    for key in 0..64 {
        use_up(&key.to_string(), 100, if key == 0 { 3 } else { 5 });
    }
    let mut new_worker = Ledger::new();
    assert!(reserve(&mut new_worker, &rule, "new", 1, 100, START, &memory).is_err());
    let settled = use_up("new", 0, 2);
    assert!(settled.evicted);
    assert_eq!(
        settled.clipped,
        2 * window.span(),
        "of the three windows of debt"
    );
    let tat = memory.cell(&rule, rule.fingerprint(&["new"])).unwrap();
    assert_eq!(tat, START + 3 * window.span());
}

fn with_max_keys(max_keys: u32, memory: &Memory) -> Rule {
    let spec = RuleSpec {
        max_keys,
        ..spec("r", semantic())
    };
    open(spec, memory)
}

/// More keys are configured while buckets are in use, in several steps, and not by all workers at once: no
/// bucket starts again, and earlier streams settle after it.
#[test]
fn a_greater_max_keys_keeps_every_balance() {
    let memory = Memory::default();
    let of = |max_keys| with_max_keys(max_keys, &memory);
    let small = of(16);
    let mut ledger = Ledger::new();
    let keys: Vec<_> = (0..40).map(|key| key.to_string()).collect();
    let mut reservations: Vec<Reservations> = Vec::new();
    let mut try_reserve =
        |rule, key: &str, cost| reserve(&mut ledger, rule, key, cost, 100, START, &memory).ok();
    for key in &keys {
        try_reserve(&small, key, 40).unwrap();
        reservations.extend(try_reserve(&small, key, 20));
    }
    let rules = [of(16), of(100), of(5000), small.clone(), of(64)];
    for (turn, key) in keys.iter().enumerate() {
        let (one, other) = (&rules[turn % 5], &rules[(turn / 5 + turn) % 5]);
        assert!(try_reserve(one, key, 41).is_none(), "{turn}");
        assert!(try_reserve(other, key, 20).is_some(), "{turn}");
        assert!(try_reserve(one, key, 21).is_none(), "{turn}");
    }
    let mut ledger = Ledger::new();
    for (turn, reservation) in reservations.into_iter().enumerate() {
        let cells = reservation.as_slice()[0].cells();
        let settled = ledger.settle(reservation, &[0], START, &memory)[0];
        assert_eq!(settled.refunded, cells, "{turn}");
        let key = &keys[turn];
        assert!(reserve(&mut ledger, &rules[turn % 5], key, 41, 100, START, &memory).is_err());
        assert!(reserve(&mut ledger, &rules[turn % 5], key, 40, 100, START, &memory).is_ok());
    }
    assert!(memory.sets(&small).len() > 30, "and they do have more sets");
}

/// One worker has more keys configured and the other one has not yet. Each moves or creates a set between
/// a read and the write of the other.
#[test]
fn a_set_that_moves_while_another_writes_it_loses_nothing() {
    for (mine, theirs) in [(16, 5000), (5000, 16)] {
        for used in [false, true] {
            let memory = Memory::default();
            let of = |max_keys| with_max_keys(max_keys, &memory);
            let (small, large) = (of(16), of(5000));
            if used {
                reserve(&mut Ledger::new(), &small, "k", 20, 100, START, &memory).unwrap();
            }
            let rule = |max_keys| if max_keys == 16 { &small } else { &large };
            let other = rule(theirs).clone();
            memory.run_before_next_swap(move |memory| {
                reserve(&mut Ledger::new(), &other, "k", 30, 100, START, memory).unwrap();
            });
            reserve(&mut Ledger::new(), rule(mine), "k", 30, 100, START, &memory).unwrap();
            let left = if used { 20 } else { 40 };
            for rule in [&small, &large] {
                let more = reserve(&mut Ledger::new(), rule, "k", left + 1, 100, START, &memory);
                assert!(more.is_err(), "{mine} {theirs} {used}");
            }
            reserve(&mut Ledger::new(), &small, "k", left, 100, START, &memory).unwrap();
        }
    }
}

/// An eviction by a request that is refused later is counted too.
#[test]
fn an_eviction_by_a_refused_request_is_counted() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let empty = open(spec("empty", semantic()), &memory);
    let mut ledger = Ledger::new();
    reserve(&mut ledger, &empty, "k", 100, 100, START, &memory).unwrap();
    fill_set(&rule, 0, 50, START, &memory);
    let costs = [
        bucket_cost(&rule, "new", 10, 100),
        bucket_cost(&empty, "k", 1, 100),
    ];
    assert!(ledger.reserve(costs.into_iter(), START, &memory).is_err());
    let deferred = ledger.take_deferred();
    assert_eq!(deferred.len(), 1);
    assert!(deferred[0].settled.evicted);
}

/// A later configuration finds the existing balances.
#[test]
fn another_configuration_keeps_every_balance() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    reserve(&mut Ledger::new(), &rule, "k", 60, 100, START, &memory).unwrap();
    let before = memory.image();
    let again = Ledger::configure(vec![spec("r", semantic())], &memory, &FixedEntropy(99)).unwrap();
    assert_eq!(memory.image(), before);
    assert_eq!(again[0].fingerprint(&["k"]), rule.fingerprint(&["k"]));
    assert!(reserve(&mut Ledger::new(), &again[0], "k", 41, 100, START, &memory).is_err());
    reserve(&mut Ledger::new(), &rule, "k", 40, 100, START, &memory).unwrap();
}

#[test]
fn a_renamed_bucket_and_another_key_start_full() {
    let memory = Memory::default();
    let mut ledger = Ledger::new();
    let other_key = RuleSpec {
        key: "tenant,model".into(),
        ..spec("r", semantic())
    };
    for spec in [
        spec("r", semantic()),
        spec("renamed", semantic()),
        other_key,
    ] {
        let rule = open(spec, &memory);
        reserve(&mut ledger, &rule, "k", 100, 100, START, &memory).unwrap();
        assert!(reserve(&mut ledger, &rule, "k", 1, 100, START, &memory).is_err());
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
