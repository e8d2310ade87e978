//! Plan, memory and proxy counts of a model → the status to write, if it differs from the stored one.
//!
//! Pure: time is an argument. Invariant: equal facts cause no write; a condition's time changes only with its status.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::ConditionStatus::{self, False, True, Unknown};
use headgate_contract::{Condition, Version};
use headgate_model::{CarrierState, Memory, PlannedModel};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::conditions::{condition, short};
use headgate_kubernetes::models::StoredModel;
use headgate_kubernetes::models::{Change, Percent, PrinterColumns, Proxies, ServedModelStatus};
use headgate_kubernetes::models::{memory_of, set_carriers_gone, store_memory};

/// Condition: the spec is valid, and so is the base that somebody wrote.
pub(super) const ACCEPTED: &str = "Accepted";
/// Condition: a version that takes new sessions has a ready endpoint.
pub(super) const READY: &str = "Ready";
/// Condition: every connected proxy accepted the model's resources.
pub(super) const PROGRAMMED: &str = "Programmed";
/// Condition: every connected proxy acknowledged the planned weights.
pub(super) const CONVERGED: &str = "Converged";

/// Most entries of `status.changes`.
const CHANGES: usize = 10;

/// Inputs of a model's status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// Its plan; `None` where no object declares it.
    pub planned: Option<&'a PlannedModel>,
    /// Its next memory.
    pub memory: &'a Memory,
    /// The proxies; `None` where they are not counted yet.
    pub proxies: Option<Proxies>,
    /// The error of a proxy that refused one of its resources.
    pub refused: Option<&'a str>,
    /// The versions that have their routes in a mesh; `None` where that is not known yet.
    pub routed: Option<&'a BTreeSet<Version>>,
}

/// How soon a status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// At once: the memory or the routes changed, or `Converged` turned False.
    Now,
    /// After the minimum interval of the object.
    Scheduled,
}

