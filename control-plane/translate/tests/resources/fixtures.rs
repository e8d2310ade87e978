//! Small plans for the snapshots.

use std::collections::BTreeMap;

use headgate_contract::{AnyPolicySpec, PolicySpec, names};
use headgate_model::{
    Address, Carrier, CarrierKey, CarrierMesh, LabelKeys, Objects, Pod, Policy, Registry, Scales,
    plan,
};
use headgate_translate::{Code, Options, ScopeSpec, snapshot};
use headgate_xds::Snapshot;

/// A carrier of model `llama` in `default`, with one ready pod at each of these addresses.
pub(crate) fn carrier(version: &str, endpoints: &[&str]) -> Carrier {
    let labels = [
        (names::LABEL_MODEL, "llama"),
        (names::LABEL_VERSION, version),
    ];
    let endpoint = |address: &&str| {
        let parsed: Address = address.parse().unwrap();
        Pod::at(*address, parsed)
    };
    Carrier {
        key: CarrierKey {
            namespace: "default".to_owned(),
            kind: "deployment".to_owned(),
            name: format!("llama-{version}"),
        },
        created: None,
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        annotations: BTreeMap::new(),
        desired: 1,
        owner_replicas: BTreeMap::new(),
        pods: endpoints.iter().map(endpoint).collect(),
        min_ready_seconds: 0,
        unready_reasons: Vec::new(),
        mesh: CarrierMesh::default(),
        origin: String::new(),
    }
}

/// The carrier with this weight label.
pub(crate) fn weighted(mut carrier: Carrier, weight: &str) -> Carrier {
    let label = names::LABEL_WEIGHT.to_owned();
    carrier.labels.insert(label, weight.to_owned());
    carrier
}

/// The carrier with this annotation.
pub(crate) fn annotated(mut carrier: Carrier, annotation: &str, value: &str) -> Carrier {
    let annotation = annotation.to_owned();
    carrier.annotations.insert(annotation, value.to_owned());
    carrier
}

/// The carrier with unready pods.
pub(crate) fn unready(mut carrier: Carrier) -> Carrier {
    carrier.pods.iter_mut().for_each(|pod| pod.ready = false);
    carrier
}

/// The carrier, created at this second.
pub(crate) fn created(mut carrier: Carrier, seconds: i64) -> Carrier {
    carrier.created = Some(seconds);
    carrier
}

/// A policy in `default` with a spec of kind `S`.
pub(crate) fn policy<S: PolicySpec>(name: &str, spec: serde_json::Value) -> Policy {
    let spec: S = serde_json::from_value(spec).unwrap();
    Policy {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        created: None,
        generation: 1,
        origin: String::new(),
        spec: AnyPolicySpec::new(spec),
    }
}

/// The objects with these carriers.
pub(crate) fn objects<const N: usize>(carriers: [Carrier; N]) -> Objects {
    Objects {
        carriers: carriers.map(|c| (c.key.clone(), c)).into(),
        ..Objects::default()
    }
}

/// The snapshot for a proxy of namespace `default`.
pub(crate) fn translated(objects: &Objects) -> Snapshot {
    let registry = Registry::build(objects, &LabelKeys::default());
    let plan = plan(&registry, objects, &Scales::default());
    let module = Code::File("/modules/headgate-0123.wasm".to_owned());
    let domains = [("default".to_owned(), vec!["*".to_owned()])];
    let options = Options {
        access_log: Some("/dev/stdout".to_owned()),
        ..Options::new(module, domains)
    };
    let scope = ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec!["default".to_owned()],
        listen: "127.0.0.1:10000".parse().unwrap(),
        asks_over_quic: true,
    };
    let translated = snapshot(&plan, &scope, &options).unwrap();
    assert!(translated.rejected.is_empty(), "{:?}", translated.rejected);
    translated.snapshot
}
