//! Manifests of charts, operators and people, applied with `kubectl` to one API server with one control plane; the tests check
//! `headgate status` and `kubectl` for each.
//!
//! Each test has its own namespace. The cluster and the control plane live as long as the test process. Tests of rules that take
//! minutes start with the cluster, so that their waits overlap.

mod base_changes;
mod external_endpoints;
mod ports;
mod roles;
mod status_view;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{EmptyRuntime, Kube, KubeOptions, Kubectl, Kubelet, PodAddresses};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::canary_readiness;
use crate::common::{Files, SOON, Server, serve};
use crate::writes::leads;

pub(crate) use self::status_view::StatusView;

/// The kinds of the operators; their schemas accept any content.
const KINDS: [(&str, &str, &str, &str); 8] = [
    (
        "serving.kserve.io",
        "v1alpha1",
        "llminferenceservices",
        "LLMInferenceService",
    ),
    (
        "serving.kserve.io",
        "v1beta1",
        "inferenceservices",
        "InferenceService",
    ),
    ("argoproj.io", "v1alpha1", "rollouts", "Rollout"),
    ("ray.io", "v1", "rayservices", "RayService"),
    ("ray.io", "v1", "rayclusters", "RayCluster"),
    EMPTY,
    (
        "inference.networking.k8s.io",
        "v1",
        "inferencepools",
        "InferencePool",
    ),
    (
        "leaderworkerset.x-k8s.io",
        "v1",
        "leaderworkersets",
        "LeaderWorkerSet",
    ),
];

/// A kind without objects.
const EMPTY: (&str, &str, &str, &str) = ("example.dev", "v1", "empties", "Empty");

/// The longest response time of a shared API server on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// The longest time of a rule: a version that has not started by then is a finding.
const MINUTES: Duration = Duration::from_secs(120);

/// Tests of rules that take minutes, by name.
const SLOW: [(&str, fn()); 2] = [
    ("a canary that never starts", canary_readiness::never_starts),
    ("a canary that flaps", canary_readiness::flaps),
];

/// The API server, and the control plane over all its namespaces.
struct Cluster {
    kube: Kube,
    _kubelet: Kubelet,
    server: Server,
    _files: Files,
}

/// `namespace/prefix` of the pods that a test starts itself; all others are ready at once.
static HELD_BACK: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// The addresses of these pods.
static ADDRESSES: OnceLock<PodAddresses> = OnceLock::new();
static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static SLOW_TESTS: Mutex<BTreeMap<&str, JoinHandle<()>>> = Mutex::new(BTreeMap::new());

fn is_held_back(pod: &str) -> bool {
    let prefixes = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
    prefixes.iter().any(|prefix| pod.starts_with(prefix))
}

fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(|| {
        let mut made = tokio::runtime::Builder::new_multi_thread();
        made.worker_threads(2).enable_all().build().unwrap()
    })
}

/// The cluster, which the first test starts.
fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        let made = runtime().block_on(start());
        let mut wait_for_slow_test = SLOW_TESTS.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, begin) in SLOW {
            wait_for_slow_test.insert(name, std::thread::spawn(begin));
        }
        made
    })
}

async fn start() -> Cluster {
    let kube = Kube::start(KubeOptions::default()).await.unwrap();
    let kubelet = kube.kubelet(EmptyRuntime::holding_back(is_held_back));
    let kubectl = kube.kubectl();
    let mut definitions = yaml(&crds().unwrap()).unwrap();
    for (group, version, plural, kind) in KINDS {
        let mut made = headgate_testkit::kube::crd(group, plural, kind);
        made["spec"]["versions"][0]["name"] = version.into();
        definitions.push_str(&format!("---\n{made}\n"));
    }
    kubectl.apply_crds(&definitions).await.unwrap();
    let files = Files::new();
    let options = serve()
        .args([
            "--linger",
            "2",
            "--replica-name",
            "one",
            "--allow-endpoint",
            "provider.example",
            "--owner-kind",
            "example.dev/v1/empties/Empty",
        ])
        .arg("--wasm")
        .arg(files.path("wasm"))
        .args(["--kube", "--kubeconfig"])
        .arg(kube.kubeconfig());
    let server = Server::spawn(options).ready().await;
    // The leader writes ServedModels and Events.
    leads(&kubectl, "one", SOON).await;
    Cluster {
        kube,
        _kubelet: kubelet,
        server,
        _files: files,
    }
}

/// The document of `headgate status -o json`.
pub(crate) async fn document() -> Value {
    cluster().server.syncz().await
}

/// Runs a test in a namespace of this name.
pub(crate) fn within<F: Future<Output = ()>>(
    namespace: &'static str,
    test: impl FnOnce(TestNamespace) -> F,
) {
    cluster();
    runtime().block_on(async {
        test(TestNamespace::new(namespace).await).await;
    });
}

