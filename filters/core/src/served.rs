//! The version that served an answer, by what the proxy knows about the endpoint.
//!
//! Endpoints of Headgate's own clusters name their version. In an Istio mesh, endpoints name their workload and clusters their
//! subset, and a pod that receives a request knows its own labels.

use std::rc::Rc;

use headgate_contract::names;

use crate::compiled::{Compiled, Model};
use crate::decision::Ticket;
use crate::host::{Host, IstioProperty};
use crate::vm::Vm;

/// The version that served an answer of the upstream; `None` if nothing tells it.
pub(crate) fn version(ticket: &Ticket, vm: &Vm, host: &dyn Host) -> Option<Rc<str>> {
    match host.served_version() {
        Some(version) => Some(version.into()),
        None => version_in_mesh(ticket, vm, host),
    }
}

#[inline(never)]
fn version_in_mesh(ticket: &Ticket, vm: &Vm, host: &dyn Host) -> Option<Rc<str>> {
    let subset = host.istio(IstioProperty::Subset).unwrap_or_default();
    version_in_plan(ticket, vm, host, &subset).or_else(|| {
        // The version that was picked may have left the plan since. Its subset proves that it served.
        let picked = ticket.version.as_ref();
        let picked = picked.filter(|picked| is_subset(&ticket.model, &picked.name, &subset));
        picked.map(|picked| Rc::clone(&picked.name))
    })
}

fn version_in_plan(ticket: &Ticket, vm: &Vm, host: &dyn Host, subset: &str) -> Option<Rc<str>> {
    let config = vm.config.as_ref()?;
    let model = config.namespace(&ticket.namespace)?.model(&ticket.model)?;
    let endpoint = host.istio(IstioProperty::Workload).unwrap_or_default();
    if let Some(version) = of_endpoint(model, &ticket.namespace, &endpoint) {
        return Some(version.into());
    }
    let is_its = |version: &str| is_subset(&ticket.model, version, subset);
    if let Some(version) = model.picker.known_where(is_its) {
        return Some(Rc::clone(&version.name));
    }
    of_own_pod(config, model, host).map(Into::into)
}

/// Whether a subset is a model's version. Behind a Service in front of several models it is named after both.
fn is_subset(model: &str, version: &str, subset: &str) -> bool {
    names::is_subset(version, subset) || names::is_shared_subset(model, version, subset)
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
    let version = pod.version(host, &config.version_label);
    version.or_else(|| model.carriers.of_workload(pod.workload(host)?))
}
