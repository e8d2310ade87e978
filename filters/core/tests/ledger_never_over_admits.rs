//! `never_over_admits`: whatever happens to a bucket, no interval of `t` ns admits more than `T + t`,
//! less its refunds and including use above reserves. The simulation has several workers, interleaved
//! reserves, lost swaps, evictions, settlements, crashes of VMs, new configurations and new modules.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_memory;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use headgate_core::ledger::{
    BucketCost, Ledger, MILLION, OnContention, Reservations, Rule, RuleSpec, Settled, Window,
};
use headgate_core::ports::{CasMismatch, Cells};
use ledger_memory::{FixedEntropy, Log, Memory, START, open, semantic, spec, tokens};
use proptest::prelude::*;

const WORKERS: usize = 3;
const KEYS: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    /// Reserve on one key or two; between read and write another worker may reserve.
    Reserve {
        worker: usize,
        wants: Vec<Want>,
        lost_swaps: u64,
        interference: Option<(usize, Want)>,
    },
    Settle {
        stream: usize,
        /// Share of the reservation that was used, percent; above 100 is debt.
        used: u64,
        lost_swaps: u64,
    },
    /// Time passes, in thousandths of the window.
    Advance(u64),
    Tick(usize),
    /// The VM crashes and loses its streams and unwritten changes.
    Kill(usize),
    /// A new configuration, first on this worker: new rule handles for the same buckets, possibly with
    /// more sets.
    Reconfigure(usize, u32),
    /// A new module: unwritten changes are written, a new VM starts, and streams end without a settlement.
    Replace(usize),
}

/// A cost in percent of the capacity, and the capacity (which a live scale may change).
#[derive(Clone, Copy, Debug)]
struct Want {
    key: usize,
    percent: u128,
    capacity: u128,
}

fn want() -> impl Strategy<Value = Want> {
    let percent = prop_oneof![4 => 1u128..6, 2 => 6u128..40, 1 => 40u128..=100];
    (
        0..KEYS,
        percent,
        prop::sample::select(vec![20u128, 77, 100]),
    )
        .prop_map(|(key, percent, capacity)| Want {
            key,
            percent,
            capacity,
        })
}

fn op() -> impl Strategy<Value = Op> {
    let lost_swaps = prop_oneof![5 => Just(0), 2 => 0u64..8, 1 => Just(u64::MAX)];
    let wants = prop::collection::vec(want(), 1..3);
    let interference = prop::option::weighted(0.3, (0..WORKERS, want()));
    prop_oneof![
        12 => (0..WORKERS, wants, lost_swaps.clone(), interference).prop_map(
            |(worker, wants, lost_swaps, interference)| Op::Reserve { worker, wants, lost_swaps, interference }),
        8 => (any::<usize>(), prop_oneof![2 => Just(0u64), 2 => 0u64..100, 1 => 100u64..300], lost_swaps)
            .prop_map(|(stream, used, lost_swaps)| Op::Settle { stream, used, lost_swaps }),
        4 => prop_oneof![3 => 0u64..60, 2 => 60u64..400, 1 => 400u64..1500].prop_map(Op::Advance),
        1 => (0..WORKERS).prop_map(Op::Tick),
        1 => (0..WORKERS).prop_map(Op::Kill),
        1 => (0..WORKERS, prop::sample::select(vec![1, 17, 64, 1000, 1 << 20]))
            .prop_map(|(worker, max_keys)| Op::Reconfigure(worker, max_keys)),
        1 => (0..WORKERS).prop_map(Op::Replace),
    ]
}

struct Simulation {
    memory: Rc<Memory>,
    spec: RuleSpec,
    /// By worker.
    rules: Vec<Rule>,
    workers: Vec<Rc<RefCell<Ledger>>>,
    streams: Vec<(usize, Reservations, Vec<Want>)>,
    log: Log,
    now: u64,
}

