//! The writes that are due: subsets, insertions of the filter, and routes.
//!
//! Invariant: a write keeps the subsets and routes that a proxy may still use.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::{Ages, DEFAULT_CONFIG_INTERVAL, Input, PROPAGATION, Steps, Write};
use crate::default_config::{same_but_default_config, served_models};
use crate::envoy_filter::{switch, version_route};
use crate::manifest::{IstioKind, SELECTOR, insertion_spec, patches_spec, rule_spec, selector};
use crate::object::{ObjectKey, RouteKey, Routes, Rule, VirtualHost};
use crate::stored::StoredObject;

impl Ages {
    pub(super) fn write_rules(&self, input: &Input<'_>, steps: &mut Steps) {
        let kind = IstioKind::DestinationRule;
        for (key, (wanted, stored)) in paired(&input.desired.rules, own(kind, input)) {
            let kept = stored.map(|object| self.kept_subsets(key, object, wanted, input));
            let spec = match (wanted, kept) {
                (Some(rule), kept) => with_subsets(rule_spec(rule), kept.unwrap_or_default()),
                (None, Some(kept)) if !kept.is_empty() => {
                    let host = stored.and_then(|object| object.spec.get("host").cloned());
                    with_subsets(serde_json::json!({ "host": host, "subsets": [] }), kept)
                }
                (None, _) => {
                    delete(kind, key, input, steps);
                    continue;
                }
            };
            apply(kind, key, spec, input, steps);
        }
    }

    /// The stored subsets that are not desired and that a route uses, or used until a moment ago.
    fn kept_subsets(
        &self,
        key: &ObjectKey,
        object: &StoredObject,
        wanted: Option<&Rule>,
        input: &Input<'_>,
    ) -> Vec<Value> {
        let subsets = object.subsets().into_iter().filter(|(name, _)| {
            let is_wanted = wanted.is_some_and(|rule| rule.subsets.contains_key(name));
            let unused = self.unused.get(&(key.clone(), name.clone()));
            !is_wanted && unused.is_none_or(|since| *since + PROPAGATION > input.now)
        });
        subsets.map(|(_, subset)| subset.clone()).collect()
    }

    pub(super) fn write_insertions(&mut self, input: &Input<'_>, steps: &mut Steps) {
        for (key, insertion) in &input.desired.insertions {
            let spec = insertion_spec(insertion, input.options);
            let stored = input
                .stored
                .get(IstioKind::EnvoyFilter, key)
                .map(|object| &object.spec);
            let differs = stored.is_some_and(|stored| *stored != spec);
            let may_wait = |stored: &Value| {
                same_but_default_config(stored, &spec)
                    && served_models(stored).is_superset(&served_models(&spec))
            };
            if differs && stored.is_some_and(may_wait) {
                let last = self.default_configs.get(key);
                let at = last.map_or(Duration::ZERO, |last| *last + DEFAULT_CONFIG_INTERVAL);
                if at > input.now {
                    steps.next = steps.next.into_iter().chain([at]).min();
                    continue;
                }
            }
            if stored != Some(&spec) {
                self.default_configs.insert(key.clone(), input.now);
            }
            apply(IstioKind::EnvoyFilter, key, spec, input, steps);
        }
        self.default_configs
            .retain(|key, _| input.desired.insertions.contains_key(key));
    }

    pub(super) fn write_routes(&self, input: &Input<'_>, steps: &mut Steps) {
        let kind = IstioKind::EnvoyFilter;
        let insertions = &input.desired.insertions;
        let own = own(kind, input).filter(|(key, _)| !insertions.contains_key(*key));
        for (key, (wanted, stored)) in paired(&input.desired.routes, own) {
            let patches = self.patches(key, wanted, stored, input);
            // Routes that linger apply where they applied.
            let selector = match wanted {
                Some(wanted) => selector(wanted.context, input.options),
                None => stored.and_then(|stored| stored.spec.get(SELECTOR).cloned()),
            };
            if patches.is_empty() {
                delete(IstioKind::EnvoyFilter, key, input, steps);
            } else {
                apply(
                    IstioKind::EnvoyFilter,
                    key,
                    patches_spec(&patches, selector),
                    input,
                    steps,
                );
            }
        }
    }

