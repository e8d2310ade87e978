//! Remarks of `validate` on Services that are carriers, and on pod templates in other places.

use headgate_model::{LabelKeys, Severity};
use headgate_source::files::remarks;

use super::{observe, problems};

const LABELS: &str = "labels: {model-name: m, model-version: v}";

fn check(text: &str) -> Vec<(String, Severity, String)> {
    let files = [("m.yaml".to_owned(), text.as_bytes().to_vec())];
    let all = remarks(&files, "default", &LabelKeys::default()).problems;
    let all = all.into_iter();
    all.map(|p| (p.path, p.severity, p.message)).collect()
}

fn service(name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, {metadata}}}, spec: {{{spec}}}}}\n"
    )
}

fn deployment(metadata: &str, ports: &str) -> String {
    format!(
        "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: a, {metadata}}}, spec: {{template: {{metadata: {{labels: {{app: \
         a}}}}, spec: {{containers: [{{name: s, ports: [{ports}]}}]}}}}}}}}\n"
    )
}

const METRICS: &str = "{name: metrics, containerPort: 9090}";
const SELECTS: &str = "selector: {app: a}, ports: [{port: 80, targetPort: metrics}]";

#[test]
fn the_ports_of_an_unlabelled_workload_behind_a_labelled_service_get_a_remark() {
    let text = service("f", LABELS, SELECTS) + &deployment("", METRICS);
    let found = check(&text);
    let [(path, severity, message)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (path.as_str(), *severity),
        ("spec.template.spec.containers", Severity::Warning)
    );
    for part in [
        "no port serves on Kubernetes: `metrics` (9090)",
        "annotation `headgate.dev/port` on Service f",
    ] {
        assert!(message.contains(part), "{part} in: {message}");
    }
    // These declare no model.
    for metadata in ["", "labels: {model-name: m}"] {
        let text = service("f", metadata, SELECTS) + &deployment("", METRICS);
        assert_eq!(check(&text), []);
    }
    let other = SELECTS.replace("app: a", "app: b");
    let text = service("f", LABELS, &other) + &deployment("", METRICS);
    assert_eq!(check(&text), []);
}

#[test]
fn annotations_of_a_carrier_service_replace_those_of_the_workload() {
    let port = "annotations: {headgate.dev/port: '9090'}";
    let both = format!("{LABELS}, {port}");
    let owner = format!("{LABELS}, annotations: {{headgate.dev/carrier: owner}}");
    let number = format!("{LABELS}, annotations: {{headgate.dev/port: 9090}}");
    let external = format!("{LABELS}, annotations: {{headgate.dev/endpoints: '10.0.0.1:80'}}");
    for (of_service, of_workload, remarks) in [
        (both.as_str(), "", 0),
        (both.as_str(), LABELS, 0),
        (LABELS, port, 1),
        (LABELS, both.as_str(), 1),
        (owner.as_str(), both.as_str(), 0),
        (owner.as_str(), port, 1),
        // The error names the missing quotes.
        (number.as_str(), "", 0),
        (external.as_str(), "", 0),
    ] {
        let text = service("f", of_service, SELECTS) + &deployment(of_workload, METRICS);
        let found = check(&text);
        assert_eq!(
            found.len(),
            remarks,
            "{of_service} {of_workload}: {found:?}"
        );
    }
    // The annotated Service leads to one port, another Service to the other.
    let ports = "{name: a, containerPort: 1}, {name: b, containerPort: 2}";
    let other = service("g", "", "selector: {app: a}, ports: [{port: 2}]");
    let front = |metadata: &str| {
        let with_ports = "selector: {app: a}, ports: [{name: x, port: 1}, {name: y, port: 2}]";
        service("f", metadata, with_ports) + &other
    };
    let asks = "annotations: {headgate.dev/service: g}";
    let text = front(LABELS) + &deployment(asks, ports);
    assert_eq!(check(&text).len(), 1);
    let text = front(&format!("{LABELS}, {asks}")) + &deployment("", ports);
    assert_eq!(check(&text), []);
}

