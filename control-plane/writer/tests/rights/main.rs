//! The control plane uses exactly the rights of the table, and names each missing one while the rest continues.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../source/tests/kubernetes/cluster.rs"]
#[allow(dead_code, unused_imports)]
mod cluster;

use std::collections::BTreeSet;
use std::sync::Arc;

use headgate_kubernetes::access::Account;
use headgate_kubernetes::access::Missing;
use headgate_kubernetes::access::rbac;
use headgate_kubernetes::access::{MeshAccess, Needs};
use headgate_kubernetes::access::{Right, Role as RoleOf};
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::models::ServedModel;
use headgate_kubernetes::policies::Controller;
use headgate_kubernetes::review::review;
use headgate_model::Observed;
use headgate_model::Planned;
use headgate_model::{LabelKeys, Registry, Scales, plan};
use headgate_source::cluster::Options;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{FaultProxy, KubeOptions};
use headgate_writer::ReplicaState;
use headgate_writer::Sources;
use headgate_writer::Writer;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{Api, PostParams};
use kube::core::DynamicObject;
use kube::{Client, CustomResourceExt as _};
use tokio::sync::watch;

use self::cluster::*;

fn needs(namespaces: &[&str]) -> Needs {
    Needs {
        kinds: Kind::defaults(),
        policies: true,
        namespaces: namespaces.iter().map(|ns| (*ns).to_owned()).collect(),
        root_namespace: None,
        own_namespace: "headgate-system".to_owned(),
        mesh: MeshAccess::None,
        reviews_tokens: false,
    }
}

/// Gives a ServiceAccount exactly the needed rights; the client uses this account through a fault proxy.
async fn account(cluster: &Cluster, needs: &Needs) -> (Client, FaultProxy) {
    let kube = &cluster.kube;
    let account = Account {
        namespace: needs.own_namespace.clone(),
        name: "headgate".to_owned(),
    };
    let home = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {}}}}}\n",
        account.namespace
    );
    let manifests = home + &rbac(needs, &account);
    kube.kubectl().apply(&manifests).await.unwrap();
    let kubeconfig = kube.service_account(&account.namespace, &account.name);
    let fault_proxy = kube.fault_proxy(&kubeconfig.await.unwrap()).await.unwrap();
    (client_of(fault_proxy.kubeconfig()).await, fault_proxy)
}

async fn refused(client: &Client, rights: &[Right]) -> BTreeSet<Missing> {
    review(client, rights).await.unwrap()
}

/// The requests so far: verb and resource, as in `kubectl auth can-i`.
fn used(fault_proxy: &FaultProxy) -> BTreeSet<String> {
    fault_proxy
        .requests()
        .iter()
        .filter_map(|request| verb(request))
        .collect()
}

/// The verb that RBAC sees in `GET /apis/apps/v1/deployments?watch=true`.
fn verb(request: &str) -> Option<String> {
    let (method, uri) = request.split_once(' ')?;
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (plural, rest) = match rest {
        ["namespaces", _, plural, rest @ ..] | [plural, rest @ ..] => (*plural, rest),
        [] => return None,
    };
    let part = rest.get(1).map_or(String::new(), |part| format!("/{part}"));
    let verb = match (method, rest.is_empty()) {
        ("GET", true) if query.contains("watch=true") => "watch",
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        _ => panic!("{request}"),
    };
    let dot = if group.is_empty() { "" } else { "." };
    // Everyone may review their own rights.
    let of_themselves = ["selfsubjectaccessreviews", "selfsubjectreviews"];
    (!of_themselves.contains(&plural)).then(|| format!("{verb} {plural}{dot}{group}{part}"))
}

/// The verbs of the table.
fn table(rights: &[Right], wanted: impl Fn(&Right) -> bool) -> BTreeSet<String> {
    let rights = rights.iter().filter(|right| wanted(right));
    let verbs = rights.flat_map(Right::each);
    verbs
        .map(|each| format!("{} {}", each.verb, each.resource))
        .collect()
}

/// The rights for watches.
fn watched(right: &Right) -> bool {
    right.role == RoleOf::Models && right.verbs.contains(&"watch")
}

