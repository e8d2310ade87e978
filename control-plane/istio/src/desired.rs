//! The objects that a plan needs: subsets, version routes, and the filter on each port.
//!
//! Invariant: a function of the plan and the objects, and not of weights: editing one changes nothing here.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::pattern::matches_any;
use headgate_contract::{ModelId, Version, names};
use headgate_model::{Labels, Objects, Plan};

use crate::default_config::default_config;
use crate::findings::{bypassed, without_route};
use crate::gateway_hosts::{Coverage, GatewayRoutes, coverage};
use crate::inbound::add_inbound;
use crate::object::{
    Context, Desired, Insertion, Module, ObjectKey, Route, Routes, Rule, VirtualHost,
};
use crate::options::{Options, seeing};
use crate::targets::{Host, Hosts, Target, hosts, model_key};

/// The objects that a plan needs. `gateways`: the hosts that other people's routes have on gateways.
#[must_use]
pub fn desired(
    plan: &Plan,
    objects: &Objects,
    gateways: &GatewayRoutes,
    options: &Options,
) -> Desired {
    let mut desired = Desired::default();
    let all: BTreeMap<&String, Hosts> = plan
        .namespaces
        .iter()
        .map(|(namespace, planned)| (namespace, hosts(namespace, planned, objects, options)))
        .collect();
    let mut coverage = gateway_coverage(plan, &all, gateways, options);
    desired.findings.append(&mut coverage.findings);
    for (namespace, hosts) in &all {
        for (id, version, problem) in &hosts.problems {
            let finding = without_route(namespace, id, version, problem, &options.keys);
            desired.findings.push(finding);
        }
        let bypasses = hosts.bypasses.iter();
        let bypasses = bypasses.map(|((id, way), other)| bypassed(namespace, id, way, other));
        desired.findings.extend(bypasses);
        add_rules(&mut desired, namespace, hosts, options);
        for client in seeing(&options.clients, namespace) {
            add_sidecar_routes(&mut desired, client, namespace, hosts, options);
        }
        for gateway in seeing(&options.gateways, namespace) {
            let domains = gateway_domains(plan, namespace, &coverage, options);
            add_gateway_routes(
                &mut desired,
                gateway,
                namespace,
                (plan, &domains),
                hosts,
                options,
            );
        }
        add_inbound(&mut desired, namespace, plan, objects, options);
    }
    add_insertions(&mut desired, plan, &all, options);
    desired
}

fn host_name(namespace: &str, service: &str, options: &Options) -> Option<String> {
    options.hosts.of_service(namespace, service)
}

fn rule_key(namespace: &str, service: &str) -> ObjectKey {
    ObjectKey {
        namespace: namespace.to_owned(),
        name: format!("headgate-{service}"),
    }
}

fn add_rules(desired: &mut Desired, namespace: &str, hosts: &Hosts, options: &Options) {
    for (service, host) in &hosts.services {
        let subsets = host.versions.values().flatten().cloned();
        let subsets: BTreeMap<String, Labels> = subsets.collect();
        let Some(name) = host_name(namespace, service, options).filter(|_| !subsets.is_empty())
        else {
            continue;
        };
        let rule = Rule {
            host: name,
            subsets,
        };
        desired.rules.insert(rule_key(namespace, service), rule);
    }
}

/// The route of a version to its target, by name.
fn route(
    namespace: &str,
    (id, version): &(ModelId, Version),
    target: &Target,
    options: &Options,
) -> Option<(String, Route)> {
    let host = host_name(namespace, &target.service, options)?;
    let subset = target.subset.as_deref();
    let route = Route {
        model: id.clone(),
        version: version.clone(),
        cluster: format!(
            "outbound|{}|{}|{host}",
            target.port,
            subset.unwrap_or_default()
        ),
        subset: subset.map(|subset| (rule_key(namespace, &target.service), subset.to_owned())),
    };
    Some((format!("headgate/{id}/{version}"), route))
}

/// Adds the routes of versions to one virtual host, and what these versions need.
fn add_routes<'v>(
    desired: &mut Desired,
    namespace: &str,
    object: (&ObjectKey, Context),
    virtual_host: &VirtualHost,
    versions: impl Iterator<Item = (&'v (ModelId, Version), Target)>,
    options: &Options,
) {
    let (key, context) = object;
    for (version, target) in versions {
        let Some((name, route)) = route(namespace, version, &target, options) else {
            continue;
        };
        let model = model_key(namespace, &version.0);
        let needs = desired.needs.entry(model).or_default();
        let needs = needs.entry(version.1.clone()).or_default();
        needs.subsets.extend(route.subset.clone());
        needs
            .routes
            .insert((key.clone(), virtual_host.clone(), name.clone()));
        let object = desired.routes.entry(key.clone()).or_insert_with(|| Routes {
            context,
            hosts: BTreeMap::new(),
        });
        let routes = object.hosts.entry(virtual_host.clone()).or_default();
        routes.insert(name, route);
    }
}

