use std::sync::Arc;
use std::time::SystemTime;

use headgate_contract::{AnyPolicySpec, TokenBucketPolicySpec};
use headgate_model::{
    Carrier, CarrierMesh, LabelKeys, Objects, Pod, Policy, Registry, Scales, plan,
};
use headgate_translate::{Code, Options};
use headgate_xds::fleet::{Progress, StreamId};
use headgate_xds::session::{Acked, KindStatus, Nacked, Protocol};
use headgate_xds::{Origin, Peer, Resource, Snapshot, SnapshotProvider};
use tokio::sync::watch;

use super::*;
use crate::scopes::ScopeRules;
use crate::snapshots::SnapshotStore;

/// A store with the scope of one proxy, its plan and its snapshots.
struct Fixture {
    scopes: SnapshotStore,
    scope: Scope,
    plan: Arc<Plan>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
}

fn key(name: &str) -> CarrierKey {
    CarrierKey {
        namespace: "default".to_owned(),
        kind: "deployment".to_owned(),
        name: name.to_owned(),
    }
}

/// Carriers named `model-version`, some with a weight.
fn objects(carriers: &[(&str, &str, Option<&str>)]) -> Objects {
    let mut objects = Objects::default();
    for (created, (model, version, weight)) in carriers.iter().enumerate() {
        let key = key(&format!("{model}-{version}"));
        let labels = [("model-name", *model), ("model-version", *version)];
        let labels = labels
            .into_iter()
            .chain(weight.map(|w| ("canary-weight", w)));
        let carrier = Carrier {
            key: key.clone(),
            created: i64::try_from(created).ok(),
            labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            annotations: BTreeMap::new(),
            desired: 1,
            owner_replicas: BTreeMap::new(),
            pods: vec![Pod::at(
                key.name.clone(),
                std::net::SocketAddr::from(([127, 0, 0, 1], 9)),
            )],
            min_ready_seconds: 0,
            unready_reasons: Vec::new(),
            mesh: CarrierMesh::default(),
            origin: String::new(),
        };
        objects.carriers.insert(key, carrier);
    }
    objects
}

fn with_policy(mut objects: Objects, name: &str, capacity: u32) -> Objects {
    let spec = serde_json::json!({"buckets": [{
        "name": "fair", "key": ["tenant"], "profile": "tokens",
        "tokens": {"capacity": capacity, "refillPerSecond": 10},
    }]});
    let spec: TokenBucketPolicySpec = serde_json::from_value(spec).unwrap();
    objects.insert_policy(Policy {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        created: Some(7),
        generation: i64::from(capacity),
        origin: String::new(),
        spec: AnyPolicySpec::new(spec),
    });
    objects
}

fn module(name: &str) -> Code {
    Code::File(format!("/{name}.wasm"))
}

impl Fixture {
    fn new(objects: &Objects) -> Self {
        let listen = "127.0.0.1:10000".parse().unwrap();
        let rules = ScopeRules::loopback(vec!["default".to_owned()], listen);
        let domains = [("default".to_owned(), vec!["*".to_owned()])];
        let scopes = SnapshotStore::new(rules, Options::new(module("one"), domains));
        let scope = scopes.scope(&Peer::default()).unwrap();
        let snapshots = scopes.snapshots(&Peer::default()).unwrap();
        let mut fixture = Self {
            scopes,
            scope,
            plan: Arc::default(),
            snapshots,
        };
        fixture.publish(objects, "one");
        fixture
    }

    fn publish(&mut self, objects: &Objects, code: &str) {
        let registry = Registry::build(objects, &LabelKeys::default());
        self.plan = Arc::new(plan(&registry, objects, &Scales::default()));
        self.scopes.publish(self.plan.clone(), &module(code));
    }

    /// A resource that proxies should run.
    fn resource(&self, kind: Kind, name: &str) -> Arc<Resource> {
        let snapshot = self.snapshots.borrow().clone().unwrap();
        snapshot.get(kind, name).unwrap().clone()
    }

