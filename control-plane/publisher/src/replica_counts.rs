//! Counts of this replica's proxies: by policy revision, by weights of each model, with their rejections and the versions that they
//! cannot reach.
//!
//! Invariant: a proxy holds a revision if *all* configurations of Headgate's filters that it ACKed hold it. A proxy that ACKed none, or that
//! rejects or waits for one without having any version of it, holds nothing. Policies of authentication are in the configuration of
//! `jwt_authn` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_contract::{ChargeAt, names};
use headgate_model::{Plan, PolicyRevisions, ProxyGroup, ReplicaCounts, WeightsHeld};
use headgate_translate::FILTERS;
use headgate_translate::provenance::{self, ConfiguredModel};
use headgate_xds::fleet::Proxy;
use headgate_xds::loads::Reporter;
use headgate_xds::session::{Acked, KindStatus};
use headgate_xds::{Kind, Origin};

use crate::rejections::rejections;
use crate::snapshots::SnapshotStore;
use crate::unreachable::unreachable_versions;

/// Counts the proxies of this replica.
pub fn count_proxies(
    plan: &Plan,
    snapshots: &SnapshotStore,
    proxies: &[Proxy],
    reporters: &[Reporter],
) -> ReplicaCounts {
    let mut counts = ReplicaCounts::default();
    // Proxies that run the same are looked at once.
    let mut groups: BTreeMap<Group<'_>, (Running<'_>, u32)> = BTreeMap::new();
    for proxy in proxies.iter().filter(|proxy| takes_filters(proxy)) {
        let Some(namespaces) = snapshots.namespaces(&proxy.scope) else {
            continue;
        };
        let status = proxy.kinds.get(&Kind::Extension);
        let acked = status.and_then(|progress| acked(&progress.status));
        let acked = acked.unwrap_or_default();
        let tokens = status.and_then(|progress| tokens(&progress.status));
        let running = acked.iter().copied().chain(tokens).map(|acked| {
            let objects = acked.origin.objects();
            (&*acked.acked, objects.as_ptr().addr())
        });
        let charges_at = status.map(|progress| charges_at(&progress.status));
        let group = ProxyGroup {
            namespaces,
            charges_at: charges_at.unwrap_or_default(),
            authenticates: status
                .is_some_and(|progress| requests(&progress.status, names::ECDS_JWT)),
        };
        let group = (group, running.collect());
        let running = Running {
            filters: acked.iter().map(|acked| &acked.origin).collect(),
            tokens: tokens.map(|acked| &acked.origin),
        };
        groups.entry(group).or_insert((running, 0)).1 += 1;
    }
    for ((group, _), (running, count)) in groups {
        let origins = running.filters;
        let held = held(&origins).into_iter();
        let tokens = running.tokens.filter(|origin| origin.is_known());
        let held = held.chain(tokens.map(provenance::policies));
        let held: PolicyRevisions = held.flatten().collect();
        counts.enter(count, &group, &held, plan);
        for namespace in &group.namespaces {
            weigh(&mut counts.models, plan, namespace, (count, &origins));
        }
    }
    counts.refused = rejections(plan, proxies);
    counts.unreachable = unreachable_versions(plan, snapshots, reporters)
        .into_keys()
        .collect();
    counts
}

/// The objects from which the configurations that proxies run were made.
struct Running<'a> {
    /// Of Headgate's filters.
    filters: Vec<&'a Origin>,
    /// Of `jwt_authn`.
    tokens: Option<&'a Origin>,
}

/// What proxies run, and per filter configuration its version and the address of its origin's objects.
type Group<'a> = (ProxyGroup, Vec<(&'a str, usize)>);

/// The buckets that a proxy's filters charge, by the names of the filters that it requests.
fn charges_at(status: &KindStatus) -> BTreeSet<ChargeAt> {
    let limiting = FILTERS.iter().filter(|filter| filter.stages.limit);
    let limiting = limiting.filter(|filter| requests(status, filter.name));
    limiting.map(|filter| ChargeAt::of(filter.role)).collect()
}

/// Whether a proxy requests a resource.
fn requests(status: &KindStatus, name: &str) -> bool {
    status.resources.contains_key(name)
        || status.nacked.contains_key(name)
        || status.waiting.contains_key(name)
}

/// The configuration of `jwt_authn` that it ACKed.
fn tokens(status: &KindStatus) -> Option<&Acked> {
    let resource = status.resources.get(names::ECDS_JWT)?;
    (!resource.acked.is_empty()).then_some(resource)
}

/// Counts proxies whose filters have configurations of these origins: they hold a model's weights if every one has the same.
fn weigh(
    held: &mut WeightsHeld,
    plan: &Plan,
    namespace: &str,
    (count, origins): (u32, &[&Origin]),
) {
    let models = plan.namespaces.get(namespace).into_iter();
    for id in models.flat_map(|view| view.models.keys()) {
        let mut revisions = origins.iter().map(|origin| {
            let model = ConfiguredModel::find(origin, namespace, id);
            model.map(ConfiguredModel::weights_revision)
        });
        let Some(Some(first)) = revisions.next() else {
            continue;
        };
        if revisions.all(|other| other == Some(first)) {
            let held = held.entry((namespace.to_owned(), id.clone()));
            let held = held.or_default().entry(first.to_owned()).or_default();
            *held = held.saturating_add(count);
        }
    }
}

