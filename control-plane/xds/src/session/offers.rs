//! The resources that are due: the difference between the snapshot and what the client has, after every rule that holds something back.
//! Read-only; [`Session::poll`] records what is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::resource::{Kind, Resource, content_hash};

use super::gate::Wait;
use super::ledger::ResourceVersion;
use super::message::Protocol;
use super::{KindState, Session};

/// The due resources of one kind.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// The resources to send.
    pub(super) offers: Vec<Offer>,
    /// Names to report as removed (delta), or that a full response removes by leaving them out.
    pub(super) removed: Vec<Arc<str>>,
    /// A response is due, even without offers.
    pub(super) must_respond: bool,
    /// Resources that are held back, and what they wait for.
    pub(super) waits: BTreeMap<Arc<str>, Wait>,
    /// Whether a wanted version is rejected or a suspect.
    pub(super) rejected: bool,
}

/// A resource to send, in the version that the ledger records.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) resource: Arc<Resource>,
    pub(super) version: ResourceVersion,
    /// Whether it differs from what the client acknowledged. The other offers only complete a full response.
    pub(super) is_change: bool,
}

/// The space left in a delta response.
///
/// A filter configuration is sent alone: if bisection offered it a second time unchanged, Envoy would acknowledge the very
/// bytes it rejected, without applying them. The same holds for everything with a retry body.
struct ResponseSpace {
    bytes: usize,
    items: usize,
}

impl ResponseSpace {
    fn new(bytes: usize) -> Self {
        Self { bytes, items: 0 }
    }

