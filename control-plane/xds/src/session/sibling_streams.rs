//! Make before break over several streams (server rule 3): what a session must know about the other streams of its client.
//!
//! A proxy that uses per-type services has a stream for each kind (Envoy has one even for each EDS cluster and each route
//! table), and each stream has its own session. A session needs little from its siblings, and looks it up only when it may
//! matter to what is due: whether clusters of the siblings can take traffic, what the siblings' resources still route to, and
//! whether the siblings have acknowledged their routes and filters.
//!
//! A cluster counts as warm once the client has acknowledged it and its endpoints. Per-type streams do not show that it also
//! waits for a health check.
//!
//! Two rules are left to the client here. Endpoints do not follow a cluster that is sent again: the client asks for them, as
//! Envoy does with a new stream for the new cluster. And a version of a route that the client may have applied (see
//! `unconfirmed`) is not offered again: a cluster that left the snapshot and that the route may use stays until the client
//! accepts a newer version.
//!
//! Pure: the siblings are arguments. Invariant: without siblings a session decides as on an aggregated stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::resource::{Kind, Resource};

use super::Session;

/// The state of the other streams of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SiblingStreams {
    /// Clusters that come on another stream and cannot take traffic yet.
    unwarmed: BTreeMap<Arc<str>, UnwarmedCluster>,
    /// Clusters that resources of another stream route to; `None` if one of them may route anywhere.
    used_clusters: Option<BTreeSet<Arc<str>>>,
    /// Endpoints that left the snapshot and whose clusters, which came on another stream, are still there.
    kept_endpoints: BTreeSet<Arc<str>>,
    /// Whether another stream brings routes or filters that are not acknowledged as this session's snapshot has them.
    routes_unacked: bool,
    /// Whether there is another stream.
    exist: bool,
    /// The newest recreation of a cluster on another stream that this session has handled.
    handled_recreation: Option<Instant>,
}

/// A cluster that cannot take traffic yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnwarmedCluster {
    /// Whether it is a suspect of a rejected response.
    pub(super) is_suspected: bool,
    /// Whether it was rejected, and the client has no other version of it and none in flight.
    pub(super) is_rejected: bool,
}

impl SiblingStreams {
    /// A cluster that comes on another stream, if it cannot take traffic yet.
    pub(super) fn unwarmed(&self, cluster: &str) -> Option<UnwarmedCluster> {
        self.unwarmed.get(cluster).copied()
    }

    /// The clusters that resources of other streams route to; `None` if one of them may route anywhere.
    pub(super) fn used_clusters(&self) -> Option<impl Iterator<Item = &Arc<str>>> {
        let used = self.used_clusters.as_ref();
        (used.is_some() || !self.exist).then(|| used.into_iter().flatten())
    }

    /// Whether endpoints that left the snapshot are still in use.
    pub(super) fn keep_endpoints(&self, name: &str) -> bool {
        self.kept_endpoints.contains(name)
    }

    /// Whether the routes and filters of the other streams are acknowledged.
    pub(super) fn routes_are_acked(&self) -> bool {
        !self.routes_unacked
    }
}

impl Session {
    /// Takes note of the client's other streams. Call it before [`Session::poll`] if there are any.
    pub fn update_siblings(&mut self, others: &[&Session], now: Instant) {
        if others.is_empty() && !self.siblings.exist {
            return;
        }
        let mut siblings = SiblingStreams {
            exist: !others.is_empty(),
            ..self.siblings.clone()
        };
        let late = self.deadline.is_some_and(|at| at <= now);
        let may_matter = |kind: Kind| {
            let state = self.kind(kind);
            let opened = state.subscription.opened();
            opened && (late || state.dirty || !state.waits.is_empty())
        };
        let mut kinds = Kind::PUSH_ORDER.into_iter();
        if kinds.any(|kind| kind.routes_to_clusters() && may_matter(kind)) {
            siblings.unwarmed = self.unwarmed_of(others);
        }
        if may_matter(Kind::Cluster) || self.gate.watches_use() {
            siblings.used_clusters = used_by(others);
        }
        if may_matter(Kind::Endpoints) || !self.siblings.kept_endpoints.is_empty() {
            siblings.routes_unacked = !self.routes_are_acked(others);
            siblings.kept_endpoints = self.endpoints_kept_by(others);
        }
        siblings.handled_recreation = self.resend_endpoints_of_recreated(others);
        self.apply_siblings(siblings);
    }

