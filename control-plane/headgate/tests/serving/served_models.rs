//! `ServedModel`: what `kubectl get` shows of a canary, what `kubectl wait` waits for, and the stored base.

use std::time::{Duration, UNIX_EPOCH};

use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kubectl, KubectlWatch, deployment};
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition, label, wait, wait_for_field};
use crate::common::{Files, SOON, Server, headgate, manifest};
use crate::kubernetes_replicas::{run, same};
use crate::writes::leads;

const MODEL: &str = "smdl/llama";

pub(crate) async fn field(kubectl: &Kubectl, path: &str) -> String {
    let path = format!("jsonpath={{{path}}}");
    kubectl
        .run(["get", MODEL, "-o", &path])
        .await
        .unwrap_or_default()
}

/// Waits until a field of the `ServedModel` has this value.
pub(crate) async fn has(kubectl: &Kubectl, path: &str, expected: &str) {
    let what = format!("{path} of {MODEL} to be {expected}");
    eventually(SOON * 2, &what, async || {
        let now = field(kubectl, path).await;
        (now == expected).then_some(()).ok_or(now)
    })
    .await
    .unwrap();
}

/// The output of `kubectl wait`, as documented.
async fn acked(kubectl: &Kubectl, percent: &str) {
    let condition = format!("--for=jsonpath={{.status.acked.two}}={percent}");
    if let Err(why) = kubectl
        .run(["wait", "servedmodel/llama", &condition, "--timeout=60s"])
        .await
    {
        panic!(
            "{why}\n{:?}",
            kubectl.run(["get", MODEL, "-o", "yaml"]).await
        );
    }
}

/// How soon `Converged` turns False after the control plane saw an edit, as documented: the median of several edits. A machine that
/// does other things may take longer now and then; a delay by rule slows every edit.
const AT_ONCE: Duration = Duration::from_millis(100);
/// The longest that any edit may take.
const AT_MOST: Duration = Duration::from_secs(1);

/// Each state of the object: the planned weight of the canary, and `Converged`.
fn states(kubectl: &Kubectl) -> KubectlWatch {
    let state = r#"{.status.planned.two} {.status.conditions[?(@.type=="Converged")].status}"#;
    let output = format!("jsonpath={state}{{\"\\n\"}}");
    kubectl
        .watch(["get", MODEL, "--watch", "-o", &output])
        .unwrap()
}

