//! Changes between two status documents, as log lines: labels read → weights planned → ACKs of each proxy.
//!
//! Pure. Invariant: equal documents have no changes, whatever their ages. The time of a line is the time of the change if the
//! control plane knows it, else the current time.

use std::collections::BTreeMap;

use super::model::{object, shares, written};
use super::options::number;
use crate::{CarrierReport, ModelReport, ProblemReport, ProxyModelReport, ReplicaReport, Report};

/// A change.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// Time of the change, in Unix seconds.
    pub at: f64,
    /// The model, `namespace/id`; `None` if the change concerns all models.
    pub model: Option<String>,
    /// Kind of the change: `seen`, `ready`, `planned`, `buckets`, `acked`, `waits`, `NACK`, `joined`, `left`, `gone`, `away`,
    /// `back`, `solved`, or the severity of a new problem.
    pub kind: String,
    /// Description.
    pub text: String,
}

/// Longest time between a plan and its ACK, in seconds. A later ACK belongs to another change.
const MAX_ACK_DELAY: f64 = 10.0;

/// The changes from `before` to `after`, ordered by time. Without `before`, everything in `after` is new.
pub fn changes(before: Option<&Report>, after: &Report, now: f64) -> Vec<LogLine> {
    let none = Report::default();
    let old = before.unwrap_or(&none);
    let mut lines = Vec::new();
    replicas(&mut lines, old, after, now);
    let find = |report: &'_ Report, id: &str| report.models.iter().position(|m| m.id() == id);
    for model in &after.models {
        let known = find(old, &model.id()).map(|i| &old.models[i]);
        let mut log = Log::new(model.id(), now);
        log.carriers(known, model);
        log.plan(known, model);
        log.proxies(known, model);
        lines.extend(log.lines);
    }
    for model in old.models.iter().filter(|m| find(after, &m.id()).is_none()) {
        let mut log = Log::new(model.id(), now);
        log.push(
            None,
            "gone",
            "no object has the label of this model".to_owned(),
        );
        lines.extend(log.lines);
    }
    problems(&mut lines, old, after, now);
    lines.sort_by(|a, b| a.at.total_cmp(&b.at));
    lines
}

/// Collects the lines of one model.
struct Log {
    model: String,
    now: f64,
    lines: Vec<LogLine>,
}

impl Log {
    fn new(model: String, now: f64) -> Self {
        Self {
            model,
            now,
            lines: Vec::new(),
        }
    }

    fn push(&mut self, at: Option<f64>, kind: &str, text: String) {
        self.lines.push(LogLine {
            at: at.unwrap_or(self.now),
            model: Some(self.model.clone()),
            kind: kind.to_owned(),
            text,
        });
    }

    fn carriers(&mut self, before: Option<&ModelReport>, after: &ModelReport) {
        let old = |carrier: &CarrierReport| {
            let known = before.map(|m| m.carriers.iter());
            known?.find(|c| c.carrier == carrier.carrier)
        };
        for carrier in &after.carriers {
            let name = object(carrier);
            match old(carrier) {
                None => {
                    let (labels, ready) = (written(carrier), ready(carrier));
                    self.push(
                        carrier.seen_since,
                        "seen",
                        format!("{name}: {labels}, {ready} ready"),
                    );
                }
                Some(old) => {
                    if old.labels != carrier.labels {
                        let labels = changed_labels(old, carrier);
                        self.push(carrier.seen_since, "seen", format!("{name}: {labels}"));
                    }
                    if old.ready != carrier.ready {
                        let text = format!("{name}: {} (was {})", ready(carrier), ready(old));
                        self.push(None, "ready", text);
                    }
                }
            }
        }
        let gone = before.map(|m| m.carriers.iter()).into_iter().flatten();
        for carrier in gone.filter(|old| after.carriers.iter().all(|c| c.carrier != old.carrier)) {
            self.push(None, "gone", object(carrier));
        }
    }

