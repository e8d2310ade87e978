//! The ledger of one kind of resources: the client's versions, the responses in flight, and the rejections (server rule 2).
//!
//! A NACK rejects a *response*, and clients differ in what they do with the rest of it: Envoy applies the good clusters and
//! listeners of a rejected response, but may have stopped half-way through endpoints, routes or filter configurations. Its
//! message is for people; the server parses nothing from it. So the ledger assumes nothing about a rejected response and finds
//! the resource at fault by bisection:
//!
//! - a rejected response with **one** item marks that version of that name as rejected for good;
//! - a rejected response with several items makes each item that is still at that version a *suspect*. Suspects are offered again
//!   in two halves, each a response of its own (a *probe*), and a rejected half is halved again. Good items are accepted with the
//!   first accepted probe; a bad one is found after at most ⌈log₂ n⌉ + 1 further offers. What the client applied before is merely
//!   sent again, which is harmless;
//! - an item whose wanted version changes is no longer a suspect: the newest other version is offered as usual.
//!
//! Invariant: a rejected version is never offered again, except as a numbered retry, whose bytes and version differ, where the
//! resource has a retry body.

mod bisection;
mod entries;
mod rejections;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::resource::Kind;

use super::shared_map::{Pool, SharedMap};

pub(super) use entries::{HeldResource, PendingResponse, ResourceVersion};
pub(super) use rejections::{Rejection, Rejections};

/// The ledger of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) held: SharedMap<HeldResource>,
    in_flight: VecDeque<PendingResponse>,
    /// The rejections of the client, on this stream and on earlier ones.
    pub(super) rejections: Rejections,
    /// Versions that a rejected response contained and that are offered again in probes only.
    suspects: BTreeMap<Arc<str>, Arc<str>>,
    probes: VecDeque<Vec<Arc<str>>>,
    /// Names to offer even though the client should have them.
    pub(super) resend: BTreeSet<Arc<str>>,
    /// Versions that the client may have applied from rejected responses, until it accepts one of that name.
    pub(super) unconfirmed: BTreeMap<Arc<str>, Vec<ResourceVersion>>,
    /// Requested names that are not in the snapshot, to be reported as removed.
    pub(super) missing: BTreeSet<Arc<str>>,
    /// A response is due even if it is empty or repeats an earlier one.
    pub(super) response_owed: bool,
    /// A response removed something on this stream, so that a name may come back.
    has_removed: bool,
    newest_recreation: Option<Instant>,
}

impl Ledger {
    /// The version of a name that the client runs once it has accepted every response in flight.
    pub(super) fn newest(&self, name: &str) -> Option<&ResourceVersion> {
        self.held.get(name).and_then(HeldResource::newest)
    }

    /// The version of a name that the client runs.
    pub(super) fn acked(&self, name: &str) -> Option<&ResourceVersion> {
        self.held.get(name).and_then(|held| held.acked.as_ref())
    }

    /// Names that the client holds, or may hold.
    pub(super) fn possibly_held(&self) -> impl Iterator<Item = &Arc<str>> {
        let unconfirmed = self
            .unconfirmed
            .keys()
            .filter(|name| !self.held.contains_key(name));
        self.held.keys().chain(unconfirmed)
    }

