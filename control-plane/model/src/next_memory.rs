//! Memory, plan and time → the next memory of each model.
//!
//! Invariant: the next memory is a function of the last one, the objects, the plan and the time.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{Duration, ServedModelSpec, Version};

use crate::memory::{Memory, ModelRecord, StoredCarrier, StoredName};
use crate::memory_update::MemoryUpdate;
use crate::{ModelKey, Objects, Plan};

/// Default of `baseGrace`: time for which a base is kept that no object declares.
const BASE_GRACE: Duration = Duration::from_seconds(5 * 60);
/// Default of `aliasGrace`: time for which a name is kept after all its carriers are deleted.
const ALIAS_GRACE: Duration = Duration::from_seconds(24 * 60 * 60);

/// The memories after this plan at this time, by namespace and model, for every model of the plan.
#[must_use]
pub fn next_memories(
    plan: &Plan,
    objects: &Objects,
    unix_seconds: i64,
) -> BTreeMap<ModelKey, Memory> {
    let no_record = ModelRecord::default();
    let models = plan.namespaces.iter().flat_map(|(namespace, view)| {
        let models = view.models.iter();
        models.map(move |(id, model)| ((namespace.clone(), id.clone()), model))
    });
    models
        .map(|(key, model)| {
            let record = objects.served_models.get(&key).unwrap_or(&no_record);
            let is_unread = |carrier: &String| objects.unread.may_hide(&key.0, carrier);
            let at = StepContext {
                now: unix_seconds,
                is_unread: &is_unread,
            };
            let memory = next(record, &model.memory_update, &model.plan.names, at);
            (key, memory)
        })
        .collect()
}

/// The next time, in Unix seconds, at which time alone changes the memory of a model of the plan. `None` means never.
#[must_use]
pub fn next_memory_change(plan: &Plan, objects: &Objects, unix_seconds: i64) -> Option<i64> {
    let planned = |(namespace, id): &ModelKey| plan.namespaces.get(namespace)?.models.get(id);
    let models = objects.served_models.iter();
    let models = models.filter_map(|(key, record)| Some((planned(key)?, record)));
    let changes = models.flat_map(|(model, record)| {
        let memory = record.effective_memory(model.memory_update.refused_base.is_some());
        let spec = &record.spec;
        let base = memory.base.values().chain(memory.previous.values());
        let undeclared = base.filter_map(|carrier| carrier.undeclared_since);
        let undeclared = undeclared.chain(memory.provisional_since);
        let gone = memory.names.values().filter_map(|name| name.gone_since);
        let (base_grace, alias_grace) = (base_grace(spec), alias_grace(spec));
        let changes: Vec<i64> = undeclared
            .map(|since| since.saturating_add(base_grace))
            .chain(gone.map(|since| since.saturating_add(alias_grace)))
            .collect();
        changes
    });
    // An entry that is due and still exists is kept for a reason other than time.
    changes.filter(|at| *at > unix_seconds).min()
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

/// The time of a step from one memory to the next, and the carriers that cannot be read at that time.
#[derive(Clone, Copy)]
struct StepContext<'a> {
    /// In Unix seconds.
    now: i64,
    /// Whether a carrier may exist although no known object declares it.
    is_unread: &'a dyn Fn(&String) -> bool,
}

fn next(
    record: &ModelRecord,
    update: &MemoryUpdate,
    names: &[String],
    at: StepContext<'_>,
) -> Memory {
    let before = &record.effective_memory(update.refused_base.is_some());
    let grace = base_grace(&record.spec);
    let kept = |base: &BTreeMap<String, StoredCarrier>| kept(base, update, grace, at);
    let mut after = Memory {
        base: kept(&before.base),
        previous: kept(&before.previous),
        full_share: update.full_share.clone(),
        names: next_names(before, update, names, alias_grace(&record.spec), at),
        provisional_since: None,
    };
    if let Some(base) = &update.base {
        set_base(&mut after, before, stored(base), update);
    } else if let Some(provisional) = &update.provisional {
        let since = before.provisional_since.unwrap_or(at.now);
        match at.now.saturating_sub(since) >= grace {
            true => after.base = stored(provisional),
            false => after.provisional_since = Some(since),
        }
    }
    // No carrier of a promoted base is left: the previous base is the base again.
    let is_forgotten = after.base.is_empty() && !before.base.is_empty() && update.base.is_none();
    if is_forgotten && after.provisional_since.is_none() {
        after.base = std::mem::take(&mut after.previous);
        after
            .base
            .retain(|_, carrier| carrier.undeclared_since.is_none());
    }
    after
}

