//! Manifests of charts, operators and people, applied with `kubectl` to one API server with one control plane; the tests check
//! `headgate status` and `kubectl` for each.
//!
//! Each test has its own namespace. The cluster and the control plane live as long as the test process. Tests of rules that take
//! minutes start with the cluster, so that their waits overlap.

mod outside;
mod roles;
mod serves;
mod status_view;
mod turns;
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

use crate::common::{Files, SOON, Server, serve};
use crate::waits;
use crate::writing::leads;

pub(crate) use self::status_view::StatusView;

/// The operators' kinds; their schemas keep whatever is written.
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

/// A kind of which there is no object.
const EMPTY: (&str, &str, &str, &str) = ("example.dev", "v1", "empties", "Empty");

/// Longest answer of a shared API server on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// The longest time of a rule: a version that has not started by then is a finding.
const MINUTES: Duration = Duration::from_secs(120);

/// Tests of rules that take minutes, by name.
const SLOW: [(&str, fn()); 2] = [
    ("a canary that never starts", waits::never_starts),
    ("a canary that flaps", waits::flaps),
];

/// The API server, and the control plane over all its namespaces.
struct Cluster {
    kube: Kube,
    _kubelet: Kubelet,
    server: Server,
    _files: Files,
}

/// `namespace/prefix` of the pods that a test starts itself; all others are ready at once.
static HELD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// Addresses of these.
static ADDRESSES: OnceLock<PodAddresses> = OnceLock::new();
static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static BEGUN: Mutex<BTreeMap<&str, JoinHandle<()>>> = Mutex::new(BTreeMap::new());

fn held(pod: &str) -> bool {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.iter().any(|prefix| pod.starts_with(prefix))
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
        let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, begin) in SLOW {
            begun.insert(name, std::thread::spawn(begin));
        }
        made
    })
}

async fn start() -> Cluster {
    let kube = Kube::start(KubeOptions::default()).await.unwrap();
    let kubelet = kube.kubelet(EmptyRuntime::holding_back(held));
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

/// What `headgate status -o json` says.
pub(crate) async fn document() -> Value {
    cluster().server.syncz().await
}

/// Runs a test in a namespace of this name.
pub(crate) fn within<F: Future<Output = ()>>(
    namespace: &'static str,
    test: impl FnOnce(Place) -> F,
) {
    cluster();
    runtime().block_on(async {
        test(Place::new(namespace).await).await;
    });
}

/// Waits for a test that began with the cluster.
pub(crate) fn begun(name: &str) {
    cluster();
    let found = BEGUN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(name);
    if let Err(panic) = found.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// A namespace.
#[derive(Clone)]
pub(crate) struct Place {
    name: &'static str,
    kubectl: Kubectl,
}

impl Place {
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

    /// Applies an owner, then what it owns with its uid in place of the word OWNER, as its operator would.
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
        let held = format!("{}/{prefix}", self.name);
        HELD.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(held);
    }

    /// The names of the pods that a label selects, once there are so many.
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

    /// What a kubelet says of a pod.
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

    /// Whether a pod is ready; it gets an address where it has none.
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
        let said = serde_json::json!({
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": status}, {"type": "PodScheduled", "status": "True"}],
        });
        self.report(pod, &said).await;
    }

    /// Waits until what is said of this namespace is as wanted.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&StatusView) -> bool,
    ) -> StatusView {
        self.wait(WITHIN, Duration::ZERO, what, wanted).await
    }

    /// Waits for what takes minutes by rule, and asks less often.
    pub(crate) async fn until_late(
        &self,
        what: &str,
        wanted: impl Fn(&StatusView) -> bool,
    ) -> StatusView {
        let pause = Duration::from_millis(250);
        self.wait(MINUTES + WITHIN, pause, what, wanted).await
    }

    /// Waits at most `within`, with a pause before each look.
    async fn wait(
        &self,
        within: Duration,
        pause: Duration,
        what: &str,
        wanted: impl Fn(&StatusView) -> bool,
    ) -> StatusView {
        let what = format!("{what} in {}", self.name);
        eventually(within, &what, async || {
            tokio::time::sleep(pause).await;
            let seen = self.seen().await;
            if wanted(&seen) {
                Ok(seen)
            } else {
                Err(format!("{seen:#?}"))
            }
        })
        .await
        .unwrap()
    }

    /// What `headgate status -o json` says of this namespace.
    pub(crate) async fn seen(&self) -> StatusView {
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

    /// Waits until the only model remembers a carrier as its base.
    pub(crate) async fn remembers(&self, carrier: &str) {
        let has = |seen: &StatusView| seen.models[0]["base"][0]["carrier"] == carrier;
        self.until(&format!("{carrier} to be remembered"), |seen| {
            !seen.models.is_empty() && has(seen)
        })
        .await;
    }

    /// Waits for an Event of this reason with these words on an object.
    pub(crate) async fn told(&self, object: &str, reason: &str, words: &[&str]) -> String {
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

    /// How many Events of this reason an object has.
    pub(crate) async fn events(&self, name: &str, reason: &str) -> usize {
        let words = format!(
            "get events --field-selector=involvedObject.name={name},reason={reason} -o name"
        );
        self.run(&words).await.lines().count()
    }
}