#[tokio::test]
async fn the_rights_of_the_table_are_sufficient_and_all_of_them_are_used() {
    let cluster = Cluster::start().await;
    for namespaces in [&[][..], &["default", "red"]] {
        let needs = needs(namespaces);
        let (client, fault_proxy) = account(&cluster, &needs).await;
        let options = Options {
            namespaces: needs.namespaces.clone(),
            ..Options::default()
        };
        let mut source = Source::start(&client, options).await;
        let name = format!("v{}", namespaces.len());
        cluster.apply(deployment(&name, "one", 1)).await;
        cluster.apply(policy(&name, 1)).await;
        source
            .carrier(&format!("deployment/{name}"), |c| ready(c) == 1)
            .await;
        source.policy(&name, |_| true).await;
        assert_eq!(source.state().lost(), None);
        let rights = needs.rights();
        let mut table = table(&rights, watched);
        // `list` is used only without streamed lists.
        table.retain(|used| !used.starts_with("list "));
        // A kind that is not installed causes no requests.
        let state = source.state();
        let absent = |used: &str| {
            let kind = used.trim_start_matches("watch ");
            let mut watches = state.watches.iter();
            watches.any(|(name, watch)| watch.absent && name.split(' ').next() == Some(kind))
        };
        let all = table.len();
        table.retain(|used| !absent(used));
        assert_eq!(all - table.len(), 8, "{state:?}");
        assert_eq!(used(&fault_proxy), table, "what is watched is the table");
        assert_eq!(refused(&client, &rights).await, BTreeSet::new());
        // Remove the rights in every namespace before the second round.
        let words = "delete clusterrolebinding,clusterrole headgate --ignore-not-found";
        cluster.kubectl(words).await;
        if namespaces.is_empty() {
            cluster.kubectl("create namespace red").await;
            let rights: Vec<Right> = rights
                .into_iter()
                .filter(|right| right.role == RoleOf::Models)
                .collect();
            eventually(SOON, "the rights to be gone", async || {
                let refused = refused(&client, &rights).await.len();
                let all: usize = rights.iter().map(|right| right.verbs.len()).sum();
                (refused == all)
                    .then_some(())
                    .ok_or(format!("{refused} of {all}"))
            })
            .await
            .unwrap();
        }
    }
}

/// One rule for each verb, so that the test can remove one.
fn rules(rights: &[Right], own: bool, without: Option<&Missing>) -> Vec<PolicyRule> {
    let rights = rights
        .iter()
        .filter(|right| (right.role == RoleOf::Replicas) == own);
    let each = rights.flat_map(|right| right.each().map(move |verb| (right, verb)));
    each.filter(|(_, verb)| Some(verb) != without)
        .map(|(right, verb)| PolicyRule {
            api_groups: Some(vec![right.group.clone()]),
            resources: Some(vec![right.resource.clone()]),
            verbs: vec![verb.verb.to_owned()],
            ..PolicyRule::default()
        })
        .collect()
}

async fn grant(cluster: &Cluster, rights: &[Right], without: Option<&Missing>) {
    let (client, params) = (cluster.kube.client(), PostParams::default());
    let api: Api<ClusterRole> = Api::all(client.clone());
    let mut role = api.get("headgate").await.unwrap();
    role.rules = Some(rules(rights, false, without));
    api.replace("headgate", &params, &role).await.unwrap();
    let api: Api<Role> = Api::namespaced(client, "headgate-system");
    let mut role = api.get("headgate-replicas").await.unwrap();
    role.rules = Some(rules(rights, true, without));
    api.replace("headgate-replicas", &params, &role)
        .await
        .unwrap();
}

