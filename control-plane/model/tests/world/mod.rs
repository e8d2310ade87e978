//! Builders of objects and plans for the tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    unreachable_pub
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use headgate_contract::{AnyPolicySpec, ModelId, PolicyKind, PolicySpec, Version, names};
use headgate_model::{
    Carrier, CarrierKey, LabelKeys, Objects, Plan, PlannedModel, Pod, Policy, PolicyId,
    PolicyOutcome, Registry, Scales, plan,
};

pub const MODEL: &str = "llama";

/// A deployment of model `llama` in `default`, with one ready pod. `name` also seeds its pods' addresses.
pub fn carrier(name: &str, version: &str) -> Carrier {
    let key = CarrierKey {
        namespace: "default".into(),
        kind: "deployment".into(),
        name: name.into(),
    };
    let labels = [(names::LABEL_MODEL, MODEL), (names::LABEL_VERSION, version)];
    Carrier {
        key,
        created: None,
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        annotations: BTreeMap::new(),
        desired: 1,
        owner_replicas: BTreeMap::new(),
        pods: Vec::new(),
        min_ready_seconds: 0,
        unready_reasons: Vec::new(),
        origin: format!("{name}.yaml"),
    }
    .ready(1)
}

pub trait Build {
    fn weight(self, label: &str) -> Self;
    fn created(self, seconds: i64) -> Self;
    fn ready(self, pods: u32) -> Self;
    fn unready(self, pods: u32) -> Self;
    fn rolling(self, version: &str, ready: u32) -> Self;
    fn desired(self, replicas: u32) -> Self;
    fn model(self, id: &str) -> Self;
    fn names(self, list: &str) -> Self;
    fn namespace(self, namespace: &str) -> Self;
    fn joins(self) -> Self;
    fn annotated(self, key: &str, value: &str) -> Self;
    fn label(self, key: &str, value: &str) -> Self;
}

impl Build for Carrier {
    fn weight(self, label: &str) -> Self {
        self.label(names::LABEL_WEIGHT, label)
    }
    fn created(mut self, seconds: i64) -> Self {
        // Steps of 100 s: carriers created within 10 s of each other have equal age.
        self.created = Some(seconds * 100);
        self
    }
    /// Exactly these many pods, all ready.
    fn ready(mut self, pods: u32) -> Self {
        self.pods = (0..pods)
            .map(|i| pod(&self.key.name, i, None, true))
            .collect();
        self
    }
    /// Exactly these many pods, none ready.
    fn unready(mut self, pods: u32) -> Self {
        self.pods = (0..pods)
            .map(|i| pod(&self.key.name, i, None, false))
            .collect();
        self
    }
    /// Further ready pods with a version of their own.
    fn rolling(mut self, version: &str, ready: u32) -> Self {
        let first = u32::try_from(self.pods.len()).unwrap();
        self.pods
            .extend((first..first + ready).map(|i| pod(&self.key.name, i, Some(version), true)));
        self
    }
    fn desired(mut self, replicas: u32) -> Self {
        self.desired = replicas;
        self
    }
    fn model(self, id: &str) -> Self {
        self.label(names::LABEL_MODEL, id)
    }
    fn names(self, list: &str) -> Self {
        self.annotated(names::ANNOTATION_MODEL_NAMES, list)
    }
    fn namespace(mut self, namespace: &str) -> Self {
        self.key.namespace = namespace.into();
        self
    }
    fn joins(self) -> Self {
        self.annotated(names::ANNOTATION_JOIN, "share")
    }
    fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }
    fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
}

fn pod(carrier: &str, i: u32, version: Option<&str>, ready: bool) -> Pod {
    let seed = carrier
        .bytes()
        .fold(7_u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    let [_, a, b, _] = seed.to_be_bytes();
    let address: SocketAddr = format!("10.{a}.{b}.{}:8000", i % 250 + 1).parse().unwrap();
    Pod {
        version: version.map(str::to_owned),
        ready,
        ..Pod::at(format!("{carrier}-{i}"), address)
    }
}

pub fn objects(carriers: impl IntoIterator<Item = Carrier>) -> Objects {
    Objects {
        carriers: carriers.into_iter().map(|c| (c.key.clone(), c)).collect(),
        ..Objects::default()
    }
}

pub fn planned(objects: &Objects) -> Plan {
    let registry = Registry::build(objects, &LabelKeys::default());
    plan(&registry, objects, &Scales::default())
}

/// The plan with root namespace `root`.
pub fn planned_under(root: &str, objects: &Objects) -> Plan {
    let registry = Registry::build(objects, &LabelKeys::default()).with_root_namespace(Some(root));
    plan(&registry, objects, &Scales::default())
}

/// The outcome of a policy.
pub fn outcome<'a>(
    plan: &'a Plan,
    kind: PolicyKind,
    namespace: &str,
    name: &str,
) -> &'a PolicyOutcome {
    let id = PolicyId {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    };
    &plan.policies[&id]
}

/// The plan of model `llama` in `default`.
pub fn llama(plan: &Plan) -> &PlannedModel {
    &plan.namespaces["default"].models[MODEL]
}

/// Shares by version, in percent.
pub fn percents(model: &PlannedModel) -> BTreeMap<String, f64> {
    let percent = |v: &headgate_model::PlannedVariant| f64::from(v.share) / 10_000.0;
    let variants = model.variants.iter();
    variants
        .map(|(v, planned)| (v.to_string(), percent(planned)))
        .collect()
}

pub fn reasons(plan: &Plan) -> Vec<&'static str> {
    plan.findings.iter().map(|f| f.reason).collect()
}

pub fn model_id(id: &str) -> ModelId {
    ModelId::try_from(id).unwrap()
}

pub fn version(v: &str) -> Version {
    Version::try_from(v).unwrap()
}

/// A policy in `default` with a spec of kind `S`.
pub fn policy<S: PolicySpec>(name: &str, created: Option<i64>, spec: &str) -> Policy {
    let spec: S = headgate_contract::parse_json(spec.as_bytes()).unwrap();
    Policy {
        namespace: "default".into(),
        name: name.into(),
        created,
        uid: String::new(),
        generation: 1,
        origin: format!("{name}.yaml"),
        spec: AnyPolicySpec::new(spec),
    }
}