    fn plan(&mut self, before: Option<&ModelReport>, after: &ModelReport) {
        let (old, new) = (before.map(planned).unwrap_or_default(), planned(after));
        if old != new {
            let mut parts: Vec<String> = new
                .iter()
                .map(|(version, now)| {
                    let was = old.get(version).filter(|was| *was != now);
                    let was = was.map(|(percent, role)| {
                        let role = if *role == now.1 {
                            String::new()
                        } else {
                            format!(", {role}")
                        };
                        format!(" (was {} %{role})", number(*percent))
                    });
                    let (percent, role) = (number(now.0), now.1);
                    format!("{version} {percent} % {role}{}", was.unwrap_or_default())
                })
                .collect();
            let gone = old.keys().filter(|version| !new.contains_key(*version));
            parts.extend(gone.map(|version| format!("{version} gone")));
            let (now, was) = (planned_at(after), before.and_then(planned_at));
            let at = now.filter(|_| now > was);
            self.push(at, "planned", parts.join(", "));
        }
        let was = before.map_or(100, |m| m.scale_percent);
        if was != after.scale_percent {
            let text = format!("at {} % (were at {was} %)", after.scale_percent);
            self.push(None, "buckets", text);
        }
    }

    fn proxies(&mut self, before: Option<&ModelReport>, after: &ModelReport) {
        let replanned = before.is_some_and(|before| planned(before) != planned(after));
        for held in &after.proxies {
            let old = before.and_then(|m| m.proxies.iter().find(|h| h.proxy == held.proxy));
            self.proxy(old, held, planned_at(after), replanned);
        }
        let old = before.map(|m| m.proxies.iter()).into_iter().flatten();
        for left in old.filter(|old| after.proxies.iter().all(|h| h.proxy != old.proxy)) {
            self.push(None, "left", format!("{} is not connected", left.proxy));
        }
    }

    fn proxy(
        &mut self,
        old: Option<&ProxyModelReport>,
        held: &ProxyModelReport,
        planned: Option<f64>,
        replanned: bool,
    ) {
        let message = || held.message.as_deref().unwrap_or_default();
        let same =
            old.is_some_and(|old| (&old.state, &old.message) == (&held.state, &held.message));
        match held.state.as_str() {
            "acked" => {
                let unchanged = old.is_some_and(|old| {
                    old.state == "acked" && old.weights == held.weights && !replanned
                });
                if !unchanged {
                    let weights = held.weights.iter().flatten();
                    let shares = shares(weights.map(|(version, share)| (version.as_str(), *share)));
                    // The first ACK of a new proxy does not answer an edit.
                    let edited = old.is_some_and(|old| old.weights.is_some());
                    let after = planned
                        .filter(|_| edited)
                        .and_then(|at| ack_delay(at, held.acked_at?));
                    let text = format!("{}: {shares}{}", held.proxy, after.unwrap_or_default());
                    self.push(held.acked_at, "acked", text);
                }
            }
            "waiting" if !same => {
                self.push(None, "waits", format!("{}: {}", held.proxy, message()))
            }
            "nacked" if !same => self.push(None, "NACK", format!("{}: {}", held.proxy, message())),
            _ if old.is_none() => self.push(None, "joined", format!("{}, pending", held.proxy)),
            _ => {}
        }
    }
}

/// The time from a plan to its ACK.
fn ack_delay(planned: f64, acked: f64) -> Option<String> {
    let took = acked - planned;
    (0.0..MAX_ACK_DELAY)
        .contains(&took)
        .then(|| format!(", {:.0} ms after the plan", took * 1e3))
}

fn ready(carrier: &CarrierReport) -> String {
    format!("{}/{}", carrier.ready.current, carrier.ready.total)
}

