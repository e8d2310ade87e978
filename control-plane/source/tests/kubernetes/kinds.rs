//! Kinds of other vendors: a kind that cannot be read holds back only its own pods, and discovery decides which version is read.

use std::time::{Duration, Instant};

use headgate_kubernetes::access::Account;
use headgate_kubernetes::access::rbac;
use headgate_kubernetes::access::{MeshAccess, Needs};
use headgate_kubernetes::fault::Cause;
use headgate_kubernetes::kinds::Kind;
use headgate_model::Observed;
use headgate_model::Subject;
use headgate_source::cluster::Options;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::crd_without_conversion;
use serde_json::{Value, json};

use super::cluster::*;

const SETS: &str = "leaderworkersets.leaderworkerset.x-k8s.io";
const RAY: &str = "rayclusters.ray.io";
const LLM: &str = "llminferenceservices.serving.kserve.io";
/// Longer than the wait for a kind that fails, on a busy machine.
const USUAL: Duration = Duration::from_secs(10);

fn quick() -> Options {
    Options {
        absent_retry: Duration::from_millis(300),
        ..Options::default()
    }
}

/// A definition with these versions, each served or not; the last one is the stored one.
fn versions(group: &str, plural: &str, kind: &str, versions: &[(&str, bool)]) -> Value {
    let mut definition = crd(group, plural, kind);
    let pattern = definition["spec"]["versions"][0].clone();
    let last = versions.len() - 1;
    let each = versions.iter().enumerate().map(|(n, (name, served))| {
        let mut version = pattern.clone();
        version["name"] = (*name).into();
        version["served"] = (*served).into();
        version["storage"] = (n == last).into();
        version
    });
    definition["spec"]["versions"] = each.collect();
    definition
}

/// A definition of LeaderWorkerSet whose conversion to the preferred version fails, and one object.
async fn broken(cluster: &Cluster) {
    let of = "leaderworkerset.x-k8s.io";
    let definition = crd_without_conversion(of, "leaderworkersets", "LeaderWorkerSet");
    let kubectl = cluster.kube.kubectl();
    kubectl.apply_crds(&definition.to_string()).await.unwrap();
    let unrelated = json!({
        "apiVersion": format!("{of}/v1alpha1"), "kind": "LeaderWorkerSet",
        "metadata": {"name": "unrelated"}, "spec": {"replicas": 1},
    });
    eventually(SOON, "an object of it", async || {
        kubectl.apply(&unrelated.to_string()).await
    })
    .await
    .unwrap();
}

/// A labelled pod that this object controls.
async fn owned(cluster: &Cluster, name: &str, owner: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"model-name": "llama", "model-version": name}},
        "spec": {"containers": [{
            "name": "server", "image": "none", "ports": [{"name": "http", "containerPort": 8000}],
        }]},
    });
    cluster
        .kube
        .kubectl()
        .apply_owned(owner, pod)
        .await
        .unwrap();
}

/// Pods of an owner of an unread kind, and of an owner of an unwatched kind.
async fn both_owned(cluster: &Cluster, owner: &str) {
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}});
    cluster.apply(other).await;
    owned(cluster, "waits", owner).await;
    owned(cluster, "goes-on", "configmap/other").await;
}

/// Checks that only this kind is unread, since a time and with a reason; returns the message.
fn alone(source: &Source, kind: &str, cause: Cause) -> String {
    let state = source.state();
    assert_eq!(state.unreachable(), None, "{state:?}");
    let unread: Vec<_> = state.unread().collect();
    assert_eq!(unread.len(), 1, "{state:?}");
    let (name, watch, lost) = unread[0];
    assert_eq!((name, watch.synced, lost.cause), (kind, false, cause));
    assert!(lost.since > 1_700_000_000, "{lost:?}");
    lost.message.clone()
}