    /// Whether the client holds a name, or may hold it.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        self.held.contains_key(name) || self.unconfirmed.contains_key(name)
    }

    /// Whether the client has a version of this name, or one that it has not rejected is in flight.
    pub(super) fn has_or_may_accept(&self, name: &str) -> bool {
        let rejected = |v: &ResourceVersion| self.rejections.get(name, v.version()).is_some();
        let held = self.held.get(name);
        held.is_some_and(|held| {
            held.acked.is_some() || held.offered.as_ref().is_some_and(|(_, v)| !rejected(v))
        })
    }

    /// Whether the client has, or may have, another version of this name.
    pub(super) fn may_hold_another(&self, name: &str, version: &str) -> bool {
        let held = self.held.get(name).into_iter();
        let held = held.flat_map(|held| held.acked.iter().chain(held.newest()));
        let mut versions = held.chain(self.unconfirmed_of(name));
        versions.any(|held| held.version() != version)
    }

    /// Whether the client runs, or may run, a version of this name that it is not known to have rejected.
    pub(super) fn may_run_unrejected(&self, name: &str, rejected: &impl Fn(&str) -> bool) -> bool {
        let acked = self.acked(name).into_iter();
        let mut versions = acked.chain(self.unconfirmed_of(name));
        versions.any(|held| !rejected(held.version()))
    }

    /// The versions of this name that the client may have applied from rejected responses.
    pub(super) fn unconfirmed_of(&self, name: &str) -> &[ResourceVersion] {
        self.unconfirmed.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a version that the client should have is offered all the same: the client asked for it, it must follow a
    /// cluster, or the client may have applied another version since.
    pub(super) fn must_repeat(&self, name: &str) -> bool {
        let in_flight = self.held.get(name).is_some_and(|h| h.offered.is_some());
        self.resend.contains(name) || (!in_flight && !self.unconfirmed_of(name).is_empty())
    }

    /// Every version that the client runs or may come to run.
    pub(super) fn possibly_running(&self) -> impl Iterator<Item = &ResourceVersion> {
        let offered = self.held.values().filter(|held| held.offered.is_some());
        let offered = offered.filter_map(HeldResource::newest);
        let acked = self.held.values().filter_map(|held| held.acked.as_ref());
        acked
            .chain(offered)
            .chain(self.unconfirmed.values().flatten())
    }

    /// The number of unanswered responses.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Removes everything about a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.held.remove(name);
        self.resend.remove(name);
        self.missing.remove(name);
        self.unconfirmed.remove(name);
        self.suspects.remove(name);
    }

    /// The client unsubscribed from this name and subscribed again. Its requests arrive in order, so it applies every response
    /// that it has not answered by now after both: such a response counts as if the client had never unsubscribed.
    pub(super) fn restore_in_flight(&mut self, name: &Arc<str>) {
        let offers = self.in_flight.iter().filter_map(|response| {
            let mut items = response.items.iter();
            let (_, version) = items.find(|(offered, _)| offered == name)?;
            Some((response.nonce, version.clone()))
        });
        let offers: Vec<_> = offers.collect();
        if let Some((first_nonce, _)) = offers.first() {
            let held = HeldResource {
                first_nonce: *first_nonce,
                offered: offers.last().cloned(),
                ..HeldResource::default()
            };
            self.held.insert(name, held);
        }
    }

    /// Records a response that is about to be sent.
    pub(super) fn record_sent(&mut self, response: PendingResponse) {
        let nonce = response.nonce;
        for (name, version) in &response.items {
            self.resend.remove(name);
            // Another version is in flight. The suspected one is no longer probed, so that it is offered as usual if it is
            // wanted again.
            let suspected = self.suspects.get(name);
            if suspected.is_some_and(|suspected| **suspected != *version.version()) {
                self.suspects.remove(name);
            }
            let held = self.held.get_or_insert_with(name, || HeldResource {
                first_nonce: nonce,
                ..HeldResource::default()
            });
            held.offered = Some((nonce, version.clone()));
            if let Some(rejection) = self.rejections.get_mut(name, version.version()) {
                rejection.retry_at = None;
            }
        }
        self.response_owed = false;
        self.has_removed |= response.removes;
        self.in_flight.push_back(response);
    }

    /// Sets the version of the newest response in flight.
    pub(super) fn set_version(&mut self, version: &Arc<str>) {
        if let Some(newest) = self.in_flight.back_mut() {
            newest.version.clone_from(version);
        }
    }

    /// Takes the response with this nonce out of the unanswered ones. In state of the world (`only_newest`) an answer also means
    /// that the client will not answer older responses: their items are offered again.
    pub(super) fn take_answered(
        &mut self,
        nonce: u64,
        only_newest: bool,
    ) -> Option<PendingResponse> {
        let at = self
            .in_flight
            .iter()
            .position(|response| response.nonce == nonce)?;
        if only_newest {
            for skipped in self.in_flight.drain(..at).collect::<Vec<_>>() {
                self.skip(skipped);
            }
            return self.in_flight.pop_front();
        }
        self.in_flight.remove(at)
    }

    /// The client will not answer this response: its items are offered again, suspects in a probe.
    fn skip(&mut self, skipped: PendingResponse) {
        let mut suspects = Vec::new();
        for (name, version) in skipped.items {
            if self.withdraw_offer(&name, skipped.nonce)
                && self.is_suspect(&name, version.version())
            {
                suspects.push(name);
            }
        }
        if !suspects.is_empty() {
            self.probes.push_back(suspects);
        }
    }

    /// Removes the offer of a name, if it is still the newest one. Returns whether it was.
    fn withdraw_offer(&mut self, name: &str, nonce: u64) -> bool {
        let Some(held) = self.held.get_mut(name) else {
            return false;
        };
        let offered = held.offered.as_ref();
        if offered.is_none_or(|(newest, _)| *newest != nonce) {
            return false;
        }
        held.offered = None;
        if held.acked.is_none() {
            self.held.remove(name);
        }
        true
    }

    /// Records at `now` that the client accepted a response.
    pub(super) fn accept(&mut self, response: PendingResponse, now: Instant) {
        for (name, mut version) in response.items {
            version.resource = version.resource.filter(|_| response.is_full);
            self.rejections.remove(&name, version.version());
            let suspected = self.suspects.get(&name);
            if suspected.is_some_and(|suspected| **suspected == *version.version()) {
                self.suspects.remove(&name);
            }
            let held = self.held.get_mut(&name);
            // The client may have unsubscribed from it, or a later response removed it: then it no longer holds it.
            let Some(held) = held.filter(|held| held.first_nonce <= response.nonce) else {
                continue;
            };
            let is_this = |offered: &mut (u64, ResourceVersion)| offered.0 == response.nonce;
            if let Some((_, offered)) = held.offered.take_if(is_this) {
                // Its origin may have changed since it was sent.
                version.descriptor = offered.descriptor;
            }
            if self.has_removed && held.acked.is_none() {
                held.recreated_at = Some(now);
                self.newest_recreation = Some(now);
            }
            held.acked = Some(version);
            held.acked_sent_at = Some(response.sent_at);
            held.resumed = false;
            self.unconfirmed.remove(&name);
        }
    }

    /// The client brought this version from an earlier stream, so it does not reject it.
    pub(super) fn resume(&mut self, name: &Arc<str>, version: ResourceVersion) {
        self.rejections.remove(name, version.version());
        let held = self.held.get_or_insert_with(name, HeldResource::default);
        held.acked = Some(version);
        held.resumed = true;
    }

    /// The client brought exactly these versions from an earlier stream.
    pub(super) fn resume_all(
        &mut self,
        acked: BTreeMap<Arc<str>, ResourceVersion>,
        unconfirmed: BTreeMap<Arc<str>, Vec<ResourceVersion>>,
    ) {
        for (name, version) in acked {
            self.resume(&name, version);
        }
        self.unconfirmed = unconfirmed;
    }

    /// Gives what the client holds to all streams whose clients hold the same, if nothing is in flight. See
    /// [`HeldResource::settled`].
    pub(super) fn compact(&mut self, kind: Kind, is_aggregated: bool, pool: &Pool<HeldResource>) {
        if !self.in_flight.is_empty() {
            return;
        }
        if self.held.may_compact() {
            self.held
                .compact(pool, |held| held.settled(kind, is_aggregated));
        }
        // An empty collection keeps the room of its last content, for as long as an idle stream lives.
        self.in_flight = VecDeque::new();
        for names in [&mut self.resend, &mut self.missing] {
            if names.is_empty() {
                *names = BTreeSet::new();
            }
        }
    }

    /// When the client last accepted a name that it did not hold, after any removal on this stream.
    pub(super) fn newest_recreation(&self) -> Option<Instant> {
        self.newest_recreation
    }

    /// Whether the accepted version of this name was sent at `moment` or later.
    pub(super) fn accepted_since(&self, name: &str, moment: Instant) -> bool {
        let sent_at = self.held.get(name).and_then(|held| held.acked_sent_at);
        sent_at.is_some_and(|at| at >= moment)
    }

    /// Whether an unanswered response with this name was sent at `moment` or later.
    pub(super) fn offered_since(&self, name: &str, moment: Instant) -> bool {
        let mut newer = self.in_flight.iter().filter(|r| r.sent_at >= moment);
        newer.any(|response| {
            let mut items = response.items.iter();
            items.any(|(offered, _)| **offered == *name)
        })
    }

    /// The versions of the unanswered responses.
    pub(super) fn versions_in_flight(&self) -> impl Iterator<Item = Arc<str>> {
        self.in_flight
            .iter()
            .map(|response| response.version.clone())
    }

    /// The versions that the client accepted, including those that an unanswered response may have removed.
    pub(super) fn accepted(&self) -> BTreeMap<Arc<str>, ResourceVersion> {
        let held = self.held.iter();
        let acked = held.filter_map(|(name, held)| Some((name.clone(), held.acked.clone()?)));
        let left_out = self.in_flight.iter().flat_map(|r| r.left_out.clone());
        left_out.chain(acked).collect()
    }

    /// The versions that the client may have applied, of responses that it rejected or has not answered.
    pub(super) fn possibly_applied(&self) -> BTreeMap<Arc<str>, Vec<ResourceVersion>> {
        let mut unconfirmed = self.unconfirmed.clone();
        for (name, version) in self.unanswered() {
            unconfirmed
                .entry(name.clone())
                .or_default()
                .push(version.clone());
        }
        unconfirmed
    }

    /// The items of every unanswered response.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &(Arc<str>, ResourceVersion)> {
        self.in_flight.iter().flat_map(|response| &response.items)
    }
}
