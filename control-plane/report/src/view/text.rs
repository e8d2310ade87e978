//! Text of the status document: an overview of all models, or models in full.
//!
//! Pure: the current time and the width are arguments.

use super::clock::age;
use super::model;
use super::options::{RenderOptions, first_items, short};
use super::table::{Table, wrap};
use crate::{PolicyReport, ProxyReport, ReplicaReport, Report, TypeReport};

/// Renders the document.
pub fn text(report: &Report, options: RenderOptions) -> String {
    let mut out = String::new();
    warnings(&mut out, report, options);
    if report.models.is_empty() && report.head.synced {
        out.push_str("no model is declared\n");
    }
    if options.detailed {
        for one in &report.models {
            out.push_str(&model::text(one, report, options));
        }
    } else if !report.models.is_empty() {
        out.push_str(&model::overview(report, options));
    }
    if !report.policies.is_empty() {
        out.push_str(&format!("\n{}", policies(&report.policies, options)));
    }
    let proxies = proxies(report, options);
    if !proxies.is_empty() {
        out.push_str(&format!("\n{proxies}"));
    }
    if report.replicas.len() > 1 {
        out.push_str(&format!("\n{}", replicas(&report.replicas, options)));
    }
    problems(&mut out, report, options);
    out
}

/// Warnings that the document is outdated or incomplete.
fn warnings(out: &mut String, report: &Report, options: RenderOptions) {
    if !report.head.synced {
        out.push_str(
            "NOT SYNCED: the first read of the source is not complete, so nothing is served yet\n",
        );
    }
    if let Some(api) = &report.api
        && let Some(since) = api.unreachable_since
    {
        let message = api.message.as_deref().unwrap_or_default();
        let warning = format!(
            "KUBERNETES API DOES NOT ANSWER for {}: the objects below are the last known ones ({message})",
            age(options.now - since)
        );
        for line in wrap(&warning, options.width) {
            out.push_str(&format!("{line}\n"));
        }
        out.push('\n');
    }
    unread(out, report, options);
}

/// Kinds that cannot be read, and the effect on what is served.
fn unread(out: &mut String, report: &Report, options: RenderOptions) {
    let kinds = report.api.iter().flat_map(|api| &api.unread);
    let before = out.len();
    for it in kinds {
        let warning = format!(
            "NOT READ for {}: {}, {} ({})",
            age(options.now - it.since),
            it.kind,
            it.effect,
            it.message
        );
        for line in wrap(&warning, options.width) {
            out.push_str(&format!("{line}\n"));
        }
    }
    if out.len() > before {
        out.push('\n');
    }
}

fn policies(policies: &[PolicyReport], options: RenderOptions) -> String {
    let mut table = Table::new(0, ["POLICY", "ACCEPTED", "MODELS", "MESSAGE"]);
    for policy in policies {
        let (accepted, resolved) = (&policy.accepted, &policy.resolved);
        let takes_effect = match (accepted.holds, policy.models.is_empty()) {
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
            takes_effect.to_owned(),
            first_items(&policy.models, 2),
            why,
        ]);
    }
    table.render(options.width)
}

fn proxies(report: &Report, options: RenderOptions) -> String {
    if report.proxies.is_empty() {
        return "PROXIES\n  no proxy is connected\n".to_owned();
    }
    let all = || report.proxies.iter();
    let several = report.replicas.len() > 1;
    let mut out = String::new();
    if !options.detailed {
        let mut heads = vec!["PROXY", "STATE", "SINCE"];
        if several {
            heads.push("AT");
        }
        if options.wide {
            heads.extend(["ADDRESS", "SCOPE"]);
        }
        heads.push("ENVOY");
        let mut table = Table::new(0, heads);
        for proxy in all() {
            let mut cells = state_of(proxy, options).to_vec();
            if several {
                cells.push(proxy.replica.clone().unwrap_or_default());
            }
            if options.wide {
                let address = proxy.address.clone();
                cells.push(address.unwrap_or_else(|| "-".to_owned()));
                cells.push(proxy.scope.clone());
            }
            cells.push(proxy.agent.clone());
            table.row(cells);
        }
        out = table.render(options.width);
    }
    // In the view of a model, only the proxies that are behind with it.
    let is_shown = |p: &ProxyReport| {
        report
            .models
            .iter()
            .flat_map(|m| &m.proxies)
            .any(|h| h.proxy == p.id && h.state != "acked")
    };
    for proxy in all().filter(|p| !p.current && (!options.detailed || is_shown(p))) {
        pending(&mut out, proxy, options);
    }
    out
}

