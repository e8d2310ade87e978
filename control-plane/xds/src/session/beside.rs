//! Make before break over several streams (server rule 3): what the other streams of a proxy say of it.
//!
//! A proxy that uses the services of single kinds has a stream for each (Envoy even one for each EDS cluster and each route
//! table), and each is a session of its own. What one of them must know of the others is little, and is looked up when it may
//! matter to what is due: whether clusters of the others can take traffic, what the others still route to, whether they
//! have settled.
//!
//! A cluster counts as warm once the client acknowledged it and its endpoints: that it also waits for a health check, nothing
//! tells here.
//!
//! What is the client's own here: that endpoints follow a cluster that is sent again. It asks for them anew, as Envoy does with a
//! stream of its own for the cluster's new life. And a doubt about a refused route (see `doubt`) is not asked about: a vanished
//! cluster that it may route to stays until a newer version of that route is accepted.
//!
//! Pure: the others are arguments. Invariant: without others it says nothing, and the session decides as for an aggregated stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::resource::Kind;

use super::Session;

/// What the other streams of a proxy say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// Clusters that come by another stream and cannot take traffic yet.
    cold: BTreeMap<String, Cold>,
    /// Clusters that something routes to which came by another stream; `None` if something does of which we do not know where.
    used: Option<BTreeSet<String>>,
    /// Vanished endpoints of clusters that came by another stream and are still there.
    endpoints: BTreeSet<String>,
    /// Whether routes or filters that come by another stream are not acknowledged as they are wanted here.
    behind: bool,
    /// Whether there is another stream.
    company: bool,
    /// The newest recreation of a cluster on another stream that this session has handled.
    handled_recreation: Option<Instant>,
}

/// Why a cluster takes no traffic yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cold {
    /// Whether it is being found out if it is refused.
    pub(super) suspected: bool,
    /// Whether it was refused, and no other version of it is there or comes.
    pub(super) refused: bool,
}

impl Beside {
    pub(super) fn cold(&self, cluster: &str) -> Option<Cold> {
        self.cold.get(cluster).copied()
    }

    /// The clusters that others route to; `None` if that is not known.
    pub(super) fn used(&self) -> Option<impl Iterator<Item = &String>> {
        let known = self.used.as_ref();
        (known.is_some() || !self.company).then(|| known.into_iter().flatten())
    }

    pub(super) fn holds_endpoints(&self, name: &str) -> bool {
        self.endpoints.contains(name)
    }

    pub(super) fn behind(&self) -> bool {
        self.behind
    }
}

impl Session {
    /// Looks at the other streams of the same client; call it before [`Session::poll`], if there are any.
    pub fn look_at(&mut self, others: &[&Session], now: Instant) {
        if others.is_empty() && !self.beside.company {
            return;
        }
        let mut beside = Beside {
            company: !others.is_empty(),
            ..self.beside.clone()
        };
        let late = self.deadline.is_some_and(|at| at <= now);
        let may_matter = |kind: Kind| {
            let state = self.kind(kind);
            let open = state.subscription.opened();
            open && (late || state.dirty || !state.waits.is_empty())
        };
        if Kind::PUSH_ORDER
            .into_iter()
            .any(|kind| kind.routes_to_clusters() && may_matter(kind))
        {
            beside.cold = self.cold_beside(others);
        }
        if may_matter(Kind::Cluster) || self.gate.watches_use() {
            beside.used = used_by(others);
        }
        if may_matter(Kind::Endpoints) || !self.beside.endpoints.is_empty() {
            beside.behind = self.is_behind(others);
            beside.endpoints = self.kept_for(others);
        }
        beside.handled_recreation = self.renew_endpoints(others);
        self.heed(beside);
    }

    /// Offers endpoints again that were sent before their cluster was recreated: Envoy drops endpoints with their cluster, and the new
    /// cluster warms until they arrive again. Returns the newest recreation handled.
    fn renew_endpoints(&mut self, others: &[&Session]) -> Option<Instant> {
        let recreations = others
            .iter()
            .map(|o| o.kind(Kind::Cluster).ledger.newest_recreation());
        let newest = recreations.max().flatten();
        let endpoints = self.kind(Kind::Endpoints);
        if newest <= self.beside.handled_recreation || !endpoints.subscription.opened() {
            return self.beside.handled_recreation;
        }
        let mut stale = Vec::new();
        for other in others {
            for (cluster, held) in &other.kind(Kind::Cluster).ledger.held {
                let Some(recreated_at) = held.recreated_at else {
                    continue;
                };
                let needed = other.needed_endpoints(cluster).into_iter();
                let needed = needed.filter(|name| endpoints.ledger.may_hold(name));
                let is_stale = |name: &&str| {
                    endpoints.subscription.wants(name)
                        && !endpoints.ledger.accepted_since(name, recreated_at)
                        && !endpoints.ledger.offered_since(name, recreated_at)
                };
                stale.extend(needed.filter(is_stale).map(str::to_owned));
            }
        }
        let endpoints = self.kind_mut(Kind::Endpoints);
        endpoints.dirty |= !stale.is_empty();
        endpoints.ledger.forced.extend(stale);
        newest
    }