    /// Takes the space for a resource. Returns whether there was enough.
    fn take(&mut self, resource: &Resource) -> bool {
        let alone = resource.kind() == Kind::Extension || resource.retry_body().is_some();
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

/// The decision about a wanted resource.
pub(super) enum Decision {
    /// Send this resource: the wanted one, or a last good version in its place.
    Offer(Arc<Resource>, ResourceVersion),
    /// The client has it.
    Keep,
    /// The client rejected it, or it is a suspect.
    Rejected,
    /// It must not be sent yet.
    Wait(Wait),
}

impl Session {
    /// The due resources of `kind`. Names in `probe` are offered although they are suspects; of a kind that is not sent in full,
    /// nothing else is offered then.
    pub(super) fn due(&self, kind: Kind, probe: &BTreeSet<Arc<str>>, now: Instant) -> Due {
        if self.protocol == Protocol::StateOfTheWorld && kind.is_full_state() {
            self.due_in_full(kind, probe, now)
        } else {
            self.due_in_part(kind, probe, now)
        }
    }

    fn due_in_part(&self, kind: Kind, probe: &BTreeSet<Arc<str>>, now: Instant) -> Due {
        let state = self.kind(kind);
        let mut due = Due {
            must_respond: state.ledger.response_owed,
            ..Due::default()
        };
        let mut space = ResponseSpace::new(self.options.response_bytes);
        for resource in self.wanted(state, kind) {
            if !probe.is_empty() && !probe.contains(resource.name()) {
                continue;
            }
            match self.decide(resource, !probe.is_empty(), now) {
                Decision::Offer(offered, version) if space.take(&offered) => {
                    due.rejected |= offered.version() != resource.version();
                    due.offers.push(Offer {
                        resource: offered,
                        version,
                        is_change: true,
                    });
                }
                Decision::Offer(..) | Decision::Keep => {}
                Decision::Rejected => due.rejected = true,
                Decision::Wait(wait) => {
                    due.waits.insert(resource.key().name.clone(), wait);
                }
            }
        }
        if due.offers.is_empty() && self.protocol == Protocol::Delta {
            due.removed = self.vanished(kind, now);
        }
        due.must_respond |= !due.offers.is_empty() || !due.removed.is_empty();
        due
    }

    /// A state-of-the-world response of clusters or listeners. The client removes what it leaves out, so it holds everything
    /// that is held back as the client has it.
    fn due_in_full(&self, kind: Kind, probe: &BTreeSet<Arc<str>>, now: Instant) -> Due {
        let state = self.kind(kind);
        let mut due = Due {
            must_respond: state.ledger.response_owed,
            ..Due::default()
        };
        for resource in self.wanted(state, kind) {
            let name = resource.name();
            match self.decide(resource, probe.contains(name), now) {
                Decision::Offer(offered, version) => {
                    due.must_respond = true;
                    due.rejected |= offered.version() != resource.version();
                    due.offers.push(Offer {
                        resource: offered,
                        version,
                        is_change: true,
                    });
                    continue;
                }
                Decision::Keep => {}
                Decision::Rejected => due.rejected = true,
                Decision::Wait(wait) => {
                    due.waits.insert(resource.key().name.clone(), wait);
                }
            }
            due.offers.extend(state.repeat(name));
        }
        let vanished = state
            .ledger
            .possibly_held()
            .filter(|n| self.snapshot.get(kind, n).is_none());
        for name in vanished {
            let kept = kind == Kind::Cluster && self.lingers(name, now);
            if kept && state.subscription.wants(name) {
                due.offers.extend(state.repeat(name));
            } else {
                due.must_respond = true;
                due.removed.push(name.clone());
            }
        }
        due
    }

    /// The resources of the snapshot that the client should have: those that it subscribes to, and endpoints that follow their
    /// cluster although the client did not subscribe to them.
    fn wanted<'a>(
        &'a self,
        state: &'a KindState,
        kind: Kind,
    ) -> Box<dyn Iterator<Item = &'a Arc<Resource>> + 'a> {
        if state.subscription.wildcard() {
            return Box::new(self.snapshot.of(kind));
        }
        let names = state.subscription.names();
        let unsubscribed = state
            .ledger
            .resend
            .iter()
            .filter(|name| !names.contains_key(name));
        Box::new(
            names
                .keys()
                .chain(unsubscribed)
                .filter_map(move |n| self.snapshot.get(kind, n)),
        )
    }

    fn decide(&self, resource: &Arc<Resource>, probing: bool, now: Instant) -> Decision {
        let ledger = &self.kind(resource.kind()).ledger;
        let (name, version) = (resource.name(), resource.version());
        let newest = ledger.newest(name).filter(|v| v.version() == version);
        let rejection = ledger.rejections.get(name, version);
        let retry = match (rejection, newest) {
            (Some(rejection), _) => match rejection.retry_at {
                Some(at) if at <= now => rejection.retry,
                _ => {
                    let last_good = self.offer_last_good(resource, now);
                    return last_good.unwrap_or(Decision::Rejected);
                }
            },
            (None, Some(newest)) if probing || ledger.must_repeat(name) => newest.retry,
            (None, Some(_)) => return Decision::Keep,
            (None, None) => 0,
        };
        if ledger.is_suspect(name, version) && !probing {
            return Decision::Rejected;
        }
        if let Err(wait) = self.may_send(resource, now) {
            return Decision::Wait(wait);
        }
        Decision::Offer(resource.clone(), self.version_of(resource, retry))
    }

    /// The version that the ledger records when a resource is sent.
    pub(super) fn version_of(&self, resource: &Arc<Resource>, retry: u32) -> ResourceVersion {
        let kind = resource.kind();
        let is_full = self.protocol == Protocol::StateOfTheWorld && kind.is_full_state();
        let keep_resource = is_full || kind.is_essential();
        ResourceVersion {
            descriptor: resource.descriptor().clone(),
            retry,
            resource: keep_resource.then(|| resource.clone()),
        }
    }

    /// Names that the client has or asked for, that are not in the snapshot, and that may be reported as removed (delta).
    fn vanished(&self, kind: Kind, now: Instant) -> Vec<Arc<str>> {
        if !kind.reports_removal() {
            return Vec::new();
        }
        let ledger = &self.kind(kind).ledger;
        let names: BTreeSet<&Arc<str>> = ledger.possibly_held().chain(&ledger.missing).collect();
        let vanished = names
            .into_iter()
            .filter(|name| self.kind(kind).subscription.wants(name))
            .filter(|name| self.snapshot.get(kind, name).is_none());
        let mut vanished: Vec<Arc<str>> = vanished.cloned().collect();
        if kind == Kind::Endpoints && !vanished.is_empty() {
            let used = self.used_endpoints();
            vanished.retain(|name| !used.contains(&**name) && !self.siblings.keep_endpoints(name));
        }
        vanished.retain(|name| kind != Kind::Cluster || !self.lingers(name, now));
        vanished
    }

    /// Whether the client must still keep a cluster that left the snapshot.
    fn lingers(&self, cluster: &str, now: Instant) -> bool {
        self.kind(Kind::Cluster).ledger.may_hold(cluster)
            && self.gate.lingers(cluster, self.options.linger, now)
    }

    /// The version of a state-of-the-world response: a hash over what the client has once it accepts the response, so that
    /// equal states have equal versions on every stream and replica.
    pub(super) fn state_version(&self, kind: Kind) -> String {
        let state = self.kind(kind);
        let held = state
            .ledger
            .held
            .iter()
            .filter(|(name, _)| state.subscription.wants(name));
        let parts: Vec<(&Arc<str>, Arc<str>)> = held
            .filter_map(|(name, held)| Some((name, held.newest()?.wire())))
            .collect();
        content_hash(
            parts
                .iter()
                .flat_map(|(name, version)| [name.as_bytes(), version.as_bytes()]),
        )
    }
}

impl KindState {
    /// The client's version of this name, to be repeated in a full response.
    fn repeat(&self, name: &str) -> Option<Offer> {
        let acked = self.ledger.acked(name);
        let newest = self.ledger.newest(name)?;
        // The version in flight may have been rejected in an earlier response.
        let rejection = self.ledger.rejections.get(name, newest.version());
        let version = if rejection.is_some() { acked? } else { newest };
        Some(Offer {
            resource: version.resource.clone()?,
            version: version.clone(),
            is_change: acked.is_none_or(|acked| !acked.is(version)),
        })
    }
}
