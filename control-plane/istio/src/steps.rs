//! The next writes, and the versions that are routed: desired objects, stored objects and time → steps.
//!
//! An addition takes two phases: the subset, then, once it has existed for [`SETTLE`], its route. A removal takes them in reverse: the
//! version leaves the plan, its route stays for the linger time, and its subset for [`SETTLE`] after that. istiod pushes clusters and
//! routes separately, and a route to a cluster that a proxy does not have yet is a 503.
//!
//! Pure: time is an argument. Invariant: a write never removes what a proxy may still use, and never names what it may not know yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headgate_model::{Objects, RoutedVersions};
use serde_json::Value;

use crate::default_config::{same_but_default_config, served_models};
use crate::envoy_filter::{switch, version_route};
use crate::manifest::{IstioKind, SELECTOR, insertion_spec, patches_spec, rule_spec, selector};
use crate::object::{Desired, ObjectKey, RouteKey, Routes, Rule, SubsetKey, VirtualHost};
use crate::options::Options;
use crate::stored::{Stored, StoredObject, cluster_of};

/// The time for which a subset or a route must exist before something relies on it: proxies have it then.
pub const SETTLE: Duration = Duration::from_secs(2);
/// The shortest time between two changes of the default configuration of a filter: each one is a new listener.
pub const DEFAULT_CONFIG_INTERVAL: Duration = Duration::from_secs(300);

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The object must have this `spec`.
    Apply(IstioKind, ObjectKey, Value),
    /// The object of this version must not exist.
    Delete(IstioKind, ObjectKey, String),
}

/// The next steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Steps {
    /// The writes that are due.
    pub writes: Vec<Write>,
    /// The versions of each model that have their subsets and routes.
    pub routed: RoutedVersions,
    /// Desired objects whose names other people's objects have.
    pub taken: BTreeSet<(IstioKind, ObjectKey)>,
    /// When to decide again without a change.
    pub next: Option<Duration>,
}

/// Since when subsets and routes exist or are no longer wanted.
#[derive(Debug, Clone, Default)]
pub struct Ages {
    subsets: BTreeMap<SubsetKey, Duration>,
    routes: BTreeMap<RouteKey, Duration>,
    /// Since when a stored route is not desired.
    unwanted: BTreeMap<RouteKey, Duration>,
    /// Since when no stored route uses a stored subset that is not desired.
    unused: BTreeMap<SubsetKey, Duration>,
    /// Last change of the default configuration of each insertion.
    default_configs: BTreeMap<ObjectKey, Duration>,
}

/// The inputs of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The desired objects.
    pub desired: &'a Desired,
    /// The stored objects.
    pub stored: &'a Stored,
    /// The accepted objects: which versions were routed before.
    pub objects: &'a Objects,
    /// Settings of the objects.
    pub options: &'a Options,
    /// How long a route stays after its version left the plan.
    pub linger: Duration,
    /// A clock that only goes forward.
    pub now: Duration,
}

impl Ages {
    /// The next steps. `self` remembers when subsets and routes appeared, so call it with each change of the stored objects.
    pub fn steps(&mut self, input: &Input<'_>) -> Steps {
        self.observe(input);
        let mut steps = Steps {
            routed: self.routed(input),
            ..Steps::default()
        };
        self.wake_for_needs(input, &mut steps);
        self.write_rules(input, &mut steps);
        self.write_insertions(input, &mut steps);
        self.write_routes(input, &mut steps);
        steps
    }

    fn observe(&mut self, input: &Input<'_>) {
        let (stored, now) = (input.stored, input.now);
        follow(&mut self.subsets, stored.subset_keys(), now);
        follow(&mut self.routes, stored.route_keys(), now);
        let unwanted = self
            .routes
            .keys()
            .filter(|key| !wants_route(input.desired, key));
        follow(&mut self.unwanted, unwanted.cloned().collect(), now);
        let used = used_subsets(input);
        let unused = self.subsets.keys().filter(|key| !used.contains(*key));
        follow(&mut self.unused, unused.cloned().collect(), now);
    }

    /// The versions whose subsets and routes have settled. A version that was routed stays so while any of its routes exists: a new
    /// Service in front of it must not take its sessions away.
    fn routed(&self, input: &Input<'_>) -> RoutedVersions {
        let models = input.desired.needs.iter().map(|(model, versions)| {
            let before = input
                .objects
                .served_models
                .get(model)
                .map(|record| &record.routed);
            let versions = versions.iter().filter(|(version, needs)| {
                let settled = needs
                    .subsets
                    .iter()
                    .all(|key| self.is_settled(&self.subsets, key, input.now))
                    && needs
                        .routes
                        .iter()
                        .all(|key| self.is_settled(&self.routes, key, input.now));
                let kept = before.is_some_and(|before| before.contains(*version))
                    && needs.routes.iter().any(|key| self.routes.contains_key(key));
                (settled || kept) && !needs.routes.is_empty()
            });
            let versions = versions.map(|(version, _)| version.clone()).collect();
            (model.clone(), versions)
        });
        models.collect()
    }