fn versions_of(hosts: &Hosts, ids: impl Fn(&ModelId) -> bool) -> BTreeSet<(ModelId, Version)> {
    let versions = hosts
        .services
        .values()
        .flat_map(|host| host.versions.keys());
    versions.filter(|(id, _)| ids(id)).cloned().collect()
}

fn add_sidecar_routes(
    desired: &mut Desired,
    client: &str,
    namespace: &str,
    hosts: &Hosts,
    options: &Options,
) {
    for (service, host) in &hosts.services {
        let Some(name) = host_name(namespace, service, options) else {
            continue;
        };
        let key = ObjectKey {
            namespace: client.to_owned(),
            name: format!("headgate-routes.{service}.{namespace}"),
        };
        let versions = versions_of(hosts, |id| host.models.contains(id));
        for port in host.ports.keys() {
            let targets = versions.iter().filter_map(|version| {
                let target = hosts.target(version, Some((service, *port)))?;
                Some((version, target))
            });
            let virtual_host = VirtualHost::Name(format!("{name}:{port}"));
            let object = (&key, Context::SidecarOutbound);
            add_routes(desired, namespace, object, &virtual_host, targets, options);
        }
    }
}

/// The namespace of models that each host of the gateways belongs to.
fn gateway_coverage(
    plan: &Plan,
    all: &BTreeMap<&String, Hosts>,
    gateways: &GatewayRoutes,
    options: &Options,
) -> Coverage {
    if options.gateways.is_empty() {
        return Coverage::default();
    }
    let namespaces = all.iter().filter_map(|(namespace, hosts)| {
        let domains = &plan.namespaces.get(*namespace)?.config.hosts;
        Some((
            *namespace,
            (domains.as_slice(), hosts.services.keys().collect()),
        ))
    });
    coverage(gateways, &namespaces.collect(), options)
}

/// The domains of virtual hosts of gateways that belong to a namespace.
fn gateway_domains(
    plan: &Plan,
    namespace: &str,
    coverage: &Coverage,
    options: &Options,
) -> BTreeSet<String> {
    let own = plan.namespaces.get(namespace);
    let own = own.into_iter().flat_map(|planned| &planned.config.hosts);
    let own = own.filter(|host| !options.hosts.names_service(host));
    let below = coverage.hosts.get(namespace).into_iter().flatten();
    own.chain(below).cloned().collect()
}

/// One object for each model, because a domain may serve all models of its namespace.
fn add_gateway_routes(
    desired: &mut Desired,
    gateway: &str,
    namespace: &str,
    (plan, domains): (&Plan, &BTreeSet<String>),
    hosts: &Hosts,
    options: &Options,
) {
    let Some(planned) = plan.namespaces.get(namespace) else {
        return;
    };
    for id in planned.models.keys() {
        let key = ObjectKey {
            namespace: gateway.to_owned(),
            name: format!(
                "headgate-gateway.{}.{namespace}",
                names::subset(id.as_str())
            ),
        };
        let versions = versions_of(hosts, |one| one == id);
        for domain in domains {
            let targets = versions
                .iter()
                .filter_map(|v| Some((v, hosts.target(v, None)?)));
            let virtual_host = VirtualHost::Domain(domain.clone());
            let object = (&key, Context::Gateway);
            add_routes(desired, namespace, object, &virtual_host, targets, options);
        }
    }
}

/// The filter on each port of a Service, and on the listeners of gateways. It is inserted once for a port, because all hosts of a port
/// share its listener.
fn add_insertions(
    desired: &mut Desired,
    plan: &Plan,
    all: &BTreeMap<&String, Hosts>,
    options: &Options,
) {
    for (client, seen) in &options.clients {
        let mut ports: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
        let visible = all
            .iter()
            .filter(|(namespace, _)| matches_any(seen, namespace));
        for (namespace, hosts) in visible {
            for port in hosts
                .services
                .values()
                .flat_map(|host: &Host| host.ports.keys())
            {
                ports.entry(*port).or_default().insert(namespace);
            }
        }
        for (port, namespaces) in ports {
            let key = ObjectKey {
                namespace: client.clone(),
                name: format!("headgate-outbound.{port}"),
            };
            let context = Context::SidecarOutbound;
            let insertion = Insertion {
                context,
                port: Some(port),
                pods: None,
                module: Module::InFile,
                default_config: default_config(plan, namespaces, context, options),
            };
            desired.insertions.insert(key, insertion);
        }
    }
    for (gateway, seen) in &options.gateways {
        let is_routed = desired
            .routes
            .iter()
            .any(|(key, routes)| key.namespace == *gateway && routes.context == Context::Gateway);
        if !is_routed {
            continue;
        }
        let namespaces = all.keys().map(|namespace| namespace.as_str());
        let namespaces = namespaces.filter(|namespace| matches_any(seen, namespace));
        let key = ObjectKey {
            namespace: gateway.clone(),
            name: "headgate-gateway".to_owned(),
        };
        let insertion = Insertion {
            context: Context::Gateway,
            port: None,
            pods: None,
            module: Module::InFile,
            default_config: default_config(plan, namespaces, Context::Gateway, options),
        };
        desired.insertions.insert(key, insertion);
    }
}
