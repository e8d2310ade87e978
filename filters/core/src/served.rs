//! The version that served an answer, by what the proxy knows about the endpoint.
//!
//! Endpoints of Headgate's own clusters name their version. In an Istio mesh, endpoints name their workload and clusters their
//! subset, and a pod that receives a request knows its own labels.

use std::cell::OnceCell;
use std::rc::Rc;

use headgate_contract::{ModelPlan, VersionShare, names};

use crate::compiled::{Compiled, Model};
use crate::decision::Ticket;
use crate::host::{Host, Istio};
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
        read_once(&self.namespace, host, Istio::NodeNamespace)
    }
}

#[inline(never)]
fn read_once<'a>(
    cell: &'a OnceCell<Option<String>>,
    host: &dyn Host,
    property: Istio<'_>,
) -> Option<&'a str> {
    cell.get_or_init(|| host.istio(property)).as_deref()
}

/// The versions of each carrier, as `kind/name` and the name of the version.
#[derive(Debug)]
pub(crate) struct CarrierVersions(Vec<(String, String)>);

impl CarrierVersions {
    pub(crate) fn new(plan: &ModelPlan) -> Self {
        let mut all = Vec::new();
        let mut add = |carrier: &str, versions: &[VersionShare]| {
            for share in versions {
                all.push((carrier.to_owned(), share.version.as_str().to_owned()));
            }
        };
        for share in &plan.canaries {
            add(&share.carrier, &share.versions);
        }
        for share in &plan.base {
            add(&share.carrier, &share.versions);
        }
        for dark in &plan.dark {
            add(&dark.carrier, &dark.versions);
        }
        Self(all)
    }

    /// The version of a workload; `None` if it has several, or is no carrier.
    #[inline(never)]
    fn of_workload(&self, workload: &str) -> Option<&str> {
        let mut found = None;
        for (carrier, version) in &self.0 {
            let kind = carrier.strip_suffix(workload);
            if kind.is_none_or(|kind| !kind.ends_with('/')) {
                continue;
            }
            if found.is_some_and(|known| known != version) {
                return None;
            }
            found = Some(version);
        }
        found.map(String::as_str)
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
    let endpoint = host.istio(Istio::Workload).unwrap_or_default();
    if let Some(version) = of_endpoint(model, &ticket.namespace, &endpoint) {
        return Some(version.into());
    }
    let subset = host.istio(Istio::Subset).unwrap_or_default();
    let is_its = |version: &str| names::is_subset(version, &subset);
    if let Some(version) = model.picker.known_where(is_its) {
        return Some(Rc::clone(&version.name));
    }
    of_own_pod(config, model, host).map(Into::into)
}

/// The version of an endpoint: `workload;namespace;canonical service;canonical revision;cluster`.
fn of_endpoint<'a>(model: &'a Model, namespace: &str, endpoint: &'a str) -> Option<&'a str> {
    let mut parts = endpoint.split(';');
    let (workload, its_namespace) = (parts.next()?, parts.next()?);
    if its_namespace != namespace {
        return None;
    }
    let revision = || {
        let known = model.picker.known(parts.nth(1)?)?;
        Some(&*known.name)
    };
    model.carriers.of_workload(workload).or_else(revision)
}

/// The version of this proxy's pod, if the pod received the request.
fn of_own_pod<'a>(config: &'a Compiled, model: &'a Model, host: &dyn Host) -> Option<&'a str> {
    if !host.virtual_host()?.starts_with(names::INBOUND_PREFIX) {
        return None;
    }
    let pod = &config.own_pod;
    let label = Istio::NodeLabel(&config.version_label);
    let version = read_once(&pod.version, host, label);
    version.or_else(|| {
        let workload = read_once(&pod.workload, host, Istio::NodeWorkload)?;
        model.carriers.of_workload(workload)
    })
}
