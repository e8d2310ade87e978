//! The binary as people and scripts call it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use headgate_testkit::fifo;
use serde_json::Value;

fn headgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headgate"))
        .args(args)
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The path of `envoy-config/…` in the repository.
fn shipped(path: &str) -> PathBuf {
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    Path::new(&crate_dir).join("../../envoy-config").join(path)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn modules() -> tempfile::TempDir {
    // A module with one empty function.
    let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("headgate.wasm"), module).unwrap();
    dir
}

#[test]
fn every_shipped_manifest_and_policy_is_valid() {
    let (models, policies) = (shipped("models"), shipped("policies"));
    let out = headgate(&["validate", "-f", path(&models), "-f", path(&policies)]);
    let output = text(&out.stdout);
    assert!(out.status.success(), "{output}");
    // The budget of the demo takes more than an hour to fill.
    assert!(output.contains("0 errors, 1 other remarks"), "{output}");
    assert!(
        output.starts_with("info: TokenBucketPolicy default/tenant-budget"),
        "{output}"
    );
    assert!(output.contains("\"per-tenant\" (1h23m20s)"), "{output}");
}

#[test]
fn an_annotation_that_is_not_a_number_of_tokens_is_reported_with_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.yaml");
    let model = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\n  labels: {model-name: a, model-version: v1}\n  \
                 annotations:\n    headgate.dev/endpoints: \"127.0.0.1:9\"\n    headgate.dev/default-max-tokens: context\n    \
                 headgate.dev/context-length: 8k\nspec: {replicas: 1}\n";
    fs::write(&file, model).unwrap();
    let out = headgate(&["validate", "-f", path(&file)]);
    let output = text(&out.stdout);
    assert!(out.status.success(), "{output}");
    for part in [
        "annotation `headgate.dev/context-length: \"8k\"` is ignored",
        "reserves 512: kubectl annotate deployment/a -n default headgate.dev/context-length=TOKENS",
        "0 errors, 2 other remarks",
    ] {
        assert!(output.contains(part), "{part} in: {output}");
    }
}

/// Four workloads with common mistakes, as one file.
const SLIPS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: noport, labels: { model-name: noport, model-version: v1 } }
spec: { template: { metadata: { labels: { app: noport } }, spec: { containers: [{ name: s, image: x, ports: [{ name: container-port, containerPort: 8000 }] }] } } }
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: typos
  labels: { model-name: typos, model-version: v9 }
  annotations: { headgate.dev/endpoints: "127.0.0.1:9", headgate.dev/ports: "8000", headgate.dev/model-name: "meta-llama/X", headgate.dev/join: "true" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: float, labels: { model-name: float, model-version: 1.10 }, annotations: { headgate.dev/endpoints: "127.0.0.1:9" } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: tmpl }
spec: { template: { metadata: { labels: { model-name: tmpl, model-version: v7, canary-weight: "10" } } } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: nameless, labels: { model-version: v2, canary-weight: "10" } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: other }
"#;

#[test]
fn validate_reports_unused_settings_and_models_that_cannot_serve() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    let file = dir.path().join("below/slips.yaml");
    fs::write(&file, SLIPS).unwrap();
    let out = headgate(&["validate", "-R", "-f", path(dir.path())]);
    assert_eq!(out.status.code(), Some(1), "the version that is a number");
    let output = text(&out.stdout);
    for (severity, parts) in [
        (
            "info",
            [
                "the port is inferred",
                "`container-port` (8000) is the only declared port",
            ],
        ),
        (
            "warning",
            [
                "`headgate.dev/ports` is unknown and has no effect",
                "did you mean `headgate.dev/port`?",
            ],
        ),
        (
            "warning",
            [
                "`headgate.dev/model-name` is unknown and has no effect",
                "did you mean `headgate.dev/model-names`?",
            ],
        ),
        (
            "warning",
            [
                "`headgate.dev/join: \"true\"` is ignored",
                "headgate.dev/join=share",
            ],
        ),
        (
            "error",
            [
                "metadata.labels.model-version: must be text",
                "write \"1.10\", in quotes",
            ],
        ),
        (
            "warning",
            [
                "Deployment default/tmpl is ignored",
                "the object's own labels count",
            ],
        ),
        (
            "warning",
            [
                "but no `model-name`",
                "kubectl label deployment/nameless -n default model-name=MODEL",
            ],
        ),
        ("info", ["skipped", "ConfigMap other"]),
    ] {
        let mut lines = output.lines().filter(|line| line.starts_with(severity));
        let found = lines.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{severity} {parts:?} in: {output}");
    }
    let flat = headgate(&["validate", "-f", path(dir.path())]);
    assert!(text(&flat.stdout).starts_with("0 files"), "{flat:?}");
}