fn state_of(proxy: &ProxyReport, options: RenderOptions) -> [String; 3] {
    let state = if proxy.current { "current" } else { "BEHIND" };
    [
        proxy.id.clone(),
        state.to_owned(),
        age(options.now - proxy.since),
    ]
}

/// The pending updates of a proxy: versions, rejected resources, and resources that are held back.
fn pending(out: &mut String, proxy: &ProxyReport, options: RenderOptions) {
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
                |at| format!("{} ago", age(options.now - at))
            )
        ));
        for (resource, nack) in &t.nacked {
            // The error of Envoy is printed unchanged, because people search for it.
            let hint = hint(name, &nack.message);
            out.push_str(&format!("    NACK {resource}: {}{hint}\n", nack.message));
        }
        for (resource, wait) in &t.waiting {
            out.push_str(&format!("    waits {resource}: {wait}\n"));
        }
    }
}

/// Envoy does not report why a wasm filter rejected its configuration. The reason is in the log of Envoy.
fn hint(kind: &str, message: &str) -> &'static str {
    if kind == "ecds" && message.contains("Unable to create Wasm plugin") {
        "\n         (the log of this Envoy has the reason: search for \"headgate\" at the time of the NACK)"
    } else {
        ""
    }
}

fn replicas(replicas: &[ReplicaReport], options: RenderOptions) -> String {
    let mut table = Table::new(
        0,
        ["CONTROL PLANE", "STATE", "UP", "PUBLISHED", "VERSION", ""],
    );
    for replica in replicas {
        let head = replica.head.as_ref();
        let state = match head {
            None => "AWAY",
            Some(head) if head.shutting_down => "SHUTTING DOWN",
            Some(head) if head.synced => "answers",
            Some(_) => "NOT SYNCED",
        };
        let published = head
            .filter(|head| head.synced)
            .map(|head| head.published_at);
        table.row([
            replica.address.clone(),
            state.to_owned(),
            options.age(head.map(|head| head.started_at)),
            options.age(published),
            head.map_or_else(|| "-".to_owned(), |head| head.version.clone()),
            replica.error.clone().unwrap_or_default(),
        ]);
    }
    table.render(options.width)
}

fn problems(out: &mut String, report: &Report, options: RenderOptions) {
    if !report.problems.is_empty() {
        out.push_str("\nPROBLEMS\n");
    }
    for p in &report.problems {
        let since = p
            .since
            .map(|at| format!(" (for {})", age(options.now - at)))
            .unwrap_or_default();
        let whose = match p.replicas.as_slice() {
            [] => String::new(),
            some => format!(" (reported by {})", some.join(", ")),
        };
        let line = format!("{} {}{since}{whose}: {}", p.reason, p.object, p.message);
        let mut begin = format!("  {:8}", p.severity);
        for line in wrap(&line, options.width.saturating_sub(10)) {
            out.push_str(&format!("{begin}{line}\n"));
            begin = " ".repeat(10);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::NackReport;

    #[test]
    fn a_rejected_filter_configuration_refers_to_the_log_of_envoy() {
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
                identity: None,
                scope: String::new(),
                since: 0.0,
                current: false,
                types: BTreeMap::from([(kind.to_owned(), of_type(message))]),
            };
            let report = Report {
                proxies: vec![proxy],
                ..Report::default()
            };
            let options = RenderOptions {
                now: 0.0,
                width: 100,
                detailed: false,
                wide: false,
            };
            text(&report, options)
        };
        assert!(
            shown("ecds", "Unable to create Wasm plugin headgate").contains("log of this Envoy")
        );
        assert!(!shown("ecds", "no such file").contains("log of this Envoy"));
        assert!(
            !shown("cds", "Unable to create Wasm plugin headgate").contains("log of this Envoy")
        );
    }
}
