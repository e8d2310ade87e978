//! Schedule of `ServedModel` writes: which objects to create, update and delete, and when. An object is written at most once in
//! [`MIN_INTERVAL`] unless the write is urgent; failed writes back off.
//!
//! Pure: both clocks are arguments. Inputs are the plan, the proxy counts, and the stored objects (from the watch).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headgate_contract::{ServedModelSpec, Version, names};
use headgate_model::{Memory, Objects, Plan, PlannedModel};
use k8s_openapi::jiff::Timestamp;

use super::status::{Facts, Urgency, to_write};
use crate::counts::WeightCounts;
use headgate_kubernetes::models::ModelCache;
use headgate_kubernetes::models::StoredModel;
use headgate_kubernetes::models::UNCARRIED;
use headgate_kubernetes::models::memory::seconds;
use headgate_kubernetes::models::naming::{alternative_name, object_name};
use headgate_kubernetes::models::{Proxies, ServedModelStatus};
use headgate_model::weights_revision;
use headgate_model::{ModelKey, RoutedVersions};

/// Shortest time between two writes of an object that are not urgent.
pub(super) const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// How long to wait until the watch shows a write, before the write counts as lost.
const ECHO: Duration = Duration::from_secs(2);
/// The wait after the first failure, and the longest.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// The routes of a model without any.
static NONE: BTreeSet<Version> = BTreeSet::new();

/// The annotations of an object, which survive a backup. An empty one is removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Annotations {
    /// `headgate.dev/base`
    pub base: String,
    /// `headgate.dev/previous-base`
    pub previous: String,
}

impl Annotations {
    fn of(memory: &Memory) -> Self {
        Self {
            base: memory.base_text(),
            previous: memory.previous_text(),
        }
    }

    fn stored(object: &StoredModel) -> Self {
        Self {
            base: object.annotation.clone().unwrap_or_default(),
            previous: object.previous_annotation.clone().unwrap_or_default(),
        }
    }
}

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    /// The object does not exist.
    Create {
        name: String,
        spec: ServedModelSpec,
        annotations: Annotations,
        status: Box<ServedModelStatus>,
    },
    /// Its status differs.
    Update {
        name: String,
        resource_version: String,
        annotations: Option<Annotations>,
        status: Option<Box<ServedModelStatus>>,
    },
    /// No object has declared its model for an hour.
    Delete {
        name: String,
        uid: String,
        resource_version: String,
    },
}

/// The inputs of a decision.
pub(super) struct SchedulerInput<'a> {
    pub plan: &'a Plan,
    pub objects: &'a Objects,
    /// The plan and the memories that follow from the objects.
    pub memories: &'a BTreeMap<ModelKey, Memory>,
    pub counts: Option<&'a WeightCounts>,
    /// The routed versions of each model; `None` where they are not known yet.
    pub routed: Option<&'a RoutedVersions>,
    pub cache: &'a ModelCache,
    pub controller: &'a str,
    pub time: Timestamp,
    /// A clock that only goes forward.
    pub clock: Duration,
}

/// The next actions.
#[derive(Debug, PartialEq, Default)]
pub(super) struct Due {
    pub writes: Vec<(ModelKey, Write)>,
    /// When to call again without a change.
    pub next: Option<Duration>,
    /// Whether an object is written as soon as the watch shows the last write of it. It may be urgent: whether `Converged` turns
    /// False is not known before.
    pub awaits_echo: bool,
}

/// Times of the last writes, and backoff of failed ones.
#[derive(Debug, Default)]
pub(super) struct StatusScheduler {
    /// Earliest time of the next write that is not urgent.
    not_before: BTreeMap<ModelKey, Duration>,
    /// `resourceVersion` that was replaced, and until when the watch is waited for.
    echoes: BTreeMap<ModelKey, (String, Duration)>,
    /// Failures in a row, and the earliest time of the next attempt.
    failed: BTreeMap<ModelKey, (u32, Duration)>,
}

