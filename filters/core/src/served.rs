//! The version that served an answer, by what the proxy knows about the endpoint.
//!
//! Endpoints of Headgate's own clusters name their version. In an Istio mesh, endpoints name their workload and clusters their
//! subset, and a pod that receives a request knows its own labels.

use std::cell::OnceCell;
use std::rc::Rc;

use headgate_contract::{ModelPlan, names};

use crate::compiled::Model;
use crate::decision::Ticket;
use crate::host::{Host, Istio};
use crate::pick::Picker;
use crate::vm::Vm;

/// This proxy's pod in an Istio mesh. It does not change, so each property is read once.
#[derive(Debug, Default)]
pub(crate) struct OwnPod {
    namespace: OnceCell<Option<String>>,
    version: OnceCell<Option<String>>,
    workload: OnceCell<Option<String>>,
}

impl OwnPod {
    /// Its namespace.
    pub(crate) fn namespace(&self, host: &dyn Host) -> Option<&str> {
        let namespace = || host.istio(Istio::NodeNamespace);
        self.namespace.get_or_init(namespace).as_deref()
    }
}

/// The versions of each carrier, by the carrier's name without its kind.
#[derive(Debug)]
pub(crate) struct CarrierVersions(Vec<(String, Rc<str>)>);

impl CarrierVersions {
    pub(crate) fn new(plan: &ModelPlan, picker: &Picker) -> Self {
        let shares = plan.canaries.iter().chain(&plan.base);
        let shares = shares.map(|share| (&share.carrier, &share.versions));
        let dark = plan.dark.iter().map(|dark| (&dark.carrier, &dark.versions));
        let mut all = Vec::new();
        for (carrier, versions) in shares.chain(dark) {
            let name = carrier
                .split_once('/')
                .map_or(carrier.as_str(), |(_, name)| name);
            let known = versions
                .iter()
                .filter_map(|v| picker.known(v.version.as_str()));
            all.extend(known.map(|version| (name.to_owned(), Rc::clone(&version.name))));
        }
        Self(all)
    }

    /// The version of a workload; `None` if it has several, or is no carrier.
    fn of_workload(&self, workload: &str) -> Option<&Rc<str>> {
        let mut versions = self.0.iter().filter(|(name, _)| name == workload);
        let (_, version) = versions.next()?;
        versions
            .all(|(_, other)| other == version)
            .then_some(version)
    }
}

/// The version that served an answer of the upstream; `None` if nothing tells it.
pub(crate) fn version(ticket: &Ticket, vm: &Vm, host: &dyn Host) -> Option<Rc<str>> {
    match host.served_version() {
        Some(version) => Some(version.into()),
        None => version_in_mesh(ticket, vm, host),
    }
}

#[inline(never)]
fn version_in_mesh(ticket: &Ticket, vm: &Vm, host: &dyn Host) -> Option<Rc<str>> {
    let config = vm.config.as_ref()?;
    let model = config.namespace(&ticket.namespace)?.model(&ticket.model)?;
    if let Some(workload) = host.istio(Istio::Workload)
        && let Some(version) = of_workload(model, &ticket.namespace, &workload)
    {
        return Some(version);
    }
    if let Some(subset) = host.istio(Istio::Subset)
        && let Some(version) = model.picker.known_where(|v| names::subset(v) == subset)
    {
        return Some(Rc::clone(&version.name));
    }
    if !host.virtual_host()?.starts_with(names::INBOUND_PREFIX) {
        return None;
    }
    let pod = &config.own_pod;
    let label = || host.istio(Istio::NodeLabel(&config.version_label));
    if let Some(version) = pod.version.get_or_init(label) {
        return Some(version.as_str().into());
    }
    let workload = || host.istio(Istio::NodeWorkload);
    let workload = pod.workload.get_or_init(workload).as_deref()?;
    model.carriers.of_workload(workload).cloned()
}

/// The version of an endpoint: `workload;namespace;canonical service;canonical revision;cluster`.
fn of_workload(model: &Model, namespace: &str, endpoint: &str) -> Option<Rc<str>> {
    let mut parts = endpoint.split(';');
    let (workload, its_namespace) = (parts.next()?, parts.next()?);
    if its_namespace != namespace {
        return None;
    }
    let revision = || model.picker.known(parts.nth(1)?).map(|known| &known.name);
    model
        .carriers
        .of_workload(workload)
        .or_else(revision)
        .cloned()
}
