//! The chart, by the real helm: the objects of the overlays, and values that are checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use headgate_tests_install::{
    COMPONENTS, OVERLAYS, by_key, documents, kustomize, output, overlay, program, repository, text,
    with_components,
};
use serde_json::{Map, Value};

/// The files of the chart that are copies, and their sources.
const COPIES: [(&str, &str); 11] = [
    ("crds.yaml", "base/crds/headgate.dev.yaml"),
    ("rbac.yaml", "base/rbac.yaml"),
    (
        "admission-policy.yaml",
        "base/validating-admission-policy.yaml",
    ),
    ("istio-rbac.yaml", "components/istio/rbac.yaml"),
    (
        "prometheus-rule.yaml",
        "components/metrics/prometheus-rule.yaml",
    ),
    ("dashboard.json", "components/metrics/dashboard.json"),
    ("envoy/bootstrap.yaml", "components/gateway/bootstrap.yaml"),
    (
        "envoy/bootstrap-mtls.yaml",
        "components/gateway-mtls/bootstrap.yaml",
    ),
    (
        "envoy/bootstrap-spire.yaml",
        "components/gateway-spire/bootstrap.yaml",
    ),
    ("envoy/tls-ca.yaml", "components/gateway-mtls/tls-ca.yaml"),
    (
        "envoy/tls-client.yaml",
        "components/gateway-mtls/tls-client.yaml",
    ),
];

fn helm() -> Command {
    let mut helm = Command::new(program("HELM", "helm"));
    // Nothing of the user who runs the test.
    helm.env("HOME", "/nonexistent").env_remove("KUBECONFIG");
    helm
}

fn template(release: &str, values: &[&str]) -> Command {
    let mut command = helm();
    command
        .args(["template", release])
        .arg(repository("charts/headgate"))
        .args(["--namespace", "headgate-system"]);
    for value in values {
        command.args(["--set", value]);
    }
    command
}

/// The values that give the objects of an overlay.
fn values_of(overlay: &str) -> Vec<&'static str> {
    match overlay {
        "standalone" => vec![],
        "standalone-mtls" => vec!["identity.type=certManager"],
        "standalone-spire" => vec!["identity.type=spire", "identity.trustDomain=example.org"],
        "istio-sidecar" => vec!["mode=istio-sidecar"],
        "istio-gateway" => vec!["mode=istio-gateway"],
        other => panic!("no values are known for the overlay {other}"),
    }
}

/// What both ways must have: without marks of helm and of kustomize, and with numbers that compare as such.
fn normalized(mut object: Value) -> Value {
    let mut places = vec!["/metadata"];
    if object["kind"] == "Deployment" {
        places.push("/spec/template/metadata");
    }
    for place in places {
        let metadata = object
            .pointer_mut(place)
            .and_then(Value::as_object_mut)
            .unwrap();
        remove(
            metadata,
            "labels",
            &["app.kubernetes.io/managed-by", "helm.sh/chart"],
        );
        remove(
            metadata,
            "annotations",
            &["helm.sh/resource-policy", "headgate.dev/bootstrap-checksum"],
        );
    }
    walk(&mut object);
    object
}

fn remove(metadata: &mut Map<String, Value>, field: &str, keys: &[&str]) {
    let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) else {
        return;
    };
    map.retain(|key, _| !keys.contains(&key.as_str()));
    if map.is_empty() {
        metadata.remove(field);
    }
}

/// Numbers become floats, the hash of a generated ConfigMap goes, and the blank line at the end of a text.
fn walk(value: &mut Value) {
    match value {
        Value::Number(number) => *value = Value::from(number.as_f64().unwrap()),
        Value::String(text) => {
            let short = text.trim_end_matches('\n');
            let hash = short.strip_prefix("headgate-envoy-").filter(|hash| {
                hash.len() == 10
                    && hash
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            });
            *text = if hash.is_some() {
                "headgate-envoy"
            } else {
                short
            }
            .to_owned();
        }
        Value::Array(values) => values.iter_mut().for_each(walk),
        Value::Object(map) => map.values_mut().for_each(walk),
        Value::Bool(_) | Value::Null => {}
    }
}

