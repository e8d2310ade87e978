//! The values of the chart: wrong ones are refused with a message that names them, and each is documented.

use std::collections::BTreeSet;

use headgate_tests_install::{output, repository, text};
use serde_json::Value;

use super::{helm, objects, template};

const MODES: [&str; 4] = [
    "mode=control-plane",
    "mode=standalone",
    "mode=istio-sidecar",
    "mode=istio-gateway",
];

#[track_caller]
fn assert_refused(values: &[&str], message: &str) {
    let refused = template("headgate", values).output().unwrap();
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{values:?} is accepted");
    assert!(stderr.contains(message), "{values:?}: {stderr}");
}

#[test]
fn wrong_values_are_refused_with_their_path() {
    for (value, path) in [
        ("mode=sidecar", "/mode"),
        ("replica=3", "replica"),
        ("identity.type=tls", "/identity/type"),
        ("istio.clients=default", "/istio/clients"),
        ("istio.clients={apps,apps}", "/istio/clients"),
        ("image.digest=abc", "/image/digest"),
        ("envoy.image.tag=", "/envoy/image/tag"),
        ("listenerTls.source=files", "/listenerTls/source"),
        ("adminTls.secret=x", "secret"),
        ("defaultNamespace=BAD_", "/defaultNamespace"),
        ("rootNamespace=a b", "/rootNamespace"),
        ("istio.gateway.namespace=a.b", "/istio/gateway/namespace"),
        ("istio.clients={apps,-}", "/istio/clients/1"),
        ("domains.BAD_={ai.example.com}", "'BAD_'"),
        ("domains.models={ai.example.com,a b}", "/domains/models/1"),
        ("controllerName=a_b/c", "/controllerName"),
        ("extraEnv[0].value=x", "/extraEnv/0"),
    ] {
        assert_refused(&[value], path);
    }
}

#[test]
fn values_that_contradict_each_other_are_refused_with_the_fix() {
    let cases: [(&[&str], &str); 12] = [
        (
            &["mode=istio-sidecar", "identity.type=spire"],
            "identity.type must be `none`",
        ),
        (
            &["identity.type=spire", "allowNodes={edge-*}"],
            "use identity.allow",
        ),
        (
            &["identity.allow={spiffe://example.org/*}"],
            "identity.allow needs proxies with an identity: set identity.type",
        ),
        (
            &["mode=control-plane", "identity.allow={x}", "allowNodes={y}"],
            "set identity.type",
        ),
        (
            &["identity.type=none", "listenerTls.source=secret"],
            "set identity.type",
        ),
        (
            &["identity.type=certManager", "listenerTls.source=spire"],
            "set identity.type=spire",
        ),
        (
            &["mode=istio-gateway", "listenerTls.source=spire"],
            "the mesh terminates TLS",
        ),
        (
            &["identity.type=spire", "listenerTls.http3=true"],
            "set listenerTls.source",
        ),
        (&["adminTls.identities={x}"], "set adminTls.secretName"),
        (
            &["autoscaling.enabled=true", "autoscaling.minReplicas=9"],
            "autoscaling.minReplicas (9) is greater than autoscaling.maxReplicas (5)",
        ),
        (
            &[
                "mode=istio-gateway",
                "istio.gateway.namespace=headgate-system",
            ],
            "istio.gateway.namespace must not be the namespace of the release (headgate-system)",
        ),
        (
            &["domains.a={ai.example.com}", "domains.b={AI.example.com}"],
            "domains has AI.example.com twice, in a and in b",
        ),
    ];
    for (values, message) in cases {
        assert_refused(values, message);
    }
}

#[test]
fn what_the_chart_sets_on_pods_cannot_be_set_again() {
    for (mode, map, key) in [
        (MODES[1], "podLabels", "app.kubernetes.io/name"),
        (MODES[0], "podLabels", "app.kubernetes.io/instance"),
        (MODES[2], "podLabels", "app.kubernetes.io/component"),
        (MODES[3], "podLabels", "sidecar.istio.io/inject"),
        (
            MODES[1],
            "podAnnotations",
            "kubectl.kubernetes.io/default-container",
        ),
        (MODES[2], "podAnnotations", "proxy.istio.io/config"),
        (MODES[1], "envoy.podLabels", "app.kubernetes.io/version"),
        (MODES[1], "envoy.podLabels", "headgate.dev/proxy"),
        (
            MODES[1],
            "envoy.podAnnotations",
            "headgate.dev/bootstrap-checksum",
        ),
    ] {
        let value = format!("{map}.{}=other", key.replace('.', r"\."));
        let message = format!("{map} has {key}, which the chart sets itself: remove it from {map}");
        assert_refused(&[mode, &value], &message);
    }
    for name in ["POD_IP", "HEADGATE_ADMIN_CA"] {
        let value = format!("extraEnv[0].name={name}");
        let message = format!("extraEnv has {name}, which the chart sets itself");
        assert_refused(&["adminTls.secretName=admin", &value], &message);
    }
    assert_refused(
        &["extraEnv[0].name=A", "extraEnv[1].name=A"],
        "extraEnv names twice",
    );
}

#[test]
fn labels_annotations_and_variables_are_added_to_those_of_the_chart() {
    let values = [
        MODES[2],
        "podLabels.team=inference",
        r"podLabels.istio\.io/rev=canary",
        "podAnnotations.note=x",
        "extraEnv[0].name=TZ",
        "extraEnv[0].value=UTC",
    ];
    let objects = objects(&output(&mut template("headgate", &values)));
    let pods = &objects["Deployment headgate-system/headgate"]["spec"]["template"];
    let labels = &pods["metadata"]["labels"];
    assert_eq!(labels["team"], "inference");
    assert_eq!(labels["istio.io/rev"], "canary");
    assert_eq!(labels["app.kubernetes.io/name"], "headgate");
    assert_eq!(pods["metadata"]["annotations"]["note"], "x");
    let variables = pods["spec"]["containers"][0]["env"].as_array().unwrap();
    let names: Vec<&Value> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["POD_NAMESPACE", "POD_NAME", "POD_IP", "TZ"]);
}

