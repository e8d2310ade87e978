//! The document as people read it: an overview of all models, or one model from its labels to each proxy.
//!
//! Pure: the time and the width are arguments.

use super::clock::age;
use super::model;
use super::table::{Table, wrap};
use crate::{PolicyReport, ProxyReport, ReplicaReport, Report, TypeReport};

/// What a text depends on besides the document.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The time, in Unix seconds.
    pub now: f64,
    /// Columns of the terminal.
    pub width: usize,
    /// Whether each model is told from its labels to each proxy.
    pub detailed: bool,
}

impl Page {
    /// How long ago that was; `-` where it is not known.
    pub fn ago(&self, at: Option<f64>) -> String {
        at.map_or_else(|| "-".to_owned(), |at| age(self.now - at))
    }

    /// The same of something that a control plane saw: with `>` where it was there at its first look, so may be older.
    pub fn seen(&self, at: Option<f64>, report: &Report) -> String {
        let there = at.is_some() && at <= report.head.synced_at;
        format!("{}{}", if there { ">" } else { "" }, self.ago(at))
    }
}

/// All of it.
pub fn text(report: &Report, page: Page) -> String {
    let mut out = String::new();
    away(&mut out, report, page);
    if report.models.is_empty() && report.head.synced {
        out.push_str("no model is declared\n");
    }
    if page.detailed {
        for told in &report.models {
            out.push_str(&model::text(told, report, page));
        }
    } else if !report.models.is_empty() {
        out.push_str(&model::overview(report, page));
    }
    if !report.policies.is_empty() {
        out.push_str(&format!("\n{}", policies(&report.policies, page)));
    }
    let proxies = proxies(report, page);
    if !proxies.is_empty() {
        out.push_str(&format!("\n{proxies}"));
    }
    if report.replicas.len() > 1 {
        out.push_str(&format!("\n{}", replicas(&report.replicas, page)));
    }
    problems(&mut out, report, page);
    out
}

/// What makes the rest older or less than it looks.
fn away(out: &mut String, report: &Report, page: Page) {
    if !report.head.synced {
        out.push_str(
            "NOT SYNCED: the source was not read in full yet, nothing is served before that\n",
        );
    }
    if let Some(api) = &report.api
        && let Some(since) = api.away_since
    {
        let message = api.message.as_deref().unwrap_or_default();
        let said = format!(
            "KUBERNETES API AWAY for {}: what is shown below is from before ({message})",
            age(page.now - since)
        );
        for line in wrap(&said, page.width) {
            out.push_str(&format!("{line}\n"));
        }
        out.push('\n');
    }
    unread(out, report, page);
}

/// Kinds that cannot be read while others can, and what is not served because of them.
fn unread(out: &mut String, report: &Report, page: Page) {
    let kinds = report.api.iter().flat_map(|api| &api.unread);
    let before = out.len();
    for it in kinds {
        let said = format!(
            "NOT READ for {}: {}, {} ({})",
            age(page.now - it.since),
            it.kind,
            it.effect,
            it.message
        );
        for line in wrap(&said, page.width) {
            out.push_str(&format!("{line}\n"));
        }
    }
    if out.len() > before {
        out.push('\n');
    }
}

fn policies(policies: &[PolicyReport], page: Page) -> String {
    let mut table = Table::new(0, ["POLICY", "COUNTS", "FOR", "WHY"]);
    for policy in policies {
        let (accepted, resolved) = (&policy.accepted, &policy.resolved);
        let counts = match (accepted.holds, policy.models.is_empty()) {
            (false, _) | (true, true) => "no",
            (true, false) if accepted.reason == "Accepted" && resolved.holds => "yes",
            (true, false) => "partly",
        };
        let why = match (accepted.holds, resolved.holds) {
            (_, true) => accepted.message.clone(),
            (false, false) if accepted.message == resolved.message => accepted.message.clone(),
            (true, false) if accepted.reason == "Accepted" => resolved.message.clone(),
            (_, false) => format!("{}; {}", accepted.message, resolved.message),
        };
        table.row([
            policy.policy.clone(),
            counts.to_owned(),
            some(&policy.models, 2),
            why,
        ]);
    }
    table.render(page.width)
}

/// The first few of a list, and how many more there are.
pub fn some(all: &[String], few: usize) -> String {
    let (first, more) = (all.len().min(few), all.len().saturating_sub(few));
    match (first, more) {
        (0, _) => "-".to_owned(),
        (_, 0) => all.join(", "),
        (first, more) => format!("{} and {more} more", all[..first].join(", ")),
    }
}

fn proxies(report: &Report, page: Page) -> String {
    if report.proxies.is_empty() {
        return "PROXIES\n  none is connected\n".to_owned();
    }
    let all = || report.proxies.iter();
    let mut out = if page.detailed {
        String::new()
    } else if report.replicas.len() > 1 {
        let mut table = Table::new(0, ["PROXY", "STATE", "SINCE", "AT", "ENVOY"]);
        let at = |proxy: &ProxyReport| proxy.replica.clone().unwrap_or_default();
        all().for_each(|p| {
            let [id, state, since] = standing(p, page);
            table.row([id, state, since, at(p), p.agent.clone()]);
        });
        table.render(page.width)
    } else {
        let mut table = Table::new(0, ["PROXY", "STATE", "SINCE", "ENVOY"]);
        all().for_each(|p| {
            let [id, state, since] = standing(p, page);
            table.row([id, state, since, p.agent.clone()]);
        });
        table.render(page.width)
    };
    // Beside a model, those that are behind with it.
    let held = |p: &ProxyReport| {
        report
            .models
            .iter()
            .flat_map(|m| &m.proxies)
            .any(|h| h.proxy == p.id && h.state != "acked")
    };
    for proxy in all().filter(|p| !p.settled && (!page.detailed || held(p))) {
        behind(&mut out, proxy, page);
    }
    out
}

