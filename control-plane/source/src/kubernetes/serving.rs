//! Which of a carrier's pods are there to serve, and how many of them are wanted.
//!
//! A carrier may own more than servers: the workers of a leader, a transformer or a router beside a predictor. Invariant: what
//! can never be an endpoint is neither wanted nor missed, or capacity (ready ÷ wanted) would stay below what is there.

use std::collections::BTreeSet;

use headgate_model::CarrierKey;

use super::carriers::LONGEST;
use super::objects::{Body, Object};
use super::store::{Key, Store, What};

/// The port that a pod serves on.
pub(super) struct Port<'a> {
    /// `None` where it names none, and so serves nobody.
    pub(super) number: Option<u16>,
    /// The port annotation, where that is neither a number nor the name of a port.
    pub(super) refused: Option<&'a str>,
}

/// The annotation's, else the one named `http`, else the one named `grpc`. The pod's annotation comes before the carrier's.
pub(super) fn port<'a>(pod: &'a Object, carrier: &'a Object) -> Port<'a> {
    let named = |wanted: &str| match &pod.body {
        Body::Pod { ports, .. } => ports
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, port)| *port),
        _ => None,
    };
    let written = pod.meta.port().or_else(|| carrier.meta.port());
    let chosen = written.and_then(|text| {
        let number = text.parse::<u16>().ok().filter(|port| *port != 0);
        number.or_else(|| named(text))
    });
    Port {
        number: chosen.or_else(|| named("http")).or_else(|| named("grpc")),
        refused: written.filter(|_| chosen.is_none()),
    }
}

impl Store {
    /// The pods of a carrier that serve now or will: they have a port that serves, and do not end.
    pub(super) fn serving(&self, key: &CarrierKey, carrier: &Object) -> BTreeSet<&Key> {
        let members = self.members.get(key).into_iter().flatten();
        members
            .filter(|member| {
                let pod = self.objects.get(*member);
                pod.is_some_and(|pod| {
                    member.0 == What::Pods && lives(pod) && port(pod, carrier).number.is_some()
                })
            })
            .collect()
    }

    /// Whether a pod is there for others that serve: it belongs to a leader, or to a part of a whole whose other part serves.
    /// What has a number of replicas is no whole of parts: its pods are meant to be alike.
    pub(super) fn helps(&self, pod: &Key, serving: &BTreeSet<&Key>) -> bool {
        let whole = |owner: &Key| {
            let body = self.objects.get(owner).map(|object| &object.body);
            let whole = matches!(
                body,
                Some(Body::Owner { replicas: None, .. } | Body::Pod { .. })
            );
            whole && !self.idle(owner, serving)
        };
        self.above(pod).iter().any(whole)
    }

    /// Replicas that a carrier wants: of a Service, what its pods' owners want together.
    pub(super) fn desired(&self, at: &Key, key: &CarrierKey, serving: &BTreeSet<&Key>) -> u32 {
        if at.0 != What::Services {
            return self.wants(at, serving, LONGEST).unwrap_or(1);
        }
        let members = self.members.get(key).into_iter().flatten();
        let owners: BTreeSet<Key> = members
            .map(|member| self.outermost(member).unwrap_or_else(|| member.clone()))
            .collect();
        let wanted = self.want(owners.iter().collect(), serving, LONGEST);
        wanted.unwrap_or(0)
    }

    /// What an object says that it wants, else what those that it owns want. `None` where nothing says.
    fn wants(&self, key: &Key, serving: &BTreeSet<&Key>, depth: usize) -> Option<u32> {
        let object = self.objects.get(key)?;
        match &object.body {
            Body::Pod { .. } => lives(object).then_some(1),
            Body::Owner {
                replicas: Some(replicas),
                ..
            } => Some(*replicas),
            _ => {
                let children = self.children.get(&object.meta.uid).into_iter().flatten();
                self.want(children.collect(), serving, depth.checked_sub(1)?)
            }
        }
    }

    /// What these want together, without those whose pods do not serve; all of them where that is nobody.
    fn want(&self, mut all: Vec<&Key>, serving: &BTreeSet<&Key>, depth: usize) -> Option<u32> {
        if all.iter().any(|one| !self.idle(one, serving)) {
            all.retain(|one| !self.idle(one, serving));
        }
        let wanted = all
            .into_iter()
            .filter_map(|one| self.wants(one, serving, depth));
        wanted.reduce(u32::saturating_add)
    }

    /// Whether an object has pods, or is one, and none of them serves. One whose pods are still to be made is wanted.
    fn idle(&self, key: &Key, serving: &BTreeSet<&Key>) -> bool {
        let uid = self.objects.get(key).map(|object| &object.meta.uid);
        let mut all = uid.map(|uid| self.below(uid)).unwrap_or_default();
        all.insert(key.clone());
        let live = |key: &Key| self.objects.get(key).is_some_and(lives);
        let mut pods = all.iter().filter(|k| k.0 == What::Pods && live(k));
        let none = pods.clone().next().is_none();
        !none && !pods.any(|pod| serving.contains(pod))
    }
}

/// Whether an object is not about to go: a pod that ended for good only waits to be removed.
fn lives(object: &Object) -> bool {
    !object.meta.terminating && !object.has_ended()
}
