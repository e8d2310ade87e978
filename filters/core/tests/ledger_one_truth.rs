//! One truth per key: `a_budget_is_spent_whole` and `remaining_is_the_ledgers`.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_world;

use headgate_core::ledger::{Held, Ledger, OnContention, Reason, RuleSpec, Window};
use ledger_world::{Memory, START, open, reserve, semantic, spec, tokens};
use proptest::prelude::*;

const WORKERS: usize = 3;

/// A bucket as its users think of it, ns: what refills, up to full, less what is in flight and what was used.
struct Ideal {
    span: i128,
    level: i128,
    at: u64,
}

impl Ideal {
    fn new(span: u64) -> Self {
        Self {
            span: span.into(),
            level: span.into(),
            at: START,
        }
    }

    fn now(&mut self, now: u64) -> i128 {
        let refilled = self.level + i128::from(now - self.at);
        (self.level, self.at) = (refilled.min(self.span), now);
        self.level
    }

    fn take(&mut self, ns: u64) {
        self.level -= i128::from(ns);
    }

    fn give(&mut self, ns: u64) {
        self.level = (self.level + i128::from(ns)).min(self.span);
    }
}

fn window() -> impl Strategy<Value = Window> {
    prop::sample::select(vec![
        semantic(),
        tokens(100_000, 5_000),
        tokens(1000, 60),
        tokens(20, 86_400),
    ])
}

/// Percent reserved, percent of that used, thousandths of the window before it and while it runs.
type Request = (u128, u64, u64, u64);

fn requests(most: u64) -> impl Strategy<Value = Vec<Request>> {
    let request = (1u128..30, 0..most, 0u64..80, 0u64..50);
    prop::collection::vec(request, 1..150)
}

