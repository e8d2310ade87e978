//! Known mistakes of rate limiters, with a regression test for each.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_memory;

use headgate_core::ledger::{
    BucketCost, Ledger, MILLION, OnContention, Reason, Rule, RuleSpec, Settled,
};
use ledger_memory::{Memory, START, bucket_cost, fill_set, open, reserve, semantic, spec, tokens};

/// A long window, so that time refills nothing during a test: a million tokens a day.
fn setup() -> (Memory, Rule, Ledger) {
    let memory = Memory::default();
    let rule = open(spec("r", tokens(1_000_000, 86_400)), &memory);
    (memory, rule, Ledger::new())
}

fn remaining(ledger: &mut Ledger, rule: &Rule, memory: &Memory) -> u128 {
    let bucket_cost = bucket_cost(rule, "k", 0, 1_000_000);
    let reserved = ledger
        .reserve([bucket_cost].into_iter(), START, memory)
        .unwrap();
    rule.window()
        .units(reserved.as_slice()[0].balance().remaining, 1_000_000)
}

#[test]
fn disconnecting_before_the_usage_is_not_free() {
    let (memory, rule, mut ledger) = setup();
    let reservation = reserve(&mut ledger, &rule, "k", 900_000, 1_000_000, START, &memory).unwrap();
    drop(reservation);
    assert_eq!(remaining(&mut ledger, &rule, &memory), 100_000);
}

#[test]
fn usage_is_charged_also_when_the_bucket_is_already_empty() {
    let (memory, rule, mut ledger) = setup();
    let mut try_reserve =
        |cost| reserve(&mut ledger, &rule, "k", cost, 1_000_000, START, &memory).unwrap();
    let (first, _second) = (try_reserve(500_000), try_reserve(500_000));
    // Charging as `allow_n` does would take nothing here, because nothing is left.
    let debit = rule.window().cells(700_000, 1_000_000);
    let settled = ledger.settle(first, &[debit], START, &memory)[0];
    let cells = debit - rule.window().cells(500_000, 1_000_000);
    assert_eq!(settled.debited, cells * rule.window().period());
    let refused = reserve(&mut ledger, &rule, "k", 1, 1_000_000, START, &memory).unwrap_err();
    let Reason::OverBudget { retry_after_ns } = refused.reason else {
        panic!("{refused:?}")
    };
    // 200 000 tokens of debt and one token refill in a little more than 17 280 s.
    assert_eq!(retry_after_ns / 1_000_000_000, 17_280);
}

#[test]
fn debt_is_capped_and_the_clipped_part_is_counted() {
    let (memory, rule, mut ledger) = setup();
    let reservation = reserve(
        &mut ledger,
        &rule,
        "k",
        1_000_000,
        1_000_000,
        START,
        &memory,
    )
    .unwrap();
    let five = 5 * u64::from(rule.window().burst().get());
    let span = rule.window().span();
    let settled = ledger.settle(reservation, &[five], START, &memory)[0];
    let expected = Settled {
        debited: span,
        clipped: 3 * span,
        ..Settled::default()
    };
    assert_eq!(settled, expected);
    let wait = reserve(
        &mut ledger,
        &rule,
        "k",
        1_000_000,
        1_000_000,
        START,
        &memory,
    )
    .unwrap_err();
    assert_eq!(
        wait.reason,
        Reason::OverBudget {
            retry_after_ns: 2 * span
        }
    );
}

#[test]
fn a_second_bucket_that_refuses_rolls_the_first_back() {
    let (memory, rule, mut ledger) = setup();
    let small = open(spec("small", tokens(10, 86_400)), &memory);
    let costs = [
        bucket_cost(&rule, "k", 400_000, 1_000_000),
        bucket_cost(&small, "k", 6, 10),
    ];
    ledger
        .reserve(costs.iter().copied(), START, &memory)
        .unwrap();
    let refused = ledger
        .reserve(costs.iter().copied(), START, &memory)
        .unwrap_err();
    assert_eq!(refused.which, 1);
    assert_eq!(small.window().units(refused.remaining, 10), 4);
    assert_eq!(remaining(&mut ledger, &rule, &memory), 600_000);
}

#[test]
fn a_refund_never_lifts_a_bucket_above_its_capacity() {
    let (memory, rule, mut ledger) = setup();
    let reservation = reserve(
        &mut ledger,
        &rule,
        "k",
        1_000_000,
        1_000_000,
        START,
        &memory,
    )
    .unwrap();
    let later = START + rule.window().span() / 2;
    let settled = ledger.settle(reservation, &[0], later, &memory)[0];
    assert_eq!(
        settled.refunded,
        rule.window().span() - rule.window().span() / 2
    );
    let bucket_cost = bucket_cost(&rule, "k", 1_000_000, 1_000_000);
    let reservation = ledger
        .reserve([bucket_cost].into_iter(), later, &memory)
        .unwrap();
    let balance = reservation.as_slice()[0].balance();
    assert_eq!(balance.remaining, 0);
    assert!(
        ledger
            .reserve([bucket_cost].into_iter(), later, &memory)
            .is_err()
    );
}