    /// Whether anything may be due.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now) || self.kinds.iter().any(|state| state.dirty)
    }

    /// Whether anything is held back from the client.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.kinds.iter().any(|state| !state.waits.is_empty())
    }

    /// What waits, or lingers, may go on now.
    fn heed(&mut self, beside: Beside) {
        if beside == self.beside {
            return;
        }
        let freed = beside.endpoints != self.beside.endpoints;
        self.beside = beside;
        self.kind_mut(Kind::Endpoints).dirty |= freed;
        for state in &mut self.kinds {
            state.dirty |= !state.waits.is_empty();
        }
        self.kind_mut(Kind::Cluster).dirty |= self.gate.watches_use();
    }

    /// What of the clusters that this session's resources route to is cold on the streams that bring them.
    fn cold_beside(&self, others: &[&Session]) -> BTreeMap<String, Cold> {
        let routing = Kind::PUSH_ORDER.into_iter();
        let routing = routing.filter(|kind| kind.routes_to_clusters());
        let wanted = routing
            .filter(|kind| self.kind(*kind).subscription.opened())
            .flat_map(|kind| self.snapshot.of(kind));
        let keys = wanted.flat_map(|resource| resource.requires());
        let names: BTreeSet<&str> = keys
            .filter(|key| key.kind == Kind::Cluster)
            .map(|key| key.name.as_str())
            .collect();
        let opened = |other: &&&Session| other.kind(Kind::Cluster).subscription.opened();
        let bringers: Vec<&&Session> = others.iter().filter(opened).collect();
        let cold = names.into_iter().filter_map(|name| {
            let brings = |other: &&&&Session| other.kind(Kind::Cluster).subscription.wants(name);
            let cold = bringers.iter().find(brings)?.cold_among(name, others)?;
            Some((name.to_owned(), cold))
        });
        cold.collect()
    }

    /// Whether a cluster of this session cannot take traffic, with endpoints that may come by `others`.
    fn cold_among(&self, cluster: &str, others: &[&Session]) -> Option<Cold> {
        let ledger = &self.kind(Kind::Cluster).ledger;
        let held = ledger.held.get(cluster);
        let held = held.filter(|held| held.acked.is_some());
        let opened = |other: &&&Session| other.kind(Kind::Endpoints).subscription.opened();
        let bringers: Vec<&&Session> = others.iter().filter(opened).collect();
        let warm = held.is_some_and(|held| {
            // Where nobody asked for endpoints, they are none of ours to bring.
            if bringers.is_empty() {
                return !held.resumed;
            }
            // An answer about clusters alone says nothing about them: Envoy withholds it while they warm on an aggregated stream
            // only.
            let mut needed = self.needed_endpoints(cluster).into_iter();
            needed.all(|name| {
                let answers = |other: &&&Session| -> bool {
                    // On one stream the endpoints follow the cluster.
                    let recreated_at = held.recreated_at.filter(|_| !std::ptr::eq(**other, self));
                    self.is_answered(name, other, recreated_at)
                };
                bringers.iter().any(answers)
            })
        });
        (!warm).then(|| Cold {
            suspected: ledger.is_suspected(cluster),
            refused: self.refuses_all_of(cluster),
        })
    }

    /// The endpoints that a cluster of this session warms with. One that is gone is taken to have those of its name.
    fn needed_endpoints<'a>(&'a self, cluster: &'a str) -> Vec<&'a str> {
        let wanted = self.snapshot.get(Kind::Cluster, cluster);
        wanted.map_or_else(
            || vec![cluster],
            |wanted| self.snapshot.endpoints_of(wanted),
        )
    }

    /// Whether the client has endpoints by another stream, or refuses those that are wanted here: either ends the warming.
    /// Endpoints that were sent before the cluster was recreated do not count.
    fn is_answered(&self, endpoints: &str, other: &Session, recreated_at: Option<Instant>) -> bool {
        let ledger = &other.kind(Kind::Endpoints).ledger;
        let wanted = self.snapshot.get(Kind::Endpoints, endpoints);
        let refuses = |wanted: &std::sync::Arc<crate::Resource>| {
            let refused = ledger.refusals.get(endpoints, wanted.version());
            refused.is_some()
        };
        let accepted = ledger.acked(endpoints).is_some()
            && recreated_at.is_none_or(|moment| ledger.accepted_since(endpoints, moment));
        accepted || wanted.is_some_and(refuses)
    }

    /// Which of the endpoints that the client has and that are gone belong to clusters that it still has.
    fn kept_for(&self, others: &[&Session]) -> BTreeSet<String> {
        let held = self.kind(Kind::Endpoints).ledger.perhaps_held();
        let gone = held.filter(|name| self.snapshot.get(Kind::Endpoints, name).is_none());
        let gone: Vec<&String> = gone.collect();
        if gone.is_empty() {
            return BTreeSet::new();
        }
        let used: BTreeSet<&str> = others.iter().flat_map(|o| o.used_endpoints()).collect();
        let kept = gone.into_iter().filter(|name| used.contains(name.as_str()));
        kept.cloned().collect()
    }

    fn is_behind(&self, others: &[&Session]) -> bool {
        let behind = |other: &&Session, kind: Kind| {
            let state = other.kind(kind);
            kind.routes_to_clusters()
                && state.subscription.opened()
                && state.acked.as_deref() != Some(self.snapshot.version(kind))
        };
        let mut all = others.iter();
        all.any(|other| Kind::PUSH_ORDER.iter().any(|kind| behind(other, *kind)))
    }
}

fn used_by(others: &[&Session]) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for other in others {
        all.extend(other.used_here()?);
    }
    Some(all)
}
