//! Make before break (server rule 3): what must wait for a cluster, and what keeps one alive.
//!
//! In: a resource that routes to a cluster waits until the client has acknowledged that cluster in
//! some version (to Envoy that means warmed). A refused cluster, or one not taken within
//! `warm_timeout`, leaves the client on the resource it has; the wait goes on and is reported. A
//! client that has *no* version of the resource gets it then all the same: there is nothing to keep,
//! and one bad cluster must not leave a fresh proxy without any route. (Not while another version of
//! the refused cluster is on its way or warms: that makes the exception needless.)
//! Endpoints of which none is left wait for the routes and filters that send nobody there any more: until the client has
//! acknowledged these, at most `warm_timeout`, it keeps the endpoints it has.
//! Out: a vanished cluster is removed only `linger` after nothing the client holds, or may hold,
//! routes to it: a request paused for its body still has the old route.
//!
//! Clusters that the client does not get from us (no cluster subscription on any of its streams, or not by that name) are
//! somebody else's to order and hold nothing back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::resource::{Kind, Resource};

use super::Session;

/// What a resource waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The clusters the client has not acknowledged; none where endpoints wait for routes and filters.
    pub clusters: Vec<String>,
    /// Whether all of them were refused or timed out: the client keeps what it has.
    pub failed: bool,
}

/// When each wait and each linger began.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    needed: BTreeMap<String, Instant>,
    yielding: BTreeMap<String, Instant>,
    unused: BTreeMap<String, Instant>,
    /// Whether the client has clusters that are gone from the snapshot.
    vanished: bool,
}

impl Gate {
    /// Whether the end of a route's use may start a linger.
    pub(super) fn watches_use(&self) -> bool {
        self.vanished
    }

    /// Starts the clock of every cluster waited for, and forgets those that are not any more.
    pub(super) fn note_waits<'a>(&mut self, waits: impl Iterator<Item = &'a Wait>, now: Instant) {
        let wanted: BTreeSet<&String> = waits.flat_map(|wait| &wait.clusters).collect();
        self.needed.retain(|cluster, _| wanted.contains(cluster));
        for cluster in wanted {
            self.needed.entry(cluster.clone()).or_insert(now);
        }
    }

    /// Whether a vanished cluster must still be kept.
    pub(super) fn lingers(&self, cluster: &str, linger: Duration, now: Instant) -> bool {
        self.unused
            .get(cluster)
            .is_none_or(|since| now < *since + linger)
    }

    /// The next moment at which a wait fails or a linger ends.
    pub(super) fn deadline(
        &self,
        warm_timeout: Duration,
        linger: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let waits = self.needed.values().map(|since| *since + warm_timeout);
        let yields = self.yielding.values().map(|since| *since + warm_timeout);
        let lingers = self.unused.values().map(|since| *since + linger);
        waits
            .chain(yields)
            .chain(lingers)
            .filter(|at| *at > now)
            .min()
    }
}

impl Session {
    /// `Err` with what it waits for if the resource must not go out yet.
    pub(super) fn pass(&self, resource: &Resource, now: Instant) -> Result<(), Wait> {
        if self.is_kept_for_now(resource, now) {
            return Err(Wait {
                clusters: Vec::new(),
                failed: false,
            });
        }
        if !resource.kind().routes_to_clusters() {
            return Ok(());
        }
        let clusters: Vec<String> = resource
            .requires()
            .iter()
            .filter(|key| key.kind == Kind::Cluster && self.is_cold(&key.name))
            .map(|key| key.name.clone())
            .collect();
        if clusters.is_empty() {
            return Ok(());
        }
        let failed = clusters
            .iter()
            .all(|cluster| self.failed_to_warm(cluster, now));
        let ledger = &self.kind(resource.kind()).ledger;
        if failed && !ledger.may_hold_another(resource.name(), resource.version()) {
            return Ok(());
        }
        Err(Wait { clusters, failed })
    }

    /// Whether the client keeps what it has of a resource that yields: routes and filters come first.
    fn is_kept_for_now(&self, resource: &Resource, now: Instant) -> bool {
        let ledger = &self.kind(resource.kind()).ledger;
        let name = resource.name();
        // A client that asks for it, or whose cluster is to warm, is answered.
        if !resource.yields() || ledger.acked(name).is_none() || ledger.must_repeat(name) {
            return false;
        }
        let since = self.gate.yielding.get(name);
        let late = since.is_some_and(|since| now >= *since + self.options.warm_timeout);
        let behind = |kind: &Kind| {
            let state = self.kind(*kind);
            kind.routes_to_clusters()
                && state.subscription.opened()
                && state.acked.as_deref() != Some(self.snapshot.version(*kind))
        };
        !late && (self.beside.behind() || Kind::PUSH_ORDER.iter().any(behind))
    }

