//! Plans → objects → steps, against an API server that stores what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headgate_contract::Version;
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, HostRules, LabelKeys, MeshPort, MeshService, ModelRecord,
    Objects, Plan, Pod, Registry, Scales, plan,
};
use serde_json::{Value, json};

use crate::desired::desired;
use crate::manifest::{IstioKind, manifest};
use crate::object::{Desired, ObjectKey};
use crate::options::Options;
use crate::steps::{Ages, DEFAULT_CONFIG_INTERVAL, Input, SETTLE, Steps, Write};
use crate::stored::{Stored, StoredObject};

const LINGER: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options {
        clients: [("istio-system".to_owned(), vec!["*".to_owned()])].into(),
        gateways: [("istio-system".to_owned(), vec!["*".to_owned()])].into(),
        client_labels: BTreeMap::new(),
        gateway_labels: BTreeMap::new(),
        hosts: HostRules {
            cluster_domain: Some("cluster.local".to_owned()),
            domains: [("models".to_owned(), vec!["ai.example.com".to_owned()])].into(),
        },
        xds: "headgate.headgate-system:18000".parse().unwrap(),
        module: Some("/var/lib/headgate/headgate-0123.wasm".to_owned()),
        max_body_bytes: 8 << 20,
        keys: LabelKeys::default(),
        controller: headgate_contract::names::DEFAULT_CONTROLLER_NAME.to_owned(),
    }
}

/// A Deployment of model `llama` with one pod behind these Services.
fn deployment(name: &str, version: &str, services: &[&str]) -> Carrier {
    let service = |name: &&str| MeshService {
        name: (*name).to_owned(),
        ports: vec![MeshPort {
            number: 80,
            target: 8000,
            http: true,
        }],
        headless: false,
        selects_all: true,
    };
    let address = format!("10.0.0.{}:8000", name.len());
    let address: std::net::SocketAddr = address.parse().unwrap();
    Carrier {
        key: CarrierKey {
            namespace: "models".to_owned(),
            kind: "deployment".to_owned(),
            name: name.to_owned(),
        },
        created: Some(i64::try_from(name.len()).unwrap() * 100),
        labels: [("model-name", "llama"), ("model-version", version)]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        annotations: BTreeMap::new(),
        desired: 1,
        owner_replicas: BTreeMap::new(),
        pods: vec![Pod::at(format!("{name}-0"), address)],
        min_ready_seconds: 0,
        unready_reasons: Vec::new(),
        mesh: CarrierMesh {
            selector: [("app".to_owned(), name.to_owned())].into(),
            labels_model: false,
            services: services.iter().map(service).collect(),
        },
        origin: format!("Deployment models/{name}"),
    }
}

/// The pods of a carrier have its version label.
fn labelled(mut carrier: Carrier) -> Carrier {
    let version = carrier.labels.get("model-version").cloned();
    carrier
        .pods
        .iter_mut()
        .for_each(|pod| pod.version.clone_from(&version));
    carrier
}

fn weighted(mut carrier: Carrier, weight: &str) -> Carrier {
    carrier
        .labels
        .insert("canary-weight".to_owned(), weight.to_owned());
    carrier
}

/// A cluster: the objects, what the API server has of Istio, and the writer.
#[derive(Default)]
struct World {
    objects: Objects,
    stored: Stored,
    ages: Ages,
    now: Duration,
    revision: u64,
}

impl World {
    fn with(carriers: impl IntoIterator<Item = Carrier>) -> Self {
        let mut world = Self::default();
        world.declare(carriers);
        world
    }

    fn declare(&mut self, carriers: impl IntoIterator<Item = Carrier>) {
        self.objects.carriers = carriers.into_iter().map(|c| (c.key.clone(), c)).collect();
    }

    fn plan(&self) -> Plan {
        let registry = Registry::build(&self.objects, &LabelKeys::default());
        let registry = registry.in_mesh(options().hosts, true);
        plan(&registry, &self.objects, &Scales::default())
    }

