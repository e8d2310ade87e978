//! Guarantees of one shared cell per key: a budget can be spent completely, and clients get the balance of the
//! ledger.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_memory;

use headgate_core::ledger::{
    Balance, BucketCost, Ledger, OnContention, Reason, Reservations, Rule, RuleSpec, Window,
};
use ledger_memory::{Memory, START, bucket_cost, open, reserve, semantic, spec, tokens};
use proptest::prelude::*;

const WORKERS: usize = 3;
const CAPACITY: u128 = 1000;

fn window() -> impl Strategy<Value = Window> {
    prop::sample::select(vec![
        semantic(),
        tokens(CAPACITY, 60),
        tokens(CAPACITY, 86_400),
        tokens(CAPACITY, 1),
    ])
}

/// A request: its reserved and used tokens, its duration, and the time since the request before it, in thousandths
/// of the window.
#[derive(Clone, Copy, Debug)]
struct Request {
    worker: usize,
    reserve: u128,
    used: u128,
    takes: u64,
    after: u64,
    /// Among requests that end at the same time, the lowest value settles first.
    turn: u8,
}

fn request() -> impl Strategy<Value = Request> {
    let reserve = prop_oneof![3 => 1u128..60, 1 => 60u128..400];
    let used = prop_oneof![3 => 0u128..60, 1 => 60u128..500];
    let takes = prop_oneof![2 => Just(0u64), 3 => 0u64..80, 1 => 80u64..600];
    let after = prop_oneof![4 => 0u64..10, 1 => 10u64..200];
    let worker = 0..WORKERS;
    (worker, reserve, used, takes, after, any::<u8>()).prop_map(
        |(worker, reserve, used, takes, after, turn)| Request {
            worker,
            reserve,
            used,
            takes,
            after,
            turn,
        },
    )
}

/// The budget as a client would count it: capacity and refill, never above full, less what was settled and
/// less what is reserved in flight. In ns of the window, times the capacity, so that nothing is rounded.
struct Budget {
    full: i128,
    level: i128,
    now: u64,
}

impl Budget {
    fn new(rule: &Rule) -> Self {
        let full = i128::from(rule.window().span()) * CAPACITY as i128;
        Self {
            full,
            level: full,
            now: START,
        }
    }

    fn pass(&mut self, now: u64) {
        self.change(i128::from(now - self.now) * CAPACITY as i128);
        self.now = now;
    }

    fn change(&mut self, by: i128) {
        self.level = (self.level + by).min(self.full);
    }
}

struct InFlight {
    reservation: Reservations,
    request: Request,
    ends: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// A request is admitted if the budget covers it, except one cell for each request, by which costs are
    /// rounded up. In sequence that is exact. Concurrently, a refund leaves out what time has refilled since
    /// the reserve of the stream: the refill from the start of the oldest of the overlapping streams to the
    /// end of the youngest may be lost, which is at most twice the longest stream.
    #[test]
    fn a_budget_can_be_spent_completely(
        window in window(),
        requests in prop::collection::vec(request(), 1..120),
        sequential in any::<bool>(),
    ) {
        let memory = Memory::default();
        let rule = open(RuleSpec { max_debt: window.debt(Some(500_000_000)), ..spec("r", window) }, &memory);
        let mut workers: Vec<_> = (0..WORKERS).map(|_| Ledger::new()).collect();
        let span = i128::from(window.span());
        let thousandth = window.span() / 1000;
        let mut budget = Budget::new(&rule);
        let mut in_flight: Vec<InFlight> = Vec::new();
        let (mut now, mut longest, mut rounding) = (START, 0, 0);
        for request in requests {
            now += thousandth * request.after;
            if sequential {
                now = in_flight.iter().map(|stream| stream.ends).fold(now, u64::max);
            }
            in_flight.sort_by_key(|stream| (stream.ends, stream.request.turn));
            let ended = in_flight.partition_point(|stream| stream.ends <= now);
            for InFlight { reservation, request, ends } in in_flight.drain(..ended) {
                budget.pass(ends);
                let used = rule.window().cells(request.used, CAPACITY);
                let settled = workers[request.worker].settle(reservation, &[used], ends, &memory)[0];
                prop_assert!(settled.clipped == 0 && settled.unwritten == 0 && !settled.evicted);
                budget.change((request.reserve as i128 - request.used as i128) * span);
            }
            budget.pass(now);
            let cost = request.reserve as i128 * span;
            let waived = if sequential { 0 } else { i128::from(2 * longest) * CAPACITY as i128 };
            let covered = budget.level - waived - rounding >= cost;
            let result = reserve(&mut workers[request.worker], &rule, "k", request.reserve, CAPACITY, now, &memory);
            match result {
                Ok(reservation) => {
                    budget.change(-cost);
                    let takes = thousandth * request.takes;
                    longest = longest.max(takes);
                    in_flight.push(InFlight { reservation, request, ends: now + takes });
                    rounding += i128::from(window.period()) * CAPACITY as i128;
                }
                Err(refused) => prop_assert!(!covered, "refused with {} of {cost}: {refused:?}", budget.level),
            }
        }
    }
}

