//! The state of a model that is kept between plans: its base, the carriers that had their full share, and the names of deleted
//! carriers.
//!
//! The `ServedModel` object of a model stores it, so it is an input of the plan like any other object. Invariant: the next memory
//! is a function of the last one, the objects, the plan and the time.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{Duration, ServedModelSpec, Version};

use crate::levels::{CarrierState, Levels, handed_over, is_older};
use crate::registry::{Member, Model};
use crate::{CarrierKey, ModelKey, Objects, Plan, WrittenBase};

/// A `ServedModel`: the `spec` that people write, and the memory that its `status` stores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelRecord {
    /// What people write. Every field is optional.
    pub spec: ServedModelSpec,
    /// What `status` stores.
    pub memory: Memory,
    /// The name of the object; `None` where the API server has none.
    pub object: Option<String>,
    /// The base that somebody wrote over the stored one.
    pub written: Option<WrittenBase>,
}

/// The state of a model that is kept between plans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// The base, by carrier as `kind/name`.
    pub base: BTreeMap<String, StoredCarrier>,
    /// The previous base, by carrier as `kind/name`: it stands by beside the promoted one.
    pub previous: BTreeMap<String, StoredCarrier>,
    /// Carriers, as `kind/name`, that had their full share. They keep it down to half of `minReadyPercent`.
    pub full_share: BTreeSet<String>,
    /// Names that clients write for the model, also those that no carrier declares any more.
    pub names: BTreeMap<String, StoredName>,
    /// Since when a carrier that is not the oldest acts as the base and no base is stored, in Unix seconds.
    pub provisional_since: Option<i64>,
}

/// A carrier of the base.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredCarrier {
    /// The versions that it had.
    pub versions: BTreeSet<Version>,
    /// Since when neither it nor one of its versions is declared, in Unix seconds.
    pub undeclared_since: Option<i64>,
}

/// A name that clients write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredName {
    /// The carriers, as `kind/name`, that declare it; if none does, those that declared it last.
    pub carriers: BTreeSet<String>,
    /// Since when none of these carriers exists, in Unix seconds.
    pub gone_since: Option<i64>,
}

/// Default of `baseGrace`: how long a base is kept that no object declares any more.
const BASE_GRACE: Duration = Duration::from_seconds(5 * 60);
/// Default of `aliasGrace`: how long a name is kept after all its carriers are deleted.
const ALIAS_GRACE: Duration = Duration::from_seconds(24 * 60 * 60);

/// What a plan contributes to a model's next memory, regardless of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryUpdate {
    /// The base to store at once.
    pub base: Option<BTreeMap<String, BTreeSet<Version>>>,
    /// The base to store if it still is one after `baseGrace`: older carriers are not ready.
    pub provisional: Option<BTreeMap<String, BTreeSet<Version>>>,
    /// The base is a promoted one, so that the base before it stands by.
    pub promoted: bool,
    /// The carriers that stand by beside a promoted base.
    pub standby: BTreeMap<String, BTreeSet<Version>>,
    /// Carriers, as `kind/name`, that take their full share.
    pub full_share: BTreeSet<String>,
    /// Every carrier of the model, as `kind/name`.
    pub carriers: BTreeSet<String>,
    /// Every version of the model.
    pub versions: BTreeSet<Version>,
    /// The carriers that declare each name.
    pub names: BTreeMap<String, BTreeSet<String>>,
    /// Why the written base is refused.
    pub refused_base: Option<String>,
}

impl Model {
    /// Whether a member is of the stored base: by its name, or by a version of a carrier of the base that is not declared.
    pub(crate) fn is_of_stored_base(&self, member: &Member) -> bool {
        self.is_in(&self.memory.base, member)
    }

    /// Whether a member is of the base before the promoted one.
    pub(crate) fn is_of_previous_base(&self, member: &Member) -> bool {
        self.is_in(&self.memory.previous, member)
    }

    fn is_in(&self, base: &BTreeMap<String, StoredCarrier>, member: &Member) -> bool {
        if base.is_empty() {
            return false;
        }
        let declared = |carrier: &String| self.carriers.iter().any(|c| c.identity() == *carrier);
        let has_version = |base: &StoredCarrier| {
            let mut versions = base.versions.iter();
            versions.any(|version| member.versions.contains_key(version))
        };
        let mut missing = base
            .iter()
            .filter(|(carrier, base)| has_version(base) && !declared(carrier));
        base.contains_key(&member.key.identity()) || missing.next().is_some()
    }

