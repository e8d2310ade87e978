//! A sorted map by name that equal streams share.
//!
//! Proxies of one scope hold the same resources and subscribe to the same names. So the content of a map is a list that all maps
//! of equal content share, and changes on top of it that belong to one map alone. [`SharedMap::compact`] folds the changes into a
//! list, and asks a pool for an equal one.
//!
//! Invariant: sharing is invisible. A change to one map is never seen by another.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The part of the shared list, as a divisor, that may have changed before the changes are folded. It bounds the work: a fold of
/// `n` names follows at least `n / 16` changes. The changes of a list of fewer names are folded at once.
const CHANGED_PART: usize = 16;
/// Lists in a pool before those that are no longer in use are looked for.
const MIN_SWEEP: usize = 16;

type List<V> = Vec<(Arc<str>, V)>;

/// A value of a shared map.
pub(super) trait Shareable: Clone {
    /// Whether both are the same, in every respect that matters to a session.
    fn is_same(&self, other: &Self) -> bool;
    /// Enters what [`Shareable::is_same`] compares into a hash.
    fn hash(&self, hasher: &mut impl Hasher);
}

impl Shareable for () {
    fn is_same(&self, (): &Self) -> bool {
        true
    }

    fn hash(&self, _: &mut impl Hasher) {}
}

/// See the head of the module.
#[derive(Clone, Debug)]
pub(super) struct SharedMap<V> {
    shared: Arc<List<V>>,
    /// Names that this map has and the list has not, or in another value; `None` for a name that only the list has.
    changes: BTreeMap<Arc<str>, Option<V>>,
    len: usize,
}

impl<V> Default for SharedMap<V> {
    fn default() -> Self {
        Self {
            shared: Arc::default(),
            changes: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<V: Clone> SharedMap<V> {
    /// The number of names.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn listed(&self, name: &str) -> Option<&(Arc<str>, V)> {
        let at = self.shared.binary_search_by(|(n, _)| (**n).cmp(name));
        self.shared.get(at.ok()?)
    }

    fn in_list(&self, name: &str) -> Option<&V> {
        self.listed(name).map(|(_, value)| value)
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        match self.changes.get(name) {
            Some(changed) => changed.as_ref(),
            None => self.in_list(name),
        }
    }

    /// Whether it has a name.
    pub(super) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of a name, to be changed in this map alone.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        if !self.changes.contains_key(name) {
            let (name, value) = self.listed(name)?.clone();
            self.changes.insert(name, Some(value));
        }
        self.changes.get_mut(name)?.as_mut()
    }

    /// The value of a name, which is added if it is missing.
    pub(super) fn get_or_insert_with(
        &mut self,
        name: &Arc<str>,
        value: impl FnOnce() -> V,
    ) -> &mut V {
        if !self.changes.contains_key(name) {
            let listed = self.in_list(name).cloned();
            self.changes.insert(name.clone(), listed);
        }
        let entry = self.changes.entry(name.clone()).or_default();
        self.len += usize::from(entry.is_none());
        entry.get_or_insert_with(value)
    }

    /// Sets the value of a name. Returns whether the name is new.
    pub(super) fn insert(&mut self, name: &Arc<str>, value: V) -> bool {
        let is_new = !self.contains_key(name);
        self.len += usize::from(is_new);
        self.changes.insert(name.clone(), Some(value));
        is_new
    }

    /// Removes a name. Returns whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        if !self.contains_key(name) {
            return false;
        }
        self.len -= 1;
        if let Some((name, _)) = self.listed(name) {
            self.changes.insert(name.clone(), None);
        } else {
            self.changes.remove(name);
        }
        true
    }

    /// All names and values, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        let mut listed = self.shared.iter().peekable();
        let mut changed = self.changes.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let takes_listed = match (listed.peek(), changed.peek()) {
                    (Some((name, _)), Some((other, _))) => name < *other,
                    (next, _) => next.is_some(),
                };
                if takes_listed {
                    return listed.next().map(|(name, value)| (name, value));
                }
                let (name, value) = changed.next()?;
                listed.next_if(|(other, _)| other == name);
                if let Some(value) = value {
                    return Some((name, value));
                }
            }
        })
    }

    /// All names, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.iter().map(|(name, _)| name)
    }

    /// All values, by name.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<V: Shareable> SharedMap<V> {
    /// Whether enough has changed to be worth a fold.
    pub(super) fn may_compact(&self) -> bool {
        self.changes.len() > self.shared.len() / CHANGED_PART
    }

    /// Folds the changes into a list that equal maps share. `settled` is what stays of a value; where it is `None` for one value,
    /// nothing happens.
    pub(super) fn compact(&mut self, pool: &Pool<V>, settled: impl Fn(&V) -> Option<V>) {
        let list = self.iter();
        let list: Option<List<V>> = list
            .map(|(name, value)| Some((name.clone(), settled(value)?)))
            .collect();
        if let Some(list) = list {
            self.shared = pool.share(list);
            self.changes = BTreeMap::new();
        }
    }
}