/// Without streamed lists `list` is used too, so the test can miss it.
#[tokio::test]
async fn each_missing_verb_is_named_with_its_resource_and_the_rest_continues() {
    let cluster = Cluster::with(KubeOptions {
        api_args: vec!["--feature-gates=WatchList=false".into()],
        ..KubeOptions::default()
    })
    .await;
    let needs = needs(&[]);
    let (client, _fault_proxy) = account(&cluster, &needs).await;
    let rights = needs.rights();
    let initial_state = Source::start(&client, Options::default()).await.state();
    let mut count = 0;
    for right in &rights {
        for missing in right.each() {
            count += 1;
            grant(&cluster, &rights, Some(&missing)).await;
            eventually(SOON, "the review to name it, and it alone", async || {
                let refused = refused(&client, &rights).await;
                let it = refused.len() == 1 && refused.contains(&missing);
                it.then_some(()).ok_or(format!("{missing}: {refused:?}"))
            })
            .await
            .unwrap();
            let message = missing.to_string();
            assert!(
                message.contains(missing.verb) && message.contains(&missing.resource),
                "{message}"
            );
            // Kinds that are not read here, or not installed.
            let read = initial_state.watches.get(&missing.resource);
            let reads = ["list", "watch"].contains(&missing.verb);
            if !reads || read.is_none_or(|watch| watch.absent) {
                continue;
            }
            let watches = Watches::start(&client, Options::default());
            let message = eventually(SOON, "the refusal alone", async || {
                let state = watches.state();
                let rest = state
                    .watches
                    .iter()
                    .filter(|(name, _)| **name != missing.resource);
                let rest = rest
                    .filter(|(_, watch)| !watch.synced || watch.lost.is_some())
                    .count();
                let lost = state.watches[&missing.resource].lost.clone();
                lost.filter(|_| rest == 0)
                    .map(|lost| lost.message)
                    .ok_or(format!("{state:?}"))
            })
            .await
            .unwrap();
            let names = format!("cannot {} resource \"{}\"", missing.verb, right.resource);
            assert!(message.contains(&names), "{message}");
        }
    }
    assert!(count > 40, "{count}");
    grant(&cluster, &rights, None).await;
    let mut source = Source::start(&client, Options::default()).await;
    cluster.apply(deployment("v1", "one", 1)).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    assert_eq!(source.state().lost(), None);
}