fn roomy(window: Window) -> RuleSpec {
    RuleSpec {
        debt: 1000 * window.span(),
        ..spec("r", window)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// One request after another, each settled before the next: admitted as long as the budget, used for used, has room, to within
    /// one request and one cell for rounding.
    #[test]
    fn a_budget_is_spent_whole(window in window(), requests in requests(250), worker in prop::collection::vec(0..WORKERS, 150)) {
        let memory = Memory::default();
        let rule = open(roomy(window), &memory);
        let thousandth = window.span() / 1000;
        let mut workers: Vec<_> = (0..WORKERS).map(|_| Ledger::new()).collect();
        let mut ideal = Ideal::new(window.span());
        let mut now = START;
        // A debt above the reservation starts where the bucket stands: what refilled above full by then is not lost to it.
        let mut overdrawn = 0;
        for ((percent, used, pause, runs), worker) in requests.into_iter().zip(worker) {
            now += thousandth * pause;
            let level = ideal.now(now);
            let reserved = window.cells(percent, 100) * window.period();
            match reserve(&mut workers[worker], &rule, "k", percent, 100, now, &memory) {
                Ok(held) => {
                    prop_assert!(level + overdrawn >= i128::from(reserved), "admitted without room");
                    ideal.take(reserved);
                    now += thousandth * runs;
                    ideal.now(now);
                    let cells = held.spends()[0].cells() * used / 100;
                    let uses = cells * window.period();
                    let other = (worker + 1) % WORKERS;
                    workers[other].settle(held, &[cells], now, &memory);
                    if uses > reserved {
                        ideal.take(uses - reserved);
                        overdrawn += i128::from(thousandth * runs);
                    } else {
                        ideal.give(reserved - uses);
                    }
                }
                Err(refused) => {
                    let over = matches!(refused.reason, Reason::OverBudget { .. });
                    prop_assert!(over);
                    let cell = i128::from(window.period());
                    prop_assert!(level < i128::from(reserved) + cell, "{level} of {reserved}");
                }
            }
        }
    }

    /// Many at once, settled in any order: beside that, what refills during the longest stream, which a refund gives up.
    #[test]
    fn a_budget_is_spent_whole_by_concurrent_requests(
        window in window(),
        steps in prop::collection::vec((any::<bool>(), 1u128..20, 0u64..=100, 0u64..20, any::<prop::sample::Index>(), 0..WORKERS), 1..200),
    ) {
        let memory = Memory::default();
        let rule = open(roomy(window), &memory);
        let thousandth = window.span() / 1000;
        let mut workers: Vec<_> = (0..WORKERS).map(|_| Ledger::new()).collect();
        let mut ideal = Ideal::new(window.span());
        let mut flying: Vec<(Held, u64, u64)> = Vec::new();
        let (mut now, mut longest, mut ended) = (START, 0, 0);
        for (settles, percent, used, pause, which, worker) in steps {
            now += thousandth * pause;
            let level = ideal.now(now);
            if settles && !flying.is_empty() {
                let (held, used, since) = flying.swap_remove(which.index(flying.len()));
                longest = longest.max(now - since);
                ended += 1;
                let cells = held.spends()[0].cells();
                let uses = cells * used / 100;
                workers[worker].settle(held, &[uses], now, &memory);
                ideal.give((cells - uses) * window.period());
                continue;
            }
            let reserved = window.cells(percent, 100) * window.period();
            match reserve(&mut workers[worker], &rule, "k", percent, 100, now, &memory) {
                Ok(held) => {
                    prop_assert!(level >= i128::from(reserved), "admitted without room");
                    ideal.take(reserved);
                    flying.push((held, used, now));
                }
                Err(_) => {
                    let slack = i128::from(longest) + i128::from((ended + 1) * window.period());
                    prop_assert!(level < i128::from(reserved) + slack, "{level} of {reserved}, {slack}");
                }
            }
        }
    }

    /// What a client is told is what the shared cell holds at that instant, whoever wrote it; outside of it is only what is unwritten.
    #[test]
    fn remaining_is_the_ledgers(
        window in window(),
        steps in prop::collection::vec((any::<bool>(), 1u128..40, 0u64..200, 0u64..60, any::<prop::sample::Index>(), 0..WORKERS, prop_oneof![6 => Just(0u64), 1 => any::<u64>()]), 1..120),
        admit in any::<bool>(),
    ) {
        let memory = Memory::default();
        let rule = open(RuleSpec {
            on_contention: if admit { OnContention::Admit } else { OnContention::Refuse },
            ..roomy(window)
        }, &memory);
        let key = rule.fingerprint(&["k"]);
        let mut workers: Vec<_> = (0..WORKERS).map(|_| Ledger::new()).collect();
        let mut flying: Vec<(Held, u64)> = Vec::new();
        let mut now = START;
        for (settles, percent, used, pause, which, worker, disturb) in steps {
            now += window.span() / 1000 * pause;
            memory.disturb(disturb);
            let ledger = &mut workers[worker];
            if settles && !flying.is_empty() {
                let (held, used) = flying.swap_remove(which.index(flying.len()));
                let cells = held.spends()[0].cells() * used / 100;
                ledger.settle(held, &[cells], now, &memory);
                memory.calm();
                continue;
            }
            let outcome = reserve(ledger, &rule, "k", percent, 100, now, &memory);
            memory.calm();
            let backlog = memory.start(&rule, key, now) - now;
            let left = window.span().saturating_sub(backlog) / window.period();
            match outcome {
                Ok(held) => {
                    let balance = *held.spends()[0].balance();
                    if !balance.owed {
                        prop_assert_eq!(balance.remaining, left);
                        prop_assert_eq!(balance.reset_ns, backlog);
                    }
                    flying.push((held, used));
                }
                Err(refused) if ledger.unwritten() == 0 && refused.reason != Reason::Contention => {
                    prop_assert_eq!(refused.remaining, left);
                    prop_assert_eq!(refused.reset_ns, backlog);
                }
                Err(_) => {}
            }
        }
    }
}