fn objects(yaml: &str) -> BTreeMap<String, Value> {
    by_key(documents(yaml).into_iter().map(normalized).collect())
}

fn assert_same(directory: &Path, values: &[&str]) {
    let mut expected = objects(&kustomize(directory));
    // Helm makes the namespace of a release itself.
    assert!(expected.remove("Namespace /headgate-system").is_some());
    let found = objects(&output(&mut template("headgate", values)));
    let names = |map: &BTreeMap<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&found), names(&expected), "{values:?}");
    for (key, object) in &expected {
        assert_eq!(&found[key], object, "{values:?}: {key}");
    }
}

#[test]
fn the_chart_has_the_objects_of_each_overlay() {
    for name in OVERLAYS {
        assert_same(&overlay(name), &values_of(name));
    }
}

#[test]
fn the_chart_has_the_objects_of_each_component() {
    for name in OVERLAYS {
        let mut values = values_of(name);
        values.extend(["autoscaling.enabled=true", "metrics.enabled=true"]);
        let mut components = COMPONENTS.to_vec();
        if name.starts_with("istio") {
            components.push("istio-access-log");
            values.push("istio.telemetry.accessLogProvider=headgate");
        }
        assert_same(with_components(name, &components).path(), &values);
    }
}

/// TLS for clients of the gateway and of the admin port.
const TLS: [&str; 7] = [
    "identity.type=certManager",
    "metrics.enabled=true",
    "listenerTls.source=secret",
    "envoy.service.port=443",
    "listenerTls.http3=true",
    "adminTls.secretName=headgate-admin-tls",
    "networkPolicy.enabled=true",
];

#[test]
fn the_chart_has_the_objects_of_the_components_for_tls() {
    let components = ["metrics", "listener-tls", "http3", "admin-tls"];
    let directory = with_components("standalone-mtls", &components);
    assert_same(directory.path(), &TLS);
    for mode in ["istio-sidecar", "standalone"] {
        let values = [format!("mode={mode}"), TLS[5].to_owned()];
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        assert_same(with_components(mode, &["admin-tls"]).path(), &values);
    }
}

#[test]
fn copies_in_the_chart_are_equal_to_their_source() {
    for (copy, source) in COPIES {
        let (copy, source) = (
            text(&format!("charts/headgate/files/{copy}")),
            text(&format!("istio-manifests/{source}")),
        );
        assert!(copy == source, "{source} changed: run `make schema`");
    }
}

#[test]
fn helm_lint_finds_nothing() {
    for name in OVERLAYS {
        let mut lint = helm();
        lint.args(["lint", "--strict"])
            .arg(repository("charts/headgate"));
        for value in values_of(name) {
            lint.args(["--set", value]);
        }
        let report = output(&mut lint);
        assert!(
            !report.contains("[WARNING]") && !report.contains("[ERROR]"),
            "{report}"
        );
    }
}

#[test]
fn two_releases_share_no_object_except_the_definitions() {
    let one = objects(&output(&mut template("headgate", &[])));
    let other = objects(&output(&mut template("blue", &["crds.install=false"])));
    let shared: Vec<&String> = other.keys().filter(|key| one.contains_key(*key)).collect();
    assert!(shared.is_empty(), "{shared:?}");
    let args = &other["Deployment headgate-system/blue-headgate"]["spec"]["template"]["spec"]["containers"]
        [0]["args"];
    assert!(
        args.to_string().contains("--lease-name=blue-headgate"),
        "{args}"
    );
}

