#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use super::changes::changes;
use super::merge::merge;
use super::options::RenderOptions;
use super::text::text;
use crate::{
    ApiReport, BaseReport, CarrierReport, Count, Head, ModelReport, PortReport, ProblemReport,
    ProxyModelReport, ProxyReport, Report, UnreachableReport, UnreadReport, VersionReport,
};

const NOW: f64 = 1000.0;

fn shares(percent: f64) -> [(&'static str, f64); 2] {
    [("v1", 100.0 - percent), ("v2", percent)]
}

fn carrier(version: &str, weight: Option<&str>, role: &str, since: f64) -> CarrierReport {
    let labels = [("model-name", "m"), ("model-version", version)];
    let labels = labels
        .into_iter()
        .chain(weight.map(|weight| ("canary-weight", weight)));
    CarrierReport {
        carrier: format!("deployment default/m-{version}"),
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        refused: Vec::new(),
        seen_since: Some(since),
        standing: String::new(),
        role: role.to_owned(),
        why: format!("because it is {role}"),
        weight: 0.0,
        ready: Count {
            current: 1,
            total: 1,
        },
        ports: Vec::new(),
    }
}

fn proxy_model(proxy: &str, state: &str, percent: f64, at: f64) -> ProxyModelReport {
    let weights = shares(percent).map(|(version, share)| (version.to_owned(), share));
    ProxyModelReport {
        proxy: proxy.to_owned(),
        state: state.to_owned(),
        message: None,
        config: "0123456789abcdef".to_owned(),
        acked_at: Some(at),
        weights: Some(weights.into()),
    }
}

/// A model with a canary at this percent since a time, and its proxies.
fn model(percent: f64, since: f64, proxies: Vec<ProxyModelReport>) -> ModelReport {
    let versions = shares(percent).map(|(version, share)| VersionReport {
        version: version.to_owned(),
        weight_wanted: share,
        planned_since: Some(since),
        weight_acked: proxies
            .iter()
            .map(|h| (h.proxy.clone(), h.weights.as_ref().unwrap()[version]))
            .collect(),
        endpoints: Count {
            current: 1,
            total: 1,
        },
        carriers: vec![format!("deployment default/m-{version}")],
        unreachable: None,
        waits_for_routes: false,
    });
    let weight = percent.to_string();
    ModelReport {
        namespace: "default".to_owned(),
        model: "m".to_owned(),
        names: Vec::new(),
        scale_percent: 100,
        default_max_tokens: 512,
        carriers: vec![
            carrier("v1", None, "stable", 1.0),
            carrier("v2", Some(&weight), "canary", since),
        ],
        versions: versions.into(),
        acked: Count {
            current: proxies.iter().filter(|h| h.state == "acked").count(),
            total: proxies.len(),
        },
        base: vec![BaseReport {
            carrier: "deployment/m-v1".to_owned(),
            versions: vec!["v1".to_owned()],
            undeclared_since: None,
        }],
        converged: Some(proxies.iter().all(|h| h.state == "acked")),
        proxies,
    }
}

fn proxy(id: &str) -> ProxyReport {
    ProxyReport {
        id: id.to_owned(),
        replica: None,
        agent: "envoy/1.40.0".to_owned(),
        address: None,
        identity: None,
        scope: String::new(),
        since: 1.0,
        current: true,
        types: BTreeMap::new(),
    }
}

fn report(model: ModelReport) -> Report {
    Report {
        head: Head {
            version: "0.1.0".to_owned(),
            replica: None,
            started_at: 1.0,
            shutting_down: false,
            synced: true,
            synced_at: Some(1.0),
            publication: 1,
            published_at: 1.0,
            took_ms: 1.0,
        },
        proxies: model.proxies.iter().map(|h| proxy(&h.proxy)).collect(),
        models: vec![model],
        ..Report::default()
    }
}

fn problem(reason: &str, message: &str) -> ProblemReport {
    ProblemReport::new("warning", reason, "deployment default/m-v2", message)
}

fn change_lines(before: Option<&Report>, after: &Report) -> Vec<String> {
    let lines = changes(before, after, NOW).into_iter();
    lines
        .map(|line| format!("{} {} {}", line.at, line.kind, line.text))
        .collect()
}

#[test]
fn an_edit_is_shown_as_observed_then_planned_then_acked() {
    let before = report(model(
        10.0,
        20.0,
        vec![
            proxy_model("a", "acked", 10.0, 20.5),
            proxy_model("b", "acked", 10.0, 20.5),
        ],
    ));
    let after = report(model(
        30.0,
        40.0,
        vec![
            proxy_model("a", "acked", 30.0, 40.25),
            proxy_model("b", "pending", 10.0, 20.5),
        ],
    ));
    assert_eq!(
        change_lines(Some(&before), &after),
        [
            "40 seen deployment/m-v2: canary-weight=30 (was 10)",
            "40 planned v1 70 % stable (was 90 %), v2 30 % canary (was 10 %)",
            "40.25 acked a: v1 70 %, v2 30 %, 250 ms after the plan",
        ]
    );
    let later = report(model(
        30.0,
        40.0,
        vec![
            proxy_model("a", "acked", 30.0, 40.25),
            proxy_model("b", "acked", 30.0, 41.0),
        ],
    ));
    let lines = change_lines(Some(&after), &later);
    assert_eq!(
        lines,
        ["41 acked b: v1 70 %, v2 30 %, 1000 ms after the plan"]
    );
}

#[test]
fn passing_time_alone_shows_no_line() {
    let before = report(model(
        10.0,
        20.0,
        vec![proxy_model("a", "acked", 10.0, 20.5)],
    ));
    let mut after = before.clone();
    after.head.publication += 5;
    after.head.published_at += 60.0;
    // A push for another model.
    after.models[0].proxies[0].acked_at = Some(77.0);
    after.models[0].proxies[0].config = "fedcba9876543210".to_owned();
    assert_eq!(change_lines(Some(&before), &after), Vec::<String>::new());
}

#[test]
fn the_first_report_shows_everything_in_order_of_time() {
    let first = report(model(
        10.0,
        20.0,
        vec![proxy_model("a", "acked", 10.0, 20.5)],
    ));
    assert_eq!(
        change_lines(None, &first),
        [
            "1 seen deployment/m-v1: model-name=m model-version=v1, 1/1 ready",
            "20 seen deployment/m-v2: canary-weight=10 model-name=m model-version=v2, 1/1 ready",
            "20 planned v1 90 % stable, v2 10 % canary",
            "20.5 acked a: v1 90 %, v2 10 %",
        ]
    );
}

#[test]
fn refusals_problems_and_losses_are_shown_with_their_ends() {
    let settled = report(model(
        10.0,
        20.0,
        vec![proxy_model("a", "acked", 10.0, 20.5)],
    ));
    let mut refused = settled.clone();
    refused.models[0].proxies[0].state = "nacked".to_owned();
    refused.models[0].proxies[0].message = Some("headgate: no such file".to_owned());
    refused.models[0].carriers[1].refused = vec!["canary-weight".to_owned()];
    refused.models[0].carriers[1]
        .labels
        .insert("canary-weight".to_owned(), "lots".to_owned());
    refused.problems = vec![problem("InvalidWeight", "write a number")];
    assert_eq!(
        change_lines(Some(&settled), &refused),
        [
            "20 seen deployment/m-v2: canary-weight=lots REFUSED (was 10)",
            "1000 NACK a: headgate: no such file",
            "1000 warning InvalidWeight deployment default/m-v2: write a number",
        ]
    );
    let lines = change_lines(Some(&refused), &settled);
    let acked = "20.5 acked a: v1 90 %, v2 10 %";
    assert!(
        lines.iter().any(|line| line.starts_with(acked)),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"1000 solved InvalidWeight deployment default/m-v2".to_owned()),
        "{lines:?}"
    );
    let mut alone = settled.clone();
    alone.models[0].proxies.clear();
    assert_eq!(
        change_lines(Some(&settled), &alone),
        ["1000 left a is not connected"]
    );
    let mut gone = settled.clone();
    gone.models.clear();
    assert_eq!(
        change_lines(Some(&settled), &gone),
        ["1000 gone no object has the label of this model"]
    );
}