    /// The first carrier of the stored base, for messages; `or` where nothing is stored.
    pub(crate) fn stored_base_key(&self, or: &Member) -> CarrierKey {
        let first = self.memory.base.keys().next();
        let parts = first.and_then(|identity| identity.split_once('/'));
        parts.map_or_else(
            || or.key.clone(),
            |(kind, name)| CarrierKey {
                namespace: or.key.namespace.clone(),
                kind: kind.to_owned(),
                name: name.to_owned(),
            },
        )
    }

    /// Whether enough of a carrier is ready for its full share. One that had it keeps it down to half of the line, so that a
    /// pod that comes and goes at the line moves nobody.
    pub(crate) fn whole(&self, member: &Member) -> bool {
        let ready = u64::from(member.ready_endpoints()) * 100;
        let line = u64::from(member.desired) * u64::from(self.min_ready_percent);
        let had = self.memory.full_share.contains(&member.key.identity());
        ready >= line || (had && ready * 2 >= line)
    }

    /// Replicas that a carrier of the base counts as when the base is split.
    pub(crate) fn replicas(&self, member: &Member) -> u32 {
        match self.whole(member) {
            true => member.desired.max(1),
            false => member.ready_endpoints().max(1),
        }
    }

    /// What these levels contribute to the next memory.
    pub(crate) fn memory_update(&self, levels: &Levels) -> MemoryUpdate {
        let members = &self.members;
        let entries = |indices: &[usize]| -> BTreeMap<String, BTreeSet<Version>> {
            let entry = |i: &usize| {
                let member = &members[*i];
                (
                    member.key.identity(),
                    member.versions.keys().cloned().collect(),
                )
            };
            indices.iter().map(entry).collect()
        };
        let of_level = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..members.len()).filter(|i| wanted(*i)).collect()
        };
        let full = |i: usize| members[i].takes() && self.whole(&members[i]);
        let mut promoted = of_level(&|i| levels.weights[i] == Some(100) && full(i));
        if !promoted.is_empty() {
            // A short loss of readiness must not drop a carrier from the base.
            promoted = of_level(&|i| {
                levels.weights[i] == Some(100) && (full(i) || self.is_of_stored_base(&members[i]))
            });
        }
        let stable =
            of_level(&|i| levels.weights[i].is_none() && levels.states[i] == CarrierState::Base);
        let ready = stable.iter().any(|i| members[*i].takes());
        let oldest = members
            .iter()
            .zip(&levels.weights)
            .find(|(_, w)| w.is_none())
            .map(|(m, _)| m);
        let old_enough = |i: &usize| oldest.is_some_and(|oldest| !is_older(oldest, &members[*i]));
        let (mut base, mut provisional) = (None, None);
        if !promoted.is_empty() {
            base = Some(entries(&promoted));
        } else if handed_over(self, &levels.weights) && ready {
            base = Some(entries(&stable));
        } else if !self.memory.base.is_empty() {
            // A canary that has the base's version while its carrier is recreated does not become the base by that.
            let named = |member: &Member| self.memory.base.contains_key(&member.key.identity());
            let weighted = |i: usize| levels.weights[i].is_some_and(|percent| percent < 100);
            let stored = of_level(&|i| self.is_of_stored_base(&members[i]));
            let of_base = |i: &usize| named(&members[*i]) || !weighted(*i);
            let replaced = !stored.is_empty() && !stored.iter().any(of_base);
            let known = of_level(&|i| {
                (stored.contains(&i) && of_base(&i))
                    || (stable.contains(&i) && members[i].joins && members[i].takes())
            });
            base = (!known.is_empty() && !replaced).then(|| entries(&known));
        } else if ready {
            let serving: Vec<usize> = stable
                .iter()
                .copied()
                .filter(|i| members[*i].takes())
                .collect();
            match serving.iter().any(old_enough) {
                // Of equally old versions the one that is ready first is not the base alone.
                true => {
                    base = Some(entries(&of_level(&|i| {
                        serving.contains(&i) || (stable.contains(&i) && !members[i].joins)
                    })))
                }
                false => provisional = Some(entries(&serving)),
            }
        }
        let identity = |i: usize| members[i].key.identity();
        let of_base = |i: &usize| levels.base.contains(i) && full(*i);
        MemoryUpdate {
            base,
            provisional,
            promoted: !promoted.is_empty(),
            standby: entries(&of_level(&|i| levels.states[i] == CarrierState::Standby)),
            full_share: (0..members.len()).filter(of_base).map(identity).collect(),
            carriers: self.carriers.iter().map(CarrierKey::identity).collect(),
            versions: members
                .iter()
                .flat_map(|m| m.versions.keys().cloned())
                .collect(),
            names: self.declared_names.clone(),
            refused_base: self.refused_base.clone(),
        }
    }
}

