//! The connected proxies of this replica → how many hold which edition of which policy, and what they refuse.
//!
//! Invariant: a proxy holds what *all* its filter configurations hold that it ACKed; one that ACKed none, or refuses or waits for
//! one it never had, holds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_contract::{ModelId, Version};
use headgate_model::{CarrierKey, Plan, PlannedModel};
use headgate_source::writes::{Editions, Refusal, Tally};
use headgate_xds::Kind;
use headgate_xds::fleet::Proxy;
use headgate_xds::session::{KindStatus, Nacked};

use crate::world::Scopes;

/// Refusals told at most: one cause has many, and each is an Event.
const REFUSALS: usize = 32;
/// As much of what a proxy says as is told, in characters.
const SAID: usize = 300;

/// Counts them.
pub(crate) fn tally(plan: &Plan, scopes: &Scopes, proxies: &[Proxy]) -> Tally {
    let mut tally = Tally::default();
    // Proxies that run the same are looked at once.
    let mut groups: BTreeMap<(BTreeSet<String>, Option<Vec<&str>>), u32> = BTreeMap::new();
    for proxy in proxies.iter().filter(|proxy| takes_filters(proxy)) {
        if let Some(namespaces) = scopes.namespaces(&proxy.scope) {
            let status = proxy.kinds.get(&Kind::Extension);
            let acked = status.and_then(|progress| acked(&progress.status));
            *groups.entry((namespaces, acked)).or_default() += 1;
        }
    }
    for ((namespaces, acked), count) in groups {
        let held = acked.and_then(|versions| held(&versions, scopes));
        tally.enter(count, &namespaces, held.as_deref(), plan);
    }
    let refused = proxies.iter().flat_map(|proxy| &proxy.kinds);
    let refused =
        refused.flat_map(|(kind, progress)| refusals(*kind, &progress.status, plan, scopes));
    tally.refused = refused.collect::<BTreeSet<Refusal>>();
    while tally.refused.len() > REFUSALS {
        tally.refused.pop_last();
    }
    tally
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
fn held(versions: &[&str], scopes: &Scopes) -> Option<Arc<Editions>> {
    let mut all = versions.iter().map(|version| scopes.editions_in(version));
    let mut held = all.next()??;
    for other in all {
        let other = other?;
        if !Arc::ptr_eq(&held, &other) {
            let both = held.iter().filter_map(|(id, edition)| {
                let least = edition.least(other.get(id)?)?;
                Some((id.clone(), least.clone()))
            });
            held = Arc::new(both.collect());
        }
    }
    Some(held)
}

fn refusals(kind: Kind, status: &KindStatus, plan: &Plan, scopes: &Scopes) -> Vec<Refusal> {
    let of_one = |(name, nacked): (&String, &Nacked)| {
        let (what, objects) = match kind {
            Kind::Cluster | Kind::Endpoints => {
                ("cluster", carrier_of(name, plan).into_iter().collect())
            }
            Kind::Extension => {
                let before = status.resources.get(name).map_or("", |r| r.acked.as_str());
                (
                    "filter configuration",
                    news(before, &nacked.version, plan, scopes),
                )
            }
            // What of a route or a listener was refused, and so of which object, only the message says.
            _ => ("", Vec::new()),
        };
        let said: String = nacked.message.chars().take(SAID).collect();
        let refusal = move |object| Refusal {
            object,
            message: format!(
                "a proxy refuses the {what} {name} that was made of it, and keeps what it has: {said}. To see which: headgate status"
            ),
        };
        objects.into_iter().map(refusal).collect::<Vec<_>>()
    };
    status.nacked.iter().flat_map(of_one).collect()
}

/// The carrier that a cluster is made of: `model/<namespace>/<model>[/<version>]`.
fn carrier_of(cluster: &str, plan: &Plan) -> Option<String> {
    let mut parts = cluster.strip_prefix("model/")?.splitn(3, '/');
    let namespace = plan.namespaces.get(parts.next()?)?;
    let model = namespace
        .models
        .get(&ModelId::try_from(parts.next()?).ok()?)?;
    let key = match parts.next() {
        Some(version) => {
            let version = Version::try_from(version).ok()?;
            model.variants.get(&version)?.carriers.first()
        }
        None => oldest(model),
    };
    key.map(CarrierKey::to_string)
}

fn oldest(model: &PlannedModel) -> Option<&CarrierKey> {
    model.carriers.first().map(|carrier| &carrier.key)
}

/// The objects of which a refused filter configuration holds something that the accepted one before it does not: the policies, or
/// else the carriers.
fn news(before: &str, refused: &str, plan: &Plan, scopes: &Scopes) -> Vec<String> {
    let (Some(old), Some(new)) = (scopes.editions_in(before), scopes.editions_in(refused)) else {
        return Vec::new();
    };
    let policies: Vec<String> = new
        .iter()
        .filter(|(id, edition)| old.get(id) != Some(edition))
        .map(|(id, _)| id.to_string())
        .collect();
    if !policies.is_empty() {
        return policies;
    }
    let Some(told) = scopes.told_by(before) else {
        return Vec::new();
    };
    let models = plan.namespaces.iter().flat_map(|(namespace, view)| {
        let models = view.models.iter();
        models.map(move |(id, model)| (namespace, id, model))
    });
    models
        .filter(|(namespace, id, model)| {
            let before = told.model(namespace, id);
            before.is_none_or(|before| before.plan != model.plan)
        })
        .filter_map(|(_, _, model)| oldest(model).map(CarrierKey::to_string))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_model::{CarrierKey, PlannedCarrier, PlannedVariant, Standing};
    use headgate_xds::session::Acked;

    use super::*;

    fn runs(resources: &[(&str, &str)]) -> KindStatus {
        let resource = |(name, acked): &(&str, &str)| {
            let acked = Acked {
                wanted: "new".to_owned(),
                acked: (*acked).to_owned(),
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
            retries: 0,
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

    #[test]
    fn a_cluster_is_made_of_the_carrier_that_brought_its_version() {
        let key = |name: &str| CarrierKey {
            namespace: "default".to_owned(),
            kind: "deployment".to_owned(),
            name: name.to_owned(),
        };
        let mut model = PlannedModel::default();
        let version = Version::try_from("v2.1").unwrap();
        let variant = PlannedVariant {
            carriers: vec![key("two")],
            ..PlannedVariant::default()
        };
        model.variants.insert(version, variant);
        model.carriers = vec![PlannedCarrier {
            key: key("one"),
            standing: Standing::Base,
            share: 0,
            ready: 0,
            desired: 1,
        }];
        let mut plan = Plan::default();
        let view = plan.namespaces.entry("default".to_owned()).or_default();
        let id = ModelId::try_from("llama").unwrap();
        view.models.insert(id, model);
        let of = |cluster: &str| carrier_of(cluster, &plan);
        let told = |name: &str| Some(format!("deployment default/{name}"));
        assert_eq!(of("model/default/llama/v2.1"), told("two"));
        assert_eq!(of("model/default/llama"), told("one"));
        for other in [
            "model/default/llama/v9",
            "model/red/llama",
            "model/default/phi",
            "other",
            "model/",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
