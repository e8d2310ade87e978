//! Shared memory for the tests of the ledger: cells that other writers can change between read and
//! write, and an oracle over all admitted requests.

#![allow(dead_code)] // each test file uses its own part

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use headgate_core::ledger::{
    BucketCost, Fingerprint, Ledger, MILLION, OnContention, Refused, Reservations, Rule, RuleSpec,
    Window,
};
use headgate_core::ports::{CasMismatch, Cells, Entropy};

/// The start time of all tests: long after boot, so that no arithmetic depends on zero.
pub(crate) const START: u64 = 1_000_000_000_000_000;

type Interference = Box<dyn FnOnce(&Memory)>;

/// Shared data; the test controls the interference of other workers.
#[derive(Default)]
pub(crate) struct Memory {
    values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    /// Each bit stands for one of the next swaps; if it is set, the swap loses to another writer. A reserve or a
    /// settlement tries 32 times.
    lost_swaps: Cell<u64>,
    /// Runs between read and write of the next swap.
    interference: RefCell<Option<Interference>>,
    pub(crate) swaps: Cell<usize>,
}

impl Memory {
    pub(crate) fn lose_swaps(&self, bits: u64) {
        self.lost_swaps.set(bits);
    }

    pub(crate) fn run_before_next_swap(&self, interference: impl FnOnce(&Memory) + 'static) {
        *self.interference.borrow_mut() = Some(Box::new(interference));
    }

