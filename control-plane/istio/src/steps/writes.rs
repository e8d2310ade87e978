//! The writes that are due: of rules, of insertions, and of routes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::{Ages, DEFAULT_CONFIG_INTERVAL, Input, SETTLE, Steps, Write, is_settled};
use crate::conflicts::planned_spec;
use crate::default_config::{same_but_default_config, served_models};
use crate::envoy_filter::{switch, version_route};
use crate::manifest::{IstioKind, SELECTOR, insertion_spec, patches_spec, selector};
use crate::object::{ObjectKey, RouteKey, Routes, Rule, VirtualHost, model_of};
use crate::stored::StoredObject;

impl Ages {
    pub(super) fn write_rules(&self, input: &Input<'_>, steps: &mut Steps) {
        for key in own_and_desired(
            IstioKind::DestinationRule,
            input.desired.rules.keys(),
            input,
        ) {
            let wanted = input.desired.rules.get(key);
            let own = own(IstioKind::DestinationRule, key, input);
            let kept = own.map(|object| self.kept_subsets(key, object, wanted, input));
            let spec = match (wanted, kept) {
                (Some(rule), kept) => {
                    let spec = planned_spec(key, rule, input.stored, input.options);
                    with_subsets(spec, kept.unwrap_or_default())
                }
                (None, Some(kept)) if !kept.is_empty() => {
                    let mut spec = own.map(|object| object.spec.clone()).unwrap_or_default();
                    spec["subsets"] = Value::Array(Vec::new());
                    with_subsets(spec, kept)
                }
                (None, _) => {
                    delete(IstioKind::DestinationRule, key, input, steps);
                    continue;
                }
            };
            apply(IstioKind::DestinationRule, key, spec, input, steps);
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
            !is_wanted && unused.is_none_or(|since| *since + SETTLE > input.now)
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
        let mut keys = own_and_desired(IstioKind::EnvoyFilter, input.desired.routes.keys(), input);
        keys.retain(|key| !input.desired.insertions.contains_key(*key));
        for key in keys {
            let wanted = input.desired.routes.get(key);
            let stored = own(IstioKind::EnvoyFilter, key, input);
            let patches = self.patches(key, wanted, stored, input, steps);
            // Routes that linger apply where they applied.
            let selector = match wanted {
                Some(wanted) => selector(input.options.labels_of(wanted.context)),
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

    /// The patches of an object: of each virtual host the switch, the desired routes whose subsets have settled, and stored routes that
    /// linger.
    fn patches(
        &self,
        key: &ObjectKey,
        wanted: Option<&Routes>,
        stored: Option<&StoredObject>,
        input: &Input<'_>,
        steps: &mut Steps,
    ) -> Vec<Value> {
        let mut routes: BTreeMap<VirtualHost, BTreeMap<String, Value>> = BTreeMap::new();
        for ((host, name), patch) in stored.map(StoredObject::routes).unwrap_or_default() {
            let route: RouteKey = (key.clone(), host.clone(), name.clone());
            let since = self.unwanted.get(&route);
            if since.is_none_or(|since| input.lingers_until(&route, *since) > input.now) {
                routes.entry(host).or_default().insert(name, patch.clone());
            } else if let Some(model) = model_of(&route)
                && input.unacknowledged.contains(&model)
            {
                steps.overdue.insert(model);
            }
        }
        let context = wanted.map(|wanted| wanted.context);
        for (host, of_host) in wanted.into_iter().flat_map(|wanted| &wanted.hosts) {
            for (name, route) in of_host {
                let is_known = route
                    .subset
                    .as_ref()
                    .is_none_or(|subset| is_settled(&self.visible, subset, input.now));
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

/// The names of desired objects, and of stored ones of this installation.
fn own_and_desired<'a>(
    kind: IstioKind,
    desired: impl Iterator<Item = &'a ObjectKey>,
    input: &Input<'a>,
) -> BTreeSet<&'a ObjectKey> {
    let stored = input.stored.of(kind);
    let own = stored.filter(|(_, object)| object.controller == input.options.controller);
    desired.chain(own.map(|(key, _)| key)).collect()
}

/// A stored object of this installation.
fn own<'a>(kind: IstioKind, key: &ObjectKey, input: &Input<'a>) -> Option<&'a StoredObject> {
    let stored = input.stored.get(kind, key);
    stored.filter(|object| object.controller == input.options.controller)
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
    if input.stored.is_taken(&place, input.options) {
        steps.taken.insert(place);
        return;
    }
    let stored = input.stored.get(kind, key);
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
