//! `never_over_admits`: whatever happens to a bucket, no stretch of `t` ns admits more than `T + t`
//! net of what was given back in it and with what was used beyond reserves. The world has several workers,
//! interleaved reserves, lost swaps, ways that change hands, settlements, VM deaths, configuration and code
//! swaps.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger_world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use headgate_core::ledger::{
    Ledger, MILLION, OnContention, Reservations, Rule, RuleSpec, Settled, Spend, Window,
};
use headgate_core::ports::{CasMismatch, Cells};
use ledger_world::{Dice, Log, Memory, START, open, semantic, spec, tokens};
use proptest::prelude::*;

const WORKERS: usize = 3;
const KEYS: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    /// Reserve on one key or two; between read and write another worker may reserve.
    Reserve {
        worker: usize,
        wants: Vec<Want>,
        disturb: u64,
        intruder: Option<(usize, Want)>,
    },
    Settle {
        stream: usize,
        /// Share of the reservation that was used, percent; above 100 is debt.
        used: u64,
        disturb: u64,
    },
    /// Time passes, in thousandths of the window.
    Advance(u64),
    Tick(usize),
    /// The VM dies with its streams and unwritten changes.
    Kill(usize),
    /// A new configuration, which this worker has first: new rule handles for the same buckets, perhaps with
    /// more sets.
    Reconfigure(usize, u32),
    /// New code: what is unwritten is written, a new VM starts, streams end unsettled.
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
    let disturb = prop_oneof![5 => Just(0), 2 => 0u64..8, 1 => Just(u64::MAX)];
    let wants = prop::collection::vec(want(), 1..3);
    let intruder = prop::option::weighted(0.3, (0..WORKERS, want()));
    prop_oneof![
        12 => (0..WORKERS, wants, disturb.clone(), intruder).prop_map(
            |(worker, wants, disturb, intruder)| Op::Reserve { worker, wants, disturb, intruder }),
        8 => (any::<usize>(), prop_oneof![2 => Just(0u64), 2 => 0u64..100, 1 => 100u64..300], disturb)
            .prop_map(|(stream, used, disturb)| Op::Settle { stream, used, disturb }),
        4 => prop_oneof![3 => 0u64..60, 2 => 60u64..400, 1 => 400u64..1500].prop_map(Op::Advance),
        1 => (0..WORKERS).prop_map(Op::Tick),
        1 => (0..WORKERS).prop_map(Op::Kill),
        1 => (0..WORKERS, prop::sample::select(vec![1, 17, 64, 1000, 1 << 20]))
            .prop_map(|(worker, max_keys)| Op::Reconfigure(worker, max_keys)),
        1 => (0..WORKERS).prop_map(Op::Replace),
    ]
}

struct World {
    memory: Rc<Memory>,
    spec: RuleSpec,
    /// By worker.
    rules: Vec<Rule>,
    workers: Vec<Rc<RefCell<Ledger>>>,
    streams: Vec<(usize, Reservations, Vec<Want>)>,
    log: Log,
    now: u64,
}

impl World {
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
                disturb,
                intruder,
            } => {
                self.memory.disturb(disturb);
                if let Some((other, want)) = intruder.filter(|(other, _)| *other != worker) {
                    let (ledger, rule) = (self.workers[other].clone(), self.rules[other].clone());
                    let (log, now) = (self.log.clone(), self.now);
                    // Its stream is never settled.
                    self.memory.intrude(move |memory| {
                        attempt(&mut ledger.borrow_mut(), &rule, &[want], now, memory, &log);
                    });
                }
                let rule = self.rules[worker].clone();
                let ledger = self.workers[worker].clone();
                let held = attempt(
                    &mut ledger.borrow_mut(),
                    &rule,
                    &wants,
                    self.now,
                    &self.memory,
                    &self.log,
                );
                self.streams.extend(held.map(|held| (worker, held, wants)));
            }
            Op::Settle {
                stream,
                used,
                disturb,
            } if !self.streams.is_empty() => {
                self.memory.disturb(disturb);
                let (worker, held, wants) = self.streams.swap_remove(stream % self.streams.len());
                let cells: Vec<u64> = held
                    .spends()
                    .iter()
                    .map(|s| s.cells() * used / 100)
                    .collect();
                let mut ledger = self.workers[worker].borrow_mut();
                let settled = ledger.settle(held, &cells, self.now, &*self.memory);
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
        self.memory.calm();
        self.check_debt();
    }

    /// No bucket is further beyond empty than what was used beyond reserves since it last admitted.
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
    let spends: Vec<Spend<'_>> = wants
        .iter()
        .map(|want| Spend {
            rule,
            key: rule.fingerprint(&[&want.key.to_string()]),
            cost: want.percent * want.capacity * MILLION / 100,
            capacity: want.capacity * MILLION,
            unscaled_capacity: want.capacity * MILLION,
        })
        .collect();
    let outcome = ledger.reserve(spends.iter().copied(), now, memory);
    note_carried(ledger, now, log);
    let reserved = outcome.ok()?;
    for (spend, held) in spends.iter().zip(reserved.spends()) {
        let balance = held.balance();
        log.reserved(rule, spend, balance.cells, now);
    }
    Some(reserved)
}