    /// Starts the clock of what yields and is held back, and forgets what the client has by now, or is not to have.
    pub(super) fn note_yielding<'a>(
        &mut self,
        kind: Kind,
        waits: impl Iterator<Item = &'a String>,
        now: Instant,
    ) {
        let (snapshot, ledger) = (&self.snapshot, &self.kinds[kind.index()].ledger);
        self.gate.yielding.retain(|name, _| {
            let wanted = snapshot.get(kind, name).filter(|wanted| wanted.yields());
            wanted.is_some_and(|wanted| {
                ledger
                    .current(name)
                    .is_none_or(|known| *known.version != *wanted.version())
            })
        });
        for name in waits {
            self.gate.yielding.entry(name.clone()).or_insert(now);
        }
    }

    /// Whether a cluster that the client is to get from us cannot yet take its traffic.
    fn is_cold(&self, cluster: &str) -> bool {
        let clusters = self.kind(Kind::Cluster);
        if !clusters.subscription.wants(cluster) {
            return self.beside.cold(cluster).is_some();
        }
        let held = clusters
            .ledger
            .held
            .get(cluster)
            .filter(|held| held.acked.is_some());
        held.is_none_or(|held| held.resumed && self.lacks_endpoints(cluster))
    }

    /// A client that reconnects lists a cluster that is still warming like any other; that it has
    /// the endpoints, or has refused them, tells them apart.
    fn lacks_endpoints(&self, cluster: &str) -> bool {
        let ledger = &self.kind(Kind::Endpoints).ledger;
        let unanswered = |name: &str| {
            let wanted = self.snapshot.get(Kind::Endpoints, name);
            let refused = wanted.is_some_and(|r| ledger.refusals.get(name, r.version()).is_some());
            ledger.acked(name).is_none() && !refused
        };
        self.snapshot
            .get(Kind::Cluster, cluster)
            .is_some_and(|resource| {
                self.snapshot
                    .endpoints_of(resource)
                    .into_iter()
                    .any(unanswered)
            })
    }

    fn failed_to_warm(&self, cluster: &str, now: Instant) -> bool {
        let timed_out = self
            .gate
            .needed
            .get(cluster)
            .is_some_and(|since| now >= *since + self.options.warm_timeout);
        // A suspect is being looked into: whether it is refused is known soon. So is whether another
        // version, wanted before the refused one was wanted again, is taken, or warms.
        let beside = self.beside.cold(cluster);
        let clusters = self.kind(Kind::Cluster);
        if let Some(cold) = beside.filter(|_| !clusters.subscription.wants(cluster)) {
            return cold.refused || (timed_out && !cold.suspected);
        }
        if timed_out && !clusters.ledger.is_suspected(cluster) {
            return true;
        }
        self.refuses_all_of(cluster)
    }

    /// Whether the wanted version of a cluster was refused, and no other one is there or comes.
    pub(super) fn refuses_all_of(&self, cluster: &str) -> bool {
        let ledger = &self.kind(Kind::Cluster).ledger;
        let wanted = self.snapshot.get(Kind::Cluster, cluster);
        let refused =
            wanted.is_some_and(|wanted| ledger.refusals.get(cluster, wanted.version()).is_some());
        refused && !ledger.has_or_may_take(cluster)
    }

    /// Starts the linger of vanished clusters that nothing routes to, and stops it for the others.
    pub(super) fn note_unused(&mut self, now: Instant) {
        let vanished: BTreeSet<String> = self
            .kind(Kind::Cluster)
            .ledger
            .perhaps_held()
            .filter(|name| self.snapshot.get(Kind::Cluster, name).is_none())
            .cloned()
            .collect();
        self.gate.vanished = !vanished.is_empty();
        if vanished.is_empty() {
            self.gate.unused.clear();
            return;
        }
        let routes = self.kind_mut(Kind::Route);
        routes.dirty |= !routes.ledger.doubtful.is_empty();
        let used = self.used_clusters();
        self.gate
            .unused
            .retain(|cluster, _| vanished.contains(cluster));
        for cluster in vanished {
            if used
                .as_ref()
                .is_none_or(|used| used.contains(cluster.as_str()))
            {
                self.gate.unused.remove(&cluster);
            } else {
                self.gate.unused.entry(cluster).or_insert(now);
            }
        }
    }

    /// The clusters that something the client holds or may hold routes to, by whatever stream it came; `None` if it holds
    /// something of which we do not know where it routes to.
    fn used_clusters(&self) -> Option<BTreeSet<String>> {
        let mut used = self.used_here()?;
        used.extend(self.beside.used()?.cloned());
        Some(used)
    }

    /// The same of what came by this stream.
    pub(super) fn used_here(&self) -> Option<BTreeSet<String>> {
        let mut used = BTreeSet::new();
        let routing = Kind::PUSH_ORDER
            .into_iter()
            .filter(|kind| kind.routes_to_clusters());
        for known in routing.flat_map(|kind| self.kind(kind).ledger.possibly_running()) {
            let clusters = known
                .requires
                .as_ref()?
                .iter()
                .filter(|k| k.kind == Kind::Cluster);
            used.extend(clusters.map(|key| key.name.clone()));
        }
        Some(used)
    }

    /// The endpoint resources of the clusters that the client holds.
    pub(super) fn used_endpoints(&self) -> BTreeSet<&str> {
        let mut used = BTreeSet::new();
        for (cluster, held) in &self.kind(Kind::Cluster).ledger.held {
            let requires = held.current().and_then(|known| known.requires.as_ref());
            let keys = requires.iter().flat_map(|keys| keys.iter());
            let named = keys.filter(|k| k.kind == Kind::Endpoints);
            let names: Vec<&str> = named.map(|key| key.name.as_str()).collect();
            if names.is_empty() {
                used.insert(cluster.as_str());
            }
            used.extend(names);
        }
        used
    }
}
