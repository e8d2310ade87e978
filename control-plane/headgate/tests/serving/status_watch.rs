//! The text of `headgate status`: a model from its labels to each proxy, live, over restarts and of several replicas.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use headgate_testkit::client::{HttpClient, HttpRequest};
use headgate_testkit::kube::{EmptyRuntime, Kube, KubeOptions, deployment};
use headgate_testkit::process::{Process, ProcessOptions};
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::Value;

use crate::common::{Files, SOON, Server, headgate, manifest};

/// An address where nothing listens.
const NOBODY: &str = "127.0.0.1:1";

/// A running `headgate status --watch`; its log is its output.
fn watch(admin: SocketAddr, more: &[&str]) -> Process {
    let options = ProcessOptions::new(env!("CARGO_BIN_EXE_headgate"))
        .args(["status", "--watch", "--admin-address"])
        .arg(admin.to_string())
        .args(more);
    Process::start(options).unwrap()
}

/// Waits for these lines in this order; every line begins with its time.
async fn lines(watch: &mut Process, from: usize, expected: &[&str]) -> usize {
    let awaited = format!("{expected:?}");
    let found = watch.wait_until(SOON, &awaited, async |log| {
        let text = log.text();
        let all: Vec<&str> = text.lines().collect();
        let mut at = from;
        for part in expected {
            let rest = all.iter().skip(at);
            let found = rest.enumerate().find(|(_, line)| line.contains(part));
            let (further, line) = found.ok_or_else(|| format!("no {part:?} after line {at}"))?;
            let moment = line.as_bytes();
            assert!(
                moment[4] == b'-' && moment[10] == b'T' && moment[23] == b'Z',
                "{line}"
            );
            at += further + 1;
        }
        Ok::<usize, String>(at)
    });
    found.await.unwrap()
}

/// Sends SIGINT, as ctrl-c does.
async fn interrupt(mut watch: Process) {
    let pid = watch.pid().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let ended = headgate_testkit::deadline::eventually(SOON, "an end", async || {
        watch.ended().unwrap().ok_or("it still runs")
    });
    assert_eq!(ended.await.unwrap().code(), Some(0));
}

fn canary(weight: &str) -> String {
    let canary = manifest("m", "v2", &[9002]).created("2026-01-01T00:00:00Z");
    canary.weight(weight).render()
}