    /// Offers endpoints again that were sent before their cluster was recreated: Envoy drops endpoints with their cluster, and
    /// the new cluster warms until they arrive again. Returns the newest recreation handled.
    fn resend_endpoints_of_recreated(&mut self, others: &[&Session]) -> Option<Instant> {
        let recreations = others
            .iter()
            .map(|o| o.kind(Kind::Cluster).ledger.newest_recreation());
        let newest = recreations.max().flatten();
        let endpoints = self.kind(Kind::Endpoints);
        if newest <= self.siblings.handled_recreation || !endpoints.subscription.opened() {
            return self.siblings.handled_recreation;
        }
        let mut stale = Vec::new();
        for other in others {
            for (cluster, held) in other.kind(Kind::Cluster).ledger.held.iter() {
                let Some(recreated_at) = held.recreated_at else {
                    continue;
                };
                let needed = other.needed_endpoints(cluster).into_iter();
                let needed = needed.filter(|name| endpoints.ledger.may_hold(name));
                let is_stale = |name: &&Arc<str>| {
                    endpoints.subscription.wants(name)
                        && !endpoints.ledger.accepted_since(name, recreated_at)
                        && !endpoints.ledger.offered_since(name, recreated_at)
                };
                stale.extend(needed.filter(is_stale).cloned());
            }
        }
        let endpoints = self.kind_mut(Kind::Endpoints);
        endpoints.dirty |= !stale.is_empty();
        endpoints.ledger.resend.extend(stale);
        newest
    }

