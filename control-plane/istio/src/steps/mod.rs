//! The next writes, and the versions that are routed: desired objects, stored objects and time → steps.
//!
//! An addition takes two phases: the subset, then, once it has existed for [`PROPAGATION`], its route. A removal takes them in reverse: the
//! version leaves the plan, its route stays for the linger time, and its subset for [`PROPAGATION`] after that. istiod pushes clusters and
//! routes separately, and a route to a cluster that a proxy does not have yet is a 503.
//!
//! Pure: time is an argument. Invariant: a write never removes what a proxy may still use, and never names what it may not know yet.

mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headgate_model::{Objects, RoutedVersions};
use serde_json::Value;

use crate::manifest::IstioKind;
use crate::object::{Desired, ObjectKey, RouteKey, SubsetKey};
use crate::options::Options;
use crate::stored::{Stored, cluster_of};

/// The time that istiod needs to push a subset or a route to all proxies: nothing relies on it earlier.
pub const PROPAGATION: Duration = Duration::from_secs(2);
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

    /// The versions whose subsets and routes have propagated to the proxies. A version that was routed stays so while any of its routes exists: a new
    /// Service in front of it must not take its sessions away.
    fn routed(&self, input: &Input<'_>) -> RoutedVersions {
        let models = input.desired.needs.iter().map(|(model, versions)| {
            let before = input
                .objects
                .served_models
                .get(model)
                .map(|record| &record.routed);
            let versions = versions.iter().filter(|(version, needs)| {
                let propagated = needs
                    .subsets
                    .iter()
                    .all(|key| self.has_propagated(&self.subsets, key, input.now))
                    && needs
                        .routes
                        .iter()
                        .all(|key| self.has_propagated(&self.routes, key, input.now));
                let kept = before.is_some_and(|before| before.contains(*version))
                    && needs.routes.iter().any(|key| self.routes.contains_key(key));
                (propagated || kept) && !needs.routes.is_empty()
            });
            let versions = versions.map(|(version, _)| version.clone()).collect();
            (model.clone(), versions)
        });
        models.collect()
    }

    fn has_propagated<K: Ord>(
        &self,
        since: &BTreeMap<K, Duration>,
        key: &K,
        now: Duration,
    ) -> bool {
        since
            .get(key)
            .is_some_and(|since| *since + PROPAGATION <= now)
    }

    /// Decides again when the next subset or route has propagated or is no longer needed.
    fn wake_for_needs(&self, input: &Input<'_>, steps: &mut Steps) {
        let propagates = self
            .subsets
            .values()
            .chain(self.routes.values())
            .map(|since| *since + PROPAGATION);
        let lingers = self.unwanted.values().map(|since| *since + input.linger);
        let unused = self.unused.values().map(|since| *since + PROPAGATION);
        let next = propagates
            .chain(lingers)
            .chain(unused)
            .filter(|at| *at > input.now);
        steps.next = next.min();
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