fn note_carried(ledger: &mut Ledger, now: u64, log: &Log) {
    for carried in ledger.carried() {
        log.settled(&carried.rule, carried.key, net(&carried.settled), now);
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
        let mut world = World::new(rule);
        for op in ops {
            world.run(op);
        }
        let (cells, exact) = world.log.worst(&window);
        prop_assert!(cells <= 0, "over by {cells} ns of cells");
        prop_assert!(exact <= window.span() as f64 * 1e-9, "over by {exact} ns of cost/refill");
    }
}

/// The property above would also hold of a ledger that refuses everything.
#[test]
fn a_full_window_is_really_admitted() {
    let mut world = World::new(spec("world", semantic()));
    for turn in 0..300 {
        world.run(Op::Reserve {
            worker: turn % WORKERS,
            wants: vec![Want {
                key: 0,
                percent: 1,
                capacity: 100,
            }],
            disturb: 0,
            intruder: None,
        });
    }
    assert_eq!(world.log.len(), 100);
}

/// Requests that use more than they reserve: those in flight may take the bucket beyond empty, then nothing
/// is admitted until that is paid off.
#[test]
fn a_debt_is_paid_off_before_anything_is_admitted() {
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
    let mut ask = |turn: usize, now| {
        ledger_world::reserve(&mut workers[turn % 2], &rule, "k", 25, 100, now, &memory)
    };
    let held: Vec<_> = (0..4).map(|turn| ask(turn, START).unwrap()).collect();
    assert!(ask(4, START).is_err());
    let mut ledger = Ledger::new();
    for held in held {
        let cells = held.spends()[0].cells();
        ledger.settle(held, &[2 * cells], START, &memory);
    }
    // One window of reserves, one of excess; a quarter has to come back beyond that.
    let paid = START + window.span() + window.span() / 4;
    assert!(ask(5, paid - 1).is_err());
    assert!(ask(6, paid).is_ok());
}

/// Real threads, real races, some of them lost, from the first one for the hash key and the set: one hot key,
/// clock frozen.
#[test]
fn threads_on_one_hot_key_admit_exactly_one_window() {
    let memory = Shared::default();
    let open = |memory: &Shared, seed| {
        let spec = RuleSpec {
            on_contention: OnContention::Refuse,
            ..spec("hot", semantic())
        };
        Ledger::configure(vec![spec], memory, &Dice(seed))
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
                    let spend = ledger_world::spend(&rule, "hot", 1, 100);
                    ledger.reserve([spend].into_iter(), START, memory).is_ok()
                })
                .count()
        };
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || run(seed))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(admitted, 100);
    // Otherwise the threads never met, and this shows nothing.
    let lost = memory.lost.into_inner();
    assert!(lost > 0, "no swap came too late");
}

/// Shared data of several threads.
#[derive(Default)]
struct Shared {
    values: Mutex<BTreeMap<String, (Vec<u8>, u32)>>,
    /// Swaps that came too late.
    lost: AtomicUsize,
}

impl Cells for Shared {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let found = self.values.lock().unwrap().get(key).cloned();
        // Between reading and writing is where another may come.
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