#[test]
fn validate_reports_a_fifo_and_exits() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("p.yaml");
    fifo::make(&fifo);
    let out = headgate(&["validate", "-f", path(dir.path())]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(
        text(&out.stderr).contains("p.yaml: it is a FIFO"),
        "{out:?}"
    );
}

#[test]
fn validate_names_the_file_the_path_and_the_fix() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("budget.yaml");
    let policy = "apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata: {name: a}\n\
                  spec: {buckets: [{name: b, key: [tenent], profile: semantic}]}\n";
    fs::write(&file, policy).unwrap();
    let out = headgate(&["validate", "-f", path(&file)]);
    assert_eq!(out.status.code(), Some(1));
    let output = text(&out.stdout);
    for part in [
        "budget.yaml",
        "buckets[0].key[0]",
        "write tenant, model, version, dialect, operation,",
    ] {
        assert!(output.contains(part), "{part} in: {output}");
    }
    let json = headgate(&["validate", "-o", "json", "-f", path(&file)]);
    let lines: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(lines[0]["severity"], "error");
}

#[test]
fn a_policy_without_a_match_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.yaml");
    let policy = "apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata: {name: a}\n\
                  spec: {models: [no-such], buckets: [{name: b, key: [], profile: semantic}]}\n";
    fs::write(&file, policy).unwrap();
    let models = shipped("models");
    let out = headgate(&["validate", "-f", path(&models), "-f", path(&file)]);
    let output = text(&out.stdout);
    assert!(output.contains("no-such"), "{output}");
}

#[test]
fn a_policy_of_the_root_namespace_applies_to_the_models_of_all_namespaces() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.yaml");
    let policy = "apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata: {name: house, namespace: house}\n\
                  spec: {buckets: [{name: b, key: [], profile: semantic}]}\n";
    fs::write(&file, policy).unwrap();
    let models = shipped("models");
    let mut args = vec!["validate", "-f", path(&models), "-f", path(&file)];
    let alone = text(&headgate(&args).stdout);
    assert!(alone.contains("its namespace declares no model"), "{alone}");
    args.extend(["--root-namespace", "house"]);
    let rooted = text(&headgate(&args).stdout);
    assert!(rooted.contains("0 errors, 0 other remarks"), "{rooted}");
}

