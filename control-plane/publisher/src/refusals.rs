//! What the connected proxies refuse → the objects that it was made of, and what is said of them.
//!
//! Of a cluster or its endpoints the object is the carrier. Of routes and filter configurations, which are made of everything a
//! proxy may see, it is what is new since those that the proxy runs. A proxy that runs none yet, and a listener, which is made
//! of flags, blame no object: that is said of the control plane.
//!
//! Invariant: what many proxies refuse alike is looked into once.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version};
use headgate_model::Refusal;
use headgate_model::{CarrierKey, Plan, PlannedModel, Subject};
use headgate_translate::origins;
use headgate_xds::fleet::Proxy;
use headgate_xds::{Kind, Scope};

use crate::snapshots::SnapshotStore;

/// Refusals told at most: one cause has many, and each is an Event.
const REFUSALS: usize = 32;
/// As much of what a proxy says as is told, in characters.
const SAID: usize = 300;

/// Something refused, as many proxies may refuse it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Nack<'a> {
    scope: &'a Scope,
    kind: Kind,
    name: &'a str,
    refused: &'a str,
    /// The version that the proxy runs, of the kinds where that is followed; empty if none.
    runs: &'a str,
}

/// What the proxies refuse, by the objects it was made of.
pub(crate) fn refusals(
    plan: &Plan,
    scopes: &SnapshotStore,
    proxies: &[Proxy],
) -> BTreeSet<Refusal> {
    let mut clusters = None;
    let mut refusals = BTreeSet::new();
    for (nack, said) in gathered(proxies) {
        let objects = match nack.kind {
            Kind::Cluster | Kind::Endpoints => {
                let clusters = clusters.get_or_insert_with(|| origins(plan));
                let carrier = clusters.get(nack.name).map(|key| (*key).clone().into());
                carrier.into_iter().collect()
            }
            _ => {
                let seen = scopes.namespaces(nack.scope).unwrap_or_default();
                let news = News { plan, scopes, seen };
                let objects = news.of(&nack);
                if objects.is_empty() {
                    vec![Subject::ControlPlane]
                } else {
                    objects
                }
            }
        };
        for object in objects {
            refusals.extend(said.iter().map(|said| Refusal {
                message: message(&nack, &object, said),
                object: object.clone(),
            }));
        }
    }
    while refusals.len() > REFUSALS {
        refusals.pop_last();
    }
    refusals
}

/// What is refused, each once, with all that is said of it.
fn gathered(proxies: &[Proxy]) -> BTreeMap<Nack<'_>, BTreeSet<String>> {
    let mut gathered: BTreeMap<Nack<'_>, BTreeSet<String>> = BTreeMap::new();
    for proxy in proxies {
        for (kind, progress) in &proxy.kinds {
            let status = &progress.status;
            for (name, nacked) in &status.nacked {
                let runs = status.resources.get(name);
                let nack = Nack {
                    scope: &proxy.scope,
                    kind: *kind,
                    name,
                    refused: &nacked.version,
                    runs: runs.map_or("", |resource| &resource.acked),
                };
                let said = nacked.message.chars().take(SAID).collect();
                gathered.entry(nack).or_default().insert(said);
            }
        }
    }
    gathered
}

fn message(nack: &Nack<'_>, object: &Subject, said: &str) -> String {
    let what = match nack.kind {
        Kind::Cluster => "cluster",
        Kind::Endpoints => "endpoints",
        Kind::Listener => "listener",
        Kind::Route => "routes",
        Kind::Extension => "filter configuration",
        Kind::Secret => "secret",
    };
    let made = match object {
        Subject::ControlPlane => "",
        _ => " made of it",
    };
    let followed = !matches!(nack.kind, Kind::Cluster | Kind::Endpoints);
    let left = if followed && nack.runs.is_empty() {
        "has none"
    } else {
        "keeps what it has"
    };
    let name = nack.name;
    format!(
        "a proxy refuses the {what} {name}{made}, and {left}: {said}. To see which: headgate status"
    )
}

/// What came to a scope since the version that a proxy runs.
struct News<'a> {
    plan: &'a Plan,
    scopes: &'a SnapshotStore,
    /// The namespaces of the scope.
    seen: BTreeSet<String>,
}

impl News<'_> {
    fn of(&self, nack: &Nack<'_>) -> Vec<Subject> {
        match nack.kind {
            Kind::Route => self.in_routes(nack.runs),
            Kind::Extension => self.in_filters(nack.runs, nack.refused),
            _ => Vec::new(),
        }
    }

    /// The carriers that brought a version, or else of the model that lost one: weights and endpoints are not in routes.
    fn in_routes(&self, runs: &str) -> Vec<Subject> {
        let Some(told) = self.scopes.told_by(runs) else {
            return Vec::new();
        };
        let brought = |(namespace, id, model): (&String, &ModelId, &PlannedModel)| {
            let before = told.model(namespace, id);
            let before = before.map(|before| &before.variants);
            let is_new =
                |version: &Version| before.is_none_or(|before| !before.contains_key(version));
            let variants = model.variants.iter();
            let new = variants.filter(|(version, _)| is_new(version));
            let mut carriers: BTreeSet<CarrierKey> = new
                .filter_map(|(_, variant)| variant.carriers.first().cloned())
                .collect();
            if carriers.is_empty() && before.is_some_and(|b| b.len() != model.variants.len()) {
                carriers.extend(model.oldest_carrier().cloned());
            }
            carriers
        };
        let carriers: BTreeSet<CarrierKey> = self.models().flat_map(brought).collect();
        carriers.into_iter().map(Subject::from).collect()
    }

    /// The policies, or else the carriers, of which the filters are told something else.
    fn in_filters(&self, runs: &str, refused: &str) -> Vec<Subject> {
        let revisions = |version| self.scopes.editions_in(version);
        let (Some(old), Some(new)) = (revisions(runs), revisions(refused)) else {
            return Vec::new();
        };
        let concerns = |id| {
            let outcome = self.plan.policies.get(id);
            outcome.is_some_and(|outcome| !outcome.namespaces.is_disjoint(&self.seen))
        };
        let policies: Vec<Subject> = new
            .iter()
            .filter(|(id, revision)| old.get(id) != Some(revision) && concerns(id))
            .map(|(id, _)| id.clone().into())
            .collect();
        if !policies.is_empty() {
            return policies;
        }
        let Some(told) = self.scopes.told_by(runs) else {
            return Vec::new();
        };
        let other = self.models().filter(|(namespace, id, model)| {
            let before = told.model(namespace, id);
            before.is_none_or(|before| before.plan != model.plan)
        });
        let carriers = other.filter_map(|(_, _, model)| model.oldest_carrier());
        carriers.map(|key| key.clone().into()).collect()
    }

    /// The models of the scope.
    fn models(&self) -> impl Iterator<Item = (&String, &ModelId, &PlannedModel)> {
        let views = self.plan.namespaces.iter();
        let seen = views.filter(|(namespace, _)| self.seen.contains(*namespace));
        seen.flat_map(|(namespace, view)| {
            let models = view.models.iter();
            models.map(move |(id, model)| (namespace, id, model))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