#[tokio::test]
async fn a_kind_without_conversion_holds_back_only_its_own_pods() {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 2)).await;
    cluster.rollout("v1").await;
    let mut before = cluster.source().await;
    broken(&cluster).await;
    let started = Instant::now();
    let mut source = cluster.source().await;
    println!("whole but for one kind after {:?}", started.elapsed());
    assert!(started.elapsed() < USUAL, "{:?}", started.elapsed());
    let first = source.now();
    assert_eq!(ready(&first.objects.carriers[&key("deployment/v1")]), 2);
    eventually(SOON, "the kind to be named with its reason", async || {
        let state = source.state();
        let mut unread = state.unread();
        let named = unread.any(|(_, _, lost)| lost.message.contains("conversion"));
        named.then_some(()).ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    alone(&source, SETS, Cause::Unanswered);

    let stored = "leaderworkersets.v1alpha1.leaderworkerset.x-k8s.io/unrelated";
    both_owned(&cluster, stored).await;
    source.carrier("pod/goes-on", |c| ready(c) == 1).await;
    let there = source
        .now()
        .objects
        .carriers
        .contains_key(&key("pod/waits"));
    assert!(!there, "its owner is not known");
    // A running source continues too.
    before.carrier("pod/goes-on", |c| ready(c) == 1).await;
    assert_eq!(before.state().unreachable(), None);

    // The conversion works again.
    let none =
        "--type=merge -p {\"spec\":{\"conversion\":{\"strategy\":\"None\",\"webhook\":null}}}";
    cluster.kubectl(&format!("patch crd {SETS} {none}")).await;
    source.carrier("pod/waits", |c| ready(c) == 1).await;
    super::recovery::all_well(&source).await;
}

#[tokio::test]
async fn a_kind_without_a_right_to_read_holds_back_only_its_own_pods() {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    cluster.rollout("v1").await;
    let kubectl = cluster.kube.kubectl();
    let definition = crd("ray.io", "rayclusters", "RayCluster");
    kubectl.apply_crds(&definition.to_string()).await.unwrap();
    let account = Account {
        namespace: "default".to_owned(),
        name: "headgate".to_owned(),
    };
    let without = ["RayCluster".to_owned()];
    let mut needs = Needs {
        kinds: Kind::defaults_without_and(&without, &[]),
        policies: true,
        namespaces: Vec::new(),
        root_namespace: None,
        own_namespace: "default".to_owned(),
        mesh: MeshAccess::None,
        reviews_tokens: false,
    };
    kubectl.apply(&rbac(&needs, &account)).await.unwrap();
    let kubeconfig = cluster.kube.service_account("default", "headgate").await;
    let client = client_of(&kubeconfig.unwrap()).await;
    let started = Instant::now();
    let mut source = Source::start(&client, quick()).await;
    println!("whole but for one kind after {:?}", started.elapsed());
    assert!(started.elapsed() < USUAL, "{:?}", started.elapsed());
    assert_eq!(
        ready(&source.now().objects.carriers[&key("deployment/v1")]),
        1
    );
    let why = alone(&source, RAY, Cause::Refused);
    assert!(why.contains("(403)"), "{why}");
    let head =
        json!({"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "head"}});
    cluster.apply(head).await;
    both_owned(&cluster, "rayclusters/head").await;
    source.carrier("pod/goes-on", |c| ready(c) == 1).await;
    assert!(
        !source
            .now()
            .objects
            .carriers
            .contains_key(&key("pod/waits"))
    );

    // With `--no-owner-kind`, the kind is ignored.
    let options = Options {
        kinds: needs.kinds.clone(),
        ..quick()
    };
    let off = Source::start(&client, options).await;
    assert_eq!(off.state().lost(), None);
    assert!(!off.state().watches.contains_key(RAY));
    assert!(off.now().objects.carriers.contains_key(&key("pod/waits")));
    // The right is granted.
    needs.kinds = Kind::defaults();
    kubectl.apply(&rbac(&needs, &account)).await.unwrap();
    source.carrier("pod/waits", |c| ready(c) == 1).await;
}

/// Applies a labelled owner of this version, once the API server accepts it.
async fn owner(cluster: &Cluster, api_version: &str, kind: &str, name: &str) {
    let owner = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "labels": {"model-name": name, "model-version": "one"}},
        "spec": {"replicas": 3},
    });
    let kubectl = cluster.kube.kubectl();
    eventually(SOON, "the version", async || {
        kubectl.apply(&owner.to_string()).await
    })
    .await
    .unwrap();
}

/// The number of requests for a kind from the `from`-th request on.
fn count_requests(requests: &[String], from: usize, part: &str) -> usize {
    let ours = requests[from..]
        .iter()
        .filter(|request| request.contains(part));
    ours.count()
}

