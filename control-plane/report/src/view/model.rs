//! One model as people read it: labels seen → weights planned → acked by each proxy; or a line of an overview.

use std::collections::BTreeMap;

use headgate_contract::DefaultMaxTokens;

use super::table::Table;
use super::text::{Page, short, some};
use crate::{CarrierReport, HeldReport, ModelReport, PortReport, Report, VersionReport};

/// Every model, a line for each version.
pub(crate) fn overview(report: &Report, page: Page) -> String {
    let heads = [
        "MODEL", "VERSION", "  SHARE", "ROLE", "READY", "FOR", "ACKED BY",
    ];
    let mut table = Table::new(0, heads);
    for model in &report.models {
        let mut name = model.id();
        for version in &model.versions {
            table.row([
                std::mem::take(&mut name),
                version.version.clone(),
                share(version.weight_wanted),
                role(model, version).to_owned(),
                format!(
                    "{}/{}{}",
                    version.endpoints.are,
                    version.endpoints.of,
                    unreachable(version)
                ),
                page.seen(version.planned_since, report),
                acked(model, version),
            ]);
        }
        if !name.is_empty() {
            let none = || "-".to_owned();
            table.row([
                name,
                none(),
                none(),
                none(),
                none(),
                none(),
                "no version is declared".to_owned(),
            ]);
        }
    }
    table.render(page.width)
}

/// Empty where no proxy says that it cannot reach the version.
fn unreachable(version: &VersionReport) -> String {
    let unreachable = version.unreachable.as_ref();
    unreachable.map_or_else(String::new, |u| {
        format!(" UNREACHABLE at {} of {}", u.proxies.are, u.proxies.of)
    })
}

fn share(percent: f64) -> String {
    format!("{:>5} %", number(percent))
}

/// A percentage with at most two decimals.
pub(crate) fn number(percent: f64) -> String {
    let text = format!("{percent:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The carrier whose weight counts for a version.
fn carrier<'a>(model: &'a ModelReport, version: &VersionReport) -> Option<&'a CarrierReport> {
    let first = version.carriers.first()?;
    model.carriers.iter().find(|c| c.carrier == *first)
}

fn role<'a>(model: &'a ModelReport, version: &VersionReport) -> &'a str {
    carrier(model, version).map_or("-", |c| c.role.as_str())
}

/// How many proxies have a version's share, and what the others have.
fn acked(model: &ModelReport, version: &VersionReport) -> String {
    let same = |percent: f64| (percent - version.weight_wanted).abs() < 1e-9;
    let behind: Vec<String> = model
        .proxies
        .iter()
        .filter_map(|held| match version.weight_acked.get(&held.proxy) {
            Some(percent) if same(*percent) => None,
            Some(percent) => Some(format!("{} still {} %", held.proxy, number(*percent))),
            None => Some(format!("{} nothing yet", held.proxy)),
        })
        .collect();
    let of = model.proxies.len();
    match behind.len() {
        0 => format!("{of} of {of}"),
        some_are => format!("{} of {of}: {}", of - some_are, some(&behind, 2)),
    }
}

/// A model from its labels to each proxy.
pub(crate) fn text(model: &ModelReport, report: &Report, page: Page) -> String {
    let mut out = format!("MODEL {}", model.id());
    if !model.names.is_empty() {
        out.push_str(&format!("   clients also write {}", some(&model.names, 3)));
    }
    if model.scale_percent != 100 {
        out.push_str(&format!("   buckets at {} %", model.scale_percent));
    }
    if model.default_max_tokens != DefaultMaxTokens::default().tokens() {
        out.push_str(&format!(
            "   max_tokens {} where a request names none",
            model.default_max_tokens
        ));
    }
    out.push_str(&remembered(model, page));
    format!(
        "{out}\n\n{}\n{}\n{}",
        labels(model, report, page),
        weights(model, report, page),
        proxies(model, page)
    )
}

/// A line on the remembered base, and on whether every proxy has the weights planned.
fn remembered(model: &ModelReport, page: Page) -> String {
    let base = model.base.iter().map(|base| {
        let gone = base.undeclared_since.map_or_else(String::new, |since| {
            // Whole seconds, of this century.
            #[allow(clippy::cast_precision_loss)]
            let ago = page.ago(Some(since as f64));
            format!(", not declared for {ago}")
        });
        format!("{} ({}{gone})", base.carrier, base.versions.join(", "))
    });
    let base: Vec<String> = base.collect();
    let mut parts = Vec::new();
    if !base.is_empty() {
        parts.push(format!("base remembered: {}", base.join(", ")));
    }
    if let Some(converged) = model.converged {
        let state = if converged { "yes" } else { "NOT YET" };
        parts.push(format!("converged: {state}"));
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!("\n{}", parts.join("   ")),
    }
}

