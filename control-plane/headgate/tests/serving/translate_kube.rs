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

/// Standard output, standard error and the exit code.
fn look(kubeconfig: &Path, more: &[&str]) -> (String, String, Option<i32>) {
    let flags = ["translate", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let out = headgate(&[&flags[..], more].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&out.stdout), text(&out.stderr), out.status.code())
}

#[tokio::test]
async fn translate_and_validate_need_only_a_kubeconfig() {
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

    let (shown, stderr, code) = look(kube.kubeconfig(), &[]);
    assert_eq!(code, Some(0), "{stderr}");
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
    assert!(stderr.contains("--domain prod=<domain>"), "{stderr}");
    let (shown, stderr, _) = look(kube.kubeconfig(), &["-n", "prod"]);
    assert!(
        shown.contains("model/prod/phi/mini") && !shown.contains("llama"),
        "{shown}{stderr}"
    );

    // `validate` accepts what kubectl prints.
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

    // Missing rights, an unknown context and an API that is away are errors at once, with the fix.
    let nobody = kube.service_account("default", "nobody").await.unwrap();
    let (_, stderr, code) = look(&nobody, &[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("forbidden") && stderr.contains("in API group"),
        "{stderr}"
    );
    let (_, stderr, code) = look(kube.kubeconfig(), &["--context", "other"]);
    assert!(
        code == Some(2) && stderr.contains("other") && stderr.contains("--context"),
        "{stderr}"
    );
    kube.kill_api().unwrap();
    let started = Instant::now();
    let (_, stderr, code) = look(kube.kubeconfig(), &[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("--kubeconfig") && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

/// An unready pod makes the buckets smaller, so the test compares the scale too.
#[tokio::test]
async fn translate_prints_the_filter_configuration_that_serve_sends() {
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
    // The two commands read at different times, and a scale is renewed every few minutes.
    let served = eventually(SOON, "the same configuration", async || {
        let served: Value = server.get("/config_dump").await.json().unwrap();
        let (shown, stderr, _) = look(kube.kubeconfig(), &flags);
        let shown: Value = serde_json::from_str(&shown).map_err(|_| stderr)?;
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