    pub(crate) fn stop_interference(&self) {
        self.lost_swaps.set(0);
        self.interference.borrow_mut().take();
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

    /// The arrival time of a bucket, read from the raw bytes of the rule's sets: 40 bytes of header, then
    /// ways of fingerprint and arrival time.
    pub(crate) fn cell(&self, rule: &Rule, key: Fingerprint) -> Option<u64> {
        let word = |b: &[u8]| u64::from_le_bytes(b[..8].try_into().unwrap());
        let sets = self.sets(rule);
        let mut ways = sets.iter().flat_map(|set| set[40..].chunks_exact(16));
        let way = ways.find(|way| word(way) == key.get())?;
        Some(word(&way[8..]))
    }

    /// The values of the rule's sets, without those whose keys moved to others.
    pub(crate) fn sets(&self, rule: &Rule) -> Vec<Vec<u8>> {
        let table = format!("/{}(", rule.id());
        let values = self.values.borrow();
        let sets = values
            .iter()
            .filter(|(name, _)| name.contains(&table) && !name.ends_with("/widths"));
        // Byte 32 is set if the keys moved to other sets.
        let open = sets.filter(|(_, (bytes, _))| bytes[32] == 0);
        open.map(|(_, (bytes, _))| bytes.clone()).collect()
    }

    /// The time at which a reserve would start.
    pub(crate) fn start(&self, rule: &Rule, key: Fingerprint, now: u64) -> u64 {
        self.cell(rule, key).unwrap_or_default().max(now)
    }

    /// A copy of all values, for [`Memory::restore`].
    pub(crate) fn save(&self) -> BTreeMap<String, (Vec<u8>, u32)> {
        self.values.borrow().clone()
    }

    pub(crate) fn restore(&self, saved: BTreeMap<String, (Vec<u8>, u32)>) {
        *self.values.borrow_mut() = saved;
    }

    /// Replaces every value by one that is not a set.
    pub(crate) fn corrupt(&self) {
        let mut values = self.values.borrow_mut();
        values
            .values_mut()
            .for_each(|value| value.0 = b"x".to_vec());
    }
}

impl Cells for Memory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.values.borrow().get(key).cloned()
    }

    fn swap(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), CasMismatch> {
        self.swaps.set(self.swaps.get() + 1);
        let interference = self.interference.borrow_mut().take();
        if let Some(interference) = interference {
            interference(self);
        }
        let bits = self.lost_swaps.get();
        self.lost_swaps.set(bits >> 1);
        if bits & 1 == 1 {
            if let Some(value) = self.values.borrow_mut().get_mut(key) {
                value.1 += 1;
            }
            return Err(CasMismatch);
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
pub(crate) struct FixedEntropy(pub(crate) u64);

impl Entropy for FixedEntropy {
    fn next(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// A rule of one set of up to 64 keys, without debt beyond one window.
pub(crate) fn spec(id: &str, window: Window) -> RuleSpec {
    RuleSpec {
        id: id.into(),
        key: "tenant".into(),
        window,
        max_debt: window.debt(Some(1_000_000)),
        max_keys: 16,
        on_contention: OnContention::Refuse,
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
    let mut rules = Ledger::configure(vec![spec], memory, &FixedEntropy(7)).unwrap();
    rules.remove(0)
}

/// The cost `cost` in a bucket of `capacity`, in whole units.
pub(crate) fn bucket_cost<'a>(
    rule: &'a Rule,
    key: &str,
    cost: u128,
    capacity: u128,
) -> BucketCost<'a> {
    BucketCost {
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
) -> Result<Reservations, Box<Refused>> {
    ledger.reserve(
        [bucket_cost(rule, key, cost, capacity)].into_iter(),
        now,
        memory,
    )
}

/// Fills the rest of a set of 64 ways after `others` keys, with `cost` of 100 for each key.
pub(crate) fn fill_set(rule: &Rule, others: usize, cost: u128, now: u64, memory: &Memory) {
    let mut ledger = Ledger::new();
    for key in others..64 {
        let key = format!("crowd {key}");
        reserve(&mut ledger, rule, &key, cost, 100, now, memory).unwrap();
    }
}

/// One change of one bucket in ns: positive for a charge, negative for a refund.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) now: u64,
    pub(crate) change: i128,
    /// The same as exact share of `T`, ns (cost/refill).
    pub(crate) exact: f64,
    /// It admitted a request.
    pub(crate) reserve: bool,
}

/// All reserves, refunds and later debits, by bucket.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<BTreeMap<u64, Vec<Event>>>>);

impl Log {
    pub(crate) fn reserved(&self, rule: &Rule, bucket_cost: &BucketCost<'_>, cells: u64, now: u64) {
        let (n, d) = rule.window().exact();
        let window = n as f64 / d as f64;
        self.push(
            bucket_cost.key,
            Event {
                now,
                change: i128::from(cells) * i128::from(rule.window().period()),
                exact: bucket_cost.cost as f64 / bucket_cost.capacity as f64 * window,
                reserve: true,
            },
        );
    }

    /// A settlement: negative for a refund.
    pub(crate) fn settled(&self, rule: &Rule, key: Fingerprint, ns: i128, now: u64) {
        let (n, d) = rule.window().exact();
        let share = n as f64 / d as f64 / rule.window().span() as f64;
        self.push(
            key,
            Event {
                now,
                change: ns,
                exact: ns as f64 * share,
                reserve: false,
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

    /// The greatest excess over `T + t` of any interval of any bucket that ends with an admitted request, with
    /// all use above reserves before it: in whole cells over their span (must be ≤ 0 exactly), and as
    /// cost/refill over the exact `T` (≤ 0 except float noise). Changes after the last admitted request of an
    /// interval are the excess of the requests in flight.
    pub(crate) fn worst(&self, window: &Window) -> (i128, f64) {
        let (n, d) = window.exact();
        let exact_window = n as f64 / d as f64;
        let mut worst = (i128::MIN, f64::MIN);
        for events in self.0.borrow().values() {
            for first in (0..events.len()).filter(|first| events[*first].reserve) {
                let (mut cells, mut exact) = (0, 0.0);
                for event in &events[first..] {
                    let t = event.now - events[first].now;
                    cells += event.change;
                    exact += event.exact;
                    if event.reserve {
                        let over = cells - i128::from(window.span()) - i128::from(t);
                        worst.0 = worst.0.max(over);
                        worst.1 = worst.1.max(exact - exact_window - t as f64);
                    }
                }
            }
        }
        worst
    }

    /// The debit of a bucket since it last admitted a request, ns.
    pub(crate) fn excess(&self, key: Fingerprint) -> i128 {
        let log = self.0.borrow();
        let events = log.get(&key.get()).map_or(&[][..], Vec::as_slice);
        let since = events.iter().rev().take_while(|event| !event.reserve);
        since.map(|event| event.change.max(0)).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().values().map(Vec::len).sum()
    }
}