#[test]
fn settings_become_flags() {
    let values = [
        "domains.models={ai.example.com,ai.example.org}",
        "defaultNamespace=models",
        "rootNamespace=platform",
        "controllerName=blue.example.com/headgate",
        "allowNodes={edge-*}",
        "extraArgs={--linger=30}",
        "adminTls.secretName=admin",
        "adminTls.identities={spiffe://example.org/ns/ops/sa/*}",
    ];
    let objects = objects(&output(&mut template("headgate", &values)));
    let args = &objects["Deployment headgate-system/headgate"]["spec"]["template"]["spec"]["containers"]
        [0]["args"];
    for flag in [
        "--domain=models=ai.example.com,ai.example.org",
        "--default-namespace=models",
        "--root-namespace=platform",
        "--controller-name=blue.example.com/headgate",
        "--allow-node=edge-*",
        "--linger=30",
        "--admin-tls=/etc/headgate/admin-tls",
        "--admin-identity=spiffe://example.org/ns/ops/sa/*",
    ] {
        assert!(
            args.as_array().unwrap().contains(&Value::from(flag)),
            "{flag}: {args}"
        );
    }
}

#[test]
fn a_revision_of_istio_injects_the_proxies_of_all_pods() {
    for (mode, deployments) in [
        ("istio-sidecar", vec!["headgate-system/headgate"]),
        (
            "istio-gateway",
            vec![
                "headgate-system/headgate",
                "headgate-gateway/headgate-gateway",
            ],
        ),
    ] {
        let mode = format!("mode={mode}");
        let values = [mode.as_str(), "istio.revision=1-30-2"];
        let objects = objects(&output(&mut template("headgate", &values)));
        for name in deployments {
            let pods = &objects[&format!("Deployment {name}")]["spec"]["template"]["metadata"];
            assert_eq!(pods["labels"]["istio.io/rev"], "1-30-2", "{name}");
        }
    }
}

#[test]
fn only_proxies_that_get_the_filter_may_connect_in_a_mesh() {
    let args = |values: &[&str]| {
        let objects = objects(&output(&mut template("headgate", values)));
        let args = objects["Deployment headgate-system/headgate"]["spec"]["template"]["spec"]["containers"]
            [0]["args"]
            .clone();
        let args = args.as_array().unwrap().clone().into_iter();
        let allowed = args.filter_map(|arg| {
            let identity = arg.as_str()?.strip_prefix("--allow-identity=")?.to_owned();
            Some(identity)
        });
        allowed.collect::<Vec<_>>()
    };
    assert_eq!(
        args(&[
            "mode=istio-sidecar",
            "istio.clients={apps,jobs}",
            "identity.allow={spiffe://cluster.local/ns/models/sa/*}",
        ]),
        [
            "spiffe://cluster.local/ns/apps/sa/*",
            "spiffe://cluster.local/ns/jobs/sa/*",
            "spiffe://cluster.local/ns/models/sa/*",
        ]
    );
    assert_eq!(
        args(&["mode=istio-gateway", "identity.trustDomain=mesh.example"]),
        ["spiffe://mesh.example/ns/headgate-gateway/sa/headgate-gateway"]
    );
}

#[test]
fn every_version_is_that_of_the_workspace() {
    let manifest = text("Cargo.toml");
    let (_, rest) = manifest.split_once("[workspace.package]").unwrap();
    let version = rest
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .unwrap();
    let version = version.trim_matches('"');
    let chart: Value = serde_saphyr::from_str(&text("charts/headgate/Chart.yaml")).unwrap();
    assert_eq!(chart["version"], version);
    assert_eq!(chart["appVersion"], version);
    let pinned = text("tools/lib.sh");
    let envoy = pinned
        .lines()
        .find_map(|line| line.strip_prefix("ENVOY_VERSION="))
        .unwrap();
    for name in OVERLAYS {
        for (key, object) in objects(&kustomize(&overlay(name))) {
            assert_eq!(
                object["metadata"]["labels"]["app.kubernetes.io/version"], version,
                "{key}"
            );
            let containers = &object["spec"]["template"]["spec"]["containers"];
            for container in containers.as_array().into_iter().flatten() {
                let known = [
                    format!("headgate/headgate:{version}"),
                    format!("envoyproxy/envoy:v{envoy}"),
                    "auto".to_owned(),
                ];
                let image = container["image"].as_str().unwrap();
                assert!(known.contains(&image.to_owned()), "{key}: {image}");
            }
        }
    }
}