    /// The patches of an object: of each virtual host the switch, the desired routes whose subsets have propagated, and stored routes that
    /// linger.
    fn patches(
        &self,
        key: &ObjectKey,
        wanted: Option<&Routes>,
        stored: Option<&StoredObject>,
        input: &Input<'_>,
    ) -> Vec<Value> {
        let mut routes: BTreeMap<VirtualHost, BTreeMap<String, Value>> = BTreeMap::new();
        for ((host, name), patch) in stored.map(StoredObject::routes).unwrap_or_default() {
            let route: RouteKey = (key.clone(), host.clone(), name.clone());
            let lingers = self
                .unwanted
                .get(&route)
                .is_none_or(|since| *since + input.linger > input.now);
            if lingers {
                routes.entry(host).or_default().insert(name, patch.clone());
            }
        }
        let context = wanted.map(|wanted| wanted.context);
        for (host, of_host) in wanted.into_iter().flat_map(|wanted| &wanted.hosts) {
            for (name, route) in of_host {
                let is_known = route
                    .subset
                    .as_ref()
                    .is_none_or(|subset| self.has_propagated(&self.subsets, subset, input.now));
                if let Some(context) = context.filter(|_| is_known) {
                    let patch = version_route(context, host, name, route);
                    routes
                        .entry(host.clone())
                        .or_default()
                        .insert(name.clone(), patch);
                }
            }
        }
        let switches = |host: &VirtualHost| match context {
            Some(context) => Some(switch(context, host)),
            None => stored.and_then(|stored| stored_switch(stored, host)),
        };
        routes
            .into_iter()
            .flat_map(|(host, routes)| switches(&host).into_iter().chain(routes.into_values()))
            .collect()
    }
}

/// The stored objects of a kind that this installation has written.
fn own<'a>(
    kind: IstioKind,
    input: &Input<'a>,
) -> impl Iterator<Item = (&'a ObjectKey, &'a StoredObject)> {
    let controller = &input.options.controller;
    let stored = input.stored.of(kind);
    stored.filter(move |(_, object)| object.controller == *controller)
}

/// The desired and the stored objects, by key.
fn paired<'a, T>(
    desired: &'a BTreeMap<ObjectKey, T>,
    stored: impl Iterator<Item = (&'a ObjectKey, &'a StoredObject)>,
) -> BTreeMap<&'a ObjectKey, (Option<&'a T>, Option<&'a StoredObject>)> {
    let desired = desired.iter();
    let mut paired: BTreeMap<_, _> = desired.map(|(key, one)| (key, (Some(one), None))).collect();
    for (key, object) in stored {
        paired.entry(key).or_default().1 = Some(object);
    }
    paired
}

fn stored_switch(stored: &StoredObject, host: &VirtualHost) -> Option<Value> {
    let patches = stored.spec.get("configPatches")?.as_array()?;
    let (field, name) = match host {
        VirtualHost::Name(name) => ("name", name),
        VirtualHost::Domain(domain) => ("domainName", domain),
    };
    let is_switch = |patch: &&Value| {
        let vhost = patch.pointer("/match/routeConfiguration/vhost");
        let named = vhost
            .and_then(|vhost| vhost.get(field))
            .and_then(Value::as_str);
        patch.get("applyTo").and_then(Value::as_str) == Some("VIRTUAL_HOST")
            && named == Some(name.as_str())
    };
    patches.iter().find(is_switch).cloned()
}

fn with_subsets(mut spec: Value, kept: Vec<Value>) -> Value {
    if let Some(subsets) = spec.get_mut("subsets").and_then(Value::as_array_mut) {
        subsets.extend(kept);
        subsets.sort_by_key(|subset| {
            subset
                .get("name")
                .and_then(Value::as_str)
                .map(str::to_owned)
        });
    }
    spec
}

fn apply(kind: IstioKind, key: &ObjectKey, spec: Value, input: &Input<'_>, steps: &mut Steps) {
    let place = (kind, key.clone());
    if input.stored.foreign.contains(&place) {
        steps.taken.insert(place);
        return;
    }
    let stored = input.stored.get(kind, key);
    if stored.is_some_and(|stored| stored.controller != input.options.controller) {
        steps.taken.insert(place);
        return;
    }
    if stored.is_none_or(|stored| stored.spec != spec) {
        steps.writes.push(Write::Apply(kind, key.clone(), spec));
    }
}

fn delete(kind: IstioKind, key: &ObjectKey, input: &Input<'_>, steps: &mut Steps) {
    if let Some(stored) = input.stored.get(kind, key) {
        let version = stored.resource_version.clone();
        steps.writes.push(Write::Delete(kind, key.clone(), version));
    }
}