#[test]
fn the_documents_of_replicas_are_merged_with_their_names() {
    let mut first = report(model(
        10.0,
        20.0,
        vec![proxy_model("a", "acked", 10.0, 20.5)],
    ));
    first.problems = vec![
        problem("VersionHeld", "both say it"),
        problem("Module", "one says it"),
    ];
    let mut second = report(model(
        10.0,
        30.0,
        vec![proxy_model("b", "pending", 0.0, 3.0)],
    ));
    second.problems = vec![problem("VersionHeld", "both say it")];
    let away = Err("connection refused".to_owned());
    let answers = vec![
        ("x:1".to_owned(), Ok(first)),
        ("y:1".to_owned(), Ok(second)),
        ("z:1".to_owned(), away.clone()),
    ];
    let merged = merge(answers).unwrap();
    assert_eq!(merged.models.len(), 1);
    let model = &merged.models[0];
    assert_eq!(
        model.acked,
        Count {
            current: 1,
            total: 2
        }
    );
    assert_eq!(
        model.versions[1].weight_acked,
        [("a".to_owned(), 10.0), ("b".to_owned(), 0.0)].into()
    );
    assert_eq!(
        model.versions[1].planned_since,
        Some(20.0),
        "the first to see it"
    );
    let at: Vec<_> = merged
        .proxies
        .iter()
        .map(|p| (p.id.as_str(), p.replica.as_deref().unwrap()))
        .collect();
    assert_eq!(at, [("a", "x:1"), ("b", "y:1")]);
    let errors: Vec<_> = merged.replicas.iter().map(|r| r.error.as_deref()).collect();
    assert_eq!(errors, [None, None, Some("connection refused")]);
    let reasons: Vec<_> = merged
        .problems
        .iter()
        .map(|p| (p.reason.as_str(), p.replicas.join(",")))
        .collect();
    assert_eq!(
        reasons,
        [("VersionHeld", String::new()), ("Module", "x:1".to_owned())]
    );
    let none = merge(vec![("z:1".to_owned(), away)]).unwrap_err();
    assert_eq!(none, "z:1: connection refused");
}