    /// A proxy that runs this version of a resource and rejects the one that it should run.
    fn rejects(&self, kind: Kind, name: &str, running: Option<&Resource>) -> Proxy {
        let rejected = self.resource(kind, name);
        let nacked = Nacked {
            version: rejected.version().into(),
            message: "no".to_owned(),
            origin: rejected.origin().clone(),
            running: running.map(|running| running.origin().clone()),
            ..Nacked::default()
        };
        let acked = running.map(|running| Acked {
            wanted: rejected.version().into(),
            acked: running.version().into(),
            origin: running.origin().clone(),
        });
        let status = KindStatus {
            nacked: [(name.into(), nacked)].into(),
            resources: acked
                .into_iter()
                .map(|acked| (name.into(), acked))
                .collect(),
            ..KindStatus::default()
        };
        let progress = Progress {
            status,
            ..Progress::default()
        };
        Proxy {
            stream: StreamId(1),
            peer: Arc::default(),
            scope: self.scope.clone(),
            protocol: Protocol::Delta,
            only: None,
            since: SystemTime::UNIX_EPOCH,
            kinds: [(kind, progress)].into_iter().collect(),
        }
    }

    /// Object and first words of each refusal.
    fn refusals(&self, proxy: &Proxy) -> Vec<(String, String)> {
        let all = rejections(&self.plan, std::slice::from_ref(proxy));
        let summary = |refusal: Refusal| {
            let words = refusal.message.split(": ").next().unwrap_or_default();
            (refusal.object.to_string(), words.to_owned())
        };
        all.into_iter().map(summary).collect()
    }
}

fn refusal(object: &str, words: &str) -> Vec<(String, String)> {
    vec![(object.to_owned(), format!("a proxy refuses the {words}"))]
}

const LLAMA: (&str, &str, Option<&str>) = ("llama", "one", None);
const ROUTES: (Kind, &str) = (Kind::Route, "ai-model-route");
const FILTERS: (Kind, &str) = (Kind::Extension, "headgate");

#[test]
fn the_origin_of_a_cluster_is_the_carrier_of_its_version() {
    let fixture = Fixture::new(&objects(&[LLAMA, ("llama", "v2.1", Some("10"))]));
    for (kind, name, object, what) in [
        (
            Kind::Cluster,
            "model/default/llama/v2.1",
            "llama-v2.1",
            "cluster",
        ),
        (
            Kind::Endpoints,
            "model/default/llama/v2.1",
            "llama-v2.1",
            "endpoints",
        ),
        (Kind::Cluster, "model/default/llama", "llama-one", "cluster"),
    ] {
        assert_eq!(
            fixture.refusals(&fixture.rejects(kind, name, None)),
            refusal(
                &format!("deployment default/{object}"),
                &format!("{what} {name} made of it, and keeps what it has")
            )
        );
    }
    // The object is removed meanwhile.
    let mut gone = fixture.rejects(Kind::Cluster, "model/default/llama", None);
    let status = &mut gone.kinds.get_mut(&Kind::Cluster).unwrap().status;
    let nacked = status.nacked.pop_first().unwrap().1;
    let unknown = Nacked {
        origin: Origin::default(),
        ..nacked
    };
    status.nacked.insert("model/red/llama".into(), unknown);
    assert_eq!(fixture.refusals(&gone), []);
}

#[test]
fn the_origins_of_routes_are_added_or_removed_carriers_and_not_weights() {
    let (kind, name) = ROUTES;
    let mut fixture = Fixture::new(&objects(&[LLAMA, ("phi", "one", None)]));
    let first = fixture.resource(kind, name);
    let words = "routes ai-model-route made of it, and keeps what it has";
    fixture.publish(
        &objects(&[
            LLAMA,
            ("phi", "one", Some("100")),
            ("llama", "two", Some("5")),
        ]),
        "one",
    );
    let second = fixture.resource(kind, name);
    assert_eq!(
        fixture.refusals(&fixture.rejects(kind, name, Some(&first))),
        refusal("deployment default/llama-two", words)
    );
    fixture.publish(&objects(&[LLAMA, ("phi", "one", None)]), "one");
    assert_eq!(
        fixture.refusals(&fixture.rejects(kind, name, Some(&second))),
        refusal("deployment default/llama-one", words)
    );
    // The proxy runs none, so every object is new.
    assert_eq!(
        fixture.refusals(&fixture.rejects(kind, name, None)),
        refusal("the control plane", "routes ai-model-route, and has none")
    );
}