#[test]
fn nothing_wraps_just_after_boot() {
    let (memory, rule, mut ledger) = setup();
    for now in [0, 1, 5] {
        let reservation = reserve(
            &mut ledger,
            &rule,
            "boot",
            1_000_000,
            1_000_000,
            now,
            &memory,
        )
        .unwrap();
        assert!(reserve(&mut ledger, &rule, "boot", 1, 1_000_000, now, &memory).is_err());
        ledger.settle(reservation, &[0], now, &memory);
    }
}

#[test]
fn governor_admits_exactly_the_burst_also_when_idle() {
    let (memory, rule, mut ledger) = setup();
    let burst = u128::from(rule.window().burst().get());
    for now in [START, START + 10 * rule.window().span()] {
        assert!(reserve(&mut ledger, &rule, "one", burst, burst, now, &memory).is_ok());
        assert!(reserve(&mut ledger, &rule, "one", 1, burst, now, &memory).is_err());
    }
}

#[test]
fn a_cost_above_capacity_has_no_retry_after() {
    let (memory, rule, mut ledger) = setup();
    let mut try_reserve = |cost: u128, capacity: u128| {
        let bucket_cost = BucketCost {
            capacity: capacity * MILLION,
            ..bucket_cost(&rule, "k", cost, 1_000_000)
        };
        ledger.reserve([bucket_cost].into_iter(), START, &memory)
    };
    assert_eq!(
        try_reserve(1_000_001, 1_000_000).unwrap_err().reason,
        Reason::ExceedsCapacity
    );
    assert_eq!(
        try_reserve(1_000_001, 500_000).unwrap_err().reason,
        Reason::ExceedsCapacity
    );
    let scaled = try_reserve(600_000, 500_000).unwrap_err().reason;
    assert!(
        matches!(scaled, Reason::ExceedsScaledCapacity { retry_after_ns } if retry_after_ns > 0)
    );
    assert!(matches!(
        try_reserve(1, 0).unwrap_err().reason,
        Reason::ExceedsScaledCapacity { .. }
    ));
    assert!(try_reserve(500_000, 500_000).is_ok());
}

#[test]
fn a_cost_of_zero_takes_nothing_and_a_tiny_one_something() {
    let (memory, rule, mut ledger) = setup();
    let swaps = memory.swaps.get();
    for _ in 0..100 {
        let reserved = reserve(&mut ledger, &rule, "k", 0, 1_000_000, START, &memory).unwrap();
        assert_eq!(reserved.as_slice()[0].balance().cells, 0);
    }
    assert_eq!(memory.swaps.get(), swaps);
    assert_eq!(remaining(&mut ledger, &rule, &memory), 1_000_000);
    // Reserved at zero, used more: charged.
    let reservation = reserve(&mut ledger, &rule, "k", 0, 1_000_000, START, &memory).unwrap();
    ledger.settle(
        reservation,
        &[rule.window().cells(250_000, 1_000_000)],
        START,
        &memory,
    );
    assert_eq!(remaining(&mut ledger, &rule, &memory), 750_000);
}

#[test]
fn limits_do_not_multiply_with_workers() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let mut workers: Vec<_> = (0..8).map(|_| Ledger::new()).collect();
    let mut try_reserve = |turn: usize| {
        let ledger = &mut workers[turn % 8];
        reserve(ledger, &rule, "k", 1, 100, START, &memory).is_ok()
    };
    assert_eq!((0..1600).filter(|turn| try_reserve(*turn)).count(), 100);
}

/// 100 000 tokens, requests that reserve 512 and use 34: with worker slices 54 638 were usable.
#[test]
fn refunds_are_not_lost_on_one_busy_key() {
    let memory = Memory::default();
    let rule = open(spec("r", tokens(100_000, 86_400)), &memory);
    let mut workers = [Ledger::new(), Ledger::new()];
    let used = rule.window().cells(34, 100_000);
    let mut admitted = 0;
    for turn in 0..3000 {
        let ledger = &mut workers[turn % 2];
        let Ok(reservation) = reserve(ledger, &rule, "k", 512, 100_000, START, &memory) else {
            break;
        };
        ledger.settle(reservation, &[used], START, &memory);
        admitted += 1;
    }
    assert_eq!(admitted, (100_000 - 512) / 34 + 1);
}