fn labels(model: &ModelReport, report: &Report, page: Page) -> String {
    let mut table = Table::new(0, ["LABELS SEEN", "READY", "FOR", ""]);
    for carrier in &model.carriers {
        table.row([
            object(carrier),
            format!("{}/{}", carrier.ready.are, carrier.ready.of),
            page.seen(carrier.seen_since, report),
            format!("{}{}", written(carrier), inferred(carrier)),
        ]);
    }
    table.render(page.width)
}

/// `kind/name`: the namespace is in the model's line.
pub(crate) fn object(carrier: &CarrierReport) -> String {
    match carrier.carrier.split_once(' ') {
        Some((kind, full)) => format!("{kind}/{}", full.rsplit('/').next().unwrap_or(full)),
        None => carrier.carrier.clone(),
    }
}

/// The labels as `kubectl label` takes them, with those that are refused, or why the object owns no version.
pub(crate) fn written(carrier: &CarrierReport) -> String {
    let one = |(key, value): (&String, &String)| {
        let refused = carrier.refused.contains(key);
        format!("{key}={value}{}", if refused { " (REFUSED)" } else { "" })
    };
    let labels: Vec<String> = carrier.labels.iter().map(one).collect();
    let labels = labels.join(" ");
    match carrier.role.as_str() {
        "none" => format!("{labels} ({})", carrier.why),
        _ => labels,
    }
}

/// The ports that were inferred without an annotation or a Service, and why. Empty if there is none.
fn inferred(carrier: &CarrierReport) -> String {
    let ports = carrier.ports.iter().filter(|port| port.inferred);
    let one = |port: &PortReport| {
        let spoken = match port.protocol.as_str() {
            "HTTP/1.1" => String::new(),
            other => format!(" {other},"),
        };
        format!("; serves on {},{spoken} {}", port.port, port.why)
    };
    ports.map(one).collect()
}

fn weights(model: &ModelReport, report: &Report, page: Page) -> String {
    let heads = ["WEIGHTS PLANNED", "ROLE", "  SHARE", "READY", "FOR", "WHY"];
    let mut table = Table::new(0, heads);
    for version in &model.versions {
        let mut why = carrier(model, version).map_or_else(String::new, |c| c.why.clone());
        if let [_, further @ ..] = version.carriers.as_slice()
            && !further.is_empty()
        {
            why.push_str(&format!("; with endpoints of {}", some(further, 2)));
        }
        if let Some(u) = &version.unreachable {
            let (are, of) = (u.proxies.are, u.proxies.of);
            let ago = page.ago(Some(u.since));
            why.push_str(&format!("; UNREACHABLE at {are} of {of} proxies for {ago}"));
        }
        table.row([
            version.version.clone(),
            role(model, version).to_owned(),
            share(version.weight_wanted),
            format!("{}/{}", version.endpoints.are, version.endpoints.of),
            page.seen(version.planned_since, report),
            why,
        ]);
    }
    table.render(page.width)
}

fn proxies(model: &ModelReport, page: Page) -> String {
    let head = format!("ACKED BY {} OF {}", model.acked.are, model.acked.of);
    let mut table = Table::new(0, [head.as_str(), "STATE", "CONFIG", "FOR", "RUNS"]);
    for held in &model.proxies {
        table.row([
            held.proxy.clone(),
            state(held).to_owned(),
            short(&held.config).to_owned(),
            page.ago(held.acked_at),
            format!("{}{}", runs(held), note(held)),
        ]);
    }
    table.render(page.width)
}

fn state(held: &HeldReport) -> &'static str {
    match held.state.as_str() {
        "acked" => "acked",
        "waiting" => "WAITS",
        "nacked" => "NACK",
        _ => "PENDING",
    }
}

fn note(held: &HeldReport) -> String {
    let message = held.message.as_deref();
    message.map_or_else(String::new, |message| format!("; {message}"))
}

/// The shares that a proxy's filters go by.
fn runs(held: &HeldReport) -> String {
    match &held.weights {
        None if held.config.is_empty() => "nothing yet".to_owned(),
        None => "a configuration older than the control plane's memory".to_owned(),
        Some(weights) if weights.is_empty() => "a configuration without the model".to_owned(),
        Some(weights) => shares(
            weights
                .iter()
                .map(|(version, share)| (version.as_str(), *share)),
        ),
    }
}

/// `v1 90 %, v2 10 %`.
pub(crate) fn shares<'a>(weights: impl Iterator<Item = (&'a str, f64)>) -> String {
    let one = |(version, percent): (&str, f64)| format!("{version} {} %", number(percent));
    let all: Vec<String> = weights.map(one).collect();
    all.join(", ")
}

/// The shares planned.
pub(crate) fn planned(model: &ModelReport) -> BTreeMap<&str, f64> {
    let versions = model.versions.iter();
    versions
        .map(|v| (v.version.as_str(), v.weight_wanted))
        .collect()
}
