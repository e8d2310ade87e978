//! The `DestinationRule` that istiod uses for a host, for the proxies of a namespace.
//!
//! It follows `setDestinationRules`, `mergeDestinationRule`, `destinationRule` and `SidecarScope.DestinationRule` of istiod
//! (`pilot/pkg/model`):
//!
//! - istiod looks in the namespace of the proxy, then of the Service, then in the root namespace, and takes the first with a rule for the
//!   host. An exact host comes before a wildcard.
//! - Rules of one namespace for one host are merged, the oldest first, if their `exportTo` are equal. Of rules that are not merged the
//!   youngest applies. A subset whose name already exists is dropped, and the first traffic policy applies.
//! - A rule with a `workloadSelector` applies to the proxies of its own namespace that it selects.
//!
//! `meshConfig.defaultDestinationRuleExportTo` is taken to be `*`, its default.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::Labels;

use crate::host_rule::HostRule;
use crate::object::ObjectKey;

/// Rules of one namespace that istiod merged into one.
#[derive(Debug, Clone)]
pub(crate) struct Merged<'a> {
    /// The rules, oldest first.
    pub(crate) from: Vec<&'a ObjectKey>,
    /// The subsets, each with the rule that brought it.
    pub(crate) subsets: BTreeMap<&'a str, (&'a ObjectKey, &'a Labels)>,
    /// Subsets that were dropped because an older rule has the name.
    pub(crate) dropped: Vec<(&'a str, &'a ObjectKey, &'a Labels)>,
    /// The rule whose traffic policy applies.
    pub(crate) policy: Option<&'a ObjectKey>,
    /// The labels of the proxies that it is for; `None` for all.
    pub(crate) selector: Option<&'a Labels>,
    export_to: BTreeSet<&'a str>,
}

type ByHost<'a> = BTreeMap<String, Vec<Merged<'a>>>;

/// All rules, as istiod indexes them.
#[derive(Debug, Default)]
pub(crate) struct Rules<'a> {
    root: &'a str,
    local: BTreeMap<&'a str, ByHost<'a>>,
    exported: BTreeMap<&'a str, ByHost<'a>>,
    /// The rules of the root namespace that are for its own proxies only.
    root_local: ByHost<'a>,
}

/// The rules that apply to the proxies of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Effective<'r, 'a> {
    /// For proxies with certain labels.
    pub(crate) selected: Vec<&'r Merged<'a>>,
    /// For the others; `None` if no rule applies.
    pub(crate) others: Option<&'r Merged<'a>>,
}

const PUBLIC: &str = "*";
const PRIVATE: &str = ".";

impl<'a> Rules<'a> {
    /// Indexes rules.
    pub(crate) fn new(
        rules: impl IntoIterator<Item = (&'a ObjectKey, &'a HostRule)>,
        root: &'a str,
        cluster_domain: &str,
    ) -> Self {
        let mut sorted: Vec<(&ObjectKey, &HostRule)> = rules.into_iter().collect();
        sorted.sort_by_key(|(key, rule)| {
            (
                rule.selector.is_none(),
                &rule.created,
                &key.name,
                &key.namespace,
            )
        });
        let mut index = Self {
            root,
            ..Self::default()
        };
        for (key, rule) in sorted {
            let namespace = key.namespace.as_str();
            let host = rule.full_host(namespace, cluster_domain);
            let export_to: BTreeSet<&str> = match rule.selector {
                Some(_) => [PRIVATE].into(),
                None => rule.export_to.iter().map(String::as_str).collect(),
            };
            let names = |place: &str| export_to.contains(place);
            if export_to.is_empty() || names(PUBLIC) || names(PRIVATE) || names(namespace) {
                let local = index.local.entry(namespace).or_default();
                merge(local, &host, key, rule, &export_to);
            }
            let private = export_to.len() == 1 && (names(PRIVATE) || names(namespace));
            if !private {
                let exported = index.exported.entry(namespace).or_default();
                merge(exported, &host, key, rule, &export_to);
            } else if namespace == root {
                merge(&mut index.root_local, &host, key, rule, &export_to);
            }
        }
        index
    }

