//! What is due: the difference between the snapshot and what the client has, after every rule that
//! holds something back. Pure reading; [`Session::poll`] enters what is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::resource::{Kind, Resource, content_hash};

use super::gate::Wait;
use super::good::is_vital;
use super::known::Known;
use super::message::Protocol;
use super::{KindState, Session};

/// What one look at a kind found.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// What to put on the wire.
    pub(super) offers: Vec<Offer>,
    /// Names to report as removed (delta), or that a full response drops by leaving them out.
    pub(super) removed: Vec<String>,
    /// A response is due even without offers.
    pub(super) respond: bool,
    /// What is held back, and why.
    pub(super) waits: BTreeMap<String, Wait>,
    /// Whether a wanted version is condemned or suspected.
    pub(super) refused: bool,
}

/// A resource and the version of it to send.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) resource: Arc<Resource>,
    pub(super) known: Known,
    /// Whether it differs from what the client acknowledged; the rest only completes a full response.
    pub(super) fresh: bool,
}

/// What still fits into a response.
///
/// A filter configuration travels alone: offered a second time unchanged, as bisection would,
/// Envoy acknowledges the very bytes it refused without applying them. So does whatever else can be
/// rearmed.
struct Room {
    bytes: usize,
    items: usize,
}

impl Room {
    fn new(bytes: usize) -> Self {
        Self { bytes, items: 0 }
    }

    fn take(&mut self, resource: &Resource) -> bool {
        let alone = resource.kind() == Kind::Extension || resource.rearm().is_some();
        if self.bytes == 0 || (alone && self.items > 0) {
            return false;
        }
        self.items += 1;
        self.bytes = if alone {
            0
        } else {
            self.bytes.saturating_sub(resource.body().len())
        };
        true
    }
}

/// What is to become of a wanted resource.
pub(super) enum Choice {
    /// To be offered: it, or another version in its place.
    Offer(Arc<Resource>, Known),
    /// The client has it.
    Keep,
    /// The client refuses it, or is suspected to.
    Refused,
    /// It must not go out yet.
    Wait(Wait),
}

impl Session {
    /// What is due of `kind`. Names in `probe` are offered though suspect, and for a kind that is
    /// not sent in full they are all that is offered.
    pub(super) fn due(&self, kind: Kind, probe: &BTreeSet<String>, now: Instant) -> Due {
        if self.protocol == Protocol::StateOfTheWorld && kind.is_full_state() {
            self.due_in_full(kind, probe, now)
        } else {
            self.due_in_part(kind, probe, now)
        }
    }

    fn due_in_part(&self, kind: Kind, probe: &BTreeSet<String>, now: Instant) -> Due {
        let state = self.kind(kind);
        let mut due = Due {
            respond: state.ledger.owed,
            ..Due::default()
        };
        let mut room = Room::new(self.options.response_bytes);
        for resource in self.wanted(state, kind) {
            if !probe.is_empty() && !probe.contains(resource.name()) {
                continue;
            }
            match self.choose(resource, !probe.is_empty(), now) {
                Choice::Offer(offered, known) if room.take(&offered) => {
                    due.refused |= offered.version() != resource.version();
                    due.offers.push(Offer {
                        resource: offered,
                        known,
                        fresh: true,
                    });
                }
                Choice::Offer(..) | Choice::Keep => {}
                Choice::Refused => due.refused = true,
                Choice::Wait(wait) => {
                    due.waits.insert(resource.name().to_owned(), wait);
                }
            }
        }
        if due.offers.is_empty() && self.protocol == Protocol::Delta {
            due.removed = self.vanished(kind, now);
        }
        due.respond |= !due.offers.is_empty() || !due.removed.is_empty();
        due
    }

    /// A state-of-the-world response of clusters or listeners: what is left out is removed, so
    /// everything held back appears as the client has it.
    fn due_in_full(&self, kind: Kind, probe: &BTreeSet<String>, now: Instant) -> Due {
        let state = self.kind(kind);
        let mut due = Due {
            respond: state.ledger.owed,
            ..Due::default()
        };
        for resource in self.wanted(state, kind) {
            let name = resource.name();
            match self.choose(resource, probe.contains(name), now) {
                Choice::Offer(offered, known) => {
                    due.respond = true;
                    due.refused |= offered.version() != resource.version();
                    due.offers.push(Offer {
                        resource: offered,
                        known,
                        fresh: true,
                    });
                    continue;
                }
                Choice::Keep => {}
                Choice::Refused => due.refused = true,
                Choice::Wait(wait) => {
                    due.waits.insert(name.to_owned(), wait);
                }
            }
            due.offers.extend(state.repeat(name));
        }
        let gone = state
            .ledger
            .perhaps_held()
            .filter(|n| self.snapshot.get(kind, n).is_none());
        for name in gone {
            let kept = kind == Kind::Cluster && self.is_kept(name, now);
            if kept && state.subscription.wants(name) {
                due.offers.extend(state.repeat(name));
            } else {
                due.respond = true;
                due.removed.push(name.clone());
            }
        }
        due
    }