#[test]
fn the_remaining_balance_moves_with_every_request() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let mut ledger = Ledger::new();
    let mut last = u64::from(rule.window().burst().get());
    for turn in 0..100 {
        let reservation = reserve(&mut ledger, &rule, "k", 1, 100, START, &memory).unwrap();
        let balance = reservation.as_slice()[0].balance();
        assert_eq!(balance.remaining, last - balance.cells, "request {turn}");
        last = balance.remaining;
    }
}

#[test]
fn a_reserve_and_a_settlement_are_one_write_each() {
    let (memory, rule, mut ledger) = setup();
    let swaps = memory.swaps.get();
    let reservation = reserve(&mut ledger, &rule, "k", 10, 1_000_000, START, &memory).unwrap();
    assert_eq!(memory.swaps.get() - swaps, 1);
    ledger.settle(reservation, &[0], START, &memory);
    assert_eq!(memory.swaps.get() - swaps, 2);
}

#[test]
fn a_reserve_that_loses_every_swap_is_refused_or_charged_later_by_policy() {
    for (policy, admits) in [(OnContention::Refuse, false), (OnContention::Admit, true)] {
        let memory = Memory::default();
        let rule = open(
            RuleSpec {
                on_contention: policy,
                ..spec("r", semantic())
            },
            &memory,
        );
        let mut ledger = Ledger::new();
        memory.lose_swaps(u64::MAX);
        let outcome = reserve(&mut ledger, &rule, "k", 60, 100, START, &memory);
        memory.stop_interference();
        match outcome {
            Err(refused) => assert_eq!((refused.reason, admits), (Reason::Contention, false)),
            Ok(reservation) => assert_eq!(
                (reservation.as_slice()[0].balance().owed, admits),
                (true, true)
            ),
        }
        // The next write of this worker, here a reserve, includes the debt.
        let next = reserve(&mut ledger, &rule, "k", 50, 100, START, &memory);
        assert_eq!(next.is_err(), admits);
        ledger.flush(START, &memory);
        let other = reserve(&mut Ledger::new(), &rule, "k", 41, 100, START, &memory);
        assert!(
            !admits || other.is_err(),
            "after the tick all workers have it"
        );
    }
}

/// One of 32 attempts is enough for a reserve and for a settlement.
#[test]
fn a_write_succeeds_after_thirty_one_lost_swaps() {
    let (memory, rule, mut ledger) = setup();
    let lost = u64::from(u32::MAX >> 1);
    memory.lose_swaps(lost);
    let reservation = reserve(&mut ledger, &rule, "k", 10, 1_000_000, START, &memory).unwrap();
    memory.lose_swaps(lost);
    let settled = ledger.settle(reservation, &[0], START, &memory)[0];
    assert_eq!(settled.unwritten, 0);
    assert_eq!(remaining(&mut ledger, &rule, &memory), 1_000_000);
}

/// A client that waits for `retry-after` is admitted: the longest wait counts, not that of the first refusal.
#[test]
fn retry_after_is_the_longest_wait_over_all_buckets() {
    let (memory, long, mut ledger) = setup();
    let short = open(spec("short", tokens(10, 10)), &memory);
    let empty = [
        bucket_cost(&short, "k", 10, 10),
        bucket_cost(&long, "k", 1_000_000, 1_000_000),
    ];
    ledger.reserve(empty.into_iter(), START, &memory).unwrap();
    let costs = [
        bucket_cost(&short, "k", 1, 10),
        bucket_cost(&short, "free", 1, 10),
        bucket_cost(&long, "k", 100_000, 1_000_000),
    ];
    let mut try_reserve = |now| ledger.reserve(costs.iter().copied(), now, &memory);
    let refused = try_reserve(START).unwrap_err();
    assert_eq!(refused.which, 0);
    let Reason::OverBudget { retry_after_ns } = refused.reason else {
        panic!("{refused:?}")
    };
    assert_eq!(retry_after_ns / 1_000_000_000, 8_640);
    assert_eq!(
        try_reserve(START + retry_after_ns - 1).unwrap_err().which,
        2
    );
    assert!(try_reserve(START + retry_after_ns).is_ok());
}

#[test]
fn a_settlement_that_loses_every_swap_is_part_of_the_next_write() {
    let (memory, rule, mut ledger) = setup();
    let try_reserve = |ledger: &mut Ledger| {
        reserve(ledger, &rule, "k", 400_000, 1_000_000, START, &memory).unwrap()
    };
    let (refunding, debiting) = (try_reserve(&mut ledger), try_reserve(&mut ledger));
    let of = |tokens| rule.window().cells(tokens, 1_000_000);
    memory.lose_swaps(u64::MAX);
    let first = ledger.settle(refunding, &[of(100_000)], START, &memory)[0];
    memory.lose_swaps(u64::MAX);
    let second = ledger.settle(debiting, &[of(500_000)], START, &memory)[0];
    memory.stop_interference();
    assert!(first.unwritten > 0 && second.unwritten > 0 && first.refunded + second.debited == 0);
    assert_eq!(
        remaining(&mut ledger, &rule, &memory),
        200_000,
        "not written yet"
    );
    try_reserve(&mut ledger);
    assert_eq!(remaining(&mut ledger, &rule, &memory), 0);
    let deferred = ledger.take_deferred();
    assert_eq!(deferred.len(), 1);
    assert_eq!(deferred[0].settled.refunded, first.unwritten);
    assert_eq!(deferred[0].settled.debited, second.unwritten);
}