#[test]
fn a_remark_on_a_labelled_service_without_pods_shows_how_to_list_endpoints() {
    let external = "type: ExternalName, externalName: api.x.example";
    // `kubectl patch` leaves the selector.
    let patched = format!("{external}, selector: {{app: a}}");
    for (spec, parts) in [
        (
            "ports: [{port: 80}]",
            [
                "has no selector",
                "service/f -n default headgate.dev/endpoints=IP:PORT",
            ],
        ),
        (
            external,
            ["is of type ExternalName", "--allow-endpoint api.x.example"],
        ),
        (
            &patched,
            [
                "headgate.dev/endpoints=api.x.example:443",
                "--allow-endpoint api.x.example",
            ],
        ),
    ] {
        let found = check(&(service("f", LABELS, spec) + &deployment("", METRICS)));
        let [(path, severity, message)] = &found[..] else {
            panic!("{spec}: {found:?}");
        };
        assert_eq!((path.as_str(), *severity), ("spec", Severity::Warning));
        for part in parts {
            assert!(message.contains(part), "{part} in: {message}");
        }
        assert_eq!(check(&service("f", "labels: {model-name: m}", spec)), []);
        // An empty list does not count.
        for list in ["''", "','"] {
            let metadata = format!("{LABELS}, annotations: {{headgate.dev/endpoints: {list}}}");
            let found = check(&(service("f", &metadata, spec) + &deployment("", METRICS)));
            assert!(found.iter().any(|(_, _, m)| m == message), "{found:?}");
        }
    }
}

#[test]
fn endpoints_that_are_refused_by_default_get_a_remark_with_the_flag() {
    let list = "127.0.0.1:80,10.9.8.7:80,api.x.example:443";
    let metadata = format!("{LABELS}, annotations: {{headgate.dev/endpoints: '{list}'}}");
    for spec in [
        "ports: [{port: 80}]",
        "type: ExternalName, externalName: x.y",
    ] {
        let found = check(&service("f", &metadata, spec));
        assert_eq!(found.len(), 2, "{found:?}");
        for ((path, severity, message), allow) in found.iter().zip(["127.0.0.1", "api.x.example"]) {
            assert_eq!(
                (path.as_str(), *severity),
                ("metadata.annotations", Severity::Info)
            );
            let allow = format!("--allow-endpoint {allow}");
            assert!(message.contains(&allow), "{allow} in: {message}");
        }
    }
}

/// A LeaderWorkerSet with these templates.
fn set(templates: &str) -> String {
    format!(
        "{{apiVersion: leaderworkerset.x-k8s.io/v1, kind: LeaderWorkerSet, metadata: {{name: a, {LABELS}, annotations: {{}}}}, spec: \
         {{leaderWorkerTemplate: {{{templates}}}}}}}\n"
    )
}

#[test]
fn the_leader_template_of_a_leader_worker_set_serves_or_else_the_worker_template() {
    let template = |name: &str, port: &str| {
        format!(
            "{name}: {{metadata: {{annotations: {{headgate.dev/prt: x}}}}, spec: {{containers: [{{name: s, ports: [{{name: {port}, \
             containerPort: 1}}]}}]}}}}"
        )
    };
    let (leader, worker) = ("leaderTemplate", "workerTemplate");
    for (templates, expected) in [
        (template(worker, "metrics"), Some(worker)),
        (template(worker, "http"), None),
        (
            template(leader, "metrics") + ", " + &template(worker, "http"),
            Some(leader),
        ),
        (
            template(leader, "http") + ", " + &template(worker, "metrics"),
            None,
        ),
        (
            format!("{leader}: null, {}", template(worker, "metrics")),
            Some(worker),
        ),
    ] {
        let found = check(&set(&templates));
        let paths = found.iter().map(|(path, ..)| path.as_str());
        let ports: Vec<&str> = paths.filter(|path| path.ends_with("containers")).collect();
        let expected = expected.map(|at| format!("spec.leaderWorkerTemplate.{at}.spec.containers"));
        assert_eq!(
            ports,
            expected.into_iter().collect::<Vec<_>>(),
            "{templates}"
        );
        let of_annotations = found
            .iter()
            .filter(|(path, ..)| path.ends_with("annotations"));
        assert_eq!(
            of_annotations.count(),
            templates.matches("headgate.dev/prt").count(),
            "{found:?}"
        );
    }
}

#[test]
fn labels_of_the_leaders_template_give_the_version_of_the_pods() {
    let text = set("leaderTemplate: {metadata: {labels: {model-version: v-cuda}}}").replace(
        "annotations: {}",
        "annotations: {headgate.dev/endpoints: '10.0.0.1:1'}",
    );
    let seen = observe(&[("m.yaml", &text)]);
    let carrier = seen.objects.carriers.values().next().unwrap();
    assert_eq!(carrier.pods[0].version.as_deref(), Some("v-cuda"));
    let text = text
        .replace("model-version: v-cuda", "model-name: m")
        .replace(LABELS, "labels: {}");
    let text = text.replace("headgate.dev/endpoints: '10.0.0.1:1'", "");
    let errors = problems(&observe(&[("m.yaml", &text)])).join("\n");
    assert!(
        errors.contains("Only its pod template has the label"),
        "{errors}"
    );
}
