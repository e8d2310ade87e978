//! Test fixture: an API server, the source that watches it, and waits for its observations.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headgate_contract::{PolicySpec as _, TokenBucketPolicySpec};
use headgate_kubernetes::Access;
use headgate_kubernetes::connect;
use headgate_kubernetes::health::ApiState;
use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_model::Observed;
use headgate_model::{Carrier, CarrierKey, Objects, Policy, PolicyId, Unread};
use headgate_source::cluster::Kubernetes;
use headgate_source::cluster::Options;
use headgate_source::join::join;
use headgate_source::own_kinds;
use headgate_source::own_kinds::{Models, Policies};
use headgate_testkit::deadline::eventually;
pub(crate) use headgate_testkit::kube::crd;
use headgate_testkit::kube::{
    EmptyRuntime, FaultProxy, Kube, KubeOptions, Kubelet, deployment as workload,
};
use kube::Client;
use serde_json::json;
use tokio::sync::watch;

/// The timeout of every wait, for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The watches of carriers, of policies and of `ServedModel`s.
pub(crate) struct Watches {
    kubernetes: Kubernetes,
    policies: Policies,
    pub(crate) models: Models,
}

impl Watches {
    pub(crate) fn start(client: &Client, options: Options) -> Self {
        let of_policies = own_kinds::Options {
            namespaces: options.namespaces.clone(),
            absent_retry: options.absent_retry,
            ..own_kinds::Options::default()
        };
        let of_models = own_kinds::Options {
            namespaces: options.namespaces.clone(),
            absent_retry: options.absent_retry,
            ..own_kinds::Options::default()
        };
        let kubernetes = Kubernetes::start(client, options).unwrap();
        let policies = Policies::start(client, &of_policies, kubernetes.health());
        let models = Models::start(client, &of_models, kubernetes.health());
        Self {
            kubernetes,
            policies,
            models,
        }
    }

    pub(crate) fn state(&self) -> ApiState {
        self.kubernetes.state().borrow().clone()
    }

    /// The policies in the cache.
    #[allow(dead_code)] // The tests of headgate-writer include this module, and use it.
    pub(crate) fn policies(
        &self,
    ) -> watch::Receiver<Option<Arc<headgate_kubernetes::policies::PolicyCache>>> {
        self.policies.seen()
    }

    /// Waits until all watches are synced, and returns their joined observations.
    pub(crate) async fn observed(&self) -> watch::Receiver<Arc<Observed>> {
        let carriers = self.kubernetes.synced().await;
        let (policies, task) = self.policies.observed().await;
        tokio::spawn(task);
        let (models, task) = self.models.observed().await;
        tokio::spawn(task);
        let (joined, task) = join(carriers, policies, models);
        tokio::spawn(task);
        joined
    }
}

/// A source and its observations.
pub(crate) struct Source {
    watches: Watches,
    observed: watch::Receiver<Arc<Observed>>,
}

impl Source {
    /// Starts a source with this client and waits until it is synced.
    pub(crate) async fn start(client: &Client, options: Options) -> Self {
        Self::of(Watches::start(client, options)).await
    }

    /// A source that reads through the proxy.
    pub(crate) async fn behind(fault_proxy: &FaultProxy) -> Self {
        let client = client_of(fault_proxy.kubeconfig()).await;
        Self::start(&client, Options::default()).await
    }

    pub(crate) async fn of(watches: Watches) -> Self {
        let synced = tokio::time::timeout(SOON, watches.observed()).await;
        let observed = synced.unwrap_or_else(|_| panic!("not synced: {:?}", watches.state()));
        Self { watches, observed }
    }

    pub(crate) fn now(&self) -> Arc<Observed> {
        self.observed.borrow().clone()
    }

    /// The objects, without the list of unread kinds.
    pub(crate) fn read(&self) -> Objects {
        Objects {
            unread: Unread::default(),
            ..self.now().objects.clone()
        }
    }

