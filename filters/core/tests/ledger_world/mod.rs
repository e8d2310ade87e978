//! A proxy in memory for the ledger's tests: shared cells that can be disturbed between read and
//! write, and an oracle over everything that was admitted.

#![allow(dead_code)] // each test file uses its own part

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use headgate_core::ledger::{
    Fingerprint, Held, Ledger, MILLION, OnContention, Refused, Rule, RuleSpec, Spend, Window,
};
use headgate_core::ports::{CasMismatch, Cells, Entropy};

/// Every world starts here: well after boot, so that no arithmetic leans on zero.
pub(crate) const START: u64 = 1_000_000_000_000_000;

type Intruder = Box<dyn FnOnce(&Memory)>;

/// Shared data, with the interference of other workers under the test's control.
#[derive(Default)]
pub(crate) struct Memory {
    values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    /// Of the next swaps, those whose bit is set lose to an invisible other writer.
    disturb: Cell<u64>,
    /// Runs between read and write of the next swap.
    intruder: RefCell<Option<Intruder>>,
    pub(crate) swaps: Cell<usize>,
}

impl Memory {
    pub(crate) fn disturb(&self, bits: u64) {
        self.disturb.set(bits);
    }

    pub(crate) fn intrude(&self, intruder: impl FnOnce(&Memory) + 'static) {
        *self.intruder.borrow_mut() = Some(Box::new(intruder));
    }

    pub(crate) fn calm(&self) {
        self.disturb.set(0);
        self.intruder.borrow_mut().take();
    }

    /// All keys and values, versions left out.
    pub(crate) fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let values = self.values.borrow();
        values
            .iter()
            .map(|(k, v)| (k.clone(), v.0.clone()))
            .collect()
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        let values = self.values.borrow();
        let bytes = values.iter().map(|(k, v)| k.len() + v.0.len()).sum();
        (values.len(), bytes)
    }

    /// The arrival time of a bucket, read from the raw bytes of its rule's sets: a header of 16 bytes, 16 for each past change of
    /// the window, then ways of fingerprint and arrival time.
    pub(crate) fn cell(&self, rule: &Rule, key: Fingerprint) -> Option<u64> {
        let values = self.values.borrow();
        let word = |b: &[u8]| u64::from_le_bytes(b[..8].try_into().unwrap());
        let table = format!("/{}/", rule.id());
        let sets = values.iter().filter(|(name, _)| name.contains(&table));
        sets.filter(|(_, (bytes, _))| bytes.len() >= 16)
            .flat_map(|(_, (bytes, _))| {
                let past = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
                bytes[16 + 16 * past..].chunks_exact(16)
            })
            .find(|way| word(way) == key.get())
            .map(|way| word(&way[8..]))
    }

    /// Where a reserve would begin.
    pub(crate) fn start(&self, rule: &Rule, key: Fingerprint, now: u64) -> u64 {
        self.cell(rule, key).unwrap_or_default().max(now)
    }
}

impl Cells for Memory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.values.borrow().get(key).cloned()
    }

    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        self.swaps.set(self.swaps.get() + 1);
        let intruder = self.intruder.borrow_mut().take();
        if let Some(intruder) = intruder {
            intruder(self);
        }
        let bits = self.disturb.get();
        self.disturb.set(bits >> 1);
        if bits & 1 == 1 {
            // Of a key that is not there, another writer was first to create it, and its set holds nobody yet.
            match self.values.borrow_mut().get_mut(key) {
                Some(value) => value.1 += 1,
                None => return Err(CasMismatch),
            }
        }
        let mut values = self.values.borrow_mut();
        let current = values.get(key).map(|v| v.1);
        if cas != current {
            return Err(CasMismatch);
        }
        values.insert(key.into(), (value.into(), current.unwrap_or(0) + 1));
        Ok(())
    }
}

/// Entropy that a test can repeat.
pub(crate) struct Dice(pub(crate) u64);

