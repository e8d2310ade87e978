//! What changed between two documents, as lines of a log: labels seen → weights planned → acked by each proxy.
//!
//! Pure. Invariant: of two equal documents there is nothing to say, whatever their ages; a line's moment is that of what
//! it tells, as far as the control plane knows it, else that of the telling.

use std::collections::BTreeMap;

use super::model::{number, object, shares, written};
use crate::{CarrierReport, HeldReport, ModelReport, ProblemReport, ReplicaReport, Report};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// When, in Unix seconds.
    pub at: f64,
    /// To which model; none for what concerns all.
    pub model: Option<String>,
    /// What, in a word: `seen`, `ready`, `planned`, `buckets`, `acked`, `waits`, `NACK`, `joined`, `left`, `gone`, `away`,
    /// `back`, `solved`, or a problem's severity.
    pub what: String,
    /// The rest.
    pub text: String,
}

/// How long after a plan an ACK still answers it, in seconds; a later one is of something else.
const PROMPT: f64 = 10.0;

/// What is to be told, in order of time. Without a document before, all of this one.
pub fn changes(before: Option<&Report>, after: &Report, now: f64) -> Vec<Line> {
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
        log.say(
            None,
            "gone",
            "no object names the model any more".to_owned(),
        );
        lines.extend(log.lines);
    }
    problems(&mut lines, old, after, now);
    lines.sort_by(|a, b| a.at.total_cmp(&b.at));
    lines
}

/// The lines of one model.
struct Log {
    model: String,
    now: f64,
    lines: Vec<Line>,
}

impl Log {
    fn new(model: String, now: f64) -> Self {
        Self {
            model,
            now,
            lines: Vec::new(),
        }
    }

    fn say(&mut self, at: Option<f64>, what: &str, text: String) {
        self.lines.push(Line {
            at: at.unwrap_or(self.now),
            model: Some(self.model.clone()),
            what: what.to_owned(),
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
                    self.say(
                        carrier.seen_since,
                        "seen",
                        format!("{name}: {labels}, {ready} ready"),
                    );
                }
                Some(old) => {
                    if old.labels != carrier.labels {
                        let labels = relabelled(old, carrier);
                        self.say(carrier.seen_since, "seen", format!("{name}: {labels}"));
                    }
                    if old.ready != carrier.ready {
                        let text = format!("{name}: {} (was {})", ready(carrier), ready(old));
                        self.say(None, "ready", text);
                    }
                }
            }
        }
        let gone = before.map(|m| m.carriers.iter()).into_iter().flatten();
        for carrier in gone.filter(|old| after.carriers.iter().all(|c| c.carrier != old.carrier)) {
            self.say(None, "gone", object(carrier));
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
            let (now, was) = (decided(after), before.and_then(decided));
            let at = now.filter(|_| now > was);
            self.say(at, "planned", parts.join(", "));
        }
        let was = before.map_or(100, |m| m.scale_percent);
        if was != after.scale_percent {
            let text = format!("at {} % (were at {was} %)", after.scale_percent);
            self.say(None, "buckets", text);
        }
    }

    fn proxies(&mut self, before: Option<&ModelReport>, after: &ModelReport) {
        let replanned = before.is_some_and(|before| planned(before) != planned(after));
        for held in &after.proxies {
            let old = before.and_then(|m| m.proxies.iter().find(|h| h.proxy == held.proxy));
            self.proxy(old, held, decided(after), replanned);
        }
        let old = before.map(|m| m.proxies.iter()).into_iter().flatten();
        for left in old.filter(|old| after.proxies.iter().all(|h| h.proxy != old.proxy)) {
            self.say(None, "left", format!("{} is not connected", left.proxy));
        }
    }

    fn proxy(
        &mut self,
        old: Option<&HeldReport>,
        held: &HeldReport,
        planned: Option<f64>,
        replanned: bool,
    ) {
        let message = || held.message.as_deref().unwrap_or_default();
        let same =
            old.is_some_and(|old| (&old.state, &old.message) == (&held.state, &held.message));
        match held.state.as_str() {
            "acked" => {
                let told = old.is_some_and(|old| {
                    old.state == "acked" && old.weights == held.weights && !replanned
                });
                if !told {
                    let weights = held.weights.iter().flatten();
                    let shares = shares(weights.map(|(version, share)| (version.as_str(), *share)));
                    // One that just came answers no edit.
                    let edited = old.is_some_and(|old| old.weights.is_some());
                    let after = planned
                        .filter(|_| edited)
                        .and_then(|at| took(at, held.acked_at?));
                    let text = format!("{}: {shares}{}", held.proxy, after.unwrap_or_default());
                    self.say(held.acked_at, "acked", text);
                }
            }
            "waiting" if !same => self.say(None, "waits", format!("{}: {}", held.proxy, message())),
            "nacked" if !same => self.say(None, "NACK", format!("{}: {}", held.proxy, message())),
            _ if old.is_none() => self.say(None, "joined", format!("{}, pending", held.proxy)),
            _ => {}
        }
    }
}