    /// The namespaces with a rule for a host whose own proxies it applies to.
    pub(crate) fn namespaces_with(&self, host: &str) -> impl Iterator<Item = &'a str> {
        let with = self
            .local
            .iter()
            .filter(move |(_, rules)| most_specific(rules, host).is_some());
        with.map(|(namespace, _)| *namespace)
    }

    /// The rules for a host of a Service's namespace that apply to the proxies of a namespace.
    pub(crate) fn of(&self, proxies: &str, host: &str, service: &str) -> Effective<'_, 'a> {
        let own = match proxies == self.root {
            true => Some(&self.root_local),
            false => self.local.get(proxies),
        };
        let own = own.and_then(|rules| most_specific(rules, host));
        if let Some(own) = own {
            return effective(own.iter(), proxies);
        }
        let exported = |namespace: &str| {
            let rules = self.exported.get(namespace)?;
            let rules = most_specific(rules, host)?.iter().filter(|rule| {
                let to = &rule.export_to;
                to.is_empty() || to.contains(PUBLIC) || to.contains(proxies)
            });
            let rules: Vec<&Merged<'a>> = rules.collect();
            (!rules.is_empty()).then_some(rules)
        };
        let rules = exported(service).or_else(|| exported(self.root));
        effective(rules.into_iter().flatten(), proxies)
    }
}

fn effective<'r, 'a>(
    rules: impl Iterator<Item = &'r Merged<'a>>,
    proxies: &str,
) -> Effective<'r, 'a> {
    let mut effective = Effective::default();
    for rule in rules {
        match rule.selector {
            None => effective.others = Some(rule),
            Some(_) if rule.from.iter().any(|key| key.namespace == proxies) => {
                effective.selected.push(rule);
            }
            Some(_) => {}
        }
    }
    effective
}

fn most_specific<'r, 'a>(rules: &'r ByHost<'a>, host: &str) -> Option<&'r Vec<Merged<'a>>> {
    if let Some(exact) = rules.get(host) {
        return Some(exact);
    }
    let wildcards = rules.iter().filter(|(pattern, _)| {
        let suffix = pattern.strip_prefix('*');
        suffix.is_some_and(|suffix| host.ends_with(suffix))
    });
    let longest = wildcards.max_by_key(|(pattern, _)| pattern.len());
    longest.map(|(_, rules)| rules)
}

fn merge<'a>(
    rules: &mut ByHost<'a>,
    host: &str,
    key: &'a ObjectKey,
    rule: &'a HostRule,
    export_to: &BTreeSet<&'a str>,
) {
    let known = rules.entry(host.to_owned()).or_default();
    let mut stands_alone = true;
    for merged in &mut *known {
        if merged.export_to == *export_to {
            stands_alone = false;
        } else if merged.export_to.is_empty() || !export_to.is_superset(&merged.export_to) {
            stands_alone = true;
            continue;
        } else {
            stands_alone = true;
        }
        match (merged.selector, &rule.selector) {
            (Some(one), Some(other)) if one != other => {
                stands_alone = true;
                continue;
            }
            (None, None) | (Some(_), Some(_)) => stands_alone = false,
            _ => {}
        }
        merged.add(key, rule);
    }
    if stands_alone {
        let mut alone = Merged {
            from: Vec::new(),
            subsets: BTreeMap::new(),
            dropped: Vec::new(),
            policy: None,
            selector: rule.selector.as_ref(),
            export_to: export_to.clone(),
        };
        alone.add(key, rule);
        known.push(alone);
    }
}