async fn versions_are_discovered(plain: bool) {
    let cluster = Cluster::start().await;
    let fault_proxy = cluster.fault_proxy().await;
    fault_proxy.force_json(plain);
    let client = client_of(fault_proxy.kubeconfig()).await;
    let mut source = Source::start(&client, quick()).await;
    let state = |source: &Source| source.state().watches[LLM].clone();
    assert!(state(&source).absent && state(&source).removed.is_none());
    assert_eq!(source.state().missing_kinds().count(), 0, "nobody needs it");
    assert_eq!(
        count_requests(&fault_proxy.requests(), 0, "llminferenceservices"),
        0,
        "it costs nothing"
    );

    // It is installed in an unexpected version and is read.
    let (group, plural, kind) = (
        "serving.kserve.io",
        "llminferenceservices",
        "LLMInferenceService",
    );
    let kubectl = cluster.kube.kubectl();
    let second = versions(
        group,
        plural,
        kind,
        &[("v1alpha1", false), ("v1alpha2", true)],
    );
    kubectl.apply_crds(&second.to_string()).await.unwrap();
    owner(&cluster, &format!("{group}/v1alpha2"), kind, "one").await;
    source.carrier("llminferenceservice/one", |_| true).await;
    let called = |observed: &Observed| {
        let one = Subject::from(key("llminferenceservice/one"));
        observed
            .references
            .get(&one)
            .map(|it| it.api_version.clone())
    };
    let discovered = Some(format!("{group}/v1alpha2"));
    assert_eq!(called(&source.now()), discovered, "so Events refer to it");
    assert_eq!(
        count_requests(&fault_proxy.requests(), 0, "v1alpha1/llminferenceservices"),
        0
    );
    assert!(!state(&source).absent && state(&source).lost.is_none());

    // Another version is preferred and the old one is no longer served: no object disappears meanwhile.
    let mut observed = source.follow();
    let third = versions(group, plural, kind, &[("v1alpha2", false), ("v1", true)]);
    kubectl.apply(&third.to_string()).await.unwrap();
    owner(&cluster, &format!("{group}/v1"), kind, "two").await;
    source.carrier("llminferenceservice/two", |_| true).await;
    let stays = observed
        .borrow_and_update()
        .objects
        .carriers
        .contains_key(&key("llminferenceservice/one"));
    assert!(stays);
    eventually(SOON, "the new version to be watched", async || {
        let now = count_requests(&fault_proxy.requests(), 0, "/v1/llminferenceservices?");
        (now > 0)
            .then_some(())
            .ok_or(format!("{:?}", source.state()))
    })
    .await
    .unwrap();

    source
        .until("the name in that version", |observed| {
            (called(observed) == Some(format!("{group}/v1"))).then_some(())
        })
        .await;

    // A configured version stays; the problem names the served version.
    let given = format!("{group}/v1alpha2/{plural}/{kind}");
    let options = Options {
        kinds: Kind::defaults_without_and(&[], &[given.parse().unwrap()]),
        ..quick()
    };
    let given = Source::start(&client, options).await;
    eventually(SOON, "the version that is served", async || {
        let state = given.state();
        let message = state.watches[LLM].lost.as_ref();
        let message =
            message.is_some_and(|lost| lost.message.contains("but serving.kserve.io/v1: "));
        message.then_some(()).ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    drop(given);

    // Deleted, the kind is absent, and the API is not away.
    cluster
        .kubectl(&format!("delete crd {plural}.{group}"))
        .await;
    eventually(SOON, "the kind to be gone", async || {
        let now = source.state();
        assert_eq!(now.unreachable(), None, "{now:?}");
        let gone: Vec<_> = now
            .missing_kinds()
            .map(|it| (it.kind.to_owned(), it.since))
            .collect();
        let well = gone
            .iter()
            .any(|(kind, since)| kind == LLM && since.is_some())
            && now.watches[LLM].absent
            && now.lost().is_none();
        well.then_some(()).ok_or(format!("{now:?}"))
    })
    .await
    .unwrap();
    source
        .until("none of it", |observed| {
            observed.objects.carriers.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_absent_kind_costs_no_requests_and_is_read_in_the_preferred_version_once_installed() {
    versions_are_discovered(false).await;
}

#[tokio::test]
async fn versions_are_discovered_by_group_without_aggregated_discovery() {
    versions_are_discovered(true).await;
}