    fn is_settled<K: Ord>(&self, since: &BTreeMap<K, Duration>, key: &K, now: Duration) -> bool {
        since.get(key).is_some_and(|since| *since + SETTLE <= now)
    }

    /// Decides again when the next subset or route settles.
    fn wake_for_needs(&self, input: &Input<'_>, steps: &mut Steps) {
        let settles = self
            .subsets
            .values()
            .chain(self.routes.values())
            .map(|since| *since + SETTLE);
        let lingers = self.unwanted.values().map(|since| *since + input.linger);
        let unused = self.unused.values().map(|since| *since + SETTLE);
        let next = settles
            .chain(lingers)
            .chain(unused)
            .filter(|at| *at > input.now);
        steps.next = next.min();
    }

    fn write_rules(&self, input: &Input<'_>, steps: &mut Steps) {
        let stored = input.stored.of(IstioKind::DestinationRule);
        let own = stored.filter(|(_, object)| object.controller == input.options.controller);
        let own: BTreeMap<&ObjectKey, &StoredObject> = own.collect();
        let keys: BTreeSet<&ObjectKey> = input
            .desired
            .rules
            .keys()
            .chain(own.keys().copied())
            .collect();
        for key in keys {
            let wanted = input.desired.rules.get(key);
            let kept = own
                .get(key)
                .map(|object| self.kept_subsets(key, object, wanted, input));
            let spec = match (wanted, kept) {
                (Some(rule), kept) => with_subsets(rule_spec(rule), kept.unwrap_or_default()),
                (None, Some(kept)) if !kept.is_empty() => {
                    let host = own
                        .get(key)
                        .and_then(|object| object.spec.get("host").cloned());
                    with_subsets(serde_json::json!({ "host": host, "subsets": [] }), kept)
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

    fn write_insertions(&mut self, input: &Input<'_>, steps: &mut Steps) {
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

    fn write_routes(&self, input: &Input<'_>, steps: &mut Steps) {
        let stored = input.stored.of(IstioKind::EnvoyFilter);
        let own = stored.filter(|(key, object)| {
            object.controller == input.options.controller
                && !input.desired.insertions.contains_key(*key)
        });
        let own: BTreeMap<&ObjectKey, &StoredObject> = own.collect();
        let keys: BTreeSet<&ObjectKey> = input
            .desired
            .routes
            .keys()
            .chain(own.keys().copied())
            .collect();
        for key in keys {
            let wanted = input.desired.routes.get(key);
            let stored = own.get(key).copied();
            let patches = self.patches(key, wanted, stored, input);
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
                    .is_none_or(|subset| self.is_settled(&self.subsets, subset, input.now));
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

/// Sets the time of keys that appeared, and forgets those that are gone.
fn follow<K: Ord>(since: &mut BTreeMap<K, Duration>, now: BTreeSet<K>, at: Duration) {
    since.retain(|key, _| now.contains(key));
    for key in now {
        since.entry(key).or_insert(at);
    }
}

fn wants_route(desired: &Desired, (key, host, name): &RouteKey) -> bool {
    let routes = desired
        .routes
        .get(key)
        .and_then(|routes| routes.hosts.get(host));
    routes.is_some_and(|routes| routes.contains_key(name))
}

/// The subsets that are desired or that a stored route uses.
fn used_subsets(input: &Input<'_>) -> BTreeSet<SubsetKey> {
    let desired = input.desired.rules.iter().flat_map(|(key, rule)| {
        let subsets = rule.subsets.keys();
        subsets.map(move |name| (key.clone(), name.clone()))
    });
    let rules = input.stored.of(IstioKind::DestinationRule);
    let by_host: BTreeMap<&str, &ObjectKey> = rules
        .filter_map(|(key, rule)| Some((rule.spec.get("host")?.as_str()?, key)))
        .collect();
    let filters = input.stored.of(IstioKind::EnvoyFilter);
    let routes = filters.flat_map(|(_, filter)| filter.routes().into_values());
    let used = routes.filter_map(|patch| {
        let mut parts = cluster_of(patch)?.split('|').skip(2);
        let (subset, host) = (parts.next()?, parts.next()?);
        let rule = by_host.get(host)?;
        Some(((*rule).clone(), subset.to_owned()))
    });
    desired.chain(used).collect()
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