fn standing(proxy: &ProxyReport, page: Page) -> [String; 3] {
    let state = if proxy.settled { "in step" } else { "BEHIND" };
    [
        proxy.id.clone(),
        state.to_owned(),
        age(page.now - proxy.since),
    ]
}

/// Of a proxy that is behind: each type that is, what it refused, what is held back from it.
fn behind(out: &mut String, proxy: &ProxyReport, page: Page) {
    out.push_str(&format!("{} is behind:\n", proxy.id));
    let unsettled =
        |t: &TypeReport| t.wanted != t.acked || !t.nacked.is_empty() || !t.waiting.is_empty();
    for (name, t) in proxy.types.iter().filter(|(_, t)| unsettled(t)) {
        out.push_str(&format!(
            "  {name:5} wanted {}, acked {} ({})\n",
            short(&t.wanted),
            short(&t.acked),
            t.acked_at.map_or_else(
                || "never".to_owned(),
                |at| format!("{} ago", age(page.now - at))
            )
        ));
        for (resource, nack) in &t.nacked {
            // As Envoy said it, also over several lines: people search for its words.
            let hint = hint(name, &nack.message);
            out.push_str(&format!("    NACK {resource}: {}{hint}\n", nack.message));
        }
        for (resource, wait) in &t.waiting {
            out.push_str(&format!("    waits {resource}: {wait}\n"));
        }
    }
}

/// Of a filter that refused its configuration, Envoy tells us no more than that: the reason is in its own log.
fn hint(kind: &str, message: &str) -> &'static str {
    if kind == "ecds" && message.contains("Unable to create Wasm plugin") {
        "\n         (the path and the fix are in that Envoy's log: look for \"headgate\" at the time of the refusal)"
    } else {
        ""
    }
}

fn replicas(replicas: &[ReplicaReport], page: Page) -> String {
    let mut table = Table::new(
        0,
        ["CONTROL PLANE", "STATE", "UP", "PUBLISHED", "VERSION", ""],
    );
    for replica in replicas {
        let head = replica.head.as_ref();
        let state = match head {
            None => "AWAY",
            Some(head) if head.ending => "ENDING",
            Some(head) if head.synced => "answers",
            Some(_) => "NOT SYNCED",
        };
        let published = head
            .filter(|head| head.synced)
            .map(|head| head.published_at);
        table.row([
            replica.address.clone(),
            state.to_owned(),
            page.ago(head.map(|head| head.started_at)),
            page.ago(published),
            head.map_or_else(|| "-".to_owned(), |head| head.version.clone()),
            replica.error.clone().unwrap_or_default(),
        ]);
    }
    table.render(page.width)
}

fn problems(out: &mut String, report: &Report, page: Page) {
    if !report.problems.is_empty() {
        out.push_str("\nPROBLEMS\n");
    }
    for p in &report.problems {
        let since = p
            .since
            .map(|at| format!(" (for {})", age(page.now - at)))
            .unwrap_or_default();
        let whose = match p.replicas.as_slice() {
            [] => String::new(),
            some => format!(" (says {})", some.join(", ")),
        };
        let said = format!("{} {}{since}{whose}: {}", p.reason, p.object, p.message);
        let mut begin = format!("  {:8}", p.severity);
        for line in wrap(&said, page.width.saturating_sub(10)) {
            out.push_str(&format!("{begin}{line}\n"));
            begin = " ".repeat(10);
        }
    }
}

/// The beginning of a version, which tells two apart.
pub fn short(version: &str) -> &str {
    match version {
        "" => "-",
        long => long.get(..12).unwrap_or(long),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::NackReport;

    #[test]
    fn a_refused_filter_configuration_sends_the_reader_to_envoys_log() {
        let of_type = |message: &str| TypeReport {
            wanted: String::new(),
            sent: String::new(),
            acked: String::new(),
            acked_at: None,
            nacked: BTreeMap::from([(
                "headgate".to_owned(),
                NackReport {
                    version: String::new(),
                    message: message.to_owned(),
                    retries: 0,
                },
            )]),
            waiting: BTreeMap::new(),
            last_nack: None,
        };
        let shown = |kind: &str, message: &str| {
            let proxy = ProxyReport {
                id: "proxy".to_owned(),
                replica: None,
                agent: String::new(),
                address: None,
                scope: String::new(),
                since: 0.0,
                settled: false,
                types: BTreeMap::from([(kind.to_owned(), of_type(message))]),
            };
            let report = Report {
                proxies: vec![proxy],
                ..Report::default()
            };
            let page = Page {
                now: 0.0,
                width: 100,
                detailed: false,
            };
            text(&report, page)
        };
        assert!(shown("ecds", "Unable to create Wasm plugin headgate").contains("Envoy's log"));
        assert!(!shown("ecds", "no such file").contains("Envoy's log"));
        assert!(!shown("cds", "Unable to create Wasm plugin headgate").contains("Envoy's log"));
    }
}