impl Simulation {
    fn new(spec: RuleSpec) -> Self {
        let memory = Rc::new(Memory::default());
        let rule = open(spec.clone(), &memory);
        Self {
            memory,
            spec,
            rules: vec![rule; WORKERS],
            workers: (0..WORKERS).map(|_| Rc::default()).collect(),
            streams: Vec::new(),
            log: Log::default(),
            now: START,
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Reserve {
                worker,
                wants,
                lost_swaps,
                interference,
            } => {
                self.memory.lose_swaps(lost_swaps);
                if let Some((other, want)) = interference.filter(|(other, _)| *other != worker) {
                    let (ledger, rule) = (self.workers[other].clone(), self.rules[other].clone());
                    let (log, now) = (self.log.clone(), self.now);
                    // Its stream is never settled.
                    self.memory.run_before_next_swap(move |memory| {
                        attempt(&mut ledger.borrow_mut(), &rule, &[want], now, memory, &log);
                    });
                }
                let rule = self.rules[worker].clone();
                let ledger = self.workers[worker].clone();
                let reservation = attempt(
                    &mut ledger.borrow_mut(),
                    &rule,
                    &wants,
                    self.now,
                    &self.memory,
                    &self.log,
                );
                self.streams
                    .extend(reservation.map(|reservation| (worker, reservation, wants)));
            }
            Op::Settle {
                stream,
                used,
                lost_swaps,
            } if !self.streams.is_empty() => {
                self.memory.lose_swaps(lost_swaps);
                let (worker, reservation, wants) =
                    self.streams.swap_remove(stream % self.streams.len());
                let cells: Vec<u64> = reservation
                    .as_slice()
                    .iter()
                    .map(|s| s.cells() * used / 100)
                    .collect();
                let mut ledger = self.workers[worker].borrow_mut();
                let settled = ledger.settle(reservation, &cells, self.now, &*self.memory);
                note_carried(&mut ledger, self.now, &self.log);
                let rule = &self.rules[worker];
                for (want, settled) in wants.iter().zip(settled) {
                    assert!(!settled.evicted);
                    let key = rule.fingerprint(&[&want.key.to_string()]);
                    self.log.settled(rule, key, net(&settled), self.now);
                }
            }
            Op::Settle { .. } => {}
            Op::Advance(thousandths) => {
                self.now += self.spec.window.span() / 1000 * thousandths;
            }
            Op::Tick(worker) => self.flush(worker),
            Op::Kill(worker) => self.restart(worker),
            Op::Reconfigure(worker, max_keys) => {
                let spec = RuleSpec {
                    max_keys,
                    ..self.spec.clone()
                };
                self.rules[worker] = open(spec, &self.memory);
            }
            Op::Replace(worker) => {
                self.flush(worker);
                self.restart(worker);
            }
        }
        self.memory.stop_interference();
        self.check_debt();
    }

    /// The debt of a bucket is at most the use above reserves since it last admitted a request.
    fn check_debt(&self) {
        let rule = &self.rules[0];
        for key in 0..KEYS {
            let key = rule.fingerprint(&[&key.to_string()]);
            let tat = self.memory.cell(rule, key).unwrap_or_default();
            let debt = i128::from(tat) - i128::from(self.now) - i128::from(rule.window().span());
            let excess = self.log.excess(key);
            assert!(debt <= excess, "{debt} ns of debt, {excess} in excess");
        }
    }

    fn flush(&mut self, worker: usize) {
        let mut ledger = self.workers[worker].borrow_mut();
        ledger.flush(self.now, &*self.memory);
        note_carried(&mut ledger, self.now, &self.log);
    }

    fn restart(&mut self, worker: usize) {
        self.workers[worker] = Rc::default();
        self.streams.retain(|(owner, ..)| *owner != worker);
    }
}

fn attempt(
    ledger: &mut Ledger,
    rule: &Rule,
    wants: &[Want],
    now: u64,
    memory: &Memory,
    log: &Log,
) -> Option<Reservations> {
    let costs: Vec<BucketCost<'_>> = wants
        .iter()
        .map(|want| BucketCost {
            rule,
            key: rule.fingerprint(&[&want.key.to_string()]),
            cost: want.percent * want.capacity * MILLION / 100,
            capacity: want.capacity * MILLION,
            unscaled_capacity: want.capacity * MILLION,
        })
        .collect();
    let outcome = ledger.reserve(costs.iter().copied(), now, memory);
    note_carried(ledger, now, log);
    let reserved = outcome.ok()?;
    for (bucket_cost, reservation) in costs.iter().zip(reserved.as_slice()) {
        let balance = reservation.balance();
        log.reserved(rule, bucket_cost, balance.cells, now);
    }
    Some(reserved)
}

fn note_carried(ledger: &mut Ledger, now: u64, log: &Log) {
    for deferred in ledger.take_deferred() {
        log.settled(&deferred.rule, deferred.key, net(&deferred.settled), now);
    }
}

fn net(settled: &Settled) -> i128 {
    i128::from(settled.debited) - i128::from(settled.refunded)
}

fn window() -> impl Strategy<Value = Window> {
    prop::sample::select(vec![
        semantic(),
        tokens(1000, 60),
        tokens(20, 86_400),
        tokens(5, 1),
    ])
}