    fn desired(&self) -> Desired {
        desired(
            &self.plan(),
            &self.objects,
            &self.stored.gateways,
            &options(),
        )
    }

    /// Decides once, and stores the routed versions as the status of the `ServedModel`.
    fn decide(&mut self) -> Steps {
        let desired = self.desired();
        let steps = self.ages.steps(&Input {
            desired: &desired,
            stored: &self.stored,
            objects: &self.objects,
            options: &options(),
            linger: LINGER,
            now: self.now,
        });
        for (model, routed) in &steps.routed {
            let record = self.objects.served_models.entry(model.clone()).or_default();
            *record = ModelRecord {
                routed: routed.clone(),
                ..record.clone()
            };
        }
        steps
    }

    fn store(&mut self, write: Write) {
        self.revision += 1;
        match write {
            Write::Apply(kind, key, spec) => {
                let mut object = manifest(kind, &key, &spec, &options());
                object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
                let object = StoredObject::read(&object).unwrap();
                self.stored.objects.insert((kind, key), object);
            }
            Write::Delete(kind, key, _) => {
                self.stored.objects.remove(&(kind, key)).unwrap();
            }
        }
    }

    /// Decides and writes until nothing is due, and returns the kinds and names of the writes.
    fn settle(&mut self) -> Vec<String> {
        let mut writes = Vec::new();
        for _ in 0..10 {
            let steps = self.decide();
            if steps.writes.is_empty() {
                return writes;
            }
            for write in steps.writes {
                writes.push(match &write {
                    Write::Apply(kind, key, _) => format!("apply {} {key}", kind.as_str()),
                    Write::Delete(kind, key, _) => format!("delete {} {key}", kind.as_str()),
                });
                self.store(write);
            }
        }
        panic!("writes without end: {writes:?}");
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Writes and waits until every version is routed.
    fn route_all(&mut self) {
        for _ in 0..4 {
            self.settle();
            self.pass(SETTLE);
        }
        self.settle();
    }

    fn routed(&mut self) -> Vec<String> {
        let steps = self.decide();
        let versions = steps.routed.values().flatten();
        versions.map(Version::to_string).collect()
    }

    /// The routes in the stored objects, each with its cluster.
    fn routes(&self) -> BTreeSet<String> {
        let filters = self.stored.of(IstioKind::EnvoyFilter);
        let routes = filters.flat_map(|(_, filter)| filter.routes());
        routes
            .map(|((_, name), patch)| {
                let cluster = patch.pointer("/patch/value/route/cluster").unwrap();
                format!("{name} {}", cluster.as_str().unwrap())
            })
            .collect()
    }

    fn subsets(&self) -> BTreeSet<String> {
        let rules = self.stored.of(IstioKind::DestinationRule);
        rules
            .flat_map(|(_, rule)| rule.subsets().into_keys())
            .collect()
    }
}

fn two_versions() -> World {
    World::with([
        deployment("v1", "v1", &["llama"]),
        weighted(deployment("v2-x", "v2.0", &["llama"]), "20"),
    ])
}

#[test]
fn the_objects_of_one_service_with_two_versions() {
    let world = two_versions();
    let manifests = world.desired().manifests(&options());
    insta::assert_snapshot!(serde_json::to_string_pretty(&manifests).unwrap());
}

#[test]
fn the_objects_of_proxies_select_the_pods_with_the_labels_of_the_options() {
    let label = |value: &str| [("headgate.dev/proxy".to_owned(), value.to_owned())].into();
    let chosen = Options {
        client_labels: label("client"),
        gateway_labels: label("gateway"),
        ..options()
    };
    let mut seen = BTreeSet::new();
    for manifest in two_versions().desired().manifests(&chosen) {
        let context = manifest.pointer("/spec/configPatches/0/match/context");
        let selected = manifest.pointer("/spec/workloadSelector/labels");
        let expected = context.and_then(Value::as_str).map(|context| {
            seen.insert(context.to_owned());
            match context {
                "GATEWAY" => json!({ "headgate.dev/proxy": "gateway" }),
                _ => json!({ "headgate.dev/proxy": "client" }),
            }
        });
        assert_eq!(selected, expected.as_ref(), "{manifest:#}");
    }
    let both = ["GATEWAY".to_owned(), "SIDECAR_OUTBOUND".to_owned()];
    assert_eq!(seen, both.into());
}

#[test]
fn a_weight_changes_no_object() {
    let mut world = two_versions();
    let before = world.desired();
    for weight in ["0", "50", "100"] {
        world.declare([
            deployment("v1", "v1", &["llama"]),
            weighted(deployment("v2-x", "v2.0", &["llama"]), weight),
        ]);
        let now = world.desired();
        assert_eq!(now.rules, before.rules, "{weight}");
        assert_eq!(now.routes, before.routes, "{weight}");
    }
}

#[test]
fn subsets_come_before_routes_and_a_version_is_routed_once_its_route_has_settled() {
    let mut world = two_versions();
    let first = world.settle();
    assert!(
        first
            .iter()
            .any(|write| write.starts_with("apply DestinationRule models/headgate-llama")),
        "{first:?}"
    );
    assert!(
        world.routes().is_empty(),
        "a route before its subset has settled"
    );
    world.pass(SETTLE - Duration::from_millis(1));
    assert_eq!(world.settle(), Vec::<String>::new());
    world.pass(Duration::from_millis(1));
    let second = world.settle();
    assert!(
        second.iter().all(|write| write.contains("EnvoyFilter")),
        "{second:?}"
    );
    assert!(
        world.routed().is_empty(),
        "a version is routed before its route has settled"
    );
    world.pass(SETTLE);
    assert_eq!(world.routed(), ["v1", "v2.0"]);
    assert!(
        world.plan().namespaces["models"].models["llama"]
            .in_mesh
            .is_none()
    );
}

#[test]
fn the_plan_of_the_mesh_has_a_version_only_once_it_is_routed() {
    let mut world = World::with([deployment("v1", "v1", &["llama"])]);
    world.route_all();
    assert_eq!(world.routed(), ["v1"]);
    world.declare([
        deployment("v1", "v1", &["llama"]),
        weighted(deployment("v2-x", "v2.0", &["llama"]), "20"),
    ]);
    let plan = world.plan();
    let model = &plan.namespaces["models"].models["llama"];
    assert_eq!(model.plan_for(true).canaries.len(), 0);
    assert_eq!(model.plan_for(false).canaries.len(), 1);
    let waiting: Vec<_> = model
        .waiting_for_routes()
        .unwrap()
        .iter()
        .map(Version::to_string)
        .collect();
    assert_eq!(waiting, ["v2.0"]);
    world.route_all();
    assert_eq!(
        world.plan().namespaces["models"].models["llama"]
            .plan_for(true)
            .canaries
            .len(),
        1
    );
}

#[test]
fn a_removed_version_keeps_its_route_for_the_linger_time_and_its_subset_for_longer() {
    let mut world = two_versions();
    world.route_all();
    world.declare([deployment("v1", "v1", &["llama"])]);
    let removed_at = world.now;
    world.settle();
    assert_eq!(world.routed(), ["v1"], "it leaves the list at once");
    let (both, old) = (world.routes(), world.subsets());
    assert_eq!((both.len(), old.len()), (2, 2));
    world.now = removed_at + LINGER - Duration::from_millis(1);
    world.settle();
    assert_eq!(world.routes(), both);
    world.now = removed_at + LINGER;
    world.settle();
    assert_eq!(world.routes().len(), 1);
    assert_eq!(
        world.subsets(),
        old,
        "a proxy may not have the new routes yet"
    );
    world.pass(SETTLE);
    world.settle();
    assert_eq!(world.subsets().len(), 1);
}

#[test]
fn a_removed_service_leaves_no_object_behind() {
    let mut world = two_versions();
    world.route_all();
    world.declare([]);
    for _ in 0..4 {
        world.settle();
        world.pass(LINGER);
    }
    world.settle();
    assert!(
        world.stored.objects.is_empty(),
        "{:?}",
        world.stored.objects.keys()
    );
}

#[test]
fn a_new_service_in_front_of_a_routed_version_does_not_take_its_sessions_away() {
    let mut world = two_versions();
    world.route_all();
    world.declare([
        deployment("v1", "v1", &["llama", "other"]),
        weighted(deployment("v2-x", "v2.0", &["llama", "other"]), "20"),
    ]);
    for _ in 0..6 {
        assert_eq!(world.routed(), ["v1", "v2.0"]);
        world.settle();
        world.pass(SETTLE / 2);
    }
    assert_eq!(world.subsets().len(), 2);
    let hosts = world
        .routes()
        .iter()
        .filter(|route| route.contains("other.models"))
        .count();
    assert_eq!(hosts, 2, "{:?}", world.routes());
}

#[test]
fn pods_with_the_version_label_are_selected_by_it_and_others_by_the_selector_of_their_workload() {
    let world = World::with([
        labelled(deployment("v1", "v1", &["llama"])),
        deployment("v2-x", "v2.0", &["llama"]),
    ]);
    let desired = world.desired();
    let rule = desired.rules.values().next().unwrap();
    let labels: Vec<(&str, String)> = rule
        .subsets
        .iter()
        .map(|(name, labels)| (name.as_str(), format!("{labels:?}")))
        .collect();
    let v2 = headgate_contract::names::subset("v2.0");
    assert_eq!(
        labels,
        [
            ("v1", r#"{"model-version": "v1"}"#.to_owned()),
            (v2.as_str(), r#"{"app": "v2-x"}"#.to_owned()),
        ]
    );
}

#[test]
fn versions_behind_services_of_their_own_are_routed_to_those() {
    let mut carrier = deployment("predictor", "v1", &["predictor"]);
    carrier.key.kind = "service".to_owned();
    let mut canary = deployment("predictor-v2", "v2", &["predictor-v2"]);
    canary.key.kind = "service".to_owned();
    let mut world = World::with([carrier, weighted(canary, "10")]);
    world.route_all();
    let routes = world.routes();
    assert!(world.subsets().is_empty());
    assert_eq!(
        routes.into_iter().collect::<Vec<_>>(),
        [
            "headgate/llama/v1 outbound|80||predictor.models.svc.cluster.local",
            "headgate/llama/v2 outbound|80||predictor-v2.models.svc.cluster.local",
        ]
    );
    assert_eq!(world.routed(), ["v1", "v2"]);
}

#[test]
fn a_version_that_no_service_can_reach_is_a_finding_and_is_never_routed() {
    let alone = deployment("v2-x", "v2.0", &[]);
    let mut missed = deployment("v2-x", "v2.0", &["llama"]);
    missed.mesh.services[0].selects_all = false;
    let mut headless = deployment("v2-x", "v2.0", &["llama"]);
    headless.mesh.services[0].headless = true;
    let mut tcp = deployment("v2-x", "v2.0", &["llama"]);
    tcp.mesh.services[0].ports[0].http = false;
    let mut unlabelled = deployment("v2-x", "v2.0", &["llama"]);
    unlabelled.mesh.selector.clear();
    for (canary, why) in [
        (alone, "no Service selects its pods"),
        (missed, "selects only a part"),
        (headless, "headless"),
        (tcp, "port 80"),
        (unlabelled, "no labels of their own"),
    ] {
        let mut world = World::with([deployment("v1", "v1", &["llama"]), weighted(canary, "20")]);
        let findings = world.desired().findings;
        let messages: Vec<&str> = findings.iter().map(|f| f.message.as_str()).collect();
        assert!(
            matches!(messages[..], [one] if one.contains(why)),
            "{why}: {messages:?}"
        );
        world.route_all();
        assert_eq!(world.routed(), ["v1"], "{why}");
    }
}

#[test]
fn models_behind_one_service_have_subsets_that_tell_them_apart() {
    let mut phi = labelled(deployment("phi-1", "v1", &["shared"]));
    phi.labels.insert("model-name".to_owned(), "phi".to_owned());
    let mut llama = labelled(deployment("llama", "v1", &["shared"]));
    (phi.mesh.labels_model, llama.mesh.labels_model) = (true, true);
    let world = World::with([phi, llama]);
    let desired = world.desired();
    let subsets = &desired.rules.values().next().unwrap().subsets;
    let models: Vec<_> = subsets
        .values()
        .map(|labels| labels["model-name"].clone())
        .collect();
    assert_eq!(subsets.len(), 2);
    assert_eq!(
        models.into_iter().collect::<BTreeSet<_>>(),
        ["llama".to_owned(), "phi".to_owned()].into()
    );
}

#[test]
fn an_object_of_another_person_is_never_written() {
    let mut world = two_versions();
    let key = ObjectKey {
        namespace: "models".to_owned(),
        name: "headgate-llama".to_owned(),
    };
    world
        .stored
        .foreign
        .insert((IstioKind::DestinationRule, key.clone()));
    let steps = world.decide();
    assert!(
        steps
            .taken
            .contains(&(IstioKind::DestinationRule, key.clone()))
    );
    let touches = |write: &Write| matches!(write, Write::Apply(_, of, _) | Write::Delete(_, of, _) if *of == key);
    assert!(!steps.writes.iter().any(touches));
}

#[test]
fn a_default_configuration_changes_at_most_once_in_five_minutes() {
    let mut world = two_versions();
    world.route_all();
    world.pass(DEFAULT_CONFIG_INTERVAL);
    let rename = |world: &mut World, names: &str| {
        let mut base = deployment("v1", "v1", &["llama"]);
        base.annotations
            .insert("headgate.dev/model-names".to_owned(), names.to_owned());
        world.declare([base, weighted(deployment("v2-x", "v2.0", &["llama"]), "20")]);
    };
    rename(&mut world, "a");
    assert_eq!(
        world.settle().len(),
        2,
        "one for sidecars, one for gateways"
    );
    rename(&mut world, "b");
    assert_eq!(world.settle(), Vec::<String>::new());
    let next = world.decide().next.unwrap();
    world.now = next;
    assert_eq!(world.settle().len(), 2);
}

#[test]
fn the_first_version_of_a_model_is_in_the_default_configuration_at_once() {
    // Without a pod there is no version.
    let mut starting = deployment("v1", "v1", &["llama"]);
    starting.pods.clear();
    let mut world = World::with([starting]);
    world.settle();
    let insertions = |world: &World| -> String {
        let filters = world.stored.of(IstioKind::EnvoyFilter);
        let named = filters.filter(|(key, _)| !key.name.contains("routes"));
        named.map(|(_, filter)| filter.spec.to_string()).collect()
    };
    let version = r#"\"version\":\"v1\""#;
    assert!(!insertions(&world).contains(version));
    world.declare([deployment("v1", "v1", &["llama"])]);
    world.settle();
    assert!(insertions(&world).contains(version));
}

#[test]
fn the_default_configuration_has_the_base_alone() {
    let world = two_versions();
    let desired = world.desired();
    let config = &desired.insertions.values().next().unwrap().default_config;
    let model: Value = serde_json::to_value(&config.namespaces["models"].models["llama"]).unwrap();
    assert_eq!(
        model["base"][0]["versions"],
        json!([{ "version": "v1", "endpoints": 1 }])
    );
    assert!(model.get("canaries").is_none() && model.get("dark").is_none());
}
