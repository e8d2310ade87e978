//! The objects of Istio by GitOps, and with scope rules that change: on a real API with Istio's kinds, without a mesh.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, KubeOptions, Kubectl, Kubelet, deployment};
use headgate_testkit::testbed::artifacts;
use headgate_tests_cluster::control_plane::{ControlPlane, definitions};
use headgate_tests_cluster::fleet::run_empty_pods;
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
/// A cluster with a model of two versions behind one Service, and namespaces of clients.
struct Cluster {
    kube: Kube,
    dir: TempDir,
    _kubelet: Kubelet,
}

impl Cluster {
    async fn start() -> Self {
        let kube = Kube::start(KubeOptions::default()).await.unwrap();
        let cluster = Self {
            _kubelet: run_empty_pods(&kube),
            dir: tempfile::tempdir().unwrap(),
            kube,
        };
        let kubectl = cluster.kubectl();
        let kinds = std::env::var("HEADGATE_CRDS");
        let kinds =
            kinds.expect("HEADGATE_CRDS: run `tools/setup crds`, then this test with `tools/with`");
        kubectl
            .run(["apply", "--server-side", "-f", &kinds])
            .await
            .unwrap();
        kubectl.apply(&definitions().unwrap()).await.unwrap();
        let established = "wait --for=condition=Established --timeout=60s crd --all";
        kubectl.run(established.split(' ')).await.unwrap();
        for namespace in ["apps", "jobs"] {
            kubectl
                .run(["create", "namespace", namespace])
                .await
                .unwrap();
        }
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "llama" },
            "spec": {
                "selector": { "of": "llama" },
                "ports": [{ "name": "http", "port": 80, "targetPort": "http" }],
            },
        });
        let versions = ["v1", "v2"].map(|version| {
            let mut made = deployment("llama", &format!("llama-{version}"), version, 1);
            made["spec"]["template"]["metadata"]["labels"]["of"] = "llama".into();
            made
        });
        for object in [service].iter().chain(&versions) {
            kubectl.apply(&object.to_string()).await.unwrap();
        }
        let wait = "wait --for=condition=Available --timeout=60s deployment --all";
        kubectl.run(wait.split(' ')).await.unwrap();
        cluster
    }

    fn kubectl(&self) -> Kubectl {
        self.kube.kubectl()
    }

    /// Writes the scope rules: clients in a namespace, and the namespace that they see.
    fn scopes(&self, rules: &[(&str, &str)]) -> PathBuf {
        let rules = rules.iter().map(|(name, sees)| {
            format!("- name: {name}\n  match: {{nodeMetadata: {{NAMESPACE: {name}}}}}\n  namespaces: [{sees}]\n")
        });
        let path = self.dir.path().join("scopes.yaml");
        let text = format!("rules:\n{}", rules.collect::<String>());
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What `headgate translate --istio` prints with these arguments.
    fn translate(&self, args: &[String]) -> String {
        let output = Command::new(artifacts::headgate_binary().unwrap())
            .args(["translate", "-o", "yaml", "--kubeconfig"])
            .arg(self.kube.kubeconfig())
            .args(args)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The EnvoyFilters of a namespace, and their field managers.
    async fn filters(&self, namespace: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let get = [
            "get",
            "envoyfilters",
            "-n",
            namespace,
            "-o",
            "json",
            "--show-managed-fields",
        ];
        let list = self.kubectl().run(get).await.unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        let (mut names, mut managers) = (BTreeSet::new(), BTreeSet::new());
        for item in list["items"].as_array().unwrap() {
            names.insert(item["metadata"]["name"].as_str().unwrap().to_owned());
            let fields = item["metadata"]["managedFields"].as_array().unwrap();
            managers.extend(
                fields
                    .iter()
                    .map(|f| f["manager"].as_str().unwrap().to_owned()),
            );
        }
        (names, managers)
    }

    /// The versions in the status of the ServedModel.
    async fn routed(&self) -> BTreeSet<String> {
        let get = [
            "get",
            "servedmodels",
            "-o",
            "jsonpath={.items[*].status.routes}",
        ];
        let routes = self.kubectl().run(get).await.unwrap_or_default();
        serde_json::from_str(&routes).unwrap_or_default()
    }
}

fn flags(istio: &str, scopes: &Path) -> Vec<String> {
    vec![
        istio.to_owned(),
        "--istio-clients=apps,jobs".to_owned(),
        "--wasm-proxy-path=/etc/headgate/wasm".to_owned(),
        format!("--scopes={}", scopes.display()),
    ]
}

fn routes() -> BTreeSet<String> {
    ["headgate-outbound.80", "headgate-routes.llama.default"]
        .map(str::to_owned)
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_routed_once_somebody_else_has_applied_what_translate_prints() {
    let cluster = Cluster::start().await;
    let scopes = cluster.scopes(&[("apps", "default"), ("jobs", "other")]);
    let mut serve = ControlPlane::start(
        cluster.kube.kubeconfig(),
        &[
            flags("--istio=watch", &scopes),
            vec!["--replica-name=one".to_owned()],
        ]
        .concat(),
    )
    .unwrap();
    serve.ready(SOON).await.unwrap();
    eventually(SOON, "the model in the status", async || {
        let status = serve.status().await.map_err(|error| error.to_string())?;
        let known = status.models.iter().any(|model| model.model == "llama");
        known
            .then_some(())
            .ok_or_else(|| format!("{:?}", status.models))
    })
    .await
    .unwrap();
    assert!(cluster.routed().await.is_empty(), "routed without a route");

    // The module is that of the control plane, so its name is, too.
    let module = artifacts::wasm_module().unwrap();
    let wasm = format!("--wasm={}", module.parent().unwrap().display());
    let printed = cluster.translate(&[flags("--istio", &scopes), vec![wasm.clone()]].concat());
    cluster.kubectl().apply(&printed).await.unwrap();
    eventually(SOON, "both versions routed", async || {
        let routed = cluster.routed().await;
        let both = ["v1", "v2"].map(str::to_owned).into();
        (routed == both).then_some(()).ok_or(format!("{routed:?}"))
    })
    .await
    .unwrap();
    let (names, managers) = cluster.filters("apps").await;
    assert_eq!(names, routes());
    assert!(
        managers
            .iter()
            .all(|manager| manager.starts_with("kubectl")),
        "{managers:?}"
    );
    // Clients there see another namespace.
    assert!(cluster.filters("jobs").await.0.is_empty());

    // An installation with a name of its own reads its own objects only.
    let named = [
        flags("--istio", &scopes),
        vec![
            wasm,
            "--controller-name=blue.example.com/headgate".to_owned(),
        ],
    ];
    let named = cluster.translate(&named.concat());
    assert!(
        named.contains("headgate.dev/controller-name: blue.example.com/headgate"),
        "{named}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_scope_rules_reach_the_objects_without_a_restart() {
    let cluster = Cluster::start().await;
    let scopes = cluster.scopes(&[("apps", "default")]);
    let args = [
        flags("--istio", &scopes),
        vec!["--replica-name=one".to_owned(), "--linger=2".to_owned()],
    ];
    let mut serve = ControlPlane::start(cluster.kube.kubeconfig(), &args.concat()).unwrap();
    serve.ready(SOON).await.unwrap();
    let has = async |apps: BTreeSet<String>, jobs: BTreeSet<String>| {
        eventually(SOON, "the EnvoyFilters", async || {
            let found = (
                cluster.filters("apps").await.0,
                cluster.filters("jobs").await.0,
            );
            let expected = (&apps, &jobs);
            let is_so = (&found.0, &found.1) == expected;
            is_so.then_some(()).ok_or(format!("{found:?}"))
        })
        .await
        .unwrap();
    };
    has(routes(), BTreeSet::new()).await;
    cluster.scopes(&[("apps", "other"), ("jobs", "default")]);
    has(BTreeSet::new(), routes()).await;
}
