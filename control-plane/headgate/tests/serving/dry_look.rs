//! `headgate translate` and `validate` against a real Kubernetes API: what would be served now, without serving.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{EmptyRuntime, Kube, KubeOptions, deployment};
use serde_json::{Value, json};

use crate::common::{Files, SOON, headgate};
use crate::kubernetes::serve;

/// What it prints, what it says beside it, and how it ends.
fn look(kubeconfig: &Path, more: &[&str]) -> (String, String, Option<i32>) {
    let flags = ["translate", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let out = headgate(&[&flags[..], more].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&out.stdout), text(&out.stderr), out.status.code())
}

#[tokio::test]
async fn a_kubeconfig_is_all_it_takes_to_see_what_would_be_served() {
    let mut kube = Kube::start(KubeOptions::default()).await.unwrap();
    let _kubelet = kube.kubelet(EmptyRuntime::default());
    let kubectl = kube.kubectl();
    kubectl.run(["create", "namespace", "prod"]).await.unwrap();
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        let made = deployment("llama", name, version, 1);
        kubectl.apply_and_wait(&made).await.unwrap();
    }
    let mut elsewhere = deployment("phi", "phi", "mini", 1);
    elsewhere["metadata"]["namespace"] = "prod".into();
    kubectl.apply(&elsewhere.to_string()).await.unwrap();
    let weight = ["label", "deploy/v2", "canary-weight=10"];
    kubectl.run(weight).await.unwrap();

    let (shown, said, code) = look(kube.kubeconfig(), &[]);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "default/llama",
        "one             90 %   1/1",
        "two             10 %   1/1",
        "model/default/llama/two",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            squeezed(&shown).contains(&squeezed(part)),
            "{part} in:\n{shown}"
        );
    }
    assert!(
        !shown.contains("model/prod/phi"),
        "no domain, so nobody is served it:\n{shown}"
    );
    assert!(said.contains("--domain prod=<domain>"), "{said}");
    let (shown, said, _) = look(kube.kubeconfig(), &["-n", "prod"]);
    assert!(
        shown.contains("model/prod/phi/mini") && !shown.contains("llama"),
        "{shown}{said}"
    );

    // What is there can be checked as kubectl prints it.
    let printed = kubectl
        .run(["get", "deployments", "-A", "-o", "yaml"])
        .await
        .unwrap();
    let mut validate = Command::new(env!("CARGO_BIN_EXE_headgate"))
        .args(["validate", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = validate.stdin.take().unwrap();
    stdin.write_all(printed.as_bytes()).unwrap();
    drop(stdin);
    let out = validate.wait_with_output().unwrap();
    let checked = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && checked.contains("1 file, 0 errors"),
        "{checked}"
    );

    // Who may not look, where it is not, and when it is away: said at once, with the fix.
    let nobody = kube.service_account("default", "nobody").await.unwrap();
    let (_, said, code) = look(&nobody, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("forbidden") && said.contains("in API group"),
        "{said}"
    );
    let (_, said, code) = look(kube.kubeconfig(), &["--context", "other"]);
    assert!(
        code == Some(2) && said.contains("other") && said.contains("--context"),
        "{said}"
    );
    kube.kill_api().unwrap();
    let begin = Instant::now();
    let (_, said, code) = look(kube.kubeconfig(), &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("--kubeconfig") && said.lines().count() == 1,
        "{said}"
    );
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
}

/// With a pod that is not ready the buckets are smaller, so more than weights must be the same.
#[tokio::test]
async fn the_filters_configuration_shown_is_the_one_that_is_served() {
    let kube = Kube::start(KubeOptions::default()).await.unwrap();
    let kubelet = kube.kubelet(EmptyRuntime::default());
    let made = deployment("llama", "v1", "one", 2);
    kube.kubectl().apply_and_wait(&made).await.unwrap();
    let node = kubelet.node();
    let pods = node.pods_in(Some("default")).await.unwrap();
    let name = pods[0].metadata.name.clone().unwrap();
    node.set_ready("default", &name, false).await.unwrap();

    let files = Files::new();
    let buckets = "{apiVersion: headgate.dev/v1alpha1, kind: TokenBucketPolicy, metadata: {name: fair}, spec: {buckets: \
                   [{name: fair, key: [tenant], profile: semantic}]}}\n";
    files.policy("fair.yaml", buckets);
    let server = serve(&files, kube.kubeconfig(), &["-n", "default"]);
    let server = server.ready().await;
    let [policies, wasm] = ["policies", "wasm"].map(|dir| files.path(dir));
    let [policies, wasm] = [&policies, &wasm].map(|dir| dir.to_str().unwrap());
    let flags = [
        "-n",
        "default",
        "-o",
        "json",
        "--policies",
        policies,
        "--wasm",
        wasm,
    ];
    // They read at two moments, and a scale is renewed every few minutes.
    let served = eventually(SOON, "the same configuration", async || {
        let served: Value = server.get("/config_dump").await.json().unwrap();
        let (shown, said, _) = look(kube.kubeconfig(), &flags);
        let shown: Value = serde_json::from_str(&shown).map_err(|_| said)?;
        let [served, shown] = [served, shown].map(|all| all["filterConfig"].clone());
        if shown == served {
            Ok(served)
        } else {
            Err(format!("shown: {shown}\nserved: {served}"))
        }
    });
    let served = served.await.unwrap();
    let scale = &served["namespaces"]["default"]["models"]["llama"]["scale"]["percent"];
    assert_eq!(scale, &json!(50), "{served}");
}
