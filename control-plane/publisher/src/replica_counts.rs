//! The connected proxies of this replica → counts of proxies by revision of each policy and by weights of each model, what they
//! refuse, and the versions that they cannot reach.
//!
//! Invariant: a proxy holds what *all* its filter configurations hold that it ACKed; one that ACKed none, or refuses or waits for
//! one it never had, holds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_contract::ModelId;
use headgate_model::{Plan, PlannedModel};
use headgate_model::{PolicyRevisions, ReplicaCounts, WeightsHeld, same_weights, weights_revision};
use headgate_xds::Kind;
use headgate_xds::fleet::Proxy;
use headgate_xds::loads::Reporter;
use headgate_xds::session::KindStatus;

use crate::history::PlanModels;
use crate::reach::unreached;
use crate::refusals::refusals;
use crate::snapshots::SnapshotStore;

/// Counts them.
pub fn tally(
    plan: &Plan,
    scopes: &SnapshotStore,
    proxies: &[Proxy],
    reporters: &[Reporter],
) -> ReplicaCounts {
    let mut tally = ReplicaCounts::default();
    // Proxies that run the same are looked at once.
    let mut groups: BTreeMap<(BTreeSet<String>, Option<Vec<&str>>), u32> = BTreeMap::new();
    for proxy in proxies.iter().filter(|proxy| takes_filters(proxy)) {
        if let Some(namespaces) = scopes.namespaces(&proxy.scope) {
            let status = proxy.kinds.get(&Kind::Extension);
            let acked = status.and_then(|progress| acked(&progress.status));
            *groups.entry((namespaces, acked)).or_default() += 1;
        }
    }
    let mut planned = BTreeMap::new();
    for ((namespaces, acked), count) in groups {
        let versions = acked.unwrap_or_default();
        let held = held(&versions, scopes);
        tally.enter(count, &namespaces, held.as_deref(), plan);
        let told: Option<Vec<PlanModels>> = versions.iter().map(|v| scopes.told_by(v)).collect();
        let told = told.unwrap_or_default();
        for namespace in namespaces.iter().filter(|_| !told.is_empty()) {
            let revisions = planned.entry(namespace.clone());
            let revisions = revisions.or_insert_with(|| editions_of(plan, namespace));
            weigh(&mut tally.models, namespace, revisions, (count, &told));
        }
    }
    tally.refused = refusals(plan, scopes, proxies);
    tally.unreachable = unreached(plan, scopes, reporters).into_keys().collect();
    tally
}

/// The models of a namespace as planned, with the revision of their weights.
type Weighed<'a> = Vec<(&'a ModelId, &'a PlannedModel, String)>;

fn editions_of<'a>(plan: &'a Plan, namespace: &str) -> Weighed<'a> {
    let models = plan.namespaces.get(namespace).into_iter();
    let models = models.flat_map(|view| &view.models);
    models
        .map(|(id, model)| (id, model, weights_revision(model)))
        .collect()
}

/// Counts proxies whose filters have these plans: they hold a model's weights if every plan has the same.
fn weigh(
    held: &mut WeightsHeld,
    namespace: &str,
    models: &Weighed<'_>,
    (count, told): (u32, &[PlanModels]),
) {
    for (id, planned, revision) in models {
        let mut revisions = told.iter().map(|told| {
            let theirs = told.model(namespace, id)?;
            Some(if same_weights(theirs, planned) {
                revision.clone()
            } else {
                weights_revision(theirs)
            })
        });
        let Some(Some(first)) = revisions.next() else {
            continue;
        };
        if revisions.all(|other| other.as_ref() == Some(&first)) {
            let held = held.entry((namespace.to_owned(), (*id).clone()));
            let held = held.or_default().entry(first).or_default();
            *held = held.saturating_add(count);
        }
    }
}

/// One stream of a proxy stands for it: the one that its filters' configurations come over.
fn takes_filters(proxy: &Proxy) -> bool {
    matches!(proxy.only, None | Some(Kind::Extension))
}

/// The versions that it ACKed, of every filter configuration it has or should have.
fn acked(status: &KindStatus) -> Option<Vec<&str>> {
    let resources = &status.resources;
    let never = |name: &String| !resources.contains_key(name);
    if status.nacked.keys().any(never) || status.waiting.keys().any(never) {
        return None;
    }
    let versions: Vec<&str> = resources.values().map(|r| r.acked.as_str()).collect();
    (!versions.is_empty() && versions.iter().all(|v| !v.is_empty())).then_some(versions)
}

/// What all of these configurations hold.
fn held(versions: &[&str], scopes: &SnapshotStore) -> Option<Arc<PolicyRevisions>> {
    let mut all = versions.iter().map(|version| scopes.editions_in(version));
    let mut held = all.next()??;
    for other in all {
        let other = other?;
        if !Arc::ptr_eq(&held, &other) {
            let both = held.iter().filter_map(|(id, revision)| {
                let least = revision.least(other.get(id)?)?;
                Some((id.clone(), least.clone()))
            });
            held = Arc::new(both.collect());
        }
    }
    Some(held)
}

#[cfg(test)]
mod tests {
    use headgate_xds::session::{Acked, Nacked};

    use super::*;

    fn runs(resources: &[(&str, &str)]) -> KindStatus {
        let resource = |(name, acked): &(&str, &str)| {
            let acked = Acked {
                wanted: "new".to_owned(),
                acked: (*acked).to_owned(),
                ..Acked::default()
            };
            ((*name).to_owned(), acked)
        };
        KindStatus {
            resources: resources.iter().map(resource).collect(),
            ..KindStatus::default()
        }
    }

    #[test]
    fn a_proxy_holds_what_it_acked_and_not_what_it_was_sent() {
        let old = runs(&[
            ("headgate.token-bucket", "old"),
            ("headgate.traffic-tag", "new"),
        ]);
        assert_eq!(
            acked(&old),
            Some(vec!["old", "new"]),
            "the lesser of both counts"
        );
        assert_eq!(acked(&runs(&[("headgate", "")])), None, "sent only");
        assert_eq!(acked(&runs(&[])), None);
        // It runs the last good one while it refuses the new one, and nothing where it never had one.
        let refusal = Nacked {
            version: "new".to_owned(),
            message: "no".to_owned(),
            ..Nacked::default()
        };
        let mut refuses = runs(&[("headgate", "old")]);
        refuses
            .nacked
            .insert("headgate".to_owned(), refusal.clone());
        assert_eq!(acked(&refuses), Some(vec!["old"]));
        refuses
            .nacked
            .insert("headgate.traffic-tag".to_owned(), refusal);
        assert_eq!(acked(&refuses), None);
    }
}
