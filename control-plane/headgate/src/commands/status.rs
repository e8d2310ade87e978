//! `headgate status`: both ends of the story, labels seen → weights planned → acked by each proxy.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use crate::cli::{Output, StatusArgs};
use crate::report::{ModelReport, ProxyReport, Report, seconds};
use crate::settings::Failure;

/// How long the control plane may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the status; exits 1 if the model asked for is not known.
///
/// # Errors
/// When no control plane answers.
pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let url = format!("http://{}/syncz", args.admin_address);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .build()
        .into();
    let body = agent
        .get(&url)
        .call()
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .map_err(|e| format!("no control plane answers at {url}: {e}. Is `headgate serve` running, with this --admin-address?"))?;
    let mut report: Report = serde_json::from_str(&body)?;
    if let Some(model) = &args.model {
        report.models.retain(|m| m.model == *model);
        if report.models.is_empty() {
            eprintln!(
                "headgate: no model {model:?} is declared; `headgate status` lists those that are"
            );
            return Ok(ExitCode::from(1));
        }
    }
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => print!("{}", text(&report, seconds(SystemTime::now()))),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(report: &Report, now: f64) -> String {
    let mut out = String::new();
    if !report.synced {
        out.push_str("not synced: the source was not read yet\n");
    }
    for model in &report.models {
        model_text(&mut out, model);
    }
    out.push_str("\nPROXIES\n");
    if report.proxies.is_empty() {
        out.push_str("  none is connected\n");
    }
    for proxy in &report.proxies {
        proxy_text(&mut out, proxy, now);
    }
    if !report.problems.is_empty() {
        out.push_str("\nPROBLEMS\n");
    }
    for p in &report.problems {
        let since = p
            .since
            .map(|at| format!(" (for {})", age(now - at)))
            .unwrap_or_default();
        out.push_str(&format!(
            "  {:7} {} {}{since}: {}\n",
            p.severity, p.reason, p.object, p.message
        ));
    }
    out
}

fn model_text(out: &mut String, model: &ModelReport) {
    out.push_str(&format!(
        "MODEL {}/{}  acked by {} of {} proxies",
        model.namespace, model.model, model.acked.are, model.acked.of
    ));
    if model.scale_percent != 100 {
        out.push_str(&format!("  buckets at {} %", model.scale_percent));
    }
    out.push('\n');
    for version in &model.versions {
        let behind = version
            .weight_acked
            .iter()
            .filter(|(_, acked)| (*acked - version.weight_wanted).abs() > 1e-9)
            .map(|(node, acked)| format!("{node} still {acked} %"))
            .collect::<Vec<_>>()
            .join(", ");
        out.push_str(&format!(
            "  {:20} {:>8} %   {}/{} endpoints   {behind}\n",
            version.version, version.weight_wanted, version.endpoints.are, version.endpoints.of
        ));
    }
    for carrier in &model.carriers {
        out.push_str(&format!(
            "    {:40} {:10} {:>8} %   {}/{} ready\n",
            carrier.carrier, carrier.standing, carrier.weight, carrier.ready.are, carrier.ready.of
        ));
    }
}

fn proxy_text(out: &mut String, proxy: &ProxyReport, now: f64) {
    out.push_str(&format!(
        "  {} {} since {} ({})\n",
        proxy.id,
        if proxy.settled { "in step" } else { "BEHIND" },
        age(now - proxy.since),
        proxy.agent
    ));
    for (name, t) in &proxy.types {
        let acked = t
            .acked_at
            .map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(now - at)));
        out.push_str(&format!(
            "    {name:5} wanted {} acked {} ({acked})\n",
            short(&t.wanted),
            short(&t.acked)
        ));
        for (resource, nack) in &t.nacked {
            let hint = hint(name, &nack.message);
            out.push_str(&format!("      NACK {resource}: {}{hint}\n", nack.message));
        }
        for (resource, wait) in &t.waiting {
            out.push_str(&format!("      waits {resource}: {wait}\n"));
        }
    }
}

/// Of a filter that refused its configuration, Envoy tells us no more than that: the reason is in its own log.
fn hint(kind: &str, message: &str) -> &'static str {
    if kind == "ecds" && message.contains("Unable to create Wasm plugin") {
        "\n           (the path and the fix are in that Envoy's log: look for \"headgate\" at the time of the refusal)"
    } else {
        ""
    }
}

fn short(version: &str) -> &str {
    match version {
        "" => "-",
        long => long.get(..12).unwrap_or(long),
    }
}

fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 120.0 {
        format!("{seconds:.0}s")
    } else if seconds < 7200.0 {
        format!("{:.0}m", seconds / 60.0)
    } else {
        format!("{:.0}h", seconds / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::{NackReport, TypeReport};

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
                agent: String::new(),
                address: None,
                scope: String::new(),
                since: 0.0,
                settled: false,
                types: BTreeMap::from([(kind.to_owned(), of_type(message))]),
            };
            let mut out = String::new();
            proxy_text(&mut out, &proxy, 0.0);
            out
        };
        assert!(shown("ecds", "Unable to create Wasm plugin headgate").contains("Envoy's log"));
        assert!(!shown("ecds", "no such file").contains("Envoy's log"));
        assert!(!shown("cds", "Unable to create Wasm plugin headgate").contains("Envoy's log"));
    }
}