#[test]
fn a_settlement_without_a_cell_drops_refunds_and_charges_debits_from_now() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let mut ledger = Ledger::new();
    let try_reserve = |ledger: &mut Ledger, key: &str, now| {
        reserve(ledger, &rule, key, 10, 100, now, &memory).unwrap()
    };
    let (refunding, debiting) = (
        try_reserve(&mut ledger, "a", START),
        try_reserve(&mut ledger, "a", START),
    );
    let cells = refunding.as_slice()[0].cells();
    fill_set(&rule, 1, 50, START, &memory);
    assert!(
        try_reserve(&mut ledger, "b", START).as_slice()[0]
            .balance()
            .evicted
    );
    let before = memory.image();
    let settled = ledger.settle(refunding, &[0], START, &memory)[0];
    let dropped = Settled {
        evaporated: cells,
        ..Settled::default()
    };
    assert_eq!(settled, dropped);
    assert_eq!(memory.image(), before);
    let later = START + 2 * rule.window().span();
    let settled = ledger.settle(debiting, &[3 * cells], later, &memory)[0];
    let taken = Settled {
        debited: 2 * cells,
        ..Settled::default()
    };
    assert_eq!(
        settled, taken,
        "no live key is evicted: all of them are full"
    );
    let tat = memory.cell(&rule, rule.fingerprint(&["a"])).unwrap();
    assert_eq!(tat, later + 2 * cells);
}

#[test]
fn a_waiting_refund_is_dropped_if_the_cell_is_lost_meanwhile() {
    let memory = Memory::default();
    let rule = open(spec("r", semantic()), &memory);
    let (mut ledger, mut other) = (Ledger::new(), Ledger::new());
    let waiting = reserve(&mut ledger, &rule, "a", 60, 100, START, &memory).unwrap();
    memory.lose_swaps(u64::MAX);
    let settled = ledger.settle(waiting, &[0], START, &memory)[0];
    memory.stop_interference();
    assert!(settled.unwritten > 0);
    fill_set(&rule, 1, 70, START, &memory);
    reserve(&mut other, &rule, "b", 10, 100, START, &memory).unwrap();
    // The key returns in the cell of a key that had used 70 of 100, and gets no refund.
    assert!(reserve(&mut ledger, &rule, "a", 31, 100, START, &memory).is_err());
    reserve(&mut ledger, &rule, "a", 30, 100, START, &memory).unwrap();
    assert_eq!(
        ledger.take_deferred()[0].settled.evaporated,
        settled.unwritten
    );
}

#[test]
fn a_corrupt_set_follows_the_contention_policy_and_never_traps() {
    let (memory, rule, mut ledger) = setup();
    let reservation = reserve(&mut ledger, &rule, "k", 10, 1_000_000, START, &memory).unwrap();
    memory.corrupt();
    let outcome = reserve(&mut ledger, &rule, "k", 1, 1_000_000, START, &memory);
    assert_eq!(outcome.unwrap_err().reason, Reason::Contention);
    assert!(ledger.settle(reservation, &[0], START, &memory)[0].unwritten > 0);
    ledger.flush(START, &memory);
}

/// Envoy restarted: the earlier streams are gone. A settlement of one of them follows the rule for a missing cell.
#[test]
fn a_restart_begins_with_full_buckets() {
    let (before, rule, mut ledger) = setup();
    let try_reserve = |ledger: &mut Ledger, memory: &Memory| {
        reserve(ledger, &rule, "k", 600_000, 1_000_000, START, memory).unwrap()
    };
    let refunding = try_reserve(&mut ledger, &before);
    let memory = Memory::default();
    ledger.settle(refunding, &[0], START, &memory);
    assert_eq!(memory.size(), (0, 0), "nothing is created for a refund");
    let debiting = try_reserve(&mut Ledger::new(), &memory);
    assert_eq!(remaining(&mut ledger, &rule, &memory), 400_000);
    let elsewhere = Memory::default();
    let used = rule.window().cells(700_000, 1_000_000);
    ledger.settle(debiting, &[used], START, &elsewhere);
    assert_eq!(remaining(&mut ledger, &rule, &elsewhere), 900_000);
}
