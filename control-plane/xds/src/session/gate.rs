//! Make before break (server rule 3): what waits for a cluster, and what keeps a cluster.
//!
//! Adding: a resource that routes to a cluster waits until the client ACKs a version of that cluster (for Envoy that means that
//! the cluster is warm). If the client rejects the cluster, or does not ACK it within `warm_timeout`, the client keeps its version
//! of the resource; the wait goes on and is reported as failed. Exception: a client without any version of the resource gets it
//! anyway, so that one bad cluster does not leave a new proxy without routes. The exception does not apply while another version
//! of the cluster is in flight or warming.
//!
//! A removal of the last endpoint waits for the routes and filters that no longer send traffic to them: the client keeps the
//! endpoints it has until it has acknowledged those, at most for `warm_timeout`.
//!
//! Removing: a cluster that left the snapshot is removed `linger` after the last resource that routes to it, or may route to it,
//! has left the client. A request that is paused for its body still has the old route.
//!
//! Clusters that the client does not get from this server (no stream of it subscribes to them) hold nothing back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::resource::{Kind, Resource};

use super::Session;

/// The event that a resource waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The clusters that the client has not acknowledged; empty where endpoints wait for routes and filters.
    pub clusters: Vec<Arc<str>>,
    /// Whether the client rejected all of them or did not take them in time: it keeps the version of the resource that it has.
    pub failed: bool,
}

/// The start of each wait and of each linger.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    /// Clusters that a resource waits for.
    awaited: BTreeMap<Arc<str>, Instant>,
    /// Endpoints that wait for routes and filters.
    deferred: BTreeMap<Arc<str>, Instant>,
    /// Clusters that left the snapshot and that nothing routes to.
    unused: BTreeMap<Arc<str>, Instant>,
    /// Whether the client has clusters that left the snapshot.
    has_vanished: bool,
}

impl Gate {
    /// Whether a linger may start when something no longer routes to a cluster.
    pub(super) fn watches_use(&self) -> bool {
        self.has_vanished
    }

    /// Starts the clock of each awaited cluster, and stops it for the others.
    pub(super) fn track_waits<'a>(&mut self, waits: impl Iterator<Item = &'a Wait>, now: Instant) {
        let awaited: BTreeSet<&Arc<str>> = waits.flat_map(|wait| &wait.clusters).collect();
        self.awaited.retain(|cluster, _| awaited.contains(cluster));
        for cluster in awaited {
            self.awaited.entry(cluster.clone()).or_insert(now);
        }
    }

    /// Whether the client must still keep a cluster that left the snapshot.
    pub(super) fn lingers(&self, cluster: &str, linger: Duration, now: Instant) -> bool {
        let since = self.unused.get(cluster);
        since.is_none_or(|since| now < *since + linger)
    }

    /// When the next wait fails or the next linger ends.
    pub(super) fn deadline(
        &self,
        warm_timeout: Duration,
        linger: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let waits = self.awaited.values().map(|since| *since + warm_timeout);
        let deferred = self.deferred.values().map(|since| *since + warm_timeout);
        let lingers = self.unused.values().map(|since| *since + linger);
        let all = waits.chain(deferred).chain(lingers);
        all.filter(|at| *at > now).min()
    }
}

impl Session {
    /// Whether a resource may be sent now.
    ///
    /// # Errors
    /// The event that it waits for, if it must not be sent yet.
    pub(super) fn may_send(&self, resource: &Resource, now: Instant) -> Result<(), Wait> {
        if self.waits_for_routes(resource, now) {
            return Err(Wait {
                clusters: Vec::new(),
                failed: false,
            });
        }
        if !resource.kind().routes_to_clusters() {
            return Ok(());
        }
        let clusters: Vec<Arc<str>> = resource
            .requires()
            .iter()
            .filter(|key| key.kind == Kind::Cluster && self.is_unwarmed(&key.name))
            .map(|key| key.name.clone())
            .collect();
        if clusters.is_empty() {
            return Ok(());
        }
        let mut each = clusters.iter();
        let failed = each.all(|cluster| self.failed_to_warm(cluster, now));
        let ledger = &self.kind(resource.kind()).ledger;
        if failed && !ledger.may_hold_another(resource.name(), resource.version()) {
            return Ok(());
        }
        Err(Wait { clusters, failed })
    }

    /// Whether routes and filters must be acknowledged before this resource is sent.
    fn waits_for_routes(&self, resource: &Resource, now: Instant) -> bool {
        let ledger = &self.kind(resource.kind()).ledger;
        let name = resource.name();
        // A client that asks for it, or whose cluster is to warm, gets it at once.
        if !resource.is_after_routes() || ledger.acked(name).is_none() || ledger.must_repeat(name) {
            return false;
        }
        let since = self.gate.deferred.get(name);
        let late = since.is_some_and(|since| now >= *since + self.options.warm_timeout);
        let acked = self.siblings.routes_are_acked() && self.routes_are_acked(&[self]);
        !late && !acked
    }