#[test]
fn proxies_that_cannot_reach_a_version_are_counted_over_all_replicas() {
    let says = |are, since| {
        let mut model = model(10.0, 1.0, vec![proxy_model("p", "acked", 10.0, 2.0)]);
        model.versions[1].unreachable = Some(UnreachableReport {
            proxies: Count {
                current: are,
                total: 2,
            },
            since,
        });
        report(model)
    };
    let replicas = [("a:1", says(1, 40.0)), ("b:1", says(2, 30.0))];
    let answers = replicas.map(|(address, report)| (address.to_owned(), Ok(report)));
    let all = merge(answers.into()).unwrap();
    let unreachable = all.models[0].versions[1].unreachable.as_ref().unwrap();
    assert_eq!(
        (unreachable.proxies.current, unreachable.proxies.total),
        (3, 4)
    );
    assert!((unreachable.since - 30.0).abs() < 1e-9);
    assert!(all.models[0].versions[0].unreachable.is_none());
    let options = RenderOptions {
        now: 50.0,
        width: 200,
        detailed: true,
        wide: false,
    };
    let shown = super::model::overview(&all, options);
    assert!(shown.contains("1/1 UNREACHABLE at 3 of 4"), "{shown}");
    let shown = super::model::text(&all.models[0], &all, options);
    assert!(
        shown.contains("UNREACHABLE at 3 of 4 proxies for 20"),
        "{shown}"
    );
}

#[test]
fn replicas_with_different_plans_are_reported() {
    let first = report(model(10.0, 20.0, Vec::new()));
    let second = report(model(30.0, 20.0, Vec::new()));
    let answers = vec![
        ("x:1".to_owned(), Ok(first)),
        ("y:1".to_owned(), Ok(second)),
    ];
    let merged = merge(answers).unwrap();
    let problem = &merged.problems[0];
    assert_eq!(
        (problem.reason.as_str(), problem.object.as_str()),
        ("ReplicasDiffer", "model default/m")
    );
    assert!(
        problem.message.contains("y:1 plans v1 70 %, v2 30 %"),
        "{}",
        problem.message
    );
}