/// The lists in use, by content.
#[derive(Debug)]
pub(super) struct Pool<V>(Mutex<Lists<V>>);

#[derive(Debug)]
struct Lists<V> {
    by_hash: HashMap<u64, Vec<Weak<List<V>>>>,
    /// The number of hashes at which lists that are no longer in use are looked for.
    sweep_at: usize,
}

impl<V> Default for Pool<V> {
    fn default() -> Self {
        Self(Mutex::new(Lists {
            by_hash: HashMap::new(),
            sweep_at: MIN_SWEEP,
        }))
    }
}

impl<V: Shareable> Pool<V> {
    /// The list in use that equals this one, or this one.
    fn share(&self, mut list: List<V>) -> Arc<List<V>> {
        let mut hasher = DefaultHasher::new();
        for (name, value) in &list {
            name.hash(&mut hasher);
            value.hash(&mut hasher);
        }
        let equals = |other: &List<V>| {
            let mut pairs = list.iter().zip(other);
            list.len() == other.len() && pairs.all(|(a, b)| a.0 == b.0 && a.1.is_same(&b.1))
        };
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_hash = lists.by_hash.entry(hasher.finish()).or_default();
        let mut in_use = of_hash.iter().filter_map(Weak::upgrade);
        if let Some(same) = in_use.find(|other| equals(other)) {
            return same;
        }
        list.shrink_to_fit();
        let list = Arc::new(list);
        of_hash.push(Arc::downgrade(&list));
        if lists.by_hash.len() >= lists.sweep_at {
            lists.by_hash.retain(|_, of_hash| {
                of_hash.retain(|list| list.strong_count() > 0);
                !of_hash.is_empty()
            });
            lists.sweep_at = (2 * lists.by_hash.len()).max(MIN_SWEEP);
        }
        list
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Shareable for u8 {
        fn is_same(&self, other: &Self) -> bool {
            self == other
        }

        fn hash(&self, hasher: &mut impl Hasher) {
            hasher.write_u8(*self);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8),
        Remove,
        Change(u8),
        Add(u8),
        Compact,
    }

    fn step() -> impl Strategy<Value = (bool, u8, Step)> {
        let step = prop_oneof![
            3 => any::<u8>().prop_map(Step::Insert),
            2 => Just(Step::Remove),
            2 => any::<u8>().prop_map(Step::Change),
            1 => any::<u8>().prop_map(Step::Add),
            1 => Just(Step::Compact),
        ];
        (any::<bool>(), 0..12_u8, step)
    }

    proptest! {
        /// Two maps of one pool behave like two maps that share nothing.
        #[test]
        fn a_change_to_one_map_is_never_seen_by_another(steps in prop::collection::vec(step(), 0..80)) {
            let pool = Pool::default();
            let mut maps: [SharedMap<u8>; 2] = Default::default();
            let mut models: [BTreeMap<Arc<str>, u8>; 2] = Default::default();
            for (second, name, step) in steps {
                let (map, model) = (&mut maps[usize::from(second)], &mut models[usize::from(second)]);
                let name: Arc<str> = name.to_string().into();
                match step {
                    Step::Insert(v) => prop_assert_eq!(map.insert(&name, v), model.insert(name, v).is_none()),
                    Step::Remove => prop_assert_eq!(map.remove(&name), model.remove(&name).is_some()),
                    Step::Change(v) => {
                        if let Some(value) = map.get_mut(&name) { *value = v; }
                        if let Some(value) = model.get_mut(&name) { *value = v; }
                    }
                    Step::Add(v) => {
                        let added = *map.get_or_insert_with(&name, || v);
                        prop_assert_eq!(added, *model.entry(name).or_insert(v));
                    }
                    Step::Compact => map.compact(&pool, |v| Some(*v)),
                }
                for (map, model) in maps.iter().zip(&models) {
                    prop_assert_eq!(map.len(), model.len());
                    prop_assert!(map.iter().eq(model.iter()));
                    for name in (0..12).map(|n: u8| n.to_string()) {
                        prop_assert_eq!(map.get(&name), model.get(&*name));
                    }
                }
            }
        }
    }

    #[test]
    fn equal_maps_share_their_list_and_the_pool_forgets_lists_that_are_not_in_use() {
        let pool = Pool::default();
        let map = |value: u8| {
            let mut map = SharedMap::default();
            for n in 0..100 {
                map.insert(&n.to_string().into(), value);
            }
            map.compact(&pool, |v| Some(*v));
            map
        };
        let (one, two, other) = (map(1), map(1), map(2));
        assert!(Arc::ptr_eq(&one.shared, &two.shared) && !Arc::ptr_eq(&one.shared, &other.shared));
        for value in 0..=255 {
            drop(map(value));
        }
        assert!(pool.0.lock().unwrap().by_hash.len() <= MIN_SWEEP);
    }
}