/// The labels that changed.
fn changed_labels(old: &CarrierReport, new: &CarrierReport) -> String {
    let mut parts = Vec::new();
    for (key, value) in &new.labels {
        let was = old.labels.get(key);
        if was == Some(value) {
            continue;
        }
        let refused = if new.refused.contains(key) {
            " REFUSED"
        } else {
            ""
        };
        let was = was.map_or("none", String::as_str);
        parts.push(format!("{key}={value}{refused} (was {was})"));
    }
    let removed = old
        .labels
        .iter()
        .filter(|(key, _)| !new.labels.contains_key(*key));
    parts.extend(removed.map(|(key, was)| format!("{key} removed (was {was})")));
    parts.join(", ")
}

/// When the current plan of a model was made: the time of its newest label or weight.
fn planned_at(model: &ModelReport) -> Option<f64> {
    let labels = model.carriers.iter().filter_map(|c| c.seen_since);
    let weights = model.versions.iter().filter_map(|v| v.planned_since);
    labels.chain(weights).reduce(f64::max)
}

/// Planned percent and role of each version.
fn planned(model: &ModelReport) -> BTreeMap<&str, (f64, &str)> {
    let role = |carriers: &[String]| {
        let first = carriers.first();
        let carrier = first.and_then(|f| model.carriers.iter().find(|c| c.carrier == *f));
        carrier.map_or("-", |c| c.role.as_str())
    };
    let versions = model.versions.iter();
    versions
        .map(|v| (v.version.as_str(), (v.weight_wanted, role(&v.carriers))))
        .collect()
}

fn global(at: f64, kind: &str, text: String) -> LogLine {
    LogLine {
        at,
        model: None,
        kind: kind.to_owned(),
        text,
    }
}

fn is_shutting_down(replica: &ReplicaReport) -> bool {
    replica.head.as_ref().is_some_and(|head| head.shutting_down)
}

/// Control planes that stopped, started or no longer answer.
fn replicas(lines: &mut Vec<LogLine>, old: &Report, new: &Report, now: f64) {
    for replica in &new.replicas {
        let was = old.replicas.iter().find(|r| r.address == replica.address);
        let was_away = was.is_some_and(|was| was.error.is_some());
        let started = |r: &ReplicaReport| r.head.as_ref().map(|head| head.started_at);
        let restarted = was
            .and_then(started)
            .is_some_and(|then| Some(then) != started(replica));
        let address = &replica.address;
        match &replica.error {
            Some(error) if !was_away => {
                lines.push(global(
                    now,
                    "away",
                    format!("control plane {address}: {error}"),
                ));
            }
            None if was_away => {
                lines.push(global(
                    now,
                    "back",
                    format!("control plane {address} answers"),
                ));
            }
            None if is_shutting_down(replica) && !was.is_some_and(is_shutting_down) => {
                let text = format!(
                    "control plane {address} is shutting down and moves its proxies to other replicas"
                );
                lines.push(global(now, "away", text));
            }
            None if restarted => {
                lines.push(global(
                    now,
                    "back",
                    format!("control plane {address} was restarted"),
                ));
            }
            _ => {}
        }
    }
    for left in &old.replicas {
        if new.replicas.iter().all(|r| r.address != left.address) {
            let text = format!(
                "control plane {} is no longer found under its name",
                left.address
            );
            lines.push(global(now, "left", text));
        }
    }
}

fn problems(lines: &mut Vec<LogLine>, old: &Report, new: &Report, now: f64) {
    let among = |all: &[ProblemReport], p: &ProblemReport| {
        all.iter()
            .any(|o| (&o.reason, &o.object) == (&p.reason, &p.object))
    };
    for p in new.problems.iter().filter(|p| !among(&old.problems, p)) {
        let text = format!("{} {}: {}", p.reason, p.object, p.message);
        lines.push(global(now, &p.severity, text));
    }
    for p in old.problems.iter().filter(|p| !among(&new.problems, p)) {
        lines.push(global(now, "solved", format!("{} {}", p.reason, p.object)));
    }
}