/// How long an ACK took from the plan it answers.
fn took(planned: f64, acked: f64) -> Option<String> {
    let took = acked - planned;
    (0.0..PROMPT)
        .contains(&took)
        .then(|| format!(", {:.0} ms after the plan", took * 1e3))
}

fn ready(carrier: &CarrierReport) -> String {
    format!("{}/{}", carrier.ready.are, carrier.ready.of)
}

/// The labels that are not what they were.
fn relabelled(old: &CarrierReport, new: &CarrierReport) -> String {
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

/// When what is planned of a model was decided: with the newest label or weight.
fn decided(model: &ModelReport) -> Option<f64> {
    let labels = model.carriers.iter().filter_map(|c| c.seen_since);
    let weights = model.versions.iter().filter_map(|v| v.planned_since);
    labels.chain(weights).reduce(f64::max)
}

/// Percent and role of each version.
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

fn of_all(at: f64, what: &str, text: String) -> Line {
    Line {
        at,
        model: None,
        what: what.to_owned(),
        text,
    }
}

fn ends(replica: &ReplicaReport) -> bool {
    replica.head.as_ref().is_some_and(|head| head.ending)
}

/// Control planes that went and came.
fn replicas(lines: &mut Vec<Line>, old: &Report, new: &Report, now: f64) {
    for replica in &new.replicas {
        let was = old.replicas.iter().find(|r| r.address == replica.address);
        let was_away = was.is_some_and(|was| was.error.is_some());
        let started = |r: &ReplicaReport| r.head.as_ref().map(|head| head.started_at);
        let anew = was
            .and_then(started)
            .is_some_and(|then| Some(then) != started(replica));
        let address = &replica.address;
        match &replica.error {
            Some(error) if !was_away => {
                lines.push(of_all(
                    now,
                    "away",
                    format!("control plane {address}: {error}"),
                ));
            }
            None if was_away => {
                lines.push(of_all(
                    now,
                    "back",
                    format!("control plane {address} answers"),
                ));
            }
            None if ends(replica) && !was.is_some_and(ends) => {
                let text = format!("control plane {address} ends and sends its proxies elsewhere");
                lines.push(of_all(now, "away", text));
            }
            None if anew => {
                lines.push(of_all(
                    now,
                    "back",
                    format!("control plane {address} was started anew"),
                ));
            }
            _ => {}
        }
    }
    for left in &old.replicas {
        if new.replicas.iter().all(|r| r.address != left.address) {
            let text = format!("control plane {} has no address any more", left.address);
            lines.push(of_all(now, "left", text));
        }
    }
}

fn problems(lines: &mut Vec<Line>, old: &Report, new: &Report, now: f64) {
    let among = |all: &[ProblemReport], p: &ProblemReport| {
        all.iter()
            .any(|o| (&o.reason, &o.object) == (&p.reason, &p.object))
    };
    for p in new.problems.iter().filter(|p| !among(&old.problems, p)) {
        let text = format!("{} {}: {}", p.reason, p.object, p.message);
        lines.push(of_all(now, &p.severity, text));
    }
    for p in old.problems.iter().filter(|p| !among(&new.problems, p)) {
        lines.push(of_all(now, "solved", format!("{} {}", p.reason, p.object)));
    }
}