#[test]
fn an_unread_kind_is_not_reported_as_an_api_that_is_away_and_names_its_replicas() {
    let api = |unread: Vec<UnreadReport>| {
        Some(ApiReport {
            synced: true,
            unreachable_since: None,
            message: None,
            unread,
        })
    };
    let one = |kind: &str, was_read: bool| UnreadReport {
        kind: kind.to_owned(),
        since: NOW - 34.0,
        message: "conversion webhook failed".to_owned(),
        was_read,
        effect: match was_read {
            true => "its objects count as last seen".to_owned(),
            false => "pods that it may own are not served, everything else is".to_owned(),
        },
    };
    let [mut first, mut second] = [10.0, 10.0].map(|w| report(model(w, 20.0, Vec::new())));
    first.api = api(vec![one("rayclusters.ray.io", true)]);
    let both = [
        ("rayclusters.ray.io", true),
        ("rollouts.argoproj.io", false),
    ];
    second.api = api(both.map(|(kind, was_read)| one(kind, was_read)).into());
    let answers = [("x:1", first), ("y:1", second)];
    let answers = answers.map(|(at, report)| (at.to_owned(), Ok(report)));
    let merged = merge(answers.into()).unwrap();
    let options = RenderOptions {
        now: NOW,
        width: 160,
        detailed: false,
        wide: false,
    };
    let page = text(&merged, options);
    assert!(!page.contains("AWAY"), "{page}");
    let lines: Vec<&str> = page
        .lines()
        .filter(|l| l.starts_with("NOT READ for 34s"))
        .collect();
    assert_eq!(
        lines,
        [
            "NOT READ for 34s: rayclusters.ray.io, its objects count as last seen (conversion webhook failed)",
            "NOT READ for 34s: rollouts.argoproj.io, pods that it may own are not served, everything else is (conversion webhook failed)",
        ]
    );
}

#[test]
fn a_page_fits_the_terminal_and_shows_since_when_the_api_is_away() {
    let mut away = report(model(
        10.0,
        20.0,
        vec![proxy_model("a", "acked", 10.0, 20.5)],
    ));
    away.api = Some(ApiReport {
        synced: true,
        unreachable_since: Some(NOW - 34.0),
        message: Some(
            "pods: connection refused by a server that was there a moment ago".to_owned(),
        ),
        unread: Vec::new(),
    });
    away.problems = vec![problem("VersionHeld", &"a long message ".repeat(20))];
    away.models[0].carriers[1].why = "words ".repeat(30);
    let port = |port: u16, why: &str, inferred: bool| PortReport {
        port,
        protocol: "HTTP/2".to_owned(),
        why: why.to_owned(),
        inferred,
    };
    away.models[0].carriers[1].ports = vec![
        port(8001, "port named grpc", true),
        port(8002, "service/m", false),
    ];
    for (detailed, width) in [(true, 80), (true, 120), (false, 80)] {
        let page = text(
            &away,
            RenderOptions {
                now: NOW,
                width,
                detailed,
                wide: false,
            },
        );
        assert!(
            page.starts_with("KUBERNETES API DOES NOT ANSWER for 34s"),
            "{page}"
        );
        let widest = page.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width, "{widest} columns of {width}:\n{page}");
    }
    let page = text(
        &away,
        RenderOptions {
            now: NOW,
            width: 100,
            detailed: true,
            wide: false,
        },
    );
    for part in [
        "LABELS SEEN",
        "deployment/m-v2",
        "canary-weight=10 model-name=m model-version=v2; serves on 8001,",
        " HTTP/2, port named grpc",
        "WEIGHTS PLANNED",
        "ACKED BY 1 OF 1",
        "v1 90 %, v2 10 %",
    ] {
        assert!(page.contains(part), "{part} in:\n{page}");
    }
}