fn stored(base: &BTreeMap<String, BTreeSet<Version>>) -> BTreeMap<String, StoredCarrier> {
    let entry = |(carrier, versions): (&String, &BTreeSet<Version>)| {
        let stored = StoredCarrier {
            versions: versions.clone(),
            undeclared_since: None,
        };
        (carrier.clone(), stored)
    };
    base.iter().map(entry).collect()
}

/// Makes `base` the base of a memory that has the kept carriers of the last one.
fn set_base(
    after: &mut Memory,
    before: &Memory,
    base: BTreeMap<String, StoredCarrier>,
    update: &MemoryUpdate,
) {
    // Carriers that a promotion replaces stand by. A carrier under another name with the same version is not replaced.
    let stays = |(carrier, stored): &(&String, &StoredCarrier)| {
        let mut versions = stored.versions.iter();
        base.contains_key(*carrier)
            || versions.any(|version| base.values().any(|b| b.versions.contains(version)))
    };
    let replaced = after.base.iter().filter(|entry| !stays(entry));
    let replaced: BTreeMap<String, StoredCarrier> = replaced
        .map(|(carrier, stored)| (carrier.clone(), stored.clone()))
        .collect();
    if update.promoted && before.base.is_empty() && before.previous.is_empty() {
        after.previous = stored(&update.standby);
    } else if update.promoted && !replaced.is_empty() {
        after.previous = replaced;
    }
    // A carrier of the base that is missing for less than the grace is still of the base.
    if !update.promoted && base.keys().any(|carrier| after.base.contains_key(carrier)) {
        after.base.extend(base);
    } else {
        after.base = base;
    }
}

/// The stored carriers without those that have been undeclared for the grace, both by name and by version.
fn kept(
    base: &BTreeMap<String, StoredCarrier>,
    update: &MemoryUpdate,
    grace: i64,
    at: StepContext<'_>,
) -> BTreeMap<String, StoredCarrier> {
    let mut kept = BTreeMap::new();
    for (carrier, stored) in base {
        let mut versions = stored.versions.iter();
        let is_declared = update.carriers.contains(carrier)
            || (at.is_unread)(carrier)
            || versions.any(|version| update.versions.contains(version));
        let since = (!is_declared).then(|| stored.undeclared_since.unwrap_or(at.now));
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

/// The declared names, and the names of the plan whose carriers are all gone.
fn next_names(
    before: &Memory,
    update: &MemoryUpdate,
    planned: &[String],
    grace: i64,
    at: StepContext<'_>,
) -> BTreeMap<String, StoredName> {
    let declared = update.names.iter().map(|(name, carriers)| {
        let stored = StoredName {
            carriers: carriers.clone(),
            gone_since: None,
        };
        (name.clone(), stored)
    });
    let mut names: BTreeMap<String, StoredName> = declared
        .filter(|(name, _)| planned.contains(name))
        .collect();
    for (name, stored) in &before.names {
        let is_unread = stored.carriers.iter().any(at.is_unread);
        let since = stored.gone_since.unwrap_or(at.now);
        let lasts = is_unread || at.now.saturating_sub(since) < grace;
        if lasts && planned.contains(name) && !names.contains_key(name) {
            let stored = StoredName {
                carriers: stored.carriers.clone(),
                gone_since: (!is_unread).then_some(since),
            };
            names.insert(name.clone(), stored);
        }
    }
    names
}