#[test]
fn text_of_values_stays_text() {
    let mut command = template("headgate", &["mode=control-plane"]);
    command.args(["--set-json", r#"allowNodes=["a: b # c"]"#]);
    let objects_of_nodes = objects(&output(&mut command));
    let args = &objects_of_nodes["Deployment headgate-system/headgate"]["spec"]["template"]["spec"]
        ["containers"][0]["args"];
    let args = args.as_array().unwrap();
    assert!(
        args.contains(&Value::from("--allow-node=a: b # c")),
        "{args:?}"
    );
    let mut command = template("headgate", &["mode=istio-gateway"]);
    command.args(["--set-string", "istio.gateway.namespace=123"]);
    let objects = objects(&output(&mut command));
    assert!(objects.contains_key("Deployment 123/headgate-gateway"));
}

#[test]
fn the_notes_have_the_commands_for_roles_that_the_chart_does_not_make() {
    let notes = |values: &[&str]| {
        let mut install = helm();
        install
            .args(["install", "blue"])
            .arg(repository("charts/headgate"))
            .args(["--namespace", "gates", "--dry-run=client"]);
        for value in values {
            install.args(["--set", value]);
        }
        let report = output(&mut install);
        report.split_once("NOTES:").unwrap().1.to_owned()
    };
    let flags = "--install-namespace gates --service-account blue-headgate";
    let base = format!("headgate schema rbac --admin-tokens {flags}");
    let mesh = format!("headgate schema rbac --istio {flags}");
    for mode in MODES {
        assert!(!notes(&[mode]).contains("schema rbac"), "{mode}");
        let notes = notes(&[mode, "rbac.create=false"]);
        assert!(notes.contains(&base), "{mode}: {notes}");
        assert_eq!(
            notes.contains(&mesh),
            mode.starts_with("mode=istio-"),
            "{mode}: {notes}"
        );
    }
}

/// Whether nothing can be given instead of the default: it is empty, or the field of a pod is optional.
fn is_optional(path: &str, default: &Value) -> bool {
    let field = path.rsplit('.').next().unwrap_or_default();
    match default {
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty() || POD_FIELDS.contains(&field),
        _ => false,
    }
}

#[test]
fn null_removes_what_is_optional_and_is_refused_elsewhere() {
    let values: Value = serde_saphyr::from_str(&text("charts/headgate/values.yaml")).unwrap();
    let mut leaves = BTreeSet::new();
    paths(&values, "", &mut leaves);
    let above = |leaf: &String| {
        let dots = leaf.match_indices('.').map(|(at, _)| leaf[..at].to_owned());
        dots.chain([leaf.clone()]).collect::<Vec<_>>()
    };
    let all: BTreeSet<String> = leaves.iter().flat_map(above).collect();
    let with_metrics = |mode, value: &str| {
        let mut values = vec![mode, "metrics.enabled=true"];
        values.extend((!value.is_empty()).then_some(value));
        output(&mut template("headgate", &values))
    };
    let defaults = MODES.map(|mode| with_metrics(mode, ""));
    for path in &all {
        let default = values
            .pointer(&format!("/{}", path.replace('.', "/")))
            .unwrap();
        let null = format!("{path}=null");
        if !is_optional(path, default) {
            let field = path.rsplit('.').next().unwrap();
            assert_refused(&[&null], &format!("missing property '{field}'"));
            continue;
        }
        for (mode, expected) in MODES.iter().zip(&defaults) {
            let found = with_metrics(mode, &null);
            // A pod field has a default, which goes.
            let is_pod_field = default.as_object().is_some_and(|map| !map.is_empty());
            assert!(is_pod_field || found == *expected, "{mode}: {null}");
        }
    }
}

/// Fields of a pod with a default that may go, and whose content is not ours.
const POD_FIELDS: [&str; 2] = ["resources", "nodeSelector"];

/// The paths of all values.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let field = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Object(map) if !map.is_empty() && !POD_FIELDS.contains(&field) => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                paths(value, &path, found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_value_is_in_the_schema_and_in_the_readme() {
    let values: Value = serde_saphyr::from_str(&text("charts/headgate/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&text("charts/headgate/values.schema.json")).unwrap();
    let readme = text("charts/headgate/README.md");
    let mut found = BTreeSet::new();
    paths(&values, "", &mut found);
    for path in &found {
        let pointer: String = path
            .split('.')
            .map(|key| format!("/properties/{key}"))
            .collect();
        assert!(
            schema.pointer(&pointer).is_some(),
            "{path} is not in values.schema.json"
        );
        assert!(
            readme.contains(&format!("| `{path}` |")),
            "{path} is not in README.md"
        );
    }
    let rows = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let known = |row: &&str| {
        let prefix = format!("{row}.");
        found.contains(*row) || found.iter().any(|path| path.starts_with(&prefix))
    };
    let (_, table) = readme.split_once("## Values").unwrap();
    let unknown: Vec<&str> = rows
        .filter(|row| table.contains(&format!("| `{row}` |")) && !known(row))
        .collect();
    assert!(
        unknown.is_empty(),
        "README.md has values that do not exist: {unknown:?}"
    );
}