fn rule() -> impl Strategy<Value = RuleSpec> {
    let keys = prop::sample::select(vec![1, 16, 17, 64]);
    (window(), keys, 0u64..2_000_000).prop_map(|(window, max_keys, debt)| RuleSpec {
        max_keys,
        max_debt: window.debt(Some(debt)),
        ..spec("world", window)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn never_over_admits(rule in rule(), ops in prop::collection::vec(op(), 1..160)) {
        let window = rule.window;
        let mut simulation = Simulation::new(rule);
        for op in ops {
            simulation.run(op);
        }
        let (cells, exact) = simulation.log.worst(&window);
        prop_assert!(cells <= 0, "over by {cells} ns of cells");
        prop_assert!(exact <= window.span() as f64 * 1e-9, "over by {exact} ns of cost/refill");
    }
}

/// The property above also holds for a ledger that refuses everything, so check what is admitted.
#[test]
fn a_full_window_is_admitted() {
    let mut simulation = Simulation::new(spec("world", semantic()));
    for turn in 0..300 {
        simulation.run(Op::Reserve {
            worker: turn % WORKERS,
            wants: vec![Want {
                key: 0,
                percent: 1,
                capacity: 100,
            }],
            lost_swaps: 0,
            interference: None,
        });
    }
    assert_eq!(simulation.log.len(), 100);
}

/// Requests that use more than they reserve: those in flight may put the bucket into debt; then no request
/// is admitted until the debt is refilled.
#[test]
fn a_debt_is_refilled_before_a_request_is_admitted() {
    let memory = Memory::default();
    let window = semantic();
    let rule = open(
        RuleSpec {
            max_debt: window.debt(None),
            ..spec("r", window)
        },
        &memory,
    );
    let mut workers = [Ledger::new(), Ledger::new()];
    let mut try_reserve = |turn: usize, now| {
        ledger_memory::reserve(&mut workers[turn % 2], &rule, "k", 25, 100, now, &memory)
    };
    let reservations: Vec<_> = (0..4)
        .map(|turn| try_reserve(turn, START).unwrap())
        .collect();
    assert!(try_reserve(4, START).is_err());
    let mut ledger = Ledger::new();
    for reservation in reservations {
        let cells = reservation.as_slice()[0].cells();
        ledger.settle(reservation, &[2 * cells], START, &memory);
    }
    // One window of reserves and one of excess; a quarter has to be refilled beyond that.
    let paid = START + window.span() + window.span() / 4;
    assert!(try_reserve(5, paid - 1).is_err());
    assert!(try_reserve(6, paid).is_ok());
}

/// Real threads and races, also for the hash key and the set: one hot key and a frozen clock.
#[test]
fn threads_on_one_hot_key_admit_exactly_one_window() {
    // On a busy machine the threads may run one after another. Without a race, a round shows nothing.
    let raced = (0..100).any(|_| {
        let (admitted, lost) = threads_on_one_hot_key();
        assert_eq!(admitted, 100);
        lost > 0
    });
    assert!(raced, "no swap came too late in 100 rounds");
}

/// Admitted requests, and swaps that came too late.
fn threads_on_one_hot_key() -> (usize, usize) {
    let memory = Shared::default();
    let open = |memory: &Shared, seed| {
        let spec = RuleSpec {
            on_contention: OnContention::Refuse,
            ..spec("hot", semantic())
        };
        Ledger::configure(vec![spec], memory, &FixedEntropy(seed))
            .unwrap()
            .remove(0)
    };
    let together = Barrier::new(4);
    let admitted: usize = std::thread::scope(|scope| {
        let (memory, together) = (&memory, &together);
        let run = move |seed| {
            together.wait();
            let (rule, mut ledger) = (open(memory, seed), Ledger::new());
            (0..400)
                .filter(|_| {
                    let bucket_cost = ledger_memory::bucket_cost(&rule, "hot", 1, 100);
                    ledger
                        .reserve([bucket_cost].into_iter(), START, memory)
                        .is_ok()
                })
                .count()
        };
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || run(seed))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    (admitted, memory.lost.into_inner())
}

/// Shared data of several threads.
#[derive(Default)]
struct Shared {
    values: Mutex<BTreeMap<String, (Vec<u8>, u32)>>,
    /// The number of lost swaps.
    lost: AtomicUsize,
}

impl Cells for Shared {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let found = self.values.lock().unwrap().get(key).cloned();
        // Another thread may write between this read and the write.
        std::thread::yield_now();
        found
    }

    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        let mut values = self.values.lock().unwrap();
        let current = values.get(key).map(|v| v.1);
        if cas != current {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Err(CasMismatch);
        }
        values.insert(key.into(), (value.into(), current.unwrap_or(0) + 1));
        Ok(())
    }
}