impl StatusScheduler {
    /// The writes that are due. They count as done: report each failure with [`Self::failed`].
    pub(super) fn due(&mut self, now: &SchedulerInput<'_>) -> Due {
        let mut due = Due::default();
        let objects = now.cache.by_model();
        let planned = planned(now.plan);
        let mut keys: Vec<&ModelKey> = planned.keys().chain(objects.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            if !now.cache.readable(&key.0) {
                continue;
            }
            let object = objects.get(key).map(|object| &***object);
            let wake = self.of_model(key, planned.get(key).copied(), object, now, &mut due);
            due.next = due.next.into_iter().chain(wake).min();
        }
        self.not_before.retain(|_, at| *at > now.clock);
        let there = |key: &ModelKey| planned.contains_key(key) || objects.contains_key(key);
        self.echoes.retain(|key, _| there(key));
        self.failed.retain(|key, _| there(key));
        due
    }

    /// Adds the write of one model, or the time of the next check.
    fn of_model(
        &mut self,
        key: &ModelKey,
        planned: Option<&PlannedModel>,
        object: Option<&StoredModel>,
        now: &SchedulerInput<'_>,
        due: &mut Due,
    ) -> Option<Duration> {
        let Some((write, urgency)) = write_of(key, planned, object, now) else {
            self.echoes.remove(key);
            let removal = object.and_then(|object| removal(key, object, planned, now));
            return removal.map(|seconds| now.clock + seconds);
        };
        let version = object.map_or("", |object| object.resource_version.as_str());
        if let Some((written_over, until)) = self.echoes.get(key) {
            if written_over == version && *until > now.clock {
                due.awaits_echo = true;
                return Some(*until);
            }
            self.echoes.remove(key);
        }
        let waits = self.failed.get(key).map(|(_, until)| *until);
        let not_before = self
            .not_before
            .get(key)
            .filter(|_| urgency == Urgency::Scheduled);
        let at = waits.into_iter().chain(not_before.copied()).max();
        if let Some(at) = at.filter(|at| *at > now.clock) {
            return Some(at);
        }
        if urgency == Urgency::Scheduled {
            self.not_before
                .insert(key.clone(), now.clock + MIN_INTERVAL);
        }
        let echo = (version.to_owned(), now.clock + ECHO);
        self.echoes.insert(key.clone(), echo);
        due.writes.push((key.clone(), write));
        None
    }

    /// Records a write that succeeded.
    pub(super) fn written(&mut self, key: &ModelKey) {
        self.failed.remove(key);
    }

    /// Records a write that failed at `clock`; returns when it is tried again. A conflict ends once the watch shows the newer object.
    pub(super) fn failed(&mut self, key: &ModelKey, conflict: bool, clock: Duration) -> Duration {
        self.not_before.remove(key);
        if conflict {
            return self.echoes.get(key).map_or(clock, |(_, until)| *until);
        }
        self.echoes.remove(key);
        let (times, _) = self.failed.get(key).copied().unwrap_or_default();
        let wait = FIRST_RETRY.saturating_mul(1 << times.min(10));
        let until = clock + wait.min(LAST_RETRY);
        self.failed.insert(key.clone(), (times + 1, until));
        until
    }
}

fn planned(plan: &Plan) -> BTreeMap<ModelKey, &PlannedModel> {
    let namespaces = plan.namespaces.iter();
    let models = namespaces.flat_map(|(namespace, view)| {
        let models = view.models.iter();
        models.map(|(id, model)| ((namespace.clone(), id.clone()), model))
    });
    models
        .filter(|(_, model)| !model.carriers.is_empty())
        .collect()
}

/// Whether a carrier of a model without known carriers may exist unread.
fn is_hidden(key: &ModelKey, object: &StoredModel, now: &SchedulerInput<'_>) -> bool {
    let memory = now.cache.memory(key, Some(object));
    now.objects.unread.may_hide_any(&key.0, &memory)
}