impl Entropy for Dice {
    fn next(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// A rule of one set with room for 64 keys, exact, with a debt of one window at most.
pub(crate) fn spec(id: &str, window: Window) -> RuleSpec {
    RuleSpec {
        id: id.into(),
        key: "tenant".into(),
        window,
        debt: window.span(),
        max_keys: 16,
        on_contention: OnContention::Refuse,
    }
}

/// The same with room for 8 keys.
pub(crate) fn narrow(id: &str, window: Window) -> RuleSpec {
    RuleSpec {
        max_keys: 1,
        ..spec(id, window)
    }
}

pub(crate) fn semantic() -> Window {
    Window::from_fill_ratio(300_000).unwrap()
}

/// `capacity` tokens that refill in `seconds`.
pub(crate) fn tokens(capacity: u128, seconds: u128) -> Window {
    Window::from_capacity_and_refill(capacity * MILLION, capacity * MILLION / seconds).unwrap()
}

pub(crate) fn open(spec: RuleSpec, memory: &Memory) -> Rule {
    let mut rules = Ledger::configure(vec![spec], memory, &Dice(7)).unwrap();
    rules.remove(0)
}

/// Asks for `cost` of `capacity`, in whole units.
pub(crate) fn spend<'a>(rule: &'a Rule, key: &str, cost: u128, capacity: u128) -> Spend<'a> {
    Spend {
        rule,
        key: rule.fingerprint(&[key]),
        cost: cost * MILLION,
        capacity: capacity * MILLION,
        unscaled_capacity: capacity * MILLION,
    }
}

pub(crate) fn reserve(
    ledger: &mut Ledger,
    rule: &Rule,
    key: &str,
    cost: u128,
    capacity: u128,
    now: u64,
    memory: &Memory,
) -> Result<Held, Box<Refused>> {
    ledger.reserve([spend(rule, key, cost, capacity)].into_iter(), now, memory)
}

/// One change of one bucket, ns: positive when reserved or debited, negative when given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) now: u64,
    pub(crate) change: i128,
    /// The same as exact share of `T`, ns (cost/refill).
    pub(crate) exact: f64,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Reserve,
    Refund,
    /// Used beyond what was reserved.
    Debit,
}

/// Everything admitted and given back, by bucket.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<BTreeMap<u64, Vec<Event>>>>);

impl Log {
    pub(crate) fn reserved(&self, rule: &Rule, spend: &Spend<'_>, cells: u64, now: u64) {
        let (n, d) = rule.window().exact();
        let window = n as f64 / d as f64;
        self.push(
            spend.key,
            Event {
                now,
                change: i128::from(cells) * i128::from(rule.window().period()),
                exact: spend.cost as f64 / spend.capacity as f64 * window,
                kind: Kind::Reserve,
            },
        );
    }

    pub(crate) fn debited(&self, key: Fingerprint, ns: u64, now: u64) {
        let event = Event {
            now,
            change: i128::from(ns),
            exact: 0.0,
            kind: Kind::Debit,
        };
        self.push(key, event);
    }

    pub(crate) fn refunded(&self, rule: &Rule, key: Fingerprint, ns: u64, now: u64) {
        let (n, d) = rule.window().exact();
        let share = n as f64 / d as f64 / rule.window().span() as f64;
        self.push(
            key,
            Event {
                now,
                change: -i128::from(ns),
                exact: -(ns as f64) * share,
                kind: Kind::Refund,
            },
        );
    }

    fn push(&self, key: Fingerprint, event: Event) {
        self.0
            .borrow_mut()
            .entry(key.get())
            .or_default()
            .push(event);
    }

    /// The worst excess over `T + t` of any stretch of any bucket: in whole cells over their span
    /// (must be ≤ 0 exactly), and as cost/refill over the exact `T` (≤ 0 but for float noise).
    pub(crate) fn worst(&self, window: &Window) -> (i128, f64) {
        let (n, d) = window.exact();
        let exact_window = n as f64 / d as f64;
        let mut worst = (i128::MIN, f64::MIN);
        for events in self.0.borrow().values() {
            for first in 0..events.len() {
                let (mut cells, mut exact) = (0, 0.0);
                for event in events[first..].iter().filter(|e| e.kind != Kind::Debit) {
                    let t = event.now - events[first].now;
                    cells += event.change;
                    exact += event.exact;
                    worst.0 = worst
                        .0
                        .max(cells - i128::from(window.span()) - i128::from(t));
                    worst.1 = worst.1.max(exact - exact_window - t as f64);
                }
            }
        }
        worst
    }

    /// The worst excess over `T + t` of all that was charged, debts included, from one admission to another: a debt beyond zero
    /// is paid off before anything is admitted again (must be ≤ 0).
    pub(crate) fn worst_with_debts(&self, window: &Window) -> i128 {
        let mut worst = i128::MIN;
        for events in self.0.borrow().values() {
            let admissions = || {
                let all = events.iter().enumerate();
                all.filter(|(_, e)| e.kind == Kind::Reserve)
            };
            for (first, begin) in admissions() {
                let mut charged = 0;
                for event in &events[first..] {
                    charged += event.change;
                    if event.kind == Kind::Reserve {
                        let t = event.now - begin.now;
                        worst = worst.max(charged - i128::from(window.span()) - i128::from(t));
                    }
                }
            }
        }
        worst
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().values().map(Vec::len).sum()
    }
}