/// One stream of a proxy stands for it: the one that its filters' configurations come over.
fn takes_filters(proxy: &Proxy) -> bool {
    matches!(proxy.only, None | Some(Kind::Extension))
}

/// Whether a filter configuration is one of Headgate's own filters. That of `jwt_authn` has no plan of a model.
fn is_filter(name: &str) -> bool {
    name != names::ECDS_JWT
}

/// The configurations of Headgate's filters that a proxy requests, by name.
pub fn filter_configurations(status: &KindStatus) -> impl Iterator<Item = (&str, &Acked)> {
    let resources = status.resources.iter();
    let resources = resources.map(|(name, acked)| (&**name, acked));
    resources.filter(|(name, _)| is_filter(name))
}

/// The configurations of Headgate's filters that it ACKed; `None` if it ACKed no version of one of them.
fn acked(status: &KindStatus) -> Option<Vec<&Acked>> {
    let never = |name: &Arc<str>| is_filter(name) && !status.resources.contains_key(name);
    if status.nacked.keys().any(never) || status.waiting.keys().any(never) {
        return None;
    }
    let acked: Vec<&Acked> = filter_configurations(status)
        .map(|(_, acked)| acked)
        .collect();
    let has_all = acked.iter().all(|resource| !resource.acked.is_empty());
    (!acked.is_empty() && has_all).then_some(acked)
}

/// The policy revisions that all configurations of these origins hold; `None` if an origin is not known.
fn held(origins: &[&Origin]) -> Option<PolicyRevisions> {
    if origins.is_empty() || !origins.iter().all(|origin| origin.is_known()) {
        return None;
    }
    let mut all = origins.iter().map(|origin| provenance::policies(origin));
    let first = all.next()?;
    Some(all.fold(first, |held, other| {
        let both = held.into_iter().filter_map(|(id, revision)| {
            let least = revision.least(other.get(&id)?)?.clone();
            Some((id, least))
        });
        both.collect()
    }))
}

#[cfg(test)]
mod tests {
    use headgate_xds::session::Nacked;

    use super::*;

    fn runs(resources: &[(&str, &str)]) -> KindStatus {
        let resource = |(name, acked): &(&str, &str)| {
            let acked = Acked {
                wanted: "new".into(),
                acked: (*acked).into(),
                ..Acked::default()
            };
            ((*name).into(), acked)
        };
        KindStatus {
            resources: resources.iter().map(resource).collect(),
            ..KindStatus::default()
        }
    }

    fn versions(status: &KindStatus) -> Option<Vec<&str>> {
        let acked = acked(status)?;
        Some(acked.into_iter().map(|acked| &*acked.acked).collect())
    }

    #[test]
    fn a_proxy_charges_where_it_has_a_filter_that_limits() {
        let (decide, inbound) = (ChargeAt::Decide, ChargeAt::Inbound);
        for (filters, expected) in [
            (&["headgate"][..], vec![decide]),
            (&["headgate.follow"], vec![inbound]),
            (&["headgate", "headgate.follow"], vec![decide, inbound]),
            (
                &["headgate.traffic-tag", "headgate.traffic-tag.follow"],
                vec![],
            ),
            (
                &["headgate.traffic-tag", "headgate.token-bucket"],
                vec![decide],
            ),
            (&["headgate.token-bucket.follow"], vec![inbound]),
            (&[], vec![]),
        ] {
            let resources: Vec<_> = filters.iter().map(|name| (*name, "v")).collect();
            let charges = charges_at(&runs(&resources));
            assert_eq!(Vec::from_iter(charges), expected, "{filters:?}");
        }
    }

    #[test]
    fn a_proxy_counts_for_acked_and_not_for_sent_versions() {
        let old = runs(&[
            ("headgate.token-bucket", "old"),
            ("headgate.traffic-tag", "new"),
        ]);
        assert_eq!(
            versions(&old),
            Some(vec!["old", "new"]),
            "the lesser of both counts"
        );
        assert_eq!(versions(&runs(&[("headgate", "")])), None, "sent only");
        assert_eq!(versions(&runs(&[])), None);
        // The filter of tokens has policies of its own.
        let both = runs(&[("headgate", "new"), ("headgate.jwt", "")]);
        assert_eq!(versions(&both), Some(vec!["new"]));
        assert!(tokens(&both).is_none() && requests(&both, "headgate.jwt"));
        let verifies = runs(&[("headgate.jwt", "new")]);
        assert_eq!(versions(&verifies), None);
        assert!(tokens(&verifies).is_some());
        // It runs the last good one while it refuses the new one, and nothing where it never had one.
        let refusal = Nacked {
            version: "new".to_owned(),
            message: "no".to_owned(),
            ..Nacked::default()
        };
        let mut refuses = runs(&[("headgate", "old")]);
        refuses.nacked.insert("headgate".into(), refusal.clone());
        assert_eq!(versions(&refuses), Some(vec!["old"]));
        refuses
            .nacked
            .insert("headgate.traffic-tag".into(), refusal);
        assert_eq!(versions(&refuses), None);
    }
}
