//! Conflicts of `DestinationRule`s: subsets of Headgate that rules of other people hide, and policies that Headgate displaces.
//!
//! Each finding compares what istiod makes of all rules for the proxies of one namespace ([`lookup`](crate::lookup)) with what the versions
//! need. If a subset is missing for the proxies of one namespace, its version is in the plan of no proxy of the mesh, because all have one plan.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::Labels;
use serde_json::Value;

use crate::host_rule::HostRule;
use crate::lookup::{Merged, Rules};
use crate::manifest::{IstioKind, rule_spec};
use crate::object::{Context, Desired, ObjectKey, Rule, SubsetKey};
use crate::options::{Options, seeing};
use crate::stored::Stored;

/// A rule of another person that changes what proxies have for a host of models, or loses its effect there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The rule.
    pub rule: ObjectKey,
    /// Headgate's rule.
    pub ours: ObjectKey,
    /// The host.
    pub host: String,
    /// What happens.
    pub kind: ConflictKind,
}

/// What a rule of another person does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictKind {
    /// Proxies of this namespace have this rule alone, because istiod looks for one there first.
    Hides {
        /// The namespace of the proxies.
        proxies: String,
    },
    /// It is in the namespace of Headgate's rule, and istiod does not merge them: their `exportTo` or `workloadSelector` differ.
    Apart,
    /// Headgate's rule takes over its `exportTo`, which leaves proxies of this namespace out.
    NotExported {
        /// The namespace of the proxies.
        proxies: String,
    },
    /// It has a subset of this name with other labels.
    Subset {
        /// The name.
        subset: String,
    },
    /// Its traffic policy applies to the host no longer.
    Displaced,
}

/// What the rules of other people change.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Conflicts {
    pub(crate) all: BTreeSet<Conflict>,
    /// Subsets that some proxies do not have.
    pub(crate) missing: BTreeSet<SubsetKey>,
}

/// The `spec` of a rule, with its `exportTo`.
pub(crate) fn planned_spec(
    key: &ObjectKey,
    rule: &Rule,
    stored: &Stored,
    options: &Options,
) -> Value {
    rule_spec(rule, &export_to(key, rule, stored, options))
}

/// The `exportTo` of a rule: that of another person's rule for the host in the same namespace, because istiod merges only rules whose
/// `exportTo` are equal. Of several, the youngest one that is for all namespaces, else the youngest.
fn export_to(key: &ObjectKey, rule: &Rule, stored: &Stored, options: &Options) -> BTreeSet<String> {
    let others = same_host(key, rule, stored, options.cluster_domain());
    let others = others.filter(|(_, other)| other.selector.is_none());
    let preferred = others.max_by_key(|(of, other)| {
        let to = &other.export_to;
        (to.is_empty() || to.contains("*"), &other.created, &of.name)
    });
    preferred
        .map(|(_, other)| other.export_to.clone())
        .unwrap_or_default()
}

/// The rules of other people for the host of Headgate's rule, in its namespace.
fn same_host<'s>(
    key: &'s ObjectKey,
    rule: &'s Rule,
    stored: &'s Stored,
    domain: &'s str,
) -> impl Iterator<Item = (&'s ObjectKey, &'s HostRule)> {
    stored.foreign_rules.iter().filter(move |(of, other)| {
        of.namespace == key.namespace && other.full_host(&of.namespace, domain) == rule.host
    })
}

/// The conflicts of all desired rules.
pub(crate) fn conflicts(desired: &Desired, stored: &Stored, options: &Options) -> Conflicts {
    let mut conflicts = Conflicts::default();
    if stored.foreign_rules.is_empty() {
        return conflicts;
    }
    let own = own_rules(desired, stored, options);
    let foreign = &stored.foreign_rules;
    let domain = options.cluster_domain();
    let root = options.root_namespace.as_str();
    // A rule whose name is taken is in both.
    let ours = own.iter().filter(|(key, _)| !foreign.contains_key(*key));
    let with = Rules::new(foreign.iter().chain(ours), root, domain);
    let without = Rules::new(foreign, root, domain);
    for (key, rule) in &desired.rules {
        if foreign.contains_key(key) {
            continue;
        }
        for (context, proxies) in proxy_namespaces(key, rule, &with, options) {
            let labels = options.labels_of(context);
            let one = OneHost {
                key,
                rule,
                proxies,
                stored,
                domain,
            };
            let service = key.namespace.as_str();
            let now = with.of(proxies, &rule.host, service);
            let before = without.of(proxies, &rule.host, service).others;
            let selected = now.selected.iter().copied();
            for selected in selected.filter(|merged| may_select(merged.selector, labels)) {
                one.check(Some(selected), &mut conflicts);
            }
            one.check(now.others, &mut conflicts);
            one.check_policy(before, now.others, &mut conflicts);
        }
    }
    conflicts
}

