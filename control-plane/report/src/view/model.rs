//! Text of models: an overview of all, or one model in full (labels read → weights planned → ACKs of each proxy).

use std::collections::BTreeMap;

use headgate_contract::DefaultMaxTokens;

use super::options::{RenderOptions, first_items, number, short};
use super::table::Table;
use crate::{
    CarrierReport, Count, ModelReport, PortReport, ProxyModelReport, Report, VersionReport,
};

/// The overview: a row for each version of each model.
pub(crate) fn overview(report: &Report, options: RenderOptions) -> String {
    let mut heads = vec!["MODEL", "VERSION", "  SHARE", "ROLE", "READY", "FOR"];
    if options.wide {
        heads.extend(["CARRIERS", "CAPACITY"]);
    }
    heads.push("ACKED BY");
    let mut table = Table::new(0, heads.iter().copied());
    for model in &report.models {
        let mut name = model.id();
        for version in &model.versions {
            let Count { current, total } = version.endpoints;
            let mut cells = vec![
                std::mem::take(&mut name),
                version.version.clone(),
                share(version.weight_wanted),
                role(model, version).to_owned(),
                format!(
                    "{current}/{total}{}{}",
                    unreachable(version),
                    waits(version)
                ),
                options.observed_age(version.planned_since, report),
            ];
            if options.wide {
                cells.push(first_items(&version.carriers, 2));
                cells.push(format!("{} %", model.scale_percent));
            }
            cells.push(acked(model, version));
            table.row(cells);
        }
        if !name.is_empty() {
            let mut cells = vec!["-".to_owned(); heads.len()];
            cells[0] = name;
            if let Some(last) = cells.last_mut() {
                "no version is declared".clone_into(last);
            }
            table.row(cells);
        }
    }
    table.render(options.width)
}

/// The proxies that cannot reach a version; empty if there is none.
fn unreachable(version: &VersionReport) -> String {
    let unreachable = version.unreachable.as_ref();
    unreachable.map_or_else(String::new, |u| {
        format!(
            " UNREACHABLE at {} of {}",
            u.proxies.current, u.proxies.total
        )
    })
}

/// Whether proxies of a mesh do not get a version yet; empty if they do.
fn waits(version: &VersionReport) -> &'static str {
    match version.waits_for_routes {
        true => " waits for routes",
        false => "",
    }
}

fn share(percent: f64) -> String {
    format!("{:>5} %", number(percent))
}

/// The carrier whose weight applies to a version.
fn carrier<'a>(model: &'a ModelReport, version: &VersionReport) -> Option<&'a CarrierReport> {
    let first = version.carriers.first()?;
    model.carriers.iter().find(|c| c.carrier == *first)
}

fn role<'a>(model: &'a ModelReport, version: &VersionReport) -> &'a str {
    carrier(model, version).map_or("-", |c| c.role.as_str())
}

/// The number of proxies that have the planned share of a version, and the share of the others.
fn acked(model: &ModelReport, version: &VersionReport) -> String {
    let same = |percent: f64| (percent - version.weight_wanted).abs() < 1e-9;
    let outdated: Vec<String> = model
        .proxies
        .iter()
        .filter_map(|held| match version.weight_acked.get(&held.proxy) {
            Some(percent) if same(*percent) => None,
            Some(percent) => Some(format!("{} still {} %", held.proxy, number(*percent))),
            None => Some(format!("{} nothing yet", held.proxy)),
        })
        .collect();
    let of = model.proxies.len();
    match outdated.len() {
        0 => format!("{of} of {of}"),
        count => format!("{} of {of}: {}", of - count, first_items(&outdated, 2)),
    }
}

/// A model in full.
pub(crate) fn text(model: &ModelReport, report: &Report, options: RenderOptions) -> String {
    let mut out = format!("MODEL {}", model.id());
    if !model.names.is_empty() {
        out.push_str(&format!("   client names {}", first_items(&model.names, 3)));
    }
    if model.scale_percent != 100 {
        out.push_str(&format!("   buckets at {} %", model.scale_percent));
    }
    if model.default_max_tokens != DefaultMaxTokens::default().tokens() {
        out.push_str(&format!(
            "   default max_tokens {}",
            model.default_max_tokens
        ));
    }
    out.push_str(&base_and_convergence(model, options));
    format!(
        "{out}\n\n{}\n{}\n{}",
        labels(model, report, options),
        weights(model, report, options),
        proxies(model, options)
    )
}