    /// Whether anything may be due.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now) || self.kinds.iter().any(|state| state.dirty)
    }

    /// Whether any resource waits for another one.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.kinds.iter().any(|state| !state.waits.is_empty())
    }

    /// Adopts a new state of the siblings: a resource that waits, or a cluster that lingers, may be due now.
    fn apply_siblings(&mut self, siblings: SiblingStreams) {
        if siblings == self.siblings {
            return;
        }
        let endpoints_changed = siblings.kept_endpoints != self.siblings.kept_endpoints;
        self.siblings = siblings;
        self.kind_mut(Kind::Endpoints).dirty |= endpoints_changed;
        for state in &mut self.kinds {
            state.dirty |= !state.waits.is_empty();
        }
        self.kind_mut(Kind::Cluster).dirty |= self.gate.watches_use();
    }

    /// The clusters that this session's resources route to and that cannot take traffic yet, by the streams that bring them.
    fn unwarmed_of(&self, others: &[&Session]) -> BTreeMap<Arc<str>, UnwarmedCluster> {
        let routing = Kind::PUSH_ORDER.into_iter();
        let routing = routing.filter(|kind| kind.routes_to_clusters());
        let wanted = routing
            .filter(|kind| self.kind(*kind).subscription.opened())
            .flat_map(|kind| self.snapshot.of(kind));
        let keys = wanted.flat_map(|resource| resource.requires());
        let names: BTreeSet<&Arc<str>> = keys
            .filter(|key| key.kind == Kind::Cluster)
            .map(|key| &key.name)
            .collect();
        let opened = |other: &&&Session| other.kind(Kind::Cluster).subscription.opened();
        let with_clusters: Vec<&&Session> = others.iter().filter(opened).collect();
        let unwarmed = names.into_iter().filter_map(|name| {
            let brings = |other: &&&&Session| other.kind(Kind::Cluster).subscription.wants(name);
            let brings_it = with_clusters.iter().find(brings)?;
            Some((name.clone(), brings_it.unwarmed_here(name, others)?))
        });
        unwarmed.collect()
    }

    /// A cluster of this session, if it cannot take traffic yet. Its endpoints may come on any of `streams`.
    fn unwarmed_here(&self, cluster: &Arc<str>, streams: &[&Session]) -> Option<UnwarmedCluster> {
        let ledger = &self.kind(Kind::Cluster).ledger;
        let held = ledger.held.get(cluster);
        let held = held.filter(|held| held.acked.is_some());
        let opened = |other: &&&Session| other.kind(Kind::Endpoints).subscription.opened();
        let with_endpoints: Vec<&&Session> = streams.iter().filter(opened).collect();
        let is_warm = held.is_some_and(|held| {
            // The client does not get endpoints from this server.
            if with_endpoints.is_empty() {
                return !held.resumed;
            }
            // The client's answer about the cluster does not tell whether it has endpoints: Envoy withholds the answer while a
            // cluster warms on an aggregated stream only.
            let mut needed = self.needed_endpoints(cluster).into_iter();
            needed.all(|name| {
                let has_answered = |other: &&&Session| -> bool {
                    // On one stream the endpoints follow the cluster.
                    let recreated_at = held.recreated_at.filter(|_| !std::ptr::eq(**other, self));
                    self.endpoints_answered(name, other, recreated_at)
                };
                with_endpoints.iter().any(has_answered)
            })
        });
        (!is_warm).then(|| UnwarmedCluster {
            is_suspected: ledger.is_suspected(cluster),
            is_rejected: self.rejects_every_version(cluster),
        })
    }

    /// The endpoints that a cluster of this session needs to warm. A cluster that left the snapshot needs those of its own name.
    fn needed_endpoints<'a>(&'a self, cluster: &'a Arc<str>) -> Vec<&'a Arc<str>> {
        let wanted = self.snapshot.get(Kind::Cluster, cluster);
        wanted.map_or_else(
            || vec![cluster],
            |wanted| self.snapshot.endpoints_of(wanted),
        )
    }

    /// Whether the client has accepted endpoints on another stream, or rejected the version wanted here: either ends the warming.
    /// Endpoints that were sent before the cluster was recreated do not count.
    fn endpoints_answered(
        &self,
        endpoints: &str,
        other: &Session,
        recreated_at: Option<Instant>,
    ) -> bool {
        let ledger = &other.kind(Kind::Endpoints).ledger;
        let wanted = self.snapshot.get(Kind::Endpoints, endpoints);
        let is_rejected = |wanted: &Arc<Resource>| {
            let rejection = ledger.rejections.get(endpoints, wanted.version());
            rejection.is_some()
        };
        let is_accepted = ledger.acked(endpoints).is_some()
            && recreated_at.is_none_or(|moment| ledger.accepted_since(endpoints, moment));
        is_accepted || wanted.is_some_and(is_rejected)
    }

    /// The endpoints that the client has, that left the snapshot, and whose clusters it still has.
    fn endpoints_kept_by(&self, others: &[&Session]) -> BTreeSet<Arc<str>> {
        let held = self.kind(Kind::Endpoints).ledger.possibly_held();
        let vanished = held.filter(|name| self.snapshot.get(Kind::Endpoints, name).is_none());
        let vanished: Vec<&Arc<str>> = vanished.collect();
        if vanished.is_empty() {
            return BTreeSet::new();
        }
        let used: BTreeSet<&str> = others.iter().flat_map(|o| o.used_endpoints()).collect();
        let kept = vanished.into_iter().filter(|name| used.contains(&***name));
        kept.cloned().collect()
    }
}

/// The clusters that resources of these streams route to; `None` if one of them may route anywhere.
fn used_by(streams: &[&Session]) -> Option<BTreeSet<Arc<str>>> {
    let mut all = BTreeSet::new();
    for stream in streams {
        all.extend(stream.used_clusters_here()?);
    }
    Some(all)
}
