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

/// Two Services that select the same pods. `pods` is headless.
const FOREIGN: &str = r#"
{apiVersion: v1, kind: Service, metadata: {name: llama}, spec: {selector: {of: llama}, ports: [{name: http, port: 80, targetPort: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: pods}, spec: {clusterIP: None, selector: {of: llama}}}
"#;
/// The rules of another person for the host `llama`.
const RULES: &str = r#"
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: theirs}
spec:
  host: llama
  exportTo: ["*"]
  subsets: [{name: one, labels: {color: blue}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: split}
spec:
  hosts: [llama]
  http:
  - timeout: 5s
    route:
    - {destination: {host: llama, subset: one}, weight: 90}
    - {destination: {host: llama, subset: two}, weight: 10}
"#;
/// Rights for the rules, and none for VirtualServices and HTTPRoutes.
const RIGHTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rules}
rules:
- {apiGroups: [networking.istio.io], resources: [destinationrules, envoyfilters], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rules}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rules}
subjects: [{kind: ServiceAccount, name: headgate, namespace: headgate-system}]
"#;

/// The lines of standard error that have all these parts.
fn lines_with<'a>(stderr: &'a str, parts: &[&str]) -> Vec<&'a str> {
    let has = |line: &&str| parts.iter().all(|part| line.contains(part));
    stderr.lines().filter(has).collect()
}

#[tokio::test]
async fn translate_of_istio_reports_objects_of_other_people_and_what_it_cannot_read() {
    let kube = Kube::start(KubeOptions::default()).await.unwrap();
    let _kubelet = kube.kubelet(EmptyRuntime::default());
    let kubectl = kube.kubectl();
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        let mut made = deployment("llama", name, version, 1);
        made["spec"]["template"]["metadata"]["labels"]["of"] = "llama".into();
        kubectl.apply_and_wait(&made).await.unwrap();
    }
    kubectl.apply(FOREIGN).await.unwrap();
    let istio = [
        "--istio",
        "--wasm-proxy-path=/etc/headgate/wasm",
        "-n",
        "default",
    ];
    let kinds = ["destinationrules", "envoyfilters", "virtualservices"];

    // Without Istio's definitions, as before Istio is installed.
    let (shown, stderr, code) = look(kube.kubeconfig(), &istio);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(shown.contains("kind: DestinationRule"), "{shown}{stderr}");
    for kind in kinds {
        let absent = format!("info: the Kubernetes API does not serve {kind}.networking.istio.io");
        assert!(stderr.contains(&absent), "{stderr}");
    }
    let found = lines_with(
        &stderr,
        &["ServiceBypassesFilter", "Service pods is headless"],
    );
    assert!(
        matches!(found[..], [one] if one.starts_with("info: model default/llama: ")),
        "{stderr}"
    );
    assert!(!stderr.contains("()"), "{stderr}");

    let crds = std::env::var("HEADGATE_CRDS");
    let crds =
        crds.expect("HEADGATE_CRDS: run `tools/setup crds`, then this test with `tools/with`");
    let crds = std::fs::read_to_string(Path::new(&crds).join("istio.io.yaml")).unwrap();
    kubectl.apply_crds(&crds).await.unwrap();
    kubectl.apply(RULES).await.unwrap();
    let (shown, stderr, code) = look(kube.kubeconfig(), &istio);
    assert_eq!(code, Some(0), "{stderr}");
    for parts in [
        [
            "error: ",
            "SubsetsHidden",
            "has a subset one with other labels",
        ],
        ["info: ", "VirtualServiceSplits", "default/split"],
        ["warning: ", "RouteSettingsBypassed", "timeout"],
    ] {
        assert_eq!(lines_with(&stderr, &parts).len(), 1, "{parts:?}: {stderr}");
    }
    assert!(
        !stderr.contains("does not serve destinationrules"),
        "{stderr}"
    );
    // Without it istiod would not merge the rules.
    assert!(shown.contains("exportTo:\n  - \"*\"\n"), "{shown}");

    // A kind that cannot be read is named, and the rest counts.
    let namespace = ["create", "namespace", "headgate-system"];
    kubectl.run(namespace).await.unwrap();
    let rights = headgate(&["schema", "rbac", "--namespace", "default"]);
    let rights = String::from_utf8(rights.stdout).unwrap();
    let home = "headgate-system";
    let account = kube.service_account(home, "headgate").await.unwrap();
    for rights in [&rights, RIGHTS] {
        kubectl.apply(rights).await.unwrap();
    }
    let (shown, stderr, code) = look(&account, &istio);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(shown.contains("kind: EnvoyFilter"), "{shown}");
    for kind in [
        "virtualservices.networking.istio.io",
        "httproutes.gateway.networking.k8s.io",
    ] {
        let parts = [
            &format!("warning: {kind} in default cannot be read"),
            "forbidden",
        ];
        assert_eq!(lines_with(&stderr, &parts).len(), 1, "{kind}: {stderr}");
    }
    assert!(stderr.contains("SubsetsHidden"), "{stderr}");
    assert!(!stderr.contains("VirtualServiceSplits"), "{stderr}");
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