#[tokio::test]
async fn a_right_can_be_granted_later() {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    let needs = needs(&[]);
    let (client, _fault_proxy) = account(&cluster, &needs).await;
    let rights = needs.rights();
    let deployments = rights.iter().find(|right| right.resource == "deployments");
    let watch = deployments
        .unwrap()
        .each()
        .find(|each| each.verb == "watch");
    grant(&cluster, &rights, watch.as_ref()).await;
    let watches = Watches::start(&client, Options::default());
    eventually(SOON, "the refusal", async || {
        let state = watches.state();
        let lost = state
            .lost()
            .map(|(watch, lost)| (watch.to_owned(), lost.message.clone()));
        lost.filter(|(watch, message)| watch == "deployments.apps" && message.contains("(403)"))
            .ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    grant(&cluster, &rights, None).await;
    let mut source = Source::of(watches).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    assert_eq!(source.state().lost(), None);
}

/// A patch that creates the object needs this right too, although no request shows it.
const CREATED_BY_PATCH: (&str, &str) = ("create", "configmaps");

/// Plans every observation, as a control plane does.
async fn control(
    mut receiver: watch::Receiver<Arc<Observed>>,
    state_sender: watch::Sender<Option<Arc<ReplicaState>>>,
    plans: watch::Sender<Option<Arc<Planned>>>,
) {
    loop {
        let observed = receiver.borrow_and_update().clone();
        let registry = Registry::build(&observed.objects, &LabelKeys::default());
        let plan = Arc::new(plan(&registry, &observed.objects, &Scales::default()));
        plans.send_replace(Some(Arc::new(Planned {
            plan: plan.clone(),
            observed: observed.clone(),
        })));
        state_sender.send_replace(Some(Arc::new(ReplicaState {
            plan,
            observed,
            counts: Arc::default(),
        })));
        if receiver.changed().await.is_err() {
            return;
        }
    }
}

/// A `ServedModel` of a model that no object has declared for more than an hour.
async fn abandoned(cluster: &Cluster) {
    let kind = ServedModel::api_resource();
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.kube.client(), "default", &kind);
    let params = PostParams {
        field_manager: Some("headgate-models".to_owned()),
        ..PostParams::default()
    };
    let object = serde_json::json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "ServedModel",
        "metadata": {"name": "abandoned"}, "spec": {},
    });
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let mut object = api.create(&params, &object).await.unwrap();
    object.data["status"] = serde_json::json!({"carriersGoneSince": "2026-01-01T00:00:00Z"});
    let name = "abandoned";
    loop {
        // The writer may have written first.
        match api.replace_status(name, &params, &object).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let newer = api.get(name).await.unwrap();
                object.metadata.resource_version = newer.metadata.resource_version;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn writes_use_exactly_the_remaining_rights_of_the_table() {
    let cluster = Cluster::start().await;
    let needs = needs(&[]);
    let (client, fault_proxy) = account(&cluster, &needs).await;
    let watches = Watches::start(&client, Options::default());
    let (policies, models) = (watches.policies(), watches.models.objects());
    let mut source = Source::of(watches).await;
    let (state_sender, state_receiver) = watch::channel(None);
    let (publish_plans, plans) = watch::channel(None);
    let control = tokio::spawn(control(source.follow(), state_sender, publish_plans));
    let (_ending, ends) = watch::channel(false);
    let (_routes, routed) = watch::channel(None);
    let options = headgate_writer::Options {
        lease: "headgate".into(),
        namespace: Some(needs.own_namespace.clone()),
        replica: "a".into(),
        admin: None,
        times: headgate_writer::Times::default(),
        keys: LabelKeys::default(),
        controller: Controller::default(),
    };
    let rights = needs.rights();
    let create = rights
        .iter()
        .flat_map(Right::each)
        .find(|each| (each.verb, each.resource.as_str()) == CREATED_BY_PATCH);
    grant(&cluster, &rights, create.as_ref()).await;
    let sources = Sources {
        state: state_receiver,
        plans,
        policies: Some(policies),
        models,
        routed,
        shutting_down: ends,
    };
    let writer = Writer::start(&client, &options, sources);
    eventually(SOON, "the refusal", async || {
        let faults = writer.faults().watch().borrow().clone();
        let message = faults.get("configmaps").map(|fault| fault.message.clone());
        message
            .filter(|message| message.contains("cannot create resource \"configmaps\""))
            .ok_or(format!("{faults:?}"))
    })
    .await
    .unwrap();
    grant(&cluster, &rights, None).await;
    // It matches nothing, then something, then nothing again: one Event that occurs twice.
    let mut typo = policy("typo", 1);
    for (round, models) in ["lama", "", "lama"].into_iter().enumerate() {
        typo["spec"]["models"] = serde_json::json!([models]);
        if models.is_empty() {
            typo["spec"].as_object_mut().unwrap().remove("models");
            cluster.apply(deployment("v1", "one", 1)).await;
            source.carrier("deployment/v1", |_| true).await;
        }
        cluster.apply(typo.clone()).await;
        source
            .policy("typo", |p| {
                p.generation == i64::try_from(round).unwrap() + 1
            })
            .await;
        let events = "get events.events.k8s.io -o jsonpath={.items[*].note}";
        if round == 0 {
            eventually(SOON, "the Event", async || {
                let message = cluster.kubectl(events).await;
                message.contains("lama").then_some(()).ok_or(message)
            })
            .await
            .unwrap();
        }
    }
    let tags = serde_json::json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "TrafficTagPolicy",
        "metadata": {"name": "tags", "namespace": "default"}, "spec": {"tenantFrom": ["header:x-team"]},
    });
    cluster.apply(tags).await;
    let login = serde_json::json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "AuthenticationPolicy",
        "metadata": {"name": "login", "namespace": "default"},
        "spec": {"jwt": [{"issuer": "https://issuer.test", "jwks": {"uri": "https://issuer.test/keys"}}]},
    });
    cluster.apply(login).await;
    // A removed base is written again, and the object of an undeclared model is deleted.
    let kubectl = cluster.kube.kubectl();
    let base = "-o=jsonpath={.metadata.annotations.headgate\\.dev/base}";
    eventually(SOON, "the base to be written", async || {
        let base = kubectl.run(["get", "smdl", "llama", base]).await;
        let there = base.as_ref().is_ok_and(|base| base == "deployment/v1=one");
        there.then_some(()).ok_or(format!("{base:?}"))
    })
    .await
    .unwrap();
    cluster
        .kubectl("annotate servedmodel llama headgate.dev/base-")
        .await;
    abandoned(&cluster).await;
    let mut written = table(&rights, |right| !watched(right));
    let (verb, resource) = CREATED_BY_PATCH;
    assert!(written.remove(&format!("{verb} {resource}")));
    let by_now = |without: &str| {
        let used = used(&fault_proxy);
        let missing: Vec<&String> = written
            .difference(&used)
            .filter(|used| *used != without)
            .collect();
        missing
            .is_empty()
            .then_some(())
            .ok_or(format!("{missing:?}"))
    };
    eventually(SOON, "all to be written", async || {
        by_now("delete configmaps")
    })
    .await
    .unwrap();
    eventually(SOON, "nothing to be refused", async || {
        let faults = writer.faults().watch().borrow().clone();
        faults.is_empty().then_some(()).ok_or(format!("{faults:?}"))
    })
    .await
    .unwrap();
    writer.end().await;
    by_now("").unwrap();
    let all = table(&rights, |_| true);
    let more: Vec<String> = used(&fault_proxy).difference(&all).cloned().collect();
    assert!(more.is_empty(), "not in the table: {more:?}");
    control.abort();
}