#[test]
fn the_keys_of_the_labels_are_configurable() {
    let dir = tempfile::tempdir().unwrap();
    let model = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\n  labels: {example.com/model: a, example.com/version: v7, \
                 share: abc}\n  annotations: {headgate.dev/endpoints: \"127.0.0.1:9\"}\nspec: {replicas: 1}\n";
    fs::write(dir.path().join("a.yaml"), model).unwrap();
    let wasm = modules();
    let translate = |more: &[&str]| {
        let args = [
            "translate",
            "-o",
            "json",
            "--models",
            path(dir.path()),
            "--wasm",
            path(wasm.path()),
        ];
        headgate(&[&args[..], more].concat())
    };
    let keys = [
        "--model-label",
        "example.com/model",
        "--version-label",
        "example.com/version",
        "--weight-label",
        "share",
    ];
    let out = translate(&keys);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let all: Value = serde_json::from_slice(&out.stdout).unwrap();
    let base = &all["filterConfig"]["namespaces"]["default"]["models"]["a"]["base"];
    assert_eq!(base[0]["versions"][0]["version"], "v7", "{all}");
    assert!(text(&out.stderr).contains("share"), "{}", text(&out.stderr));
    let out = translate(&[]);
    assert!(!text(&out.stdout).contains("v7"), "{}", text(&out.stdout));
    let refused = translate(&["--model-label", "no spaces"]);
    assert!(text(&refused.stderr).contains("`example.com/model-name`"));
}

/// The output of `translate` for the demo's models and policies with these flags.
fn translated(flags: &[&str]) -> Value {
    let (models, policies, wasm) = (shipped("models"), shipped("policies"), modules());
    let args = [
        "translate",
        "-o",
        "json",
        "--models",
        path(&models),
        "--policies",
        path(&policies),
        "--wasm",
        path(wasm.path()),
    ];
    let out = headgate(&[&args[..], flags].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn translate_shows_what_would_be_served() {
    let all = translated(&[]);
    let model = &all["filterConfig"]["namespaces"]["default"]["models"]["llama3-70b"];
    assert_eq!(model["canaries"][0]["weight"], 10);
    let clusters = all["resources"]["cds"]["resources"].as_array().unwrap();
    assert!(
        clusters
            .iter()
            .any(|c| c["name"] == "model/default/llama3-70b/v2")
    );
}

#[test]
fn an_object_without_a_namespace_is_in_the_configured_default_namespace() {
    for (flags, namespace) in [
        (&[][..], "default"),
        (&["--default-namespace", "prod"], "prod"),
    ] {
        let all = translated(flags);
        let namespaces = all["filterConfig"]["namespaces"].as_object().unwrap();
        assert_eq!(namespaces.keys().collect::<Vec<_>>(), [namespace]);
        // Both policies and models.
        let buckets = namespaces[namespace]["buckets"].as_array().unwrap();
        assert!(!buckets.is_empty(), "{all}");
        let clusters = all["resources"]["cds"]["resources"].as_array().unwrap();
        let prefix = format!("model/{namespace}/");
        assert!(clusters.len() >= 4, "{clusters:?}");
        for cluster in clusters {
            let name = cluster["name"].as_str().unwrap();
            assert!(name.starts_with(&prefix), "{name}");
        }
    }
}

#[test]
fn translate_reports_the_findings_of_the_plan_as_validate_does() {
    let (dir, wasm) = (tempfile::tempdir().unwrap(), modules());
    let manifest = |version: &str, label: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: m-{version}\n  creationTimestamp: 2026-01-0{}T00:00:00Z\n  \
             labels: {{model-name: m, model-version: {version}{label}}}\n  annotations: {{headgate.dev/endpoints: '127.0.0.1:9001'}}\n",
            &version[1..]
        )
    };
    for (version, label) in [("v1", ""), ("v2", ""), ("v3", ", canary-weight: lots")] {
        fs::write(
            dir.path().join(format!("{version}.yaml")),
            manifest(version, label),
        )
        .unwrap();
    }
    let (models, wasm) = (path(dir.path()), path(wasm.path()));
    let out = headgate(&["translate", "--models", models, "--wasm", wasm]);
    assert!(out.status.success());
    let output = text(&out.stderr);
    let validated = text(&headgate(&["validate", "-f", models]).stdout);
    for part in ["because it has no weight and", "is not a weight"] {
        let line = output.lines().find(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("{part} in: {output}"));
        // One command gets the file alone, the other a path.
        assert!(line.contains("kubectl label deployment/m-v"), "{line}");
        assert!(validated.contains(part), "{validated}");
    }
}

#[test]
fn validate_reads_the_output_of_kubectl_from_standard_input() {
    let list = "apiVersion: v1\nkind: List\nitems:\n\
        - {apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: {model-name: m, model-version: v1}}}\n\
        - {apiVersion: headgate.dev/v1alpha1, kind: TokenBucketPolicy, metadata: {name: p}, spec: {models: [other], buckets: [{name: b, key: [tenent], profile: semantic}]}}\n";
    let mut child = Command::new(env!("CARGO_BIN_EXE_headgate"))
        .args(["validate", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), list.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let output = text(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{output}");
    for part in [
        "error: standard input",
        "buckets[0].key[0]",
        "1 file, 1 errors",
    ] {
        assert!(output.contains(part), "{part} in: {output}");
    }
}

#[test]
fn a_model_without_endpoints_in_the_files_is_a_remark_and_not_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    let manifest = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: {model-name: m, model-version: v1}}}\n";
    fs::write(&file, manifest).unwrap();
    let out = headgate(&["validate", "-f", path(&file)]);
    let output = text(&out.stdout);
    assert!(out.status.success(), "{output}");
    assert!(output.contains("info: model default/m"), "{output}");
    assert!(output.contains("headgate.dev/endpoints"), "{output}");
}