/// The memories that follow from this plan at this moment, by namespace and model, for every model of the plan.
#[must_use]
pub fn next_memories(
    plan: &Plan,
    objects: &Objects,
    unix_seconds: i64,
) -> BTreeMap<ModelKey, Memory> {
    let unsaid = ModelRecord::default();
    let models = plan.namespaces.iter().flat_map(|(namespace, view)| {
        let models = view.models.iter();
        models.map(move |(id, model)| ((namespace.clone(), id.clone()), model))
    });
    models
        .map(|(key, model)| {
            let served = objects.served_models.get(&key).unwrap_or(&unsaid);
            let hidden = |carrier: &String| objects.unread.may_hide(&key.0, carrier);
            let at = Moment {
                now: unix_seconds,
                hidden: &hidden,
            };
            let memory = follow(served, &model.memory_update, &model.plan.names, at);
            (key, memory)
        })
        .collect()
}

/// The next moment after this one, in Unix seconds, at which time alone changes the memory of a model of the plan; `None`: never.
#[must_use]
pub fn next_memory_change(plan: &Plan, objects: &Objects, unix_seconds: i64) -> Option<i64> {
    let planned = |(namespace, id): &ModelKey| plan.namespaces.get(namespace)?.models.get(id);
    let models = objects.served_models.iter();
    let models = models.filter_map(|(key, served)| Some((planned(key)?, served)));
    let due = models.flat_map(|(model, served)| {
        let memory = served.effective_memory(model.memory_update.refused_base.is_some());
        let spec = &served.spec;
        let base = memory.base.values().chain(memory.previous.values());
        let undeclared = base.filter_map(|carrier| carrier.undeclared_since);
        let undeclared = undeclared.chain(memory.provisional_since);
        let gone = memory.names.values().filter_map(|name| name.gone_since);
        let (base_grace, alias_grace) = (base_grace(spec), alias_grace(spec));
        let due: Vec<i64> = undeclared
            .map(|since| since.saturating_add(base_grace))
            .chain(gone.map(|since| since.saturating_add(alias_grace)))
            .collect();
        due
    });
    // An entry that is due and still there is kept for a reason other than time.
    due.filter(|at| *at > unix_seconds).min()
}

fn base_grace(spec: &ServedModelSpec) -> i64 {
    seconds(spec.base_grace.unwrap_or(BASE_GRACE))
}

fn alias_grace(spec: &ServedModelSpec) -> i64 {
    seconds(spec.alias_grace.unwrap_or(ALIAS_GRACE))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.seconds()).unwrap_or(i64::MAX)
}

/// The moment of a step from one memory to the next, and the carriers that cannot be read then.
#[derive(Clone, Copy)]
struct Moment<'a> {
    /// In Unix seconds.
    now: i64,
    /// Whether a carrier may be there although no object declares it.
    hidden: &'a dyn Fn(&String) -> bool,
}

