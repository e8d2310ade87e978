//! Alerts and dashboard: each expression parses, and names only metrics and labels that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use headgate_core::metrics::{FAMILIES as FILTER_FAMILIES, MetricKind};
use headgate_report::metrics::FAMILIES;
use headgate_tests_install::{ENVOY_STATISTICS, text};
use promql_parser::label::Matchers;
use promql_parser::parser::{AggregateExpr, Expr, LabelModifier, VectorSelector, parse};
use serde_json::Value;

/// Labels that Prometheus adds to what it scrapes.
const TARGET_LABELS: [&str; 5] = ["instance", "job", "namespace", "pod", "le"];

/// Labels by the name of a series.
fn series() -> BTreeMap<String, BTreeSet<&'static str>> {
    let control_plane = FAMILIES
        .iter()
        .map(|f| (f.name.to_owned(), f.kind, f.labels));
    let filters = FILTER_FAMILIES.iter().map(|family| {
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
        };
        (
            format!("headgate_{}", family.name.trim_end_matches("_total")),
            kind,
            family.labels,
        )
    });
    let mut series = BTreeMap::new();
    for (name, kind, labels) in control_plane.chain(filters) {
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        for suffix in suffixes {
            let labels = labels.iter().copied().chain(TARGET_LABELS).collect();
            series.insert(format!("{name}{suffix}"), labels);
        }
    }
    // A test on a real Envoy checks that they exist.
    for name in ENVOY_STATISTICS {
        series.insert(name.to_owned(), TARGET_LABELS.into_iter().collect());
    }
    series
}

/// The selectors of an expression, and the labels that it groups by.
fn parts(expr: &Expr, selectors: &mut Vec<VectorSelector>, grouping: &mut Vec<String>) {
    match expr {
        Expr::Aggregate(AggregateExpr {
            expr,
            param,
            modifier,
            ..
        }) => {
            if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = modifier
            {
                grouping.extend(labels.labels.iter().cloned());
            }
            parts(expr, selectors, grouping);
            if let Some(param) = param {
                parts(param, selectors, grouping);
            }
        }
        Expr::Unary(unary) => parts(&unary.expr, selectors, grouping),
        Expr::Binary(binary) => {
            parts(&binary.lhs, selectors, grouping);
            parts(&binary.rhs, selectors, grouping);
        }
        Expr::Paren(paren) => parts(&paren.expr, selectors, grouping),
        Expr::Subquery(subquery) => parts(&subquery.expr, selectors, grouping),
        Expr::VectorSelector(selector) => selectors.push(selector.clone()),
        Expr::MatrixSelector(matrix) => selectors.push(matrix.vs.clone()),
        Expr::Call(call) => {
            for argument in &call.args.args {
                parts(argument, selectors, grouping);
            }
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// The series that an expression names. Each label that it uses must be one of theirs.
fn checked(expression: &str) -> BTreeSet<String> {
    let series = series();
    let parsed = parse(expression).unwrap_or_else(|error| panic!("{expression}\n{error}"));
    let (mut selectors, mut grouping) = (Vec::new(), Vec::new());
    parts(&parsed, &mut selectors, &mut grouping);
    assert!(!selectors.is_empty(), "{expression} names no metric");
    let mut names = BTreeSet::new();
    let mut all_labels: BTreeSet<&str> = BTreeSet::new();
    for selector in selectors {
        let name = selector
            .name
            .unwrap_or_else(|| panic!("{expression}: a selector without a name"));
        let labels = series
            .get(&name)
            .unwrap_or_else(|| panic!("{expression}: there is no metric {name}"));
        let Matchers { matchers, .. } = selector.matchers;
        for matcher in matchers {
            assert!(
                labels.contains(&*matcher.name),
                "{name} has no label {}",
                matcher.name
            );
        }
        all_labels.extend(labels);
        names.insert(name);
    }
    for label in grouping {
        assert!(
            all_labels.contains(&*label),
            "{expression}: no metric has the label {label}"
        );
    }
    names
}

fn alerts() -> Vec<Value> {
    let yaml = text("istio-manifests/components/metrics/prometheus-rule.yaml");
    let rule: Value = serde_saphyr::from_str(&yaml).unwrap();
    let groups = rule["spec"]["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    rules.cloned().collect()
}

#[test]
fn every_alert_parses_and_names_metrics_that_exist() {
    for alert in alerts() {
        let expression = alert["expr"].as_str().unwrap();
        checked(expression);
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{alert}");
        for text in ["summary", "description"] {
            assert!(alert["annotations"][text].is_string(), "{alert}");
        }
    }
}

/// A template shows nothing for a label that the expression does not keep.
#[test]
fn every_label_in_the_text_of_an_alert_is_one_of_its_series() {
    let series = series();
    for alert in alerts() {
        let names = checked(alert["expr"].as_str().unwrap());
        let text = alert["annotations"].to_string();
        for label in text.split("$labels.").skip(1) {
            let label: String = label
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let known = names
                .iter()
                .any(|name| series[name].contains(label.as_str()));
            assert!(known, "{}: no label {label}", alert["alert"]);
        }
    }
}

/// The conditions of docs/operations.md are alerts, and the alerts are in it.
#[test]
fn operations_lists_every_alert() {
    let operations = text("docs/operations.md");
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        assert!(
            operations.contains(&format!("`{name}`")),
            "{name} is not in docs/operations.md"
        );
    }
}

#[test]
fn every_panel_of_the_dashboard_parses_and_names_metrics_that_exist() {
    let text = text("istio-manifests/components/metrics/dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            // As Grafana replaces its variables.
            let expression = target["expr"].as_str().unwrap();
            checked(
                &expression
                    .replace("$__rate_interval", "1m")
                    .replace("$namespace", ".*"),
            );
        }
    }
}