/// The time between the moment the control plane saw this weight, and the moment the API server showed that it is not converged.
async fn turned(server: &Server, states: &KubectlWatch, weight: &str) -> Duration {
    let expected = format!("{weight} False");
    let shown = eventually(SOON, &expected, async || {
        let lines = states.lines();
        let line = lines.iter().find(|(_, line)| *line == expected);
        line.map(|(at, _)| *at).ok_or(format!("{lines:?}"))
    });
    let shown = shown.await.unwrap();
    let status = server.syncz().await;
    let versions = status["models"][0]["versions"].as_array().unwrap();
    let canary = versions.iter().find(|v| v["version"] == "two").unwrap();
    assert_eq!(canary["weightWanted"].to_string(), format!("{weight}.0"));
    let since = Duration::from_secs_f64(canary["plannedSince"].as_f64().unwrap());
    let took = shown.duration_since(UNIX_EPOCH + since).unwrap();
    println!("Converged turned False {took:?} after the control plane saw the weight {weight}");
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_waits_until_every_proxy_acked_a_weight_and_a_deleted_object_is_recreated() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let server = cluster.serve("a", &[]).await;
    wait(&kubectl, MODEL, "Ready").await;
    wait(&kubectl, MODEL, "Converged=Unknown").await;
    assert_eq!(
        condition(&kubectl, MODEL, "Converged", "reason").await,
        "NoProxies"
    );
    let proxies = [
        AutoAckProxy::connect("p", server.xds).unwrap(),
        AutoAckProxy::connect("q", server.xds).unwrap(),
    ];
    wait(&kubectl, MODEL, "Converged").await;
    wait(&kubectl, MODEL, "Programmed").await;

    let shown = states(&kubectl);
    let mut took = Vec::new();
    label(&kubectl, "10").await;
    took.push(turned(&server, &shown, "10").await);
    acked(&kubectl, "10").await;
    wait(&kubectl, MODEL, "Converged").await;
    has(&kubectl, ".status.proxies", r#"{"current":2,"total":2}"#).await;
    let table = kubectl.run(["get", "smdl"]).await.unwrap();
    for word in [
        "VERSIONS",
        "BASE",
        "CANARY",
        "ACKED",
        "AGE",
        "one,two",
        "two=10",
        "one=90,two=10",
    ] {
        assert!(table.contains(word), "no {word} in {table}");
    }

    // One proxy does not answer: `Converged` is False from the edit on, and `acked` has the weight of all proxies.
    proxies[1].hold_acks(type_url::EXTENSION);
    label(&kubectl, "20").await;
    took.push(turned(&server, &shown, "20").await);
    wait_for_field(&kubectl, MODEL, ["Converged", "message"], "1 of 2 proxies").await;
    let weights = (
        field(&kubectl, ".status.planned.two").await,
        field(&kubectl, ".status.acked.two").await,
    );
    assert_eq!(weights, ("20".to_owned(), "10".to_owned()));
    proxies[1].release_acks();
    acked(&kubectl, "20").await;
    wait(&kubectl, MODEL, "Converged").await;
    let changes = field(&kubectl, ".status.changes[*].message").await;
    assert!(changes.contains("two 20 % (before 10 %)"), "{changes}");
    // Right after the write that it converged, and again within the 10 s of that one.
    label(&kubectl, "30").await;
    took.push(turned(&server, &shown, "30").await);
    acked(&kubectl, "30").await;
    took.sort();
    assert!(took[1] <= AT_ONCE && took[2] <= AT_MOST, "{took:?}");

    // The documented command also waits for a version with dots in its name.
    let mut third = deployment("llama", "v3", "v2.3.1", 1);
    third["metadata"]["labels"]["canary-weight"] = json!("5");
    kubectl.apply_and_wait(&third).await.unwrap();
    let condition = r"--for=jsonpath={.status.acked.v2\.3\.1}=5";
    let waited = ["wait", "servedmodel/llama", condition, "--timeout=60s"];
    kubectl.run(waited).await.unwrap();
    run(&kubectl, "delete deploy/v3").await;

    // The `spec` that a person wrote stays. A deleted object is recreated with its base.
    let [uid, base] = [
        field(&kubectl, ".metadata.uid").await,
        field(&kubectl, ".status.base").await,
    ];
    assert!(base.contains("deployment/v1"), "{base}");
    run(&kubectl, "delete smdl/llama").await;
    eventually(SOON, "another object", async || {
        let now = field(&kubectl, ".metadata.uid").await;
        (!now.is_empty() && now != uid).then_some(()).ok_or(now)
    })
    .await
    .unwrap();
    has(&kubectl, ".status.base", &base).await;
    wait(&kubectl, MODEL, "Converged").await;
    let owners = field(&kubectl, ".metadata.ownerReferences").await;
    let finalizers = field(&kubectl, ".metadata.finalizers").await;
    assert_eq!((owners.as_str(), finalizers.as_str()), ("", ""));
    let status = server.syncz().await;
    assert_eq!(
        status["models"][0]["base"][0]["carrier"], "deployment/v1",
        "{status}"
    );
    assert_eq!(status["models"][0]["converged"], true, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_the_next_leader_and_a_backup_have_the_stored_base() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let lease = ["--lease-duration", "6"];
    let mut first = cluster.serve("first", &lease).await;
    let first_proxy = AutoAckProxy::connect("proxy", first.xds).unwrap();
    has(&kubectl, ".status.base[*].carrier", "deployment/v1").await;
    // The held version is the older one from now on.
    run(&kubectl, "delete deploy/v1").await;
    let stable = deployment("llama", "v1", "one", 1);
    kubectl.apply_and_wait(&stable).await.unwrap();
    let planned = ".status.planned";
    has(&kubectl, planned, r#"{"one":100,"two":0}"#).await;

    // A replica that starts now plans the same bytes, and the next leader writes the same status.
    let second = cluster.serve("second", &lease).await;
    let second_proxy = AutoAckProxy::connect("proxy", second.xds).unwrap();
    let both = [&first_proxy, &second_proxy];
    same("the second to serve the same", &both, &["llama"]).await;
    let uid = field(&kubectl, ".metadata.uid").await;
    first.process.terminate(SOON).await.unwrap();
    leads(&kubectl, "second", SOON).await;
    label(&kubectl, "10").await;
    acked(&kubectl, "10").await;
    has(&kubectl, ".status.base[*].carrier", "deployment/v1").await;
    assert_eq!(field(&kubectl, ".metadata.uid").await, uid);

    // A backup has the annotation and no status.
    run(&kubectl, "label deploy/v2 canary-weight-").await;
    has(&kubectl, planned, r#"{"one":100,"two":0}"#).await;
    let saved = kubectl.run(["get", MODEL, "-o", "json"]).await.unwrap();
    let mut saved: Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(
        saved["metadata"]["annotations"]["headgate.dev/base"],
        "deployment/v1=one"
    );
    for gone in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        saved["metadata"].as_object_mut().unwrap().remove(gone);
    }
    saved.as_object_mut().unwrap().remove("status");
    drop((first_proxy, second_proxy));
    let mut second = second;
    second.process.terminate(SOON).await.unwrap();
    run(&kubectl, "delete smdl/llama").await;
    kubectl.apply(&saved.to_string()).await.unwrap();
    let third = cluster.serve("third", &lease).await;
    has(&kubectl, planned, r#"{"one":100,"two":0}"#).await;
    has(&kubectl, ".status.base[*].carrier", "deployment/v1").await;

    // It also counts where a replica still knows a newer base.
    run(&kubectl, "label deploy/v2 canary-weight=100").await;
    has(&kubectl, ".status.base[*].carrier", "deployment/v2").await;
    let previous = r".metadata.annotations.headgate\.dev/previous-base";
    has(&kubectl, previous, "deployment/v1=one").await;
    run(&kubectl, "label deploy/v2 canary-weight-").await;
    has(&kubectl, planned, r#"{"one":0,"two":100}"#).await;
    // The control plane writes a deleted object again, and a restore may come after it.
    eventually(
        SOON,
        "the object restored before it is written again",
        async || {
            run(&kubectl, "delete smdl/llama").await;
            let restored = kubectl.apply(&saved.to_string()).await;
            restored.map_err(|error| error.to_string())
        },
    )
    .await
    .unwrap();
    has(&kubectl, planned, r#"{"one":100,"two":0}"#).await;
    has(&kubectl, ".status.base[*].carrier", "deployment/v1").await;

    // Counter-check: without a stored base, age decides and the held version takes all new sessions.
    let mut third = third;
    third.process.terminate(SOON).await.unwrap();
    run(&kubectl, "delete smdl/llama").await;
    let _fourth = cluster.serve("fourth", &lease).await;
    has(&kubectl, planned, r#"{"one":0,"two":100}"#).await;
}

fn not_stored(status: &Value) -> usize {
    let problems = status["problems"].as_array().into_iter().flatten();
    problems
        .filter(|p| p["reason"] == "StatusNotStored")
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_kind_age_decides_and_one_finding_reports_it() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    run(&kubectl, "delete crd servedmodels.headgate.dev").await;
    let server = cluster.serve("a", &[]).await;
    let _proxy = AutoAckProxy::connect("p", server.xds).unwrap();
    let status = server.all_current().await;
    assert_eq!(not_stored(&status), 1, "{status}");
    let problems = status["problems"].to_string();
    assert!(
        problems.contains("headgate schema crds | kubectl apply"),
        "{problems}"
    );
    assert!(!problems.contains("KubernetesWrite"), "{problems}");
    assert_eq!(
        status["models"][0]["versions"][0]["weightWanted"], 100.0,
        "{status}"
    );

    // The definition is installed later: no restart is needed.
    kubectl
        .apply_crds(&yaml(&crds().unwrap()).unwrap())
        .await
        .unwrap();
    eventually(SOON * 3, "the object", async || {
        let base = field(&kubectl, ".status.base[*].carrier").await;
        (base == "deployment/v1").then_some(()).ok_or(base)
    })
    .await
    .unwrap();
    server
        .until("the finding to be gone", |s| not_stored(s) == 0)
        .await;
}

/// The share of version `v2` that a command of the binary plans of these files.
fn translated(files: &Files, more: &[&str]) -> Value {
    let models = files.path("models").display().to_string();
    let mut words = vec!["translate", "-o", "json", "--models", &models];
    words.extend(more);
    let out = headgate(&words);
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).unwrap()
}

pub(crate) fn weight(status: &Value, version: &str) -> Option<f64> {
    let versions = status["models"][0]["versions"].as_array()?;
    let version = versions.iter().find(|v| v["version"] == version)?;
    version["weightWanted"].as_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_directory_stores_the_base_of_files_and_is_written_again() {
    let files = Files::new();
    let stable = |created: &str| manifest("m", "v1", &[9001]).created(created).render();
    files.model("v1.yaml", &stable("2026-01-01T00:00:00Z"));
    let held = manifest("m", "v2", &[9002]).created("2026-02-01T00:00:00Z");
    files.model("v2.yaml", &held.render());
    let state = files.path("state").display().to_string();
    let file = files.path("state/default.m.yaml");
    let flags = ["--state", state.as_str()];
    let mut server = Server::start_with(&files, &flags).await;
    let stored = |s: &Value| s["models"][0]["base"][0]["versions"][0] == "v1";
    server.until("the base to be read back", stored).await;
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(
        written.contains("kind: ServedModel") && written.contains("v1"),
        "{written}"
    );
    server.process.terminate(SOON).await.unwrap();

    // The stable version is recreated while no control plane runs, so the held one is older.
    files.model("v1.yaml", &stable("2026-03-01T00:00:00Z"));
    let server = Server::start_with(&files, &flags).await;
    let status = server.syncz().await;
    assert_eq!(
        (weight(&status, "v1"), weight(&status, "v2")),
        (Some(100.0), Some(0.0)),
        "{status}"
    );
    // As a dry look plans it, from the directory or with the file among the manifests; without it age decides.
    let with_state = translated(&files, &flags);
    let without = translated(&files, &[]);
    assert_ne!(with_state, without);
    std::fs::copy(&file, files.path("models/served.yaml")).unwrap();
    assert_eq!(translated(&files, &[]), with_state);
    std::fs::remove_file(files.path("models/served.yaml")).unwrap();

    // Removed by hand, it is written again, and the plan keeps the base meanwhile.
    std::fs::remove_file(&file).unwrap();
    eventually(SOON, "the file to be written again", async || {
        let now = std::fs::read_to_string(&file).unwrap_or_default();
        (now == written).then_some(()).ok_or(now)
    })
    .await
    .unwrap();
    let status = server.syncz().await;
    assert_eq!(weight(&status, "v1"), Some(100.0), "{status}");
    assert_eq!(
        status["problems"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|p| p["severity"] != "info")
            .count(),
        0,
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unwritable_state_directory_is_one_problem_and_a_written_base_counts() {
    let files = Files::new();
    files.model("v1.yaml", &manifest("m", "v1", &[9001]).render());
    files.model(
        "served.yaml",
        "{apiVersion: headgate.dev/v1alpha1, kind: ServedModel, metadata: {name: m}, spec: {names: [gpt-x]}}\n",
    );
    std::fs::write(files.path("file"), "").unwrap();
    let state = files.path("file/state").display().to_string();
    let server = Server::start_with(&files, &["--state", &state]).await;
    let of_state = |s: &Value| -> Vec<Value> {
        let problems = s["problems"].as_array().into_iter().flatten();
        let of_state = problems.filter(|p| p.to_string().contains(&state));
        of_state.cloned().collect()
    };
    let status = server
        .until("the problem", |s| !of_state(s).is_empty())
        .await;
    let problems = of_state(&status);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["reason"], "StateWrite");
    assert_eq!(weight(&status, "v1"), Some(100.0));
    assert_eq!(status["models"][0]["names"][0], "gpt-x", "{status}");
    let out = headgate(&[
        "validate",
        "-f",
        &files.path("models").display().to_string(),
    ]);
    assert!(out.status.success(), "{out:?}");
    files.model(
        "served.yaml",
        "{apiVersion: headgate.dev/v1alpha1, kind: ServedModel, metadata: {name: m}, spec: {minReadyPercent: 101}}\n",
    );
    let out = headgate(&[
        "validate",
        "-f",
        &files.path("models").display().to_string(),
    ]);
    assert_eq!(out.status.code(), Some(1));
    let output = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(output.contains("minReadyPercent"), "{output}");
}