/// A line with the stored base, and with whether every proxy has the planned weights.
fn base_and_convergence(model: &ModelReport, options: RenderOptions) -> String {
    let base = model.base.iter().map(|base| {
        let gone = base.undeclared_since.map_or_else(String::new, |since| {
            // Seconds since 1970 are far below 2^52.
            #[allow(clippy::cast_precision_loss)]
            let ago = options.age(Some(since as f64));
            format!(", not declared for {ago}")
        });
        format!("{} ({}{gone})", base.carrier, base.versions.join(", "))
    });
    let base: Vec<String> = base.collect();
    let mut parts = Vec::new();
    if !base.is_empty() {
        parts.push(format!("stored base: {}", base.join(", ")));
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

fn labels(model: &ModelReport, report: &Report, options: RenderOptions) -> String {
    let mut table = Table::new(0, ["LABELS SEEN", "READY", "FOR", ""]);
    for carrier in &model.carriers {
        table.row([
            object(carrier),
            format!("{}/{}", carrier.ready.current, carrier.ready.total),
            options.observed_age(carrier.seen_since, report),
            format!("{}{}", written(carrier), inferred(carrier)),
        ]);
    }
    table.render(options.width)
}

/// `kind/name` of a carrier. The namespace is in the line of the model.
pub(crate) fn object(carrier: &CarrierReport) -> String {
    match carrier.carrier.split_once(' ') {
        Some((kind, full)) => format!("{kind}/{}", full.rsplit('/').next().unwrap_or(full)),
        None => carrier.carrier.clone(),
    }
}

/// The labels in the form of `kubectl label`. Invalid labels are marked; a carrier without a version has an explanation.
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

/// The ports that were inferred without an annotation or a Service, and the rule that chose them. Empty if there is none.
fn inferred(carrier: &CarrierReport) -> String {
    let ports = carrier.ports.iter().filter(|port| port.inferred);
    let one = |port: &PortReport| {
        let protocol = match port.protocol.as_str() {
            "HTTP/1.1" => String::new(),
            other => format!(" {other},"),
        };
        format!("; serves on {},{protocol} {}", port.port, port.why)
    };
    ports.map(one).collect()
}

fn weights(model: &ModelReport, report: &Report, options: RenderOptions) -> String {
    let heads = ["WEIGHTS PLANNED", "ROLE", "  SHARE", "READY", "FOR", "WHY"];
    let mut table = Table::new(0, heads);
    for version in &model.versions {
        let mut why = carrier(model, version).map_or_else(String::new, |c| c.why.clone());
        if let [_, further @ ..] = version.carriers.as_slice()
            && !further.is_empty()
        {
            why.push_str(&format!(
                "; also has endpoints of {}",
                first_items(further, 2)
            ));
        }
        if let Some(u) = &version.unreachable {
            let (current, total) = (u.proxies.current, u.proxies.total);
            let ago = options.age(Some(u.since));
            why.push_str(&format!(
                "; UNREACHABLE at {current} of {total} proxies for {ago}"
            ));
        }
        table.row([
            version.version.clone(),
            role(model, version).to_owned(),
            share(version.weight_wanted),
            format!("{}/{}", version.endpoints.current, version.endpoints.total),
            options.observed_age(version.planned_since, report),
            why,
        ]);
    }
    table.render(options.width)
}

fn proxies(model: &ModelReport, options: RenderOptions) -> String {
    let head = format!("ACKED BY {} OF {}", model.acked.current, model.acked.total);
    let mut table = Table::new(0, [head.as_str(), "STATE", "CONFIG", "FOR", "RUNS"]);
    for held in &model.proxies {
        table.row([
            held.proxy.clone(),
            state(held).to_owned(),
            short(&held.config).to_owned(),
            options.age(held.acked_at),
            format!("{}{}", runs(held), note(held)),
        ]);
    }
    table.render(options.width)
}

fn state(held: &ProxyModelReport) -> &'static str {
    match held.state.as_str() {
        "acked" => "acked",
        "waiting" => "WAITS",
        "nacked" => "NACK",
        _ => "PENDING",
    }
}

fn note(held: &ProxyModelReport) -> String {
    let message = held.message.as_deref();
    message.map_or_else(String::new, |message| format!("; {message}"))
}

/// The shares in the configuration of a proxy.
fn runs(held: &ProxyModelReport) -> String {
    match &held.weights {
        None if held.config.is_empty() => "nothing yet".to_owned(),
        None => "a configuration that the control plane no longer stores".to_owned(),
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

/// The planned share of each version.
pub(crate) fn planned(model: &ModelReport) -> BTreeMap<&str, f64> {
    let versions = model.versions.iter();
    versions
        .map(|v| (v.version.as_str(), v.weight_wanted))
        .collect()
}