#[test]
fn the_origins_of_filters_are_the_changed_policies_or_else_the_changed_models() {
    let (kind, name) = FILTERS;
    let words = "filter configuration headgate made of it, and keeps what it has";
    let ten = objects(&[LLAMA, ("llama", "two", Some("10"))]);
    let mut fixture = Fixture::new(&with_policy(ten.clone(), "fair", 1));
    let first = fixture.resource(kind, name);
    fixture.publish(&with_policy(ten, "fair", 2), "one");
    let second = fixture.resource(kind, name);
    assert_eq!(
        fixture.refusals(&fixture.rejects(kind, name, Some(&first))),
        refusal("TokenBucketPolicy default/fair", words)
    );
    let half = objects(&[LLAMA, ("llama", "two", Some("50"))]);
    let half = with_policy(half, "fair", 2);
    fixture.publish(&half, "one");
    let third = fixture.resource(kind, name);
    assert_eq!(
        fixture.refusals(&fixture.rejects(kind, name, Some(&second))),
        refusal("deployment default/llama-one", words)
    );
    // No object causes another module; nor does one cause the first configuration of a proxy.
    fixture.publish(&half, "two");
    let words = "filter configuration headgate, and";
    assert_eq!(
        fixture.refusals(&fixture.rejects(kind, name, Some(&third))),
        refusal("the control plane", &format!("{words} keeps what it has"))
    );
    assert_eq!(
        fixture.refusals(&fixture.rejects(kind, name, None)),
        refusal("the control plane", &format!("{words} has none"))
    );
}

#[test]
fn a_listener_has_no_object_as_its_origin() {
    let fixture = Fixture::new(&objects(&[LLAMA]));
    assert_eq!(
        fixture.refusals(&fixture.rejects(Kind::Listener, "headgate", None)),
        refusal("the control plane", "listener headgate, and has none")
    );
}

#[test]
fn equal_rejections_of_many_proxies_are_examined_once() {
    let (kind, name) = FILTERS;
    let mut fixture = Fixture::new(&objects(&[LLAMA]));
    let first = fixture.resource(kind, name);
    fixture.publish(&objects(&[LLAMA, ("phi", "one", None)]), "one");
    let mut proxies: Vec<Proxy> = (0..1000)
        .map(|n| Proxy {
            stream: StreamId(n),
            ..fixture.rejects(kind, name, Some(&first))
        })
        .collect();
    proxies[7] = fixture.rejects(kind, name, None);
    let grouped = grouped(&proxies);
    assert_eq!(grouped.len(), 2);
    assert_eq!(rejections(&fixture.plan, &proxies).len(), 2);
}

#[test]
fn a_scope_is_kept_for_a_proxy_that_is_about_to_subscribe() {
    let llama_only = objects(&[("llama", "one", None)]);
    let mut fixture = Fixture::new(&llama_only);
    // The only proxy disconnects. The server admits another one, and a plan is published before that one subscribes.
    fixture.snapshots = watch::channel(None).1;
    let peer = Peer::default();
    fixture.scopes.scope(&peer).unwrap();
    fixture.publish(&llama_only, "one");
    let snapshots = fixture.scopes.snapshots(&peer).unwrap();
    assert!(snapshots.borrow().is_some());
    // Without a proxy the scope is removed.
    drop(snapshots);
    fixture.publish(&llama_only, "one");
    assert!(fixture.scopes.view().is_empty());
}