/// Without line breaks, which depend on the width.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unwrapped_output(out: &std::process::Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&out.stdout), text(&out.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_watch_shows_a_canary_from_its_labels_to_each_proxy_and_over_a_restart() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    files.model("m-v2.yaml", &canary("10"));
    let mut server = Server::start(&files).await;
    let proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    server.all_current().await;
    let mut watch = watch(server.admin, &["m"]);
    let first = [
        "seen     deployment/m-v2: canary-weight=10",
        "planned  v1 90 % stable, v2 10 % canary",
        "acked    proxy: v1 90 %, v2 10 %",
    ];
    let at = lines(&mut watch, 0, &first).await;
    files.model("m-v2.yaml", &canary("30"));
    let edited = [
        "seen     deployment/m-v2: canary-weight=30 (was 10)",
        "planned  v1 70 % stable (was 90 %), v2 30 % canary (was 10 %)",
        "acked    proxy: v1 70 %, v2 30 %",
    ];
    let at = lines(&mut watch, at, &edited).await;
    files.model("m-v2.yaml", &canary("lots"));
    let refused = [
        "canary-weight=lots REFUSED (was 30)",
        "v2 0 % dark (was 30 %, canary)",
        "acked",
    ];
    let at = lines(&mut watch, at, &refused).await;
    proxy.nack_type(type_url::EXTENSION);
    files.model("m-v2.yaml", &canary("50"));
    let nacked = [
        "planned  v1 50 %",
        "NACK     proxy: headgate: the proxy does not want it",
    ];
    let at = lines(&mut watch, at, &nacked).await;

    // SIGTERM: it ends the stream of its proxy and exits.
    let ended = server.process.terminate(SOON).await.unwrap();
    assert_eq!(ended.code(), Some(0), "though someone waits for its answer");
    // A query between two answers then learns only that no control plane answers.
    let at = lines(&mut watch, at, &["away     control plane"]).await;
    drop(proxy);
    let mut server = Server::start_at(&files, server.xds, server.admin).await;
    let at = lines(&mut watch, at, &["back     control plane"]).await;
    let _proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    let at = lines(&mut watch, at, &["acked    proxy: v1 50 %, v2 50 %"]).await;
    files.model("m-v2.yaml", &canary("100"));
    let promoted = [
        "canary-weight=100 (was 50)",
        "planned  v1 0 % stable (was 50 %), v2 100 % promoted",
        "acked",
    ];
    let at = lines(&mut watch, at, &promoted).await;
    // SIGKILL, as when a node dies.
    server.process.kill().unwrap();
    let at = lines(&mut watch, at, &["away     control plane"]).await;
    let server = Server::start_at(&files, server.xds, server.admin).await;
    let _proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    let at = lines(&mut watch, at, &["back     control plane"]).await;
    server.all_current().await;
    files.model("m-v2.yaml", &canary("20"));
    let edited = [
        "canary-weight=20 (was 100)",
        "planned  v1 80 %",
        "acked    proxy: v1 80 %, v2 20 %",
    ];
    lines(&mut watch, at, &edited).await;
    interrupt(watch).await;

    let admin = server.admin.to_string();
    let (text, _) = unwrapped_output(&headgate(&["status", "m", "--server", &admin]));
    for part in [
        "LABELS SEEN",
        "canary-weight=20 model-name=m model-version=v2",
        "v1               stable       80 %",
        "no canary-weight: new sessions that no canary takes",
        "ACKED BY 1 OF 1",
        "v1 80 %, v2 20 %",
    ] {
        assert!(words(&text).contains(&words(part)), "{part} in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_model_is_an_error_with_similar_names_and_can_be_waited_for() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("llama3-70b", "v1", &[9001]).render());
    let server = Server::start(&files).await;
    let admin = server.admin.to_string();
    let out = headgate(&["status", "lama3-70b", "--admin-address", &admin]);
    assert_eq!(out.status.code(), Some(1));
    let (_, error) = unwrapped_output(&out);
    assert!(
        error.contains("did you mean default/llama3-70b?"),
        "{error}"
    );
    for (expected, code) in [("default/llama3-70b", 0), ("prod/llama3-70b", 1)] {
        let out = headgate(&["status", expected, "--admin-address", &admin]);
        assert_eq!(out.status.code(), Some(code), "{expected}");
    }
    let out = headgate(&["status", "-n", "prod", "--admin-address", &admin]);
    assert!(
        unwrapped_output(&out)
            .1
            .contains("no model is declared in namespace prod"),
        "{out:?}"
    );

    let mut watch = watch(server.admin, &["later", "--namespace", "default"]);
    watch.wait_for_line("Waiting for it", SOON).await.unwrap();
    files.model("later-v1.yaml", &manifest("later", "v1", &[9002]).render());
    let observed = "seen     deployment/later-v1: model-name=later model-version=v1";
    watch.wait_for_line(observed, SOON).await.unwrap();
    interrupt(watch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_is_queried_and_one_that_is_away_is_shown_as_away() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    let (one, other) = (Server::start(&files).await, Server::start(&files).await);
    let _a = AutoAckProxy::connect("a", one.xds).unwrap();
    let _b = AutoAckProxy::connect("b", other.xds).unwrap();
    one.all_current().await;
    other.all_current().await;
    // Two addresses, as a name and as a list.
    let by_name = format!("localhost:{}", other.admin.port());
    let list = format!("{},{},{NOBODY}", one.admin, one.admin);
    let args = ["status", "m", "--server", &list, "--server", &by_name];
    let out = headgate(&[&args[..], &["-o", "json"]].concat());
    assert!(out.status.success(), "{out:?}");
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    let replicas = document["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 3, "{document}");
    let away: Vec<&str> = replicas
        .iter()
        .filter(|r| !r["error"].is_null())
        .map(|r| r["address"].as_str().unwrap())
        .collect();
    assert_eq!(away, [NOBODY]);
    let mut at: Vec<(&str, String)> = document["proxies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            (
                p["id"].as_str().unwrap(),
                p["replica"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    at.sort();
    assert_eq!(
        at,
        [("a", one.admin.to_string()), ("b", other.admin.to_string())]
    );
    let model = &document["models"][0];
    assert_eq!(
        (&model["acked"]["current"], &model["acked"]["total"]),
        (&2.into(), &2.into())
    );

    let (text, _) = unwrapped_output(&headgate(&args));
    assert!(text.contains("ACKED BY 2 OF 2"), "{text}");
    assert!(text.contains(NOBODY) && text.contains("AWAY"), "{text}");
    let none = headgate(&["status", "--server", NOBODY]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_is_answered_once_the_model_changes() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    files.model("n-v1.yaml", &manifest("n", "v1", &[9002]).render());
    let server = Server::start(&files).await;
    let _proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    // A proxy is current once it runs everything that it requested, and it requests the filters last. The status of a model
    // changes until the filters run its plan.
    server
        .until("the proxy's filters to run the plan of both", |s| {
            let models = s["models"].as_array().into_iter().flatten();
            models
                .filter(|model| model["acked"]["current"] == 1)
                .count()
                == 2
        })
        .await;
    let url = format!("http://{}/syncz?model=m", server.admin);
    let client = HttpClient::new().with_timeout(SOON * 2);
    let first = client.send(HttpRequest::get(&url)).await.unwrap();
    let tag = first.header("etag").unwrap().to_owned();
    let models = first.json().unwrap()["models"].as_array().unwrap().len();
    assert_eq!(models, 1);
    let ask =
        |wait: u64| HttpRequest::get(format!("{url}&wait={wait}")).header("if-none-match", &tag);
    let over = client.send(ask(1)).await.unwrap();
    assert_eq!(over.status, 304);

    let waiting = tokio::spawn({
        let (client, request) = (client.clone(), ask(60));
        async move { client.send(request).await }
    });
    files.model(
        "n-v2.yaml",
        &manifest("n", "v2", &[9003]).weight("40").render(),
    );
    server
        .until("the other model's canary at the proxy", |s| {
            s["models"][1]["versions"][1]["weightAcked"]["proxy"] == 40.0
        })
        .await;
    assert!(!waiting.is_finished(), "nothing of the model changed");
    files.model("m-v2.yaml", &canary("10"));
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer.status, 200);
    assert_ne!(answer.header("etag"), Some(tag.as_str()));
    let changed = answer.json().unwrap();
    let weight = &changed["models"][0]["versions"][1]["weightWanted"];
    assert_eq!(*weight, 10.0, "{changed:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_shown_with_their_models_and_the_policies_that_override_them() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    let policy = |name: &str, created: &str, target: &str| {
        format!(
            "apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata: {{name: {name}, creationTimestamp: \"{created}\"}}\n\
             spec: {{{target} buckets: [{{name: fair, key: [tenant], profile: semantic}}]}}\n"
        )
    };
    files.policy(
        "old.yaml",
        &policy("old", "2026-01-01T00:00:00Z", "models: [m],"),
    );
    files.policy(
        "young.yaml",
        &policy("young", "2026-02-01T00:00:00Z", "models: [m],"),
    );
    files.policy(
        "typo.yaml",
        &policy("typo", "2026-02-01T00:00:00Z", "models: [nope],"),
    );
    let server = Server::start(&files).await;
    let admin = server.admin.to_string();
    let (text, _) = unwrapped_output(&headgate(&["status", "--admin-address", &admin]));
    let row = |name: &str| {
        let begins = format!("TokenBucketPolicy default/{name} ");
        let row = text.lines().find(|line| line.starts_with(&begins));
        row.unwrap_or_else(|| panic!("no {name} in:\n{text}"))
            .to_owned()
    };
    assert!(row("old").contains("yes       default/m"), "{text}");
    assert!(row("young").contains("no        -"), "{text}");
    assert!(row("typo").contains("no        -"), "{text}");
    let words = words(&text);
    assert!(
        words.contains("default/old takes precedence, because"),
        "the winner is named:\n{text}"
    );
    assert!(words.contains("no carrier declares model nope"), "{text}");
}

#[tokio::test]
async fn status_watch_shows_a_kubectl_label_at_each_proxy_and_an_api_that_is_away() {
    let mut kube = Kube::start(KubeOptions::default()).await.unwrap();
    let _kubelet = kube.kubelet(EmptyRuntime::default());
    let kubectl = kube.kubectl();
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        kubectl
            .apply_and_wait(&deployment("llama", name, version, 1))
            .await
            .unwrap();
        crate::kubernetes::in_another_second().await;
    }
    let files = Files::new();
    let mut server = crate::kubernetes::serve(&files, kube.kubeconfig(), &["-n", "default"]);
    let ready = format!("http://{}/readyz", server.admin);
    server.process.wait_for_http(&ready, SOON).await.unwrap();
    let _p = AutoAckProxy::connect("p", server.xds).unwrap();
    let _q = AutoAckProxy::connect("q", server.xds).unwrap();
    let mut watch = watch(server.admin, &["default/llama"]);
    let first = [
        "planned  one 100 % stable, two 0 % held",
        "acked    ",
        "acked    ",
    ];
    let mut at = lines(&mut watch, 0, &first).await;
    let mut was = "none".to_owned();
    for weight in ["10", "50"] {
        let label = format!("canary-weight={weight}");
        kubectl
            .run(["label", "deploy/v2", &label, "--overwrite"])
            .await
            .unwrap();
        let observed = format!("seen     deployment/v2: {label} (was {was})");
        let rest = 100 - weight.parse::<u32>().unwrap();
        let planned = format!("two {weight} % canary (was ");
        let acked = format!("one {rest} %, two {weight} %, ");
        at = lines(&mut watch, at, &[&observed, &planned, &acked, &acked]).await;
        was = weight.to_owned();
    }
    kubectl
        .run(["label", "deploy/v2", "canary-weight-"])
        .await
        .unwrap();
    let removed = [
        "canary-weight removed (was 50)",
        "two 0 % held (was 50 %, canary)",
        "acked",
    ];
    let at = lines(&mut watch, at, &removed).await;

    kube.kill_api().unwrap();
    let at = lines(&mut watch, at, &["error    KubernetesApi"]).await;
    let admin = server.admin.to_string();
    let (text, _) = unwrapped_output(&headgate(&["status", "llama", "--admin-address", &admin]));
    assert!(
        text.starts_with("KUBERNETES API DOES NOT ANSWER for "),
        "{text}"
    );
    assert!(
        words(&text).contains("and deployment/v1 is the base: only a pin reaches it"),
        "{text}"
    );
    kube.start_api().await.unwrap();
    let again = watch.wait_until(Duration::from_secs(60), "the API again", async |log| {
        let back = log
            .text()
            .lines()
            .skip(at)
            .any(|line| line.contains("solved   KubernetesApi"));
        back.then_some(()).ok_or_else(|| "still away".to_owned())
    });
    again.await.unwrap();
    interrupt(watch).await;
}