/// Time until an object is deleted that is not written for any other reason.
fn removal(
    key: &ModelKey,
    object: &StoredModel,
    planned: Option<&PlannedModel>,
    now: &SchedulerInput<'_>,
) -> Option<Duration> {
    let since = object.status.as_ref()?.carriers_gone_since.as_ref()?;
    let left = seconds(since) + UNCARRIED - now.time.as_second();
    let removed = planned.is_none() && !object.by_person && !is_hidden(key, object, now);
    removed.then(|| Duration::from_secs(u64::try_from(left.max(1)).unwrap_or(1)))
}

fn write_of(
    key: &ModelKey,
    planned: Option<&PlannedModel>,
    object: Option<&StoredModel>,
    now: &SchedulerInput<'_>,
) -> Option<(Write, Urgency)> {
    // A memory is written only over the one that it follows from: the plan may not include the newest object yet.
    let current = now.cache.record(key, object);
    let read = now.objects.served_models.get(key);
    let is_read = match read {
        Some(read) => read.memory == current.memory && read.written == current.written,
        None => current.memory == Memory::default() && current.written.is_none(),
    };
    let follows = planned.and_then(|_| now.memories.get(key));
    let memory = follows.filter(|_| is_read).unwrap_or(&current.memory);
    // Only a plan of this object says whether the written base counts. Until it does, the annotation stays as written.
    let counts = |model: &PlannedModel| is_read && model.memory_update.refused_base.is_none();
    let keeps_annotation = current.written.is_some() && !planned.is_some_and(counts);
    let proxies = now.counts.zip(planned).map(|(counts, model)| {
        let (current, total) = counts.proxies(key, &weights_revision(model));
        Proxies { current, total }
    });
    let facts = Facts {
        planned,
        memory,
        proxies,
        refused: now.counts.and_then(|counts| counts.refused(key)),
        routed: now.routed.map(|routed| routed.get(key).unwrap_or(&NONE)),
    };
    let annotations = Annotations::of(memory);
    let Some(object) = object else {
        planned?;
        let (name, spec) = created(key, now);
        let new = StoredModel::new(&key.0, &name, &key.1);
        let (status, urgency) = to_write(&new, &facts, now.time)?;
        let write = Write::Create {
            name,
            spec,
            annotations,
            status: Box::new(status),
        };
        return Some((write, urgency));
    };
    // Its carriers may exist unread, so their absence is not reported.
    if planned.is_none() && is_hidden(key, object, now) {
        return None;
    }
    let left = removal(key, object, planned, now);
    let gone = object
        .status
        .as_ref()
        .and_then(|status| status.carriers_gone_since.as_ref());
    if left.is_some()
        && gone.is_some_and(|since| seconds(since) + UNCARRIED <= now.time.as_second())
    {
        let write = Write::Delete {
            name: object.name.clone(),
            uid: object.uid.clone(),
            resource_version: object.resource_version.clone(),
        };
        return Some((write, Urgency::Now));
    }
    let same = Annotations::stored(object) == annotations;
    let annotations = (!same && !keeps_annotation).then_some(annotations);
    let status = to_write(object, &facts, now.time);
    let urgency = match &status {
        _ if annotations.is_some() => Urgency::Now,
        Some((_, urgency)) => *urgency,
        None => return None,
    };
    let write = Write::Update {
        name: object.name.clone(),
        resource_version: object.resource_version.clone(),
        annotations,
        status: status.map(|(status, _)| Box::new(status)),
    };
    Some((write, urgency))
}

/// The name and the spec of a model's new object.
fn created((namespace, id): &ModelKey, now: &SchedulerInput<'_>) -> (String, ServedModelSpec) {
    let mut name = object_name(id);
    if now.cache.is_taken(namespace, &name) {
        name = alternative_name(id, now.controller);
    }
    let own = now.controller != names::DEFAULT_CONTROLLER_NAME;
    let spec = ServedModelSpec {
        model_name: (name != id.as_str()).then(|| id.clone()),
        controller_name: own.then(|| now.controller.to_owned()),
        ..ServedModelSpec::default()
    };
    (name, spec)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
