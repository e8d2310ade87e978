//! Plans → objects → steps, against an API server that stores what is written.

mod conflicts;
mod default_config;
mod gateway_hosts;
mod inbound;
mod istiod_rules;
mod objects;
mod steps;
mod targets;
mod virtual_services;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headgate_contract::{ModelId, Version};
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, HostRules, LabelKeys, MeshPort, MeshService, ModelKey,
    ModelRecord, Objects, Plan, Pod, Registry, Scales, plan,
};
use serde_json::{Value, json};

use crate::desired::desired;
use crate::manifest::{IstioKind, manifest};
use crate::object::{Desired, ObjectKey};
use crate::options::Options;
use crate::steps::{Ages, DEFAULT_CONFIG_INTERVAL, Input, LONGEST_LINGER, SETTLE, Steps, Write};
use crate::stored::{Stored, StoredObject};

const LINGER: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options {
        clients: [("istio-system".to_owned(), vec!["*".to_owned()])].into(),
        gateways: [("istio-system".to_owned(), vec!["*".to_owned()])].into(),
        root_namespace: "istio-system".to_owned(),
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
            pods: BTreeSet::new(),
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
    unacknowledged: BTreeSet<ModelKey>,
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
            unacknowledged: &self.unacknowledged,
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