    /// Starts the clock of endpoints that wait for routes and filters, and stops it for those that the client has by now or is no
    /// longer to have.
    pub(super) fn track_deferred_endpoints<'a>(
        &mut self,
        waiting: impl Iterator<Item = &'a Arc<str>>,
        now: Instant,
    ) {
        let ledger = &self.kinds[Kind::Endpoints.index()].ledger;
        let snapshot = &self.snapshot;
        self.gate.deferred.retain(|name, _| {
            let wanted = snapshot.get(Kind::Endpoints, name);
            let wanted = wanted.filter(|wanted| wanted.is_after_routes());
            let newest = ledger.newest(name);
            wanted.is_some_and(|wanted| newest.is_none_or(|v| v.version() != wanted.version()))
        });
        for name in waiting {
            self.gate.deferred.entry(name.clone()).or_insert(now);
        }
    }

    /// Whether a cluster that the client gets from this server cannot take traffic yet.
    fn is_unwarmed(&self, cluster: &str) -> bool {
        let clusters = self.kind(Kind::Cluster);
        if !clusters.subscription.wants(cluster) {
            return self.siblings.unwarmed(cluster).is_some();
        }
        let held = clusters.ledger.held.get(cluster);
        let held = held.filter(|held| held.acked.is_some());
        held.is_none_or(|held| held.resumed && self.lacks_endpoints(cluster))
    }

    /// Whether the client has neither acknowledged nor rejected the endpoints of a cluster. When it reconnects it lists a cluster
    /// that is still warming like any other; its endpoints tell the two apart.
    fn lacks_endpoints(&self, cluster: &str) -> bool {
        let ledger = &self.kind(Kind::Endpoints).ledger;
        let is_unanswered = |name: &Arc<str>| {
            let wanted = self.snapshot.get(Kind::Endpoints, name);
            let rejection = wanted.and_then(|r| ledger.rejections.get(name, r.version()));
            ledger.acked(name).is_none() && rejection.is_none()
        };
        self.snapshot
            .get(Kind::Cluster, cluster)
            .is_some_and(|resource| {
                let mut endpoints = self.snapshot.endpoints_of(resource).into_iter();
                endpoints.any(is_unanswered)
            })
    }

    fn failed_to_warm(&self, cluster: &str, now: Instant) -> bool {
        let since = self.gate.awaited.get(cluster);
        let timed_out = since.is_some_and(|since| now >= *since + self.options.warm_timeout);
        // A suspect is being probed: it is known soon whether the client rejects it. The same holds for another version that was
        // wanted in between and that the client may accept or is warming.
        let clusters = self.kind(Kind::Cluster);
        let sibling = self.siblings.unwarmed(cluster);
        if let Some(sibling) = sibling.filter(|_| !clusters.subscription.wants(cluster)) {
            return sibling.is_rejected || (timed_out && !sibling.is_suspected);
        }
        if timed_out && !clusters.ledger.is_suspected(cluster) {
            return true;
        }
        self.rejects_every_version(cluster)
    }

    /// Whether the client rejected the wanted version of a cluster, and has no other one and none in flight.
    pub(super) fn rejects_every_version(&self, cluster: &str) -> bool {
        let ledger = &self.kind(Kind::Cluster).ledger;
        let wanted = self.snapshot.get(Kind::Cluster, cluster);
        let rejection = wanted.and_then(|w| ledger.rejections.get(cluster, w.version()));
        rejection.is_some() && !ledger.has_or_may_accept(cluster)
    }

    /// Starts the linger of clusters that left the snapshot and that nothing routes to, and stops it for the others.
    pub(super) fn update_lingers(&mut self, now: Instant) {
        let held = self.kind(Kind::Cluster).ledger.possibly_held();
        let vanished = held.filter(|name| self.snapshot.get(Kind::Cluster, name).is_none());
        let vanished: BTreeSet<Arc<str>> = vanished.cloned().collect();
        self.gate.has_vanished = !vanished.is_empty();
        if vanished.is_empty() {
            self.gate.unused.clear();
            return;
        }
        let routes = self.kind_mut(Kind::Route);
        routes.dirty |= !routes.ledger.unconfirmed.is_empty();
        let used = self.used_clusters();
        let unused = &mut self.gate.unused;
        unused.retain(|cluster, _| vanished.contains(cluster));
        for cluster in vanished {
            if used.as_ref().is_none_or(|used| used.contains(&cluster)) {
                unused.remove(&cluster);
            } else {
                unused.entry(cluster).or_insert(now);
            }
        }
    }

    /// The clusters that the client's resources route to, or may route to, on all its streams. `None` if it has a resource of
    /// which the server does not know where it routes to.
    fn used_clusters(&self) -> Option<BTreeSet<Arc<str>>> {
        let mut used = self.used_clusters_here()?;
        used.extend(self.siblings.used_clusters()?.cloned());
        Some(used)
    }

    /// The same for the resources of this stream.
    pub(super) fn used_clusters_here(&self) -> Option<BTreeSet<Arc<str>>> {
        let mut used = BTreeSet::new();
        let routing = Kind::PUSH_ORDER.into_iter();
        let routing = routing.filter(|kind| kind.routes_to_clusters());
        for version in routing.flat_map(|kind| self.kind(kind).ledger.possibly_running()) {
            let keys = version.requires()?.iter();
            let clusters = keys.filter(|key| key.kind == Kind::Cluster);
            used.extend(clusters.map(|key| key.name.clone()));
        }
        Some(used)
    }

    /// The endpoint resources of the clusters that the client holds.
    pub(super) fn used_endpoints(&self) -> BTreeSet<&str> {
        let mut used = BTreeSet::new();
        for (cluster, held) in self.kind(Kind::Cluster).ledger.held.iter() {
            let requires = held.newest().and_then(|version| version.requires());
            let keys = requires.unwrap_or_default().iter();
            let keys = keys.filter(|key| key.kind == Kind::Endpoints);
            let names: Vec<&str> = keys.map(|key| &*key.name).collect();
            if names.is_empty() {
                used.insert(&**cluster);
            }
            used.extend(names);
        }
        used
    }
}