/// The status that an object should have, and how soon; `None` if it has that status.
pub(super) fn to_write(
    object: &StoredModel,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Option<(ServedModelStatus, Urgency)> {
    let stored = object.status.as_ref();
    let nothing = ServedModelStatus::default();
    let before = stored.unwrap_or(&nothing);
    let wanted = wanted(object, before, facts, Time(now));
    if stored == Some(&wanted) {
        return None;
    }
    let holds = |status: &ServedModelStatus| {
        let mut conditions = status.conditions.iter();
        conditions.any(|condition| condition.type_ == CONVERGED && condition.status == True)
    };
    let urgent = stored.is_none()
        || memory_of(before) != memory_of(&wanted)
        || before.carriers_gone_since != wanted.carriers_gone_since
        || before.routes != wanted.routes
        || (holds(before) && !holds(&wanted));
    let urgency = if urgent {
        Urgency::Now
    } else {
        Urgency::Scheduled
    };
    Some((wanted, urgency))
}

fn wanted(
    object: &StoredModel,
    before: &ServedModelStatus,
    facts: &Facts<'_>,
    now: Time,
) -> ServedModelStatus {
    let mut status = ServedModelStatus {
        observed_generation: Some(object.generation),
        planned: facts.planned.map(weights).unwrap_or_default(),
        proxies: facts.proxies.or(before.proxies),
        routes: match facts.routed {
            Some(routed) => routed.iter().map(ToString::to_string).collect(),
            None => before.routes.clone(),
        },
        ..ServedModelStatus::default()
    };
    store_memory(&mut status, facts.memory);
    if facts.planned.is_none() {
        let since = before.carriers_gone_since.clone();
        set_carriers_gone(&mut status, since.or_else(|| Some(now.clone())));
    }
    let weights_changed = before.planned != status.planned;
    status.since = match &before.since {
        Some(since) if !weights_changed => Some(since.clone()),
        _ => Some(now.clone()),
    };
    let has_all = facts
        .proxies
        .is_some_and(|proxies| proxies.total > 0 && proxies.current >= proxies.total);
    let acked = if has_all {
        &status.planned
    } else {
        &before.acked
    };
    status.acked = match facts.planned {
        Some(_) => acked.clone(),
        None => BTreeMap::new(),
    };
    status.changes = changes(before, &status, &now);
    status.printer_columns = Some(printer_columns(&status, facts));
    let conditions = [
        accepted(object, facts),
        ready(facts),
        programmed(facts),
        converged(facts, weights_changed),
    ];
    let conditions = conditions.into_iter().flat_map(|wanted| {
        let stored = before.conditions.iter().find(|c| c.type_ == wanted.kind);
        wanted.condition(object.generation, stored, now.0)
    });
    status.conditions = conditions.collect();
    status
}

/// Percent of new sessions by version.
pub(super) fn weights(model: &PlannedModel) -> BTreeMap<String, Percent> {
    let variants = model.variants.iter();
    variants
        .map(|(version, variant)| (version.to_string(), Percent(variant.share)))
        .collect()
}

/// A condition without its time. Without `content`, the stored one stays.
struct DesiredCondition {
    kind: &'static str,
    content: Option<(ConditionStatus, &'static str, String)>,
}

impl DesiredCondition {
    fn condition(
        self,
        generation: i64,
        stored: Option<&Condition>,
        now: Timestamp,
    ) -> Option<Condition> {
        let Some((status, reason, message)) = self.content else {
            return stored.cloned();
        };
        let content = (status, reason, message.as_str());
        Some(condition(self.kind, content, generation, stored, now))
    }
}

fn accepted(object: &StoredModel, facts: &Facts<'_>) -> DesiredCondition {
    let refused = facts
        .planned
        .and_then(|m| m.memory_update.refused_base.as_ref());
    let content = match (&object.spec, refused) {
        (Ok(_), None) => (True, "Accepted", "the spec is valid".to_owned()),
        (Ok(_), Some(why)) => (False, "InvalidBase", format!("the spec is valid: {why}")),
        (Err(error), _) => (False, "Invalid", format!("the spec is ignored: {error}")),
    };
    DesiredCondition {
        kind: ACCEPTED,
        content: Some(content),
    }
}

const NO_CARRIERS: &str = "no object has the label of this model";

fn ready(facts: &Facts<'_>) -> DesiredCondition {
    let content = match facts.planned {
        None => (False, "NoCarriers", NO_CARRIERS.to_owned()),
        Some(model) => {
            let serving = model.variants.iter();
            let serving = serving.filter(|(_, v)| v.share > 0 && !v.endpoints.is_empty());
            let serving: Vec<&str> = serving.map(|(version, _)| version.as_str()).collect();
            if serving.is_empty() {
                let message = "no version that takes new sessions has a ready endpoint";
                (False, "NothingReady", message.to_owned())
            } else {
                let message = format!("{} take new sessions", serving.join(", "));
                (True, "Serving", message)
            }
        }
    };
    DesiredCondition {
        kind: READY,
        content: Some(content),
    }
}

fn programmed(facts: &Facts<'_>) -> DesiredCondition {
    let has = |proxies: Proxies| {
        format!(
            "{} of {} proxies have the model",
            proxies.current.min(proxies.total),
            proxies.total
        )
    };
    let content = match (facts.planned, facts.refused, facts.proxies) {
        (None, ..) => Some((Unknown, "NoCarriers", NO_CARRIERS.to_owned())),
        (_, Some(message), _) => Some((False, "RefusedByProxy", message.to_owned())),
        (_, _, None) => None,
        (.., Some(proxies)) if proxies.total == 0 => Some(no_proxies()),
        (.., Some(proxies)) if proxies.current >= proxies.total => {
            Some((True, "Programmed", has(proxies)))
        }
        (.., Some(proxies)) => Some((False, "Reconciling", has(proxies))),
    };
    DesiredCondition {
        kind: PROGRAMMED,
        content,
    }
}

fn no_proxies() -> (ConditionStatus, &'static str, String) {
    let message = "no proxy of its namespace is connected";
    (Unknown, "NoProxies", message.to_owned())
}

fn converged(facts: &Facts<'_>, weights_changed: bool) -> DesiredCondition {
    let reconciling = |message: String| Some((False, "Reconciling", message));
    let waiting = facts.planned.and_then(PlannedModel::waiting_for_routes);
    let content = match (facts.planned, facts.proxies) {
        (None, _) => Some((Unknown, "NoCarriers", NO_CARRIERS.to_owned())),
        _ if let Some(waiting) = waiting => {
            Some((False, "WaitsForRoutes", waits_for_routes(waiting)))
        }
        (_, None) if weights_changed => reconciling("the proxies are not counted yet".to_owned()),
        (_, None) => None,
        (_, Some(proxies)) if proxies.total == 0 => Some(no_proxies()),
        (_, Some(Proxies { current, total })) if current >= total => {
            let message = format!("{total} of {total} proxies acknowledged the planned weights");
            Some((True, "Converged", message))
        }
        (_, Some(Proxies { current, total })) => reconciling(format!(
            "{current} of {total} proxies acknowledged the planned weights"
        )),
    };
    DesiredCondition {
        kind: CONVERGED,
        content,
    }
}

fn waits_for_routes(versions: &BTreeSet<Version>) -> String {
    let versions: Vec<&str> = versions.iter().map(Version::as_str).collect();
    format!(
        "proxies of the mesh do not get version {} until its routes exist",
        versions.join(", ")
    )
}

/// New changes, followed by those of the last status.
fn changes(before: &ServedModelStatus, now: &ServedModelStatus, time: &Time) -> Vec<Change> {
    let mut messages = Vec::new();
    if before.planned != now.planned {
        messages.push(weight_changes(&before.planned, &now.planned));
    }
    let carriers = |status: &ServedModelStatus| -> Vec<String> {
        let base = status.base.iter();
        base.map(|base| format!("{} ({})", base.carrier, base.versions.join(", ")))
            .collect()
    };
    let (old, new) = (carriers(before), carriers(now));
    if old != new {
        messages.push(format!(
            "base: {}",
            if new.is_empty() {
                "none".to_owned()
            } else {
                new.join(", ")
            }
        ));
    }
    let new = messages.into_iter().map(|message| Change {
        time: time.clone(),
        message: short(&message),
    });
    new.chain(before.changes.iter().cloned())
        .take(CHANGES)
        .collect()
}

/// The weights that changed: `weights: v1 90 % (before 100 %), v2 10 % (new)`.
fn weight_changes(before: &BTreeMap<String, Percent>, now: &BTreeMap<String, Percent>) -> String {
    let new = now.iter().filter_map(|(version, percent)| {
        let old = before.get(version);
        let was = old.map_or_else(|| "new".to_owned(), |old| format!("before {old} %"));
        (old != Some(percent)).then(|| format!("{version} {percent} % ({was})"))
    });
    let gone = before.keys().filter(|version| !now.contains_key(*version));
    let gone = gone.map(|version| format!("{version} is gone"));
    let parts: Vec<String> = new.chain(gone).collect();
    format!("weights: {}", parts.join(", "))
}

fn printer_columns(status: &ServedModelStatus, facts: &Facts<'_>) -> PrinterColumns {
    let list = |weights: &BTreeMap<String, Percent>| -> String {
        let weights = weights.iter();
        let parts: Vec<String> = weights
            .map(|(v, percent)| format!("{v}={percent}"))
            .collect();
        parts.join(",")
    };
    let versions: Vec<&str> = status.planned.keys().map(String::as_str).collect();
    let mut base: Vec<&str> = status
        .base
        .iter()
        .flat_map(|base| &base.versions)
        .map(String::as_str)
        .collect();
    base.sort_unstable();
    base.dedup();
    let carriers = facts.planned.into_iter().flat_map(|model| &model.carriers);
    let canaries = carriers.filter_map(|carrier| match carrier.state {
        CarrierState::Canary(_) => Some(&carrier.key),
        _ => None,
    });
    let canaries: Vec<_> = canaries.collect();
    let variants = facts.planned.into_iter().flat_map(|model| &model.variants);
    let canary = variants.filter(|(_, variant)| {
        let first = variant.carriers.first();
        first.is_some_and(|carrier| canaries.contains(&carrier))
    });
    let canary = canary.map(|(version, v)| (version.to_string(), Percent(v.share)));
    PrinterColumns {
        versions: versions.join(","),
        base: base.join(","),
        canary: list(&canary.collect()),
        acked: list(&status.acked),
    }
}