/// A reserve, of one bucket or two, or a settlement; some lose their swaps.
#[derive(Clone, Debug)]
struct Step {
    worker: usize,
    keys: Vec<(u8, u128)>,
    settle: Option<(usize, u64)>,
    lost_swaps: u64,
    after: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = prop::sample::subsequence(vec![0u8, 1, 2], 1..3);
    let keys = (keys, prop::collection::vec(0u128..400, 2))
        .prop_map(|(keys, costs)| keys.into_iter().zip(costs).collect());
    let settle = prop::option::weighted(0.4, (any::<usize>(), 0u64..250));
    let lost_swaps = prop_oneof![6 => Just(0), 2 => any::<u64>(), 1 => Just(u64::MAX)];
    (0..WORKERS, keys, settle, lost_swaps, 0u64..100).prop_map(
        |(worker, keys, settle, lost_swaps, after)| Step {
            worker,
            keys,
            settle,
            lost_swaps,
            after,
        },
    )
}

/// The state of a bucket in the shared cell: remaining cells, and ns until it is full.
fn holds(rule: &Rule, key: &str, now: u64, memory: &Memory) -> (u64, u64) {
    let start = memory.start(rule, rule.fingerprint(&[key]), now);
    let window = rule.window();
    let left = window.span().saturating_sub(start - now);
    (left / window.period(), start - now)
}

fn reported(balance: &Balance) -> (u64, u64) {
    (balance.remaining, balance.reset_ns)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Clients get the state of the shared cell at that time from every worker, for admitted and refused
    /// requests. Only changes that could not be written yet are missing in it.
    #[test]
    fn clients_get_the_balance_of_the_ledger(
        window in window(),
        admit in any::<bool>(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let memory = Memory::default();
        let on_contention = if admit { OnContention::Admit } else { OnContention::Refuse };
        let rule = open(RuleSpec { on_contention, ..spec("r", window) }, &memory);
        let mut workers: Vec<_> = (0..WORKERS).map(|_| Ledger::new()).collect();
        let (mut now, mut streams, mut unwritten) = (START, Vec::<Reservations>::new(), [0; WORKERS]);
        for Step { worker, keys, settle, lost_swaps, after } in steps {
            now += window.span() / 1000 * after;
            let ledger = &mut workers[worker];
            memory.lose_swaps(lost_swaps);
            if let Some((which, used)) = settle.filter(|_| !streams.is_empty()) {
                let reservation = streams.swap_remove(which % streams.len());
                let used: Vec<_> = reservation.as_slice().iter().map(|s| s.cells() * used / 100).collect();
                let settled = ledger.settle(reservation, &used, now, &memory);
                unwritten[worker] += settled.iter().map(|s| s.unwritten).sum::<u64>();
                memory.stop_interference();
                continue;
            }
            let names: Vec<_> = keys.iter().map(|(key, _)| key.to_string()).collect();
            let costs: Vec<BucketCost<'_>> = names.iter().zip(&keys)
                .map(|(name, (_, cost))| bucket_cost(&rule, name, *cost, CAPACITY))
                .collect();
            let before = ledger.unwritten();
            let result = ledger.reserve(costs.iter().copied(), now, &memory);
            memory.stop_interference();
            match result {
                Ok(reservation) => {
                    // A flush writes every change of the worker, also to the buckets that come later in this loop.
                    let before_flush: Vec<_> = names.iter().map(|name| holds(&rule, name, now, &memory)).collect();
                    for ((reservation, name), held) in reservation.as_slice().iter().zip(&names).zip(before_flush) {
                        let balance = reservation.balance();
                        if balance.owed {
                            ledger.flush(now, &memory);
                            let shown = holds(&rule, name, now, &memory);
                            if before == 0 {
                                prop_assert_eq!(reported(balance), shown, "the unwritten change is exactly this");
                            }
                            let apart = i128::from(shown.1) - i128::from(balance.reset_ns);
                            prop_assert!(apart.unsigned_abs() <= u128::from(unwritten[worker]));
                        } else {
                            prop_assert_eq!(reported(balance), held);
                        }
                    }
                    streams.push(reservation);
                }
                Err(refused) if before == 0 && ledger.unwritten() == 0 => {
                    let name = &names[refused.which];
                    if let Reason::OverBudget { retry_after_ns } = refused.reason {
                        let shown = holds(&rule, name, now, &memory);
                        prop_assert_eq!((refused.remaining, refused.reset_ns), shown);
                        // The wait is exact: the request is admitted then and not earlier.
                        let admits = |now| ledger_at(&memory, &costs, now);
                        prop_assert!(!admits(now + retry_after_ns - 1));
                        prop_assert!(admits(now + retry_after_ns));
                    }
                }
                // A refund may be unwritten too.
                Err(_) => {
                    let cells = keys.iter().map(|(_, cost)| rule.window().cells(*cost, CAPACITY));
                    unwritten[worker] += cells.sum::<u64>() * window.period();
                }
            }
        }
    }
}

/// Whether another worker would admit it at that time; the memory is restored.
fn ledger_at(memory: &Memory, costs: &[BucketCost<'_>], now: u64) -> bool {
    let before = memory.save();
    let admitted = Ledger::new().reserve(costs.iter().copied(), now, memory);
    memory.restore(before);
    admitted.is_ok()
}