/// Waits for a test that began with the cluster.
pub(crate) fn wait_for_slow_test(name: &str) {
    cluster();
    let found = SLOW_TESTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(name);
    if let Err(panic) = found.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// A namespace.
#[derive(Clone)]
pub(crate) struct TestNamespace {
    name: &'static str,
    kubectl: Kubectl,
}

impl TestNamespace {
    pub(crate) async fn new(name: &'static str) -> Self {
        let kubectl = cluster().kube.kubectl();
        kubectl.run(["create", "namespace", name]).await.unwrap();
        Self { name, kubectl }
    }

    /// `kubectl` with these words, in this namespace.
    pub(crate) async fn run(&self, words: &str) -> String {
        let all = ["-n", self.name]
            .into_iter()
            .chain(words.split_whitespace());
        self.kubectl.run(all).await.unwrap()
    }

    /// `kubectl apply` of manifests.
    pub(crate) async fn apply(&self, manifests: &str) {
        let words = ["-n", self.name, "apply", "-f", "-"];
        self.kubectl.run_with_input(words, manifests).await.unwrap();
    }

    /// Applies an owner, then its objects with its uid in place of OWNER, as its operator would.
    pub(crate) async fn apply_owner(&self, manifests: &str) {
        let (owner, _) = manifests.split_once("\n---\n").unwrap();
        let words = [
            "-n",
            self.name,
            "apply",
            "-o",
            "jsonpath={.metadata.uid}",
            "-f",
            "-",
        ];
        let uid = self.kubectl.run_with_input(words, owner).await.unwrap();
        self.apply(&manifests.replace("OWNER", &uid)).await;
    }

    /// Pods with this prefix are not started: the test reports their state.
    pub(crate) fn hold(&self, prefix: &str) {
        let prefix = format!("{}/{prefix}", self.name);
        HELD_BACK
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(prefix);
    }

    /// Waits for this number of pods with a label, and returns their names.
    pub(crate) async fn pods(&self, label: &str, count: usize) -> Vec<String> {
        eventually(WITHIN, &format!("{count} pods of {label}"), async || {
            let found = self.run(&format!("get pods -l {label} -o name")).await;
            let found: Vec<String> = found.lines().map(|line| line.replace("pod/", "")).collect();
            if found.len() == count {
                Ok(found)
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await
        .unwrap()
    }

    /// Writes the status of a pod, as a kubelet does.
    pub(crate) async fn report(&self, pod: &str, status: &Value) {
        let patch = serde_json::json!({ "status": status }).to_string();
        let words = [
            "-n",
            self.name,
            "patch",
            "pod",
            pod,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.kubectl.run(words).await.unwrap();
    }

    /// Sets whether a pod is ready; a pod without an address gets one.
    pub(crate) async fn ready(&self, pod: &str, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let address = self
            .run(&format!("get pod {pod} -o jsonpath={{.status.podIP}}"))
            .await;
        let address = match address.as_str() {
            "" => ADDRESSES
                .get_or_init(PodAddresses::default)
                .next()
                .to_string(),
            _ => address,
        };
        let status = serde_json::json!({
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": status}, {"type": "PodScheduled", "status": "True"}],
        });
        self.report(pod, &status).await;
    }

    /// Waits until the status of this namespace meets a condition.
    pub(crate) async fn until(
        &self,
        what: &str,
        expected: impl Fn(&StatusView) -> bool,
    ) -> StatusView {
        self.wait(WITHIN, Duration::ZERO, what, expected).await
    }

    /// Like `until`, for a rule that takes minutes; it polls less often.
    pub(crate) async fn until_late(
        &self,
        what: &str,
        expected: impl Fn(&StatusView) -> bool,
    ) -> StatusView {
        let pause = Duration::from_millis(250);
        self.wait(MINUTES + WITHIN, pause, what, expected).await
    }

    /// Waits at most `within`, with a pause before each poll.
    async fn wait(
        &self,
        within: Duration,
        pause: Duration,
        what: &str,
        expected: impl Fn(&StatusView) -> bool,
    ) -> StatusView {
        let what = format!("{what} in {}", self.name);
        eventually(within, &what, async || {
            tokio::time::sleep(pause).await;
            let view = self.view().await;
            if expected(&view) {
                Ok(view)
            } else {
                Err(format!("{view:#?}"))
            }
        })
        .await
        .unwrap()
    }

    /// The part of `headgate status -o json` about this namespace.
    pub(crate) async fn view(&self) -> StatusView {
        let document = document().await;
        let of = |field: &str| document[field].as_array().cloned().unwrap_or_default();
        let mut models = of("models");
        models.retain(|model| model["namespace"] == self.name);
        let mut problems = of("problems");
        let here = format!(" {}/", self.name);
        problems.retain(|problem| {
            problem["object"]
                .as_str()
                .unwrap_or_default()
                .contains(&here)
        });
        StatusView { models, problems }
    }

    /// Waits until the only model has stored a carrier as its base.
    pub(crate) async fn wait_stored(&self, carrier: &str) {
        let has = |view: &StatusView| view.models[0]["base"][0]["carrier"] == carrier;
        self.until(&format!("{carrier} to be stored"), |view| {
            !view.models.is_empty() && has(view)
        })
        .await;
    }

    /// Waits for an Event of this reason with these words on an object.
    pub(crate) async fn event(&self, object: &str, reason: &str, words: &[&str]) -> String {
        let what = format!("an Event {reason} of {object} in {}", self.name);
        eventually(WITHIN, &what, async || {
            let text = self.run(&format!("describe {object}")).await;
            let (_, events) = text.rsplit_once("Events:").unwrap_or_default();
            let has =
                |line: &&str| line.contains(reason) && words.iter().all(|word| line.contains(word));
            events
                .lines()
                .find(has)
                .map(str::to_owned)
                .ok_or(events.to_owned())
        })
        .await
        .unwrap()
    }

    /// The number of Events of this reason on an object.
    pub(crate) async fn events(&self, name: &str, reason: &str) -> usize {
        let words = format!(
            "get events --field-selector=involvedObject.name={name},reason={reason} -o name"
        );
        self.run(&words).await.lines().count()
    }
}
