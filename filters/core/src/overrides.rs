//! Overrides of a bucket: other capacities for some values of its key, such as tenants.
//!
//! Overrides are grouped by the key parts that they match. A request is looked up once in each group, by the keyed hash that also
//! identifies buckets ([`Fingerprint`](crate::ledger::Fingerprint)), so the number of overrides does not matter to it.

use std::borrow::Cow;

use headgate_contract::{Attribute, Bucket, Decimal, OverrideCapacity};

use crate::ledger::Rule;
use crate::refusal::Refusal;
use crate::tags::encoded;

/// The overrides of a bucket.
#[derive(Debug)]
pub(crate) struct Overrides {
    /// Those that match the most parts first.
    groups: Vec<Group>,
}

/// The overrides that match the same parts.
#[derive(Debug)]
struct Group {
    /// In the order of [`Attribute`].
    parts: Vec<Attribute>,
    table: Table,
}

/// An override.
#[derive(Debug)]
struct Entry {
    /// Its place in the policy: the first of equally exact ones applies.
    place: usize,
    capacity: Capacity,
}

/// The capacity of an override.
#[derive(Debug)]
pub(crate) enum Capacity {
    /// No request passes, for this reason.
    Suspended(Option<String>),
    /// Millionths of a token, and the rule if the fill time differs from the bucket's.
    Tokens(u64, Option<Rule>),
    /// Millionths of the capacity of the bucket.
    Scaled(u64),
}

/// Entries by the hash of their values.
type Entries = Vec<(u64, Entry)>;

/// The value of a part of a key.
type PartValue<'f, 'a> = dyn Fn(&Attribute) -> Result<Cow<'a, str>, Box<Refusal>> + 'f;

impl Overrides {
    /// The overrides of a bucket; `None` if it has none. `open` makes the rule of another fill time.
    ///
    /// # Errors
    /// The first error of `open`.
    pub(crate) fn new<E>(
        bucket: &Bucket,
        rule: &Rule,
        mut open: impl FnMut(&Decimal, &Decimal) -> Result<Option<Rule>, E>,
    ) -> Result<Option<Self>, E> {
        let mut groups: Vec<(Vec<Attribute>, Entries)> = Vec::new();
        for (place, o) in bucket.overrides.iter().enumerate() {
            let mut hash = rule.key();
            for value in o.matches.values() {
                hash.part(&encoded(value.as_bytes()));
            }
            let capacity = match &o.capacity {
                OverrideCapacity::Suspended { reason } => Capacity::Suspended(reason.clone()),
                OverrideCapacity::Scale(scale) => Capacity::Scaled(scale.millionths()),
                OverrideCapacity::Tokens {
                    capacity,
                    refill_per_second,
                } => {
                    let own = refill_per_second.as_ref();
                    let rule = own.map_or(Ok(None), |refill| open(capacity, refill))?;
                    Capacity::Tokens(capacity.millionths(), rule)
                }
            };
            let entry = (hash.finish().get(), Entry { place, capacity });
            let same = |parts: &[Attribute]| parts.iter().eq(o.matches.keys());
            match groups.iter_mut().find(|(parts, _)| same(parts)) {
                Some((_, entries)) => entries.push(entry),
                None => groups.push((o.matches.keys().cloned().collect(), vec![entry])),
            }
        }
        groups.sort_by_key(|(parts, _)| std::cmp::Reverse(parts.len()));
        let groups: Vec<_> = groups
            .into_iter()
            .map(|(parts, entries)| Group {
                parts,
                table: Table::new(entries),
            })
            .collect();
        Ok((!groups.is_empty()).then_some(Self { groups }))
    }

    /// The override for a key: the one that matches the most parts; of several, the first one.
    ///
    /// # Errors
    /// That of `value`, which gives the value of a part of the key.
    pub(crate) fn find<'a>(
        &self,
        rule: &Rule,
        value: &PartValue<'_, 'a>,
    ) -> Result<Option<&Capacity>, Box<Refusal>> {
        let mut best: Option<(usize, &Entry)> = None;
        for group in &self.groups {
            if best.is_some_and(|(parts, _)| parts > group.parts.len()) {
                break;
            }
            let mut hash = rule.key();
            for part in &group.parts {
                hash.part(&value(part)?);
            }
            if let Some(entry) = group.table.get(hash.finish().get())
                && best.is_none_or(|(_, first)| entry.place < first.place)
            {
                best = Some((group.parts.len(), entry));
            }
        }
        Ok(best.map(|(_, entry)| &entry.capacity))
    }
}

/// Entries by hash: open addressing, at most half full.
#[derive(Debug)]
struct Table {
    /// A power of two of places, each with the index of an entry or [`EMPTY`].
    places: Vec<u32>,
    entries: Vec<(u64, Entry)>,
}

/// No entry has this index.
const EMPTY: u32 = u32::MAX;

impl Table {
    fn new(entries: Vec<(u64, Entry)>) -> Self {
        let size = (entries.len() * 2).next_power_of_two();
        let mut places = vec![EMPTY; size];
        for (index, (hash, _)) in (0..).zip(&entries) {
            let mut place = first(*hash, size);
            while let Some(taken) = places.get_mut(place) {
                if *taken == EMPTY {
                    *taken = index;
                    break;
                }
                place = next(place, size);
            }
        }
        Self { places, entries }
    }

    fn get(&self, hash: u64) -> Option<&Entry> {
        let size = self.places.len();
        let mut place = first(hash, size);
        // An empty place ends the search: there is always one.
        loop {
            let index = *self.places.get(place)?;
            let (known, entry) = self.entries.get(index as usize)?;
            if *known == hash {
                return Some(entry);
            }
            place = next(place, size);
        }
    }
}

/// The place where the search for a hash begins.
fn first(hash: u64, size: usize) -> usize {
    hash as usize & size.saturating_sub(1)
}

/// The place after this one.
fn next(place: usize, size: usize) -> usize {
    (place + 1) & size.saturating_sub(1)
}