fn follow(served: &ModelRecord, update: &MemoryUpdate, names: &[String], at: Moment<'_>) -> Memory {
    let before = &served.effective_memory(update.refused_base.is_some());
    let grace = base_grace(&served.spec);
    let fresh = |base: &BTreeMap<String, BTreeSet<Version>>| -> BTreeMap<String, StoredCarrier> {
        let entry = |(carrier, versions): (&String, &BTreeSet<Version>)| {
            let versions = versions.clone();
            let entry = StoredCarrier {
                versions,
                undeclared_since: None,
            };
            (carrier.clone(), entry)
        };
        base.iter().map(entry).collect()
    };
    let kept = |base: &BTreeMap<String, StoredCarrier>| declared(base, update, grace, at);
    let mut after = Memory {
        base: kept(&before.base),
        previous: kept(&before.previous),
        full_share: update.full_share.clone(),
        names: self::names(before, update, names, alias_grace(&served.spec), at),
        provisional_since: None,
    };
    if let Some(base) = &update.base {
        let base = fresh(base);
        // What a promotion leaves behind stands by. A carrier under another name leaves nothing: its version is the same.
        let stays = |(carrier, stored): &(&String, &StoredCarrier)| {
            let mut versions = stored.versions.iter();
            base.contains_key(*carrier)
                || versions.any(|version| base.values().any(|b| b.versions.contains(version)))
        };
        let left = after.base.iter().filter(|entry| !stays(entry));
        let left: BTreeMap<String, StoredCarrier> = left
            .map(|(carrier, r)| (carrier.clone(), r.clone()))
            .collect();
        if update.promoted && before.base.is_empty() && before.previous.is_empty() {
            after.previous = fresh(&update.standby);
        } else if update.promoted && !left.is_empty() {
            after.previous = left;
        }
        // A carrier of the base that is missing for less than the grace is still of the base.
        if !update.promoted && base.keys().any(|carrier| after.base.contains_key(carrier)) {
            after.base.extend(base);
        } else {
            after.base = base;
        }
    } else if let Some(provisional) = &update.provisional {
        let since = before.provisional_since.unwrap_or(at.now);
        match at.now.saturating_sub(since) >= grace {
            true => after.base = fresh(provisional),
            false => after.provisional_since = Some(since),
        }
    }
    // Nothing is left of a base that was promoted: the one before it is the base again.
    let forgotten = after.base.is_empty() && !before.base.is_empty() && update.base.is_none();
    if forgotten && after.provisional_since.is_none() {
        after.base = std::mem::take(&mut after.previous);
        after
            .base
            .retain(|_, carrier| carrier.undeclared_since.is_none());
    }
    after
}

/// The stored carriers without those that have not been declared for the grace, neither by name nor by a version.
fn declared(
    base: &BTreeMap<String, StoredCarrier>,
    update: &MemoryUpdate,
    grace: i64,
    at: Moment<'_>,
) -> BTreeMap<String, StoredCarrier> {
    let mut kept = BTreeMap::new();
    for (carrier, stored) in base {
        let there = update.carriers.contains(carrier)
            || (at.hidden)(carrier)
            || stored.versions.iter().any(|v| update.versions.contains(v));
        let since = (!there).then(|| stored.undeclared_since.unwrap_or(at.now));
        if since.is_some_and(|since| at.now.saturating_sub(since) >= grace) {
            continue;
        }
        let entry = StoredCarrier {
            versions: stored.versions.clone(),
            undeclared_since: since,
        };
        kept.insert(carrier.clone(), entry);
    }
    kept
}

/// The declared names, and those whose carriers are all gone that the plan still has.
fn names(
    before: &Memory,
    update: &MemoryUpdate,
    planned: &[String],
    grace: i64,
    at: Moment<'_>,
) -> BTreeMap<String, StoredName> {
    let declared = update.names.iter().map(|(name, carriers)| {
        let (carriers, gone_since) = (carriers.clone(), None);
        (
            name.clone(),
            StoredName {
                carriers,
                gone_since,
            },
        )
    });
    let mut names: BTreeMap<String, StoredName> = declared
        .filter(|(name, _)| planned.contains(name))
        .collect();
    for (name, stored) in &before.names {
        let hidden = stored.carriers.iter().any(at.hidden);
        let since = stored.gone_since.unwrap_or(at.now);
        let lasts = hidden || at.now.saturating_sub(since) < grace;
        if lasts && planned.contains(name) && !names.contains_key(name) {
            let carriers = stored.carriers.clone();
            let gone_since = (!hidden).then_some(since);
            names.insert(
                name.clone(),
                StoredName {
                    carriers,
                    gone_since,
                },
            );
        }
    }
    names
}
