//! The next writes, and the versions that are routed: desired objects, stored objects and time → steps.
//!
//! An addition takes two phases: the subset, then, once it has existed for [`SETTLE`], its route. A removal takes them in reverse: the
//! version leaves the plan; its route stays for the linger time and until all proxies have acknowledged the plan, at most
//! [`LONGEST_LINGER`] times as long; its subset stays for [`SETTLE`] more. istiod pushes clusters and routes separately, and a route to a
//! cluster that a proxy does not have yet is a 503.
//!
//! A version is routed only while all proxies of the mesh have its subsets: a `DestinationRule` of another person may hide them, and a
//! tool may delete them.
//!
//! Pure: time is an argument. Invariant: a write never removes what a proxy may still use, and never names what it may not know yet.

mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headgate_model::{ModelKey, Objects, RoutedVersions};
use serde_json::Value;

use crate::conflicts::{Conflict, Conflicts, conflicts};
use crate::manifest::IstioKind;
use crate::object::{Desired, Needs, ObjectKey, RouteKey, SubsetKey, model_of};
use crate::options::Options;
use crate::stored::{RouteTargets, RouteTo, Stored};

/// The time for which a subset or a route must exist before something relies on it: proxies have it then.
pub const SETTLE: Duration = Duration::from_secs(2);
/// The shortest time between two changes of the default configuration of a filter: each one is a new listener.
pub const DEFAULT_CONFIG_INTERVAL: Duration = Duration::from_secs(300);

/// How many times the linger time a route waits for proxies to acknowledge that its version left the plan.
pub const LONGEST_LINGER: u32 = 10;

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
    /// What rules of other people change for the desired ones.
    pub conflicts: BTreeSet<Conflict>,
    /// The models whose routes go although some proxies have not acknowledged that their versions left the plan.
    pub overdue: BTreeSet<ModelKey>,
    /// When to decide again without a change.
    pub next: Option<Duration>,
}

/// Since when subsets and routes exist or are no longer wanted.
#[derive(Debug, Clone, Default)]
pub struct Ages {
    subsets: BTreeMap<SubsetKey, Duration>,
    /// Those of them that all proxies have.
    visible: BTreeMap<SubsetKey, Duration>,
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
    /// The models whose plan some proxies have not acknowledged.
    pub unacknowledged: &'a BTreeSet<ModelKey>,
    /// A clock that only goes forward.
    pub now: Duration,
}

impl Input<'_> {
    /// Until when a route stays that has not been desired since `since`: a proxy that has not acknowledged the plan may still pick its
    /// version.
    fn lingers_until(&self, route: &RouteKey, since: Duration) -> Duration {
        let model = model_of(route);
        match model.is_some_and(|model| self.unacknowledged.contains(&model)) {
            true => since + self.linger * LONGEST_LINGER,
            false => since + self.linger,
        }
    }
}

impl Ages {
    /// The next steps. `self` remembers when subsets and routes appeared, so call it with each change of the stored objects.
    pub fn steps(&mut self, input: &Input<'_>) -> Steps {
        let conflicts = conflicts(input.desired, input.stored, input.options);
        let targets = input.stored.route_targets();
        self.observe(input, &conflicts, &targets);
        let mut steps = Steps {
            routed: self.routed(input, &targets),
            conflicts: conflicts.all,
            ..Steps::default()
        };
        self.wake_for_needs(input, &mut steps);
        self.write_rules(input, &mut steps);
        self.write_insertions(input, &mut steps);
        self.write_routes(input, &mut steps);
        steps
    }

    fn observe(&mut self, input: &Input<'_>, conflicts: &Conflicts, targets: &RouteTargets) {
        let (stored, now) = (input.stored, input.now);
        let mut subsets = stored.subset_keys();
        follow(&mut self.subsets, subsets.clone(), now);
        subsets.retain(|subset| !conflicts.missing.contains(subset));
        follow(&mut self.visible, subsets, now);
        follow(&mut self.routes, targets.keys().cloned().collect(), now);
        let unwanted = self
            .routes
            .keys()
            .filter(|key| !wants_route(input.desired, key));
        follow(&mut self.unwanted, unwanted.cloned().collect(), now);
        let used = used_subsets(input.desired, targets);
        let unused = self.subsets.keys().filter(|key| !used.contains(*key));
        follow(&mut self.unused, unused.cloned().collect(), now);
    }

    /// The versions whose subsets and routes have settled. A version that was routed stays so while its routes that exist lead to
    /// subsets that exist: a new Service in front of it must not take its sessions away.
    fn routed(&self, input: &Input<'_>, targets: &RouteTargets) -> RoutedVersions {
        let models = input.desired.needs.iter().map(|(model, versions)| {
            let record = input.objects.served_models.get(model);
            let before = record.map(|record| &record.routed);
            let versions = versions.iter().filter(|(version, needs)| {
                let kept = before.is_some_and(|before| before.contains(*version))
                    && self.keeps(needs, targets);
                !needs.routes.is_empty() && (self.are_settled(needs, input.now) || kept)
            });
            let versions = versions.map(|(version, _)| version.clone()).collect();
            (model.clone(), versions)
        });
        models.collect()
    }

    fn are_settled(&self, needs: &Needs, now: Duration) -> bool {
        let (mut subsets, mut routes) = (needs.subsets.iter(), needs.routes.iter());
        subsets.all(|key| is_settled(&self.visible, key, now))
            && routes.all(|key| is_settled(&self.routes, key, now))
    }

    /// Whether a version has a route, and each route of it leads to a subset that all proxies have.
    fn keeps(&self, needs: &Needs, targets: &RouteTargets) -> bool {
        let routes = needs.routes.iter().filter_map(|route| targets.get(route));
        let leads = |to: &RouteTo| match to {
            RouteTo::Service => true,
            RouteTo::Subset(key) => self.visible.contains_key(key),
            RouteTo::Nothing => false,
        };
        let mut routes = routes.map(leads).peekable();
        routes.peek().is_some() && routes.all(|leads| leads)
    }

    /// Decides again when the next subset or route settles.
    fn wake_for_needs(&self, input: &Input<'_>, steps: &mut Steps) {
        let settles = self
            .visible
            .values()
            .chain(self.routes.values())
            .map(|since| *since + SETTLE);
        let lingers = self.unwanted.iter();
        let lingers = lingers.map(|(route, since)| input.lingers_until(route, *since));
        let unused = self.unused.values().map(|since| *since + SETTLE);
        let next = settles
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

fn is_settled<K: Ord>(since: &BTreeMap<K, Duration>, key: &K, now: Duration) -> bool {
    since.get(key).is_some_and(|since| *since + SETTLE <= now)
}

/// The subsets that are desired or that a stored route uses.
fn used_subsets(desired: &Desired, targets: &RouteTargets) -> BTreeSet<SubsetKey> {
    let desired = desired.rules.iter().flat_map(|(key, rule)| {
        let subsets = rule.subsets.keys();
        subsets.map(move |name| (key.clone(), name.clone()))
    });
    let used = targets.values().filter_map(|to| match to {
        RouteTo::Subset(key) => Some(key.clone()),
        RouteTo::Service | RouteTo::Nothing => None,
    });
    desired.chain(used).collect()
}
