//! The worked rows of the design and the edges of the window arithmetic, as tables.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_memory;

use headgate_core::ledger::{
    BucketCost, Ledger, MILLION, RuleError, RuleSpec, Window, WindowError,
};
use ledger_memory::{Memory, START, open, semantic, spec};

#[test]
fn the_semantic_window_has_the_computed_cells() {
    let window = semantic();
    assert_eq!(window.exact(), (10_000_000_000, 3));
    assert_eq!(window.period(), 1);
    assert_eq!(window.burst().get(), 3_333_333_600);
    assert_eq!(window.cells(MILLION, 100 * MILLION), 33_333_336);
    assert_eq!(window.cells(0, 100 * MILLION), 0);
    assert_eq!(window.cells(1, 100 * MILLION), 34, "rounded up: 33.3");
    assert_eq!(window.cells(MILLION, 0), u64::MAX);
    assert_eq!(window.cells(u128::MAX, 1), u64::MAX);
    assert_eq!(
        window.cells(u128::MAX, u128::MAX),
        u64::MAX,
        "saturates, never wraps"
    );
}

#[test]
fn long_windows_use_longer_cells_and_never_shrink() {
    // (capacity, refill per second in millionths, period, burst)
    let rows: [(u128, u128, u64, u32); 6] = [
        (100, 1_000_000, 24, 4_166_668_800),
        (1_000, 1_000_000_000, 1, 1_000_000_800),
        (60, 1_000_000, 14, 4_285_720_800),
        (86_400, 1_000_000, 20_117, 4_294_879_200),
        (1, 1_000_000, 1, 1_000_000_800),
        (2_592_000, 1_000_000, 603_498, 4_294_965_600),
    ];
    for (capacity, refill, period, burst) in rows {
        let window = Window::from_capacity_and_refill(capacity * MILLION, refill).unwrap();
        let (n, d) = window.exact();
        assert_eq!(
            n,
            capacity * 1_000_000_000_000_000 / refill * d,
            "{capacity}"
        );
        assert_eq!(window.period(), period, "{capacity}");
        assert_eq!(window.burst().get(), burst, "{capacity}");
        assert!(
            u128::from(window.span()) * d >= n,
            "rounded against the client"
        );
    }
}

#[test]
fn absurd_windows_are_refused_by_the_parser() {
    let of = Window::from_capacity_and_refill;
    assert_eq!(of(0, MILLION), Err(WindowError::NoCapacity));
    assert_eq!(of(MILLION, 0), Err(WindowError::NoRefill));
    assert_eq!(Window::from_fill_ratio(0), Err(WindowError::NoRefill));
    assert_eq!(of(MILLION, 1_001 * MILLION), Err(WindowError::TooShort));
    assert!(of(MILLION, 1_000 * MILLION).is_ok());
    assert_eq!(of(u128::MAX, 1), Err(WindowError::TooLong));
    assert_eq!(of(1 << 90, 1), Err(WindowError::TooLong));
    assert_eq!(
        of(2_400_000_000 * MILLION, MILLION),
        Err(WindowError::TooLong)
    );
    assert!(of(2_300_000_000 * MILLION, MILLION).is_ok());
    let configure = |spec| {
        let dice = ledger_memory::FixedEntropy(1);
        Ledger::configure(vec![spec], &Memory::default(), &dice).map(|_| ())
    };
    let max_debt = u64::MAX;
    let debt = RuleSpec {
        max_debt,
        ..spec("debt", semantic())
    };
    assert_eq!(configure(debt), Err(RuleError::Debt { max_debt }));
    for max_keys in [0, RuleSpec::MAX_KEYS + 1] {
        let keys = RuleSpec {
            max_keys,
            ..spec("keys", semantic())
        };
        assert_eq!(configure(keys), Err(RuleError::Keys { max_keys }));
    }
}

#[test]
fn the_default_debt_is_ten_windows_but_at_most_a_day_or_one_window() {
    const DAY: u64 = 86_400_000_000_000;
    let of = |seconds| ledger_memory::tokens(1_000_000, seconds);
    assert_eq!(of(60).debt(None), 10 * of(60).span());
    assert_eq!(of(3 * 3600).debt(None), DAY);
    assert_eq!(of(30 * 86_400).debt(None), of(30 * 86_400).span());
    assert_eq!(of(60).debt(Some(0)), 0);
    assert_eq!(of(60).debt(Some(2_500_000)), 5 * of(60).span() / 2);
    assert_eq!(of(60).debt(Some(u64::MAX)), u64::MAX, "saturates");
}

/// The number of admitted requests from a full bucket with a frozen clock.
#[test]
fn a_full_bucket_with_a_frozen_clock_admits_the_row() {
    // (model@max_tokens, capacity, cost, admitted); millionths
    let rows = [
        ("gpt-4@512", 100_000_000, 1_000_000, 100),
        ("gpt-4@1024", 200_000_000, 2_000_000, 100),
        ("llama3-70b@512", 80_000_000, 1_000_000, 80),
        ("phi-3@256", 20_000_000, 500_000, 40),
        ("unknown@512", 20_000_000, 1_000_000, 20),
    ];
    let memory = Memory::default();
    let rule = open(spec("rows", semantic()), &memory);
    for (row, capacity, cost, admitted) in rows {
        let mut ledger = Ledger::new();
        let bucket_cost = BucketCost {
            rule: &rule,
            key: rule.fingerprint(&[row]),
            cost,
            capacity,
            unscaled_capacity: capacity,
        };
        let admitted_requests = (0..1000).take_while(|_| {
            let costs = [bucket_cost].into_iter();
            ledger.reserve(costs, START, &memory).is_ok()
        });
        assert_eq!(admitted_requests.count(), admitted, "{row}");
    }
}
