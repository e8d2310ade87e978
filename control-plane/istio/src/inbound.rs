//! The filter in the sidecars of model servers, where a policy is charged there (`at: inbound`).
//!
//! Model servers are selected as their carriers select them, so no pod needs a label for it. Their sidecars may lack the file of the
//! module, and a listener whose default configuration names a missing file is refused: a new pod would get no request at all. So the filter
//! does nothing until the control plane sends it, which a sidecar may refuse without harm. Pods with the labels of clients have the file;
//! they get a second object, which replaces the filter of the first one and also limits while the control plane is away.
//!
//! Invariant: a pod that two objects select has the filter once.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ChargeAt, ModelId, NamespaceConfig, names};
use headgate_model::ports::PortSource;
use headgate_model::{Carrier, CarrierKey, Labels, Objects, Plan};

use crate::default_config::default_config;
use crate::findings::not_charged;
use crate::object::{Context, Desired, Insertion, Module, ObjectKey};
use crate::options::Options;

/// Adds the filter to the model servers of a namespace, if a policy needs it there.
pub(crate) fn add_inbound(
    desired: &mut Desired,
    namespace: &str,
    plan: &Plan,
    objects: &Objects,
    options: &Options,
) {
    let Some(planned) = plan.namespaces.get(namespace) else {
        return;
    };
    if !charges_inbound(&planned.config) {
        return;
    }
    let config = default_config(plan, [namespace], Context::SidecarInbound, options);
    let mut servers: BTreeMap<&CarrierKey, &ModelId> = BTreeMap::new();
    for (id, model) in &planned.models {
        let variants = model.variants.values();
        servers.extend(variants.flat_map(|variant| variant.carriers.iter().map(|key| (key, id))));
    }
    for (key, id) in servers {
        let Some(carrier) = objects.carriers.get(key) else {
            continue;
        };
        // These servers are outside of the mesh.
        if is_external(carrier) {
            continue;
        }
        let Some(pods) = labels_of(carrier, options) else {
            desired.findings.push(not_charged(namespace, id, key));
            continue;
        };
        for port in ports(carrier) {
            let server = names::subset(&format!("{}.{}", key.kind, key.name));
            let mut insert = |name: &str, pods: &Labels, module| {
                let object = ObjectKey {
                    namespace: namespace.to_owned(),
                    name: format!("headgate-{name}.{port}.{server}"),
                };
                let insertion = Insertion {
                    context: Context::SidecarInbound,
                    port: Some(port),
                    pods: Some(pods.clone()),
                    module,
                    default_config: config.clone(),
                };
                desired.insertions.insert(object, insertion);
            };
            insert("inbound", &pods, Module::MayLack);
            if options.module.is_some() && !options.client_labels.is_empty() {
                let mut pods = pods.clone();
                pods.extend(options.client_labels.clone());
                insert("inbound-file", &pods, Module::InFile);
            }
        }
    }
}

/// The labels that select the pods of a carrier: its own selector, else the model label if all of them have it.
fn labels_of(carrier: &Carrier, options: &Options) -> Option<Labels> {
    let mesh = &carrier.mesh;
    if !mesh.selector.is_empty() {
        return Some(mesh.selector.clone());
    }
    let key = &options.keys.model;
    let model = carrier.labels.get(key).filter(|_| mesh.labels_model)?;
    Some([(key.clone(), model.clone())].into())
}

/// The ports on which the pods of a carrier serve.
fn ports(carrier: &Carrier) -> BTreeSet<u16> {
    let pods = carrier.pods.iter().map(|pod| pod.address.port());
    let services = carrier.mesh.services.iter();
    let targets = services.flat_map(|service| service.ports.iter().map(|port| port.target));
    pods.chain(targets).collect()
}

/// Whether an annotation declares all endpoints of a carrier.
fn is_external(carrier: &Carrier) -> bool {
    let mut sources = carrier.pods.iter().map(|pod| &pod.port_source);
    carrier.mesh.services.is_empty()
        && !carrier.pods.is_empty()
        && sources.all(|source| *source == PortSource::Annotation)
}

/// Whether a policy of the namespace is charged by the sidecars of model servers.
fn charges_inbound(config: &NamespaceConfig) -> bool {
    let mut rules = config.buckets.iter();
    rules.any(|rule| rule.at == ChargeAt::Inbound)
}