    /// The resources of the snapshot that the client is to have: those it subscribes to, and those
    /// that follow a cluster unasked.
    fn wanted<'a>(
        &'a self,
        state: &'a KindState,
        kind: Kind,
    ) -> Box<dyn Iterator<Item = &'a Arc<Resource>> + 'a> {
        if state.subscription.wildcard() {
            return Box::new(self.snapshot.of(kind));
        }
        let names = state.subscription.names();
        let unasked = state
            .ledger
            .forced
            .iter()
            .filter(|name| !names.contains(*name));
        Box::new(
            names
                .iter()
                .chain(unasked)
                .filter_map(move |n| self.snapshot.get(kind, n)),
        )
    }

    fn choose(&self, resource: &Arc<Resource>, probing: bool, now: Instant) -> Choice {
        let ledger = &self.kind(resource.kind()).ledger;
        let (name, version) = (resource.name(), resource.version());
        let current = ledger
            .current(name)
            .filter(|known| *known.version == *version);
        let rejection = ledger.refusals.get(name, version);
        let retry = match (rejection, current) {
            (Some(rejection), _) => match rejection.retry_at {
                Some(at) if at <= now => rejection.retry,
                _ => return self.instead(resource, now).unwrap_or(Choice::Refused),
            },
            (None, Some(known)) if probing || ledger.must_repeat(name) => known.retry,
            (None, Some(_)) => return Choice::Keep,
            (None, None) => 0,
        };
        if ledger.is_suspect(name, version) && !probing {
            return Choice::Refused;
        }
        if let Err(wait) = self.pass(resource, now) {
            return Choice::Wait(wait);
        }
        Choice::Offer(resource.clone(), self.known(resource, retry))
    }

    /// What the ledger notes of a version that is offered.
    pub(super) fn known(&self, resource: &Arc<Resource>, retry: u32) -> Known {
        let kind = resource.kind();
        let full = self.protocol == Protocol::StateOfTheWorld && kind.is_full_state();
        let kept = full || is_vital(kind);
        Known {
            version: resource.shared_version(),
            retry,
            requires: Some(resource.shared_requires()),
            resource: kept.then(|| resource.clone()),
        }
    }

    /// Names the client has, or asked for, that are gone and may be reported so (delta).
    fn vanished(&self, kind: Kind, now: Instant) -> Vec<String> {
        if !kind.reports_removal() {
            return Vec::new();
        }
        let ledger = &self.kind(kind).ledger;
        let names: BTreeSet<&String> = ledger.perhaps_held().chain(&ledger.missing).collect();
        let gone = names
            .into_iter()
            .filter(|name| self.kind(kind).subscription.wants(name))
            .filter(|name| self.snapshot.get(kind, name).is_none());
        let mut gone: Vec<String> = gone.cloned().collect();
        if kind == Kind::Endpoints && !gone.is_empty() {
            let used = self.used_endpoints();
            gone.retain(|name| !used.contains(name.as_str()) && !self.beside.holds_endpoints(name));
        }
        gone.retain(|name| kind != Kind::Cluster || !self.is_kept(name, now));
        gone
    }

    /// Whether a vanished cluster must stay with the client for now.
    fn is_kept(&self, cluster: &str, now: Instant) -> bool {
        self.kind(Kind::Cluster).ledger.may_hold(cluster)
            && self.gate.lingers(cluster, self.options.linger, now)
    }

    /// The version of a state-of-the-world response: a hash over what the client has once it
    /// accepts it, so that an equal state has an equal version on every stream and replica.
    pub(super) fn state_version(&self, kind: Kind) -> String {
        let state = self.kind(kind);
        let held = state
            .ledger
            .held
            .iter()
            .filter(|(name, _)| state.subscription.wants(name));
        let parts: Vec<(&String, String)> = held
            .filter_map(|(name, held)| Some((name, held.current()?.wire())))
            .collect();
        content_hash(
            parts
                .iter()
                .flat_map(|(name, version)| [name.as_bytes(), version.as_bytes()]),
        )
    }
}

impl KindState {
    /// What the client has under this name, to be repeated in a full response.
    fn repeat(&self, name: &str) -> Option<Offer> {
        let acked = self.ledger.acked(name);
        // What is on its way may have been refused in an earlier response.
        let sent = self.ledger.current(name)?;
        let condemned = self.ledger.refusals.get(name, &sent.version).is_some();
        let known = if condemned { acked? } else { sent };
        Some(Offer {
            resource: known.resource.clone()?,
            known: known.clone(),
            fresh: acked.is_none_or(|acked| !acked.is(known)),
        })
    }
}