    /// All later observations.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Observed>> {
        self.observed.clone()
    }

    pub(crate) fn state(&self) -> ApiState {
        self.watches.state()
    }

    /// Waits until the probe holds for a policy of the namespace `default`.
    pub(crate) async fn policy(&mut self, name: &str, probe: impl Fn(&Policy) -> bool) {
        let id = PolicyId {
            kind: TokenBucketPolicySpec::KIND,
            namespace: "default".to_owned(),
            name: name.to_owned(),
        };
        self.until(name, |observed| {
            let policy = observed.objects.policies.get(&id);
            policy.filter(|policy| probe(policy)).map(|_| ())
        })
        .await;
    }

    /// Waits until a policy of the namespace `default` has this number of buckets.
    pub(crate) async fn buckets(&mut self, name: &str, number: usize) {
        self.policy(name, |policy| {
            let spec = policy.spec.get::<TokenBucketPolicySpec>();
            spec.is_some_and(|spec| spec.buckets.len() == number)
        })
        .await;
    }

    /// Waits until the probe finds something in an observation, and returns it.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        probe: impl Fn(&Observed) -> Option<T>,
    ) -> T {
        let awaited = async {
            loop {
                if let Some(found) = probe(&self.observed.borrow_and_update()) {
                    return found;
                }
                self.observed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(SOON, awaited).await {
            Ok(found) => found,
            Err(_) => panic!(
                "not within {SOON:?}: {what}; it is {:#?}, {:?}",
                shown(&self.now()),
                self.state()
            ),
        }
    }

    /// Waits until the probe holds for a carrier, and returns it.
    pub(crate) async fn carrier(
        &mut self,
        identity: &str,
        probe: impl Fn(&Carrier) -> bool,
    ) -> Carrier {
        let key = key(identity);
        self.until(identity, |observed| {
            observed
                .objects
                .carriers
                .get(&key)
                .filter(|c| probe(c))
                .cloned()
        })
        .await
    }

    /// Waits until its objects and findings equal those of a source that starts now.
    pub(crate) async fn wait_until_equal_to_a_new_source(
        &self,
        client: &Client,
        options: &Options,
    ) {
        eventually(SOON, "the observation of a new source", async || {
            let fresh = Self::start(client, options.clone()).await.now();
            let observed = self.now();
            if (&observed.objects, &observed.findings) == (&fresh.objects, &fresh.findings) {
                return Ok(());
            }
            Err(format!(
                "{:#?} instead of {:#?}",
                shown(&observed),
                shown(&fresh)
            ))
        })
        .await
        .unwrap();
    }
}

/// The carriers, policies and findings as text, for messages.
fn shown(observed: &Observed) -> Vec<String> {
    let policies = observed.objects.policies.values();
    let policies = policies.map(|p| format!("{} generation {}", p.origin, p.generation));
    let carriers = observed.objects.carriers.values();
    let carriers = carriers.map(|c| {
        format!(
            "{} weight {:?} wants {} has {:?}",
            c.key,
            c.labels.get("canary-weight"),
            c.desired,
            c.pods
        )
    });
    carriers
        .chain(policies)
        .chain(
            observed
                .findings
                .iter()
                .map(|f| format!("{}: {}", f.object, f.message)),
        )
        .collect()
}

pub(crate) fn key(identity: &str) -> CarrierKey {
    let (kind, name) = identity.split_once('/').unwrap();
    CarrierKey {
        namespace: "default".into(),
        kind: kind.into(),
        name: name.into(),
    }
}

/// How many of a carrier's pods are ready.
pub(crate) fn ready(carrier: &Carrier) -> usize {
    carrier.pods.iter().filter(|pod| pod.ready).count()
}

/// A client as the product creates it.
pub(crate) async fn client_of(kubeconfig: &Path) -> Client {
    let kubeconfig = Some(kubeconfig.to_owned());
    connect(&Access {
        kubeconfig,
        context: None,
    })
    .await
    .unwrap()
}

/// An API server with the controllers, and a kubelet that runs all pods.
pub(crate) struct Cluster {
    pub(crate) kube: Kube,
    pub(crate) kubelet: Kubelet,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(KubeOptions::default()).await
    }

    pub(crate) async fn with(options: KubeOptions) -> Self {
        let cluster = Self::without_policies(options).await;
        cluster.define().await;
        cluster
    }

    /// An API server without the definitions of the policies.
    pub(crate) async fn without_policies(options: KubeOptions) -> Self {
        let kube = Kube::start(options).await.unwrap();
        let kubelet = kube.kubelet(EmptyRuntime::default());
        Self { kube, kubelet }
    }

    /// Installs the definitions of the policies.
    pub(crate) async fn define(&self) {
        let definitions = yaml(&crds().unwrap()).unwrap();
        self.kube.kubectl().apply_crds(&definitions).await.unwrap();
    }

    /// A proxy in front of the API server, with the administrator's credentials.
    pub(crate) async fn fault_proxy(&self) -> FaultProxy {
        let kubeconfig = self.kube.kubeconfig();
        self.kube.fault_proxy(kubeconfig).await.unwrap()
    }

    /// The client of the administrator, as the product creates it.
    pub(crate) async fn client(&self) -> Client {
        client_of(self.kube.kubeconfig()).await
    }

    pub(crate) async fn source(&self) -> Source {
        Source::start(&self.client().await, Options::default()).await
    }

    pub(crate) async fn apply(&self, manifest: serde_json::Value) {
        self.kube
            .kubectl()
            .apply(&manifest.to_string())
            .await
            .unwrap();
    }

    /// `kubectl` with these words.
    pub(crate) async fn kubectl(&self, words: &str) -> String {
        self.kube
            .kubectl()
            .run(words.split_whitespace())
            .await
            .unwrap()
    }

    pub(crate) async fn rollout(&self, name: &str) {
        self.kube.kubectl().wait_for_rollout(name).await.unwrap();
    }

    pub(crate) async fn wait_until_equal_to_a_new_source(&self, source: &Source) {
        source
            .wait_until_equal_to_a_new_source(&self.client().await, &Options::default())
            .await;
    }
}

/// A Deployment of a version of the model `llama`.
pub(crate) fn deployment(name: &str, version: &str, replicas: u32) -> serde_json::Value {
    workload("llama", name, version, replicas)
}

/// A policy for the models of its namespace with this number of buckets: `b0`, `b1` and so on.
pub(crate) fn policy(name: &str, buckets: u32) -> serde_json::Value {
    let bucket = |n| json!({"name": format!("b{n}"), "key": ["tenant"], "profile": "semantic"});
    json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "TokenBucketPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"buckets": (0..buckets).map(bucket).collect::<Vec<_>>()},
    })
}