#[test]
fn translate_needs_no_modules_and_names_the_flags_for_models() {
    let models = shipped("models");
    let out = headgate(&["translate", "--models", path(&models), "--wasm", "/no/such"]);
    let (shown, output) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{output}");
    assert!(shown.contains("model/default/llama3-70b/v2"), "{shown}");
    assert!(output.contains("/no/such/headgate.wasm"), "{output}");
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &["--models DIR", "--kubeconfig FILE"]),
        (&["-n", "prod"], &["--namespace", "--kube"]),
        (&["--kubeconfig", "/no/such"], &["/no/such", "$KUBECONFIG"]),
        (&["--models", "/no/such"], &["/no/such"]),
    ];
    for (flags, wanted) in cases {
        let out = headgate(&[&["translate"], flags].concat());
        let output = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{flags:?}: {output}");
        for part in wanted {
            assert!(output.contains(part), "{flags:?}: {part} in: {output}");
        }
    }
}

#[test]
fn status_without_a_control_plane_names_the_command_to_start_one() {
    let out = headgate(&["status", "--admin-address", "127.0.0.1:1"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).contains("headgate serve"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn serve_with_an_invalid_flag_exits_with_the_flag_and_the_fix() {
    let (models, wasm) = (shipped("models"), modules());
    let (models, wasm) = (path(&models), path(wasm.path()));
    let cases: [(&[&str], &str); 11] = [
        (&["--models", models, "--admin-tokens"], "add --kube"),
        (&["--models", "/no/such", "--wasm", wasm], "/no/such"),
        (&["--models", models, "--wasm", "/no/such"], "make wasm"),
        (
            &[
                "--models", models, "--wasm", wasm, "--domain", "a=*", "--domain", "b=*",
            ],
            "--domain",
        ),
        (
            &["--models", models, "--wasm", wasm, "--linger", "1"],
            "--linger",
        ),
        (
            &["--models", models, "--default-namespace", "Foo Bar"],
            "--default-namespace",
        ),
        (
            &["--models", models, "--domain", "a/b=x.example"],
            "\"a/b\" is not a namespace",
        ),
        (
            &["--models", models, "--domain", "a=http://x.example"],
            "\"http://x.example\" is no domain",
        ),
        (
            &["--models", models, "--domain", "a=x.example/v1"],
            "is no domain",
        ),
        (&["--models", models, "--domain", "a=**"], "is no domain"),
        (
            &["--models", models, "--domain", "a=x.example:http"],
            "is no domain",
        ),
    ];
    for (flags, expected) in cases {
        let mut args = vec![
            "serve",
            "--xds-address",
            "127.0.0.1:0",
            "--admin-address",
            "127.0.0.1:0",
        ];
        args.extend(flags);
        let out = headgate(&args);
        assert_eq!(out.status.code(), Some(2), "{flags:?}");
        assert!(
            text(&out.stderr).contains(expected),
            "{flags:?}: {}",
            text(&out.stderr)
        );
    }
}

#[test]
fn the_committed_schemas_and_reference_are_the_contracts() {
    let committed = [
        ("filter-config", "schema/filter-config.json"),
        ("authentication-policy", "schema/authentication-policy.json"),
        ("token-bucket-policy", "schema/token-bucket-policy.json"),
        ("traffic-tag-policy", "schema/traffic-tag-policy.json"),
        ("served-model", "schema/served-model.json"),
        ("scopes", "schema/scopes.json"),
        ("reference", "../docs/reference/configuration.md"),
        ("cli-reference", "../docs/reference/cli.md"),
        ("metrics-reference", "../docs/reference/metrics.md"),
        ("findings-reference", "../docs/reference/findings.md"),
        ("endpoints", "../docs/reference/endpoints.md"),
        ("crds", "../istio-manifests/base/crds/headgate.dev.yaml"),
    ];
    for (what, file) in committed {
        let now = text(&headgate(&["schema", what]).stdout);
        let then = fs::read_to_string(shipped(file)).unwrap_or_default();
        assert!(
            now == then,
            "envoy-config/{file} is stale: run `make schema` and commit it"
        );
    }
}

#[test]
fn flags_of_the_identity_that_contradict_each_other_are_refused_with_the_fix() {
    let serve = |more: &str| {
        let args = format!("serve --models none {more}");
        let args: Vec<&str> = args.split_whitespace().collect();
        let out = headgate(&args);
        assert_eq!(out.status.code(), Some(2), "{more}");
        text(&out.stderr)
    };
    for (flags, fix) in [
        (
            "--allow-identity x",
            "add --xds-tls, --spiffe-socket or --trust-xfcc-from",
        ),
        (
            "--trust-domains a.test",
            "add --xds-tls, --spiffe-socket or --trust-xfcc-from",
        ),
        (
            "--trust-bundle a.test=b.pem",
            "--trust-bundle needs --xds-tls",
        ),
        (
            "--xds-tls d --spiffe-socket /s",
            "unset SPIFFE_ENDPOINT_SOCKET",
        ),
        (
            "--http3",
            "--http3 needs a listener with TLS: add --listener-tls DIR or --listener-spiffe",
        ),
        (
            "--listener-client-certificates require",
            "add --listener-tls DIR or --listener-spiffe",
        ),
        (
            "--listener-tls d --listener-trust-domains a.test",
            "add --listener-client-certificates request or require",
        ),
        (
            "--listener-spiffe --listener-client-certificates require",
            "needs --listener-trust-domains",
        ),
        (
            "--listener-spiffe --listener-client-certificates request --listener-trust-domains a,b",
            "works with one trust domain",
        ),
        (
            "--listener-tls d --xds-address :18000",
            "the xDS port must authenticate them",
        ),
        (
            "--scopes f --follow-node x",
            "--scopes replaces --follow-node",
        ),
        (
            "--xds-tls d --allow-identity x --allow-node y",
            "remove --allow-node",
        ),
        ("--trust-xfcc-from x", "such as 127.0.0.0/8"),
        ("--xds-address 18000", "or :PORT for all interfaces"),
    ] {
        let error = serve(flags);
        assert!(error.contains(fix), "{flags}: {error}");
    }
}

#[test]
fn bootstrap_keeps_everything_of_the_shipped_one() {
    let out = headgate(&["bootstrap", "--format", "json"]);
    let made: Value = serde_json::from_slice(&out.stdout).unwrap();
    let file = fs::read_to_string(shipped("bootstrap.yaml")).unwrap();
    let of_file: Value = serde_saphyr::from_str(&file).unwrap();
    assert_eq!(made, of_file);
    for (flags, fix) in [
        (&["--identity", "files"][..], "--certificates DIR"),
        (
            &["--identity", "spiffe", "--spiffe-socket", "/s"],
            "--server-id SPIFFE_ID",
        ),
        (&["--server-name", "x"], "--server-name does not apply"),
        (&["--xds", "nowhere"], "write HOST:PORT"),
        (&["--xds", "host:0"], "write HOST:PORT"),
    ] {
        let out = headgate(&[&["bootstrap"], flags].concat());
        assert_eq!(out.status.code(), Some(2));
        let error = text(&out.stderr);
        assert!(error.contains(fix), "{error}");
    }
}