/// The rules of Headgate: as they are stored, else as they will be, younger than all others.
fn own_rules(
    desired: &Desired,
    stored: &Stored,
    options: &Options,
) -> BTreeMap<ObjectKey, HostRule> {
    let planned = desired.rules.iter().map(|(key, rule)| {
        let spec = planned_spec(key, rule, stored, options);
        (key.clone(), HostRule::of_spec(&spec, YOUNGEST))
    });
    let kind = IstioKind::DestinationRule;
    let existing = stored.of(kind).map(|(key, object)| {
        let rule = HostRule::of_spec(&object.spec, &object.created);
        (key.clone(), rule)
    });
    planned.chain(existing).collect()
}

/// After every time.
const YOUNGEST: &str = "~";

/// The namespaces of proxies that may send requests to a host, as far as rules can tell them apart.
fn proxy_namespaces<'a>(
    key: &'a ObjectKey,
    rule: &Rule,
    rules: &Rules<'a>,
    options: &'a Options,
) -> BTreeSet<(Context, &'a str)> {
    let contexts = [
        (Context::SidecarOutbound, &options.clients),
        (Context::Gateway, &options.gateways),
    ];
    let mut found = BTreeSet::new();
    for (context, namespaces) in contexts {
        for namespace in seeing(namespaces, &key.namespace) {
            found.insert((context, namespace.as_str()));
            // Objects of the root namespace apply to the proxies of all namespaces.
            if *namespace == options.root_namespace {
                found.insert((context, ANY_OTHER));
                let with = rules.namespaces_with(&rule.host);
                found.extend(with.map(|namespace| (context, namespace)));
            }
        }
    }
    found
}

/// A namespace without a rule.
pub(crate) const ANY_OTHER: &str = "";

/// Whether a selector may select proxies with these labels among others.
fn may_select(selector: Option<&Labels>, labels: &Labels) -> bool {
    let mut wanted = selector.into_iter().flatten();
    wanted.all(|(key, value)| labels.get(key).is_none_or(|own| own == value))
}

/// One host, for the proxies of one namespace.
struct OneHost<'a> {
    key: &'a ObjectKey,
    rule: &'a Rule,
    proxies: &'a str,
    stored: &'a Stored,
    domain: &'a str,
}

impl OneHost<'_> {
    /// Whether the proxies have the subsets if this rule applies to them.
    fn check(&self, merged: Option<&Merged<'_>>, conflicts: &mut Conflicts) {
        let Some(merged) = merged.filter(|merged| merged.from.contains(&self.key)) else {
            let rule = match merged.and_then(|merged| merged.from.last()) {
                Some(rule) => Some(*rule),
                // Its `exportTo` is that of Headgate's rule.
                None => {
                    let mut others = same_host(self.key, self.rule, self.stored, self.domain);
                    others.next().map(|(of, _)| of)
                }
            };
            let Some(rule) = rule else {
                return;
            };
            let proxies = self.proxies.to_owned();
            let kind = match merged {
                None => ConflictKind::NotExported { proxies },
                Some(_) if rule.namespace == self.key.namespace => ConflictKind::Apart,
                Some(_) => ConflictKind::Hides { proxies },
            };
            self.report(rule, kind, conflicts);
            conflicts.missing.extend(self.subsets());
            return;
        };
        for (name, wanted) in &self.rule.subsets {
            let counting = merged.subsets.get(name.as_str());
            let counting = counting.map(|(of, labels)| (*of, *labels));
            let dropped = merged.dropped.iter().filter(|(of, ..)| of == name);
            let dropped = dropped.map(|(_, of, labels)| (*of, *labels));
            let differing = counting
                .into_iter()
                .chain(dropped)
                .find(|(of, labels)| *of != self.key && *labels != wanted);
            if let Some((of, _)) = differing {
                let subset = name.clone();
                self.report(of, ConflictKind::Subset { subset }, conflicts);
                conflicts.missing.insert((self.key.clone(), name.clone()));
            }
        }
    }

    fn check_policy(
        &self,
        before: Option<&Merged<'_>>,
        now: Option<&Merged<'_>>,
        conflicts: &mut Conflicts,
    ) {
        let Some(policy) = before.and_then(|merged| merged.policy) else {
            return;
        };
        if now.is_some_and(|now| now.from.contains(&self.key) && now.policy != Some(policy)) {
            self.report(policy, ConflictKind::Displaced, conflicts);
        }
    }

    fn subsets(&self) -> impl Iterator<Item = SubsetKey> {
        let names = self.rule.subsets.keys();
        names.map(|name| (self.key.clone(), name.clone()))
    }

    fn report(&self, rule: &ObjectKey, kind: ConflictKind, conflicts: &mut Conflicts) {
        conflicts.all.insert(Conflict {
            rule: rule.clone(),
            ours: self.key.clone(),
            host: self.rule.host.clone(),
            kind,
        });
    }
}
