//! What one shared cell per key gives: a budget can be spent whole (`a_budget_is_spent_whole`), and what a
//! client is told is what the ledger holds (`remaining_is_the_ledgers`).
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_world;

use headgate_core::ledger::{
    Balance, Ledger, OnContention, Reason, Reservations, Rule, RuleSpec, Spend, Window,
};
use ledger_world::{Memory, START, open, reserve, semantic, spec, spend, tokens};
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

/// A request: what it reserves and uses in tokens, how long it takes and how long after the one before it is
/// sent, in thousandths of the window.
#[derive(Clone, Copy, Debug)]
struct Request {
    worker: usize,
    reserve: u128,
    used: u128,
    takes: u64,
    after: u64,
    /// Of several that end at one instant, the lowest settles first.
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
    held: Reservations,
    request: Request,
    ends: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// As long as the budget covers a request, it is admitted, but for one cell a request, by which costs are
    /// rounded up. In sequence that is all. Concurrently, a refund gives back only what time has not given
    /// back since the stream's own reserve: what flows back from the start of the oldest of the overlapping
    /// streams to the end of the youngest may be lost, which is at most twice the longest stream.
    #[test]
    fn a_budget_is_spent_whole(
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
            for InFlight { held, request, ends } in in_flight.drain(..ended) {
                budget.pass(ends);
                let used = rule.window().cells(request.used, CAPACITY);
                let settled = workers[request.worker].settle(held, &[used], ends, &memory)[0];
                prop_assert!(settled.clipped == 0 && settled.unwritten == 0 && !settled.evicted);
                budget.change((request.reserve as i128 - request.used as i128) * span);
            }
            budget.pass(now);
            let cost = request.reserve as i128 * span;
            let waived = if sequential { 0 } else { i128::from(2 * longest) * CAPACITY as i128 };
            let covered = budget.level - waived - rounding >= cost;
            let asked = reserve(&mut workers[request.worker], &rule, "k", request.reserve, CAPACITY, now, &memory);
            match asked {
                Ok(held) => {
                    budget.change(-cost);
                    let takes = thousandth * request.takes;
                    longest = longest.max(takes);
                    in_flight.push(InFlight { held, request, ends: now + takes });
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
    disturb: u64,
    after: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = prop::sample::subsequence(vec![0u8, 1, 2], 1..3);
    let keys = (keys, prop::collection::vec(0u128..400, 2))
        .prop_map(|(keys, costs)| keys.into_iter().zip(costs).collect());
    let settle = prop::option::weighted(0.4, (any::<usize>(), 0u64..250));
    let disturb = prop_oneof![6 => Just(0), 2 => any::<u64>(), 1 => Just(u64::MAX)];
    (0..WORKERS, keys, settle, disturb, 0u64..100).prop_map(
        |(worker, keys, settle, disturb, after)| Step {
            worker,
            keys,
            settle,
            disturb,
            after,
        },
    )
}

/// What the shared cell holds of a bucket: cells left, and ns until it is full.
fn holds(rule: &Rule, key: &str, now: u64, memory: &Memory) -> (u64, u64) {
    let start = memory.start(rule, rule.fingerprint(&[key]), now);
    let window = rule.window();
    let left = window.span().saturating_sub(start - now);
    (left / window.period(), start - now)
}

fn told(balance: &Balance) -> (u64, u64) {
    (balance.remaining, balance.reset_ns)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// What a client is told is what the shared cell holds at that instant, whichever worker answers, admitted
    /// or refused. What is outside of it is only what could not be written yet.
    #[test]
    fn remaining_is_the_ledgers(
        window in window(),
        admit in any::<bool>(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let memory = Memory::default();
        let on_contention = if admit { OnContention::Admit } else { OnContention::Refuse };
        let rule = open(RuleSpec { on_contention, ..spec("r", window) }, &memory);
        let mut workers: Vec<_> = (0..WORKERS).map(|_| Ledger::new()).collect();
        let (mut now, mut streams, mut unwritten) = (START, Vec::<Reservations>::new(), [0; WORKERS]);
        for Step { worker, keys, settle, disturb, after } in steps {
            now += window.span() / 1000 * after;
            let ledger = &mut workers[worker];
            memory.disturb(disturb);
            if let Some((which, used)) = settle.filter(|_| !streams.is_empty()) {
                let held = streams.swap_remove(which % streams.len());
                let used: Vec<_> = held.spends().iter().map(|s| s.cells() * used / 100).collect();
                let settled = ledger.settle(held, &used, now, &memory);
                unwritten[worker] += settled.iter().map(|s| s.unwritten).sum::<u64>();
                memory.calm();
                continue;
            }
            let names: Vec<_> = keys.iter().map(|(key, _)| key.to_string()).collect();
            let spends: Vec<Spend<'_>> = names.iter().zip(&keys)
                .map(|(name, (_, cost))| spend(&rule, name, *cost, CAPACITY))
                .collect();
            let before = ledger.unwritten();
            let asked = ledger.reserve(spends.iter().copied(), now, &memory);
            memory.calm();
            match asked {
                Ok(held) => {
                    for (spend, name) in held.spends().iter().zip(&names) {
                        let balance = spend.balance();
                        if balance.owed {
                            ledger.flush(now, &memory);
                            let shown = holds(&rule, name, now, &memory);
                            if before == 0 {
                                prop_assert_eq!(told(balance), shown, "all that was owed is this");
                            }
                            let apart = i128::from(shown.1) - i128::from(balance.reset_ns);
                            prop_assert!(apart.unsigned_abs() <= u128::from(unwritten[worker]));
                        } else {
                            prop_assert_eq!(told(balance), holds(&rule, name, now, &memory));
                        }
                    }
                    streams.push(held);
                }
                Err(refused) if before == 0 && ledger.unwritten() == 0 => {
                    let name = &names[refused.which];
                    if let Reason::OverBudget { retry_after_ns } = refused.reason {
                        let shown = holds(&rule, name, now, &memory);
                        prop_assert_eq!((refused.remaining, refused.reset_ns), shown);
                        // And it is true: then, and not earlier.
                        let ask = |now| ledger_at(&memory, &spends, now);
                        prop_assert!(!ask(now + retry_after_ns - 1));
                        prop_assert!(ask(now + retry_after_ns));
                    }
                }
                // What was given back may be unwritten too.
                Err(_) => {
                    let cells = keys.iter().map(|(_, cost)| rule.window().cells(*cost, CAPACITY));
                    unwritten[worker] += cells.sum::<u64>() * window.period();
                }
            }
        }
    }
}

/// Whether another worker would admit it at that instant; nothing stays taken.
fn ledger_at(memory: &Memory, spends: &[Spend<'_>], now: u64) -> bool {
    let before = memory.save();
    let admitted = Ledger::new().reserve(spends.iter().copied(), now, memory);
    memory.restore(before);
    admitted.is_ok()
}