impl<'a> Merged<'a> {
    fn add(&mut self, key: &'a ObjectKey, rule: &'a HostRule) {
        self.from.push(key);
        for (name, labels) in &rule.subsets {
            if self.subsets.contains_key(name.as_str()) {
                self.dropped.push((name, key, labels));
            } else {
                self.subsets.insert(name, (key, labels));
            }
        }
        if rule.has_policy && self.policy.is_none() {
            self.policy = Some(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "llama.models.svc.cluster.local";

    /// Rules as `NAMESPACE/NAME HOST EXPORT_TO AGE`, each with a subset of its name and a policy.
    fn rules(texts: &[&str]) -> Vec<(ObjectKey, HostRule)> {
        let rule = |text: &&str| {
            let mut parts = text.split(' ');
            let mut next = || parts.next().unwrap_or_default();
            let (namespace, name) = next().split_once('/').unwrap_or_default();
            let host = next();
            let export_to = next().split(',').filter(|to| *to != "-");
            let key = ObjectKey {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            let rule = HostRule {
                host: host.to_owned(),
                export_to: export_to.map(str::to_owned).collect(),
                subsets: [(name.to_owned(), Labels::new())].into(),
                has_policy: true,
                created: next().to_owned(),
                selector: None,
            };
            (key, rule)
        };
        texts.iter().map(rule).collect()
    }

    /// The rules whose subsets a proxy of a namespace has, and the one whose policy it has.
    fn seen(texts: &[&str], proxies: &str) -> (Vec<String>, Option<String>) {
        let rules = rules(texts);
        let pairs = rules.iter().map(|(key, rule)| (key, rule));
        let index = Rules::new(pairs, "istio-system", "cluster.local");
        let effective = index.of(proxies, HOST, "models");
        let others = effective.others;
        let subsets = others.map(|rule| rule.subsets.keys().map(|name| (*name).to_owned()));
        let policy = others.and_then(|rule| rule.policy).map(ToString::to_string);
        (subsets.into_iter().flatten().collect(), policy)
    }

    #[test]
    fn istiod_looks_in_the_namespaces_of_the_proxy_the_service_and_the_root() {
        let all = [
            "models/service llama - 2",
            "istio-system/root *.local - 1",
            "apps/client *.models.svc.cluster.local - 3",
        ];
        for (rules, proxies, expected) in [
            (&all[..], "apps", "client"),
            (&all[..], "other", "service"),
            (&all[..2], "apps", "service"),
            (&all[1..2], "apps", "root"),
            // The root namespace's own rules for everybody do not hide those of the Service's namespace.
            (&all[..], "istio-system", "service"),
            (
                &["models/a *.local - 1", "models/b llama - 2"][..],
                "x",
                "b",
            ),
            (
                &[
                    "models/a *.local - 1",
                    "models/b *.models.svc.cluster.local - 2",
                ][..],
                "x",
                "b",
            ),
            (
                &["models/a llama - 2", "istio-system/b *.local . 1"][..],
                "istio-system",
                "b",
            ),
            (
                &["models/a llama . 1", "istio-system/b *.local - 1"][..],
                "x",
                "b",
            ),
            (&["models/a llama . 1"][..], "models", "a"),
        ] {
            assert_eq!(seen(rules, proxies).0, [expected], "{rules:?} {proxies}");
        }
        assert_eq!(seen(&["models/a llama . 1"], "x"), (Vec::new(), None));
    }

    #[test]
    fn rules_are_merged_only_if_their_export_to_is_equal_and_else_the_youngest_applies() {
        for (rules, subsets, policy) in [
            (
                ["models/a llama - 1", "models/b llama - 2"],
                &["a", "b"][..],
                "models/a",
            ),
            (
                ["models/a llama * 1", "models/b llama * 2"],
                &["a", "b"][..],
                "models/a",
            ),
            (
                ["models/a llama * 1", "models/b llama - 2"],
                &["b"][..],
                "models/b",
            ),
            (
                ["models/a llama - 1", "models/b llama * 2"],
                &["b"][..],
                "models/b",
            ),
            (
                ["models/a llama - 2", "models/b llama * 1"],
                &["a"][..],
                "models/a",
            ),
        ] {
            let (names, of) = seen(&rules, "apps");
            assert_eq!(names, subsets, "{rules:?}");
            assert_eq!(of.as_deref(), Some(policy), "{rules:?}");
        }
    }
}
