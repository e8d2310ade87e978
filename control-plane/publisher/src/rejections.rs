//! Resources that connected proxies reject → the objects to blame, and the messages.
//!
//! | resource | objects to blame |
//! |---|---|
//! | cluster, endpoints | the carrier that it is made from; of a cluster for the keys of issuers, the policies |
//! | routes | the carriers that brought a version, else the oldest carrier of each model that lost one |
//! | filter configuration | the policies that changed, else the carriers of the models that changed |
//!
//! Changes count since the version that the proxy runs. If it runs none, or if no object changed (listeners and modules come from
//! flags), the control plane itself is blamed.
//!
//! Invariant: a rejection that many proxies share is examined once.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::ModelId;
use headgate_model::{CarrierKey, Plan, PolicyId, Refusal, Subject};
use headgate_translate::provenance::{MODEL, carrier_key, policy_id};
use headgate_xds::fleet::Proxy;
use headgate_xds::session::Nacked;
use headgate_xds::{Kind, OriginObject, Scope};

/// The most rejections that are reported: one cause has many, and each is an Event.
const MAX_REJECTIONS: usize = 32;
/// The longest quote of a proxy's message, in characters.
const QUOTE: usize = 300;

/// A rejection, as many proxies may share it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rejection<'a> {
    scope: &'a Scope,
    kind: Kind,
    name: &'a str,
    /// The rejected version.
    rejected: &'a str,
    /// The version that the proxy runs; empty if none.
    running: &'a str,
}

/// One proxy's part of a rejection, and the messages of all.
struct Details<'a> {
    nacked: &'a Nacked,
    messages: BTreeSet<String>,
}

/// The rejections of these proxies, by the objects to blame.
pub(crate) fn rejections(plan: &Plan, proxies: &[Proxy]) -> BTreeSet<Refusal> {
    let mut refusals = BTreeSet::new();
    for (rejection, details) in grouped(proxies) {
        for object in blamed(&rejection, details.nacked, plan) {
            refusals.extend(details.messages.iter().map(|quote| Refusal {
                message: message(&rejection, &object, quote),
                object: object.clone(),
            }));
        }
    }
    while refusals.len() > MAX_REJECTIONS {
        refusals.pop_last();
    }
    refusals
}

/// Each rejection once, with the messages of all proxies that share it.
fn grouped(proxies: &[Proxy]) -> BTreeMap<Rejection<'_>, Details<'_>> {
    let mut grouped: BTreeMap<Rejection<'_>, Details<'_>> = BTreeMap::new();
    for proxy in proxies {
        for (kind, progress) in &proxy.kinds {
            let status = &progress.status;
            for (name, nacked) in &status.nacked {
                let running = status.resources.get(name);
                let rejection = Rejection {
                    scope: &proxy.scope,
                    kind: *kind,
                    name,
                    rejected: &nacked.version,
                    running: running.map_or("", |resource| &resource.acked),
                };
                let quote = nacked.message.chars().take(QUOTE).collect();
                let details = grouped.entry(rejection).or_insert_with(|| Details {
                    nacked,
                    messages: BTreeSet::new(),
                });
                details.messages.insert(quote);
            }
        }
    }
    grouped
}

fn message(rejection: &Rejection<'_>, object: &Subject, quote: &str) -> String {
    let what = match rejection.kind {
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
    let keeps = if follows_changes(rejection.kind) && rejection.running.is_empty() {
        "has none"
    } else {
        "keeps what it has"
    };
    let name = rejection.name;
    format!(
        "a proxy refuses the {what} {name}{made}, and {keeps}: {quote}. To see which: headgate status"
    )
}

/// Whether a resource of this kind is made from many objects, so that the changed ones are to blame.
fn follows_changes(kind: Kind) -> bool {
    !matches!(kind, Kind::Cluster | Kind::Endpoints)
}

/// The objects to blame for a rejection.
fn blamed(rejection: &Rejection<'_>, nacked: &Nacked, plan: &Plan) -> Vec<Subject> {
    if !follows_changes(rejection.kind) {
        let objects = nacked.origin.objects().iter();
        let blamed = objects.map(|object| match policy_id(object) {
            Some(policy) => policy.into(),
            None => carrier_key(object).into(),
        });
        return blamed.collect();
    }
    let changed: Vec<&OriginObject> = match &nacked.running {
        Some(running) if running.is_known() => nacked.origin.changed_since(running),
        _ => Vec::new(),
    };
    let policies: BTreeSet<PolicyId> = changed
        .iter()
        .filter_map(|object| policy_id(object))
        .collect();
    if !policies.is_empty() {
        return policies.into_iter().map(Subject::from).collect();
    }
    let carriers = changed.iter().filter(|object| object.kind != MODEL);
    let mut carriers: BTreeSet<CarrierKey> = carriers.map(|object| carrier_key(object)).collect();
    if carriers.is_empty() {
        let models = changed.iter().filter_map(|object| {
            let id = ModelId::try_from(object.name.as_str()).ok()?;
            plan.oldest_carrier(&object.namespace, &id)
        });
        carriers = models.cloned().collect();
    }
    if carriers.is_empty() {
        return vec![Subject::ControlPlane];
    }
    carriers.into_iter().map(Subject::from).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
