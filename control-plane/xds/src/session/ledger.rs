//! What a client has of one kind, what is on its way, and what it refused (server rule 2).
//!
//! A NACK refuses a *response*, and what the client did with the rest of it differs: Envoy applies
//! the good clusters and listeners of a refused response, but may have stopped half-way through
//! endpoints, routes or filter configurations. Its message is for people; nothing is parsed from it.
//! So the ledger assumes nothing of a refused response and finds the culprit by bisection:
//!
//! - a refused response with **one** item condemns that name at that version, for good;
//! - of a refused response with several, each item still at that version becomes a *suspect*; suspects
//!   are offered again in two halves, each a response of its own (a *probe*), halved again while
//!   refused. Good items get through with the first accepted probe, a bad one is condemned after at
//!   most ⌈log₂ n⌉ + 1 further offers. What was applied before is merely sent again, which is harmless;
//! - an item whose wanted version changes stops being a suspect: the newest other version is simply
//!   offered.
//!
//! Invariant: a condemned version is never offered again, except as a numbered retry, whose bytes
//! and version differ, where the resource says how (`rearm`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::known::{Held, Known, Sent};
use super::refusals::{Refusals, Rejection};
use crate::options::Options;

/// Versions perhaps applied that are remembered per name; the oldest is forgotten beyond it.
const DOUBTS: usize = 64;

/// The ledger of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) held: BTreeMap<String, Held>,
    in_flight: VecDeque<Sent>,
    /// What it refused, on this stream and on those before.
    pub(super) refusals: Refusals,
    suspects: BTreeMap<String, Arc<str>>,
    probes: VecDeque<Vec<String>>,
    /// Names to offer even though the client should have them.
    pub(super) forced: BTreeSet<String>,
    /// Versions perhaps applied from refused responses, until the client accepts one of that name.
    pub(super) doubtful: BTreeMap<String, Vec<Known>>,
    /// Names asked for and missing, to be reported as gone.
    pub(super) missing: BTreeSet<String>,
    /// A response is due even if it is empty or repeats what was sent.
    pub(super) owed: bool,
    /// Something was removed on this stream, so that a name may come back.
    has_dropped: bool,
    newest_recreation: Option<Instant>,
}

impl Ledger {
    pub(super) fn current(&self, name: &str) -> Option<&Known> {
        self.held.get(name).and_then(Held::current)
    }

    pub(super) fn acked(&self, name: &str) -> Option<&Known> {
        self.held.get(name).and_then(|held| held.acked.as_ref())
    }

    /// Names the client holds, or may hold.
    pub(super) fn perhaps_held(&self) -> impl Iterator<Item = &String> {
        let doubtful = self
            .doubtful
            .keys()
            .filter(|name| !self.held.contains_key(*name));
        self.held.keys().chain(doubtful)
    }

    pub(super) fn may_hold(&self, name: &str) -> bool {
        self.held.contains_key(name) || self.doubtful.contains_key(name)
    }

    /// Whether the client has a version of this name, or one that it has not refused is on its way.
    pub(super) fn has_or_may_take(&self, name: &str) -> bool {
        let refused = |known: &Known| self.refusals.get(name, &known.version).is_some();
        let held = self.held.get(name);
        held.is_some_and(|held| {
            held.acked.is_some() || held.sent.as_ref().is_some_and(|(_, known)| !refused(known))
        })
    }

    /// Whether the client has, or may have, another version under this name.
    pub(super) fn may_hold_another(&self, name: &str, version: &str) -> bool {
        let held = self.held.get(name).into_iter();
        let held = held.flat_map(|held| held.acked.iter().chain(held.current()));
        let mut known = held.chain(self.doubts(name));
        known.any(|known| *known.version != *version)
    }

    /// Whether the client has something under this name, or may have, of which it is not known that it refused it.
    pub(super) fn has_another(&self, name: &str, condemned: &impl Fn(&str) -> bool) -> bool {
        let acked = self.acked(name).into_iter();
        let mut known = acked.chain(self.doubts(name));
        known.any(|known| !condemned(&known.version))
    }

    /// What the client perhaps applied from refused responses under this name.
    pub(super) fn doubts(&self, name: &str) -> &[Known] {
        self.doubtful.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether what the client should have is offered all the same: it was asked for, or must follow
    /// a cluster, or something else may have been applied since.
    pub(super) fn must_repeat(&self, name: &str) -> bool {
        let on_its_way = self.held.get(name).is_some_and(|held| held.sent.is_some());
        self.forced.contains(name) || (!on_its_way && !self.doubts(name).is_empty())
    }

    /// Every version that the client runs or may come to run.
    pub(super) fn possibly_running(&self) -> impl Iterator<Item = &Known> {
        let sent = |held: &'_ Held| held.sent.is_some();
        let newest = self
            .held
            .values()
            .filter(move |held| sent(held))
            .filter_map(Held::current);
        let acked = self.held.values().filter_map(|held| held.acked.as_ref());
        acked.chain(newest).chain(self.doubtful.values().flatten())
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.held.remove(name);
        self.forced.remove(name);
        self.missing.remove(name);
        self.doubtful.remove(name);
        self.suspects.remove(name);
    }

    /// The client dropped this name and asked for it again. Its requests come in order, so what it has
    /// not answered by now it takes afterwards: that is on its way as if it had never been dropped.
    pub(super) fn still_comes(&mut self, name: &str) {
        let offers = self.in_flight.iter().filter_map(|sent| {
            let mut items = sent.items.iter();
            let (_, known) = items.find(|(offered, _)| offered == name)?;
            Some((sent.nonce, known.clone()))
        });
        let offers: Vec<_> = offers.collect();
        if let Some((born, _)) = offers.first() {
            let held = Held {
                born: *born,
                sent: offers.last().cloned(),
                ..Held::default()
            };
            self.held.insert(name.to_owned(), held);
        }
    }

    /// Enters a response that is about to go out.
    pub(super) fn sent(&mut self, sent: Sent) {
        let nonce = sent.nonce;
        for (name, known) in &sent.items {
            self.forced.remove(name);
            // Another version is under way: what was suspected is not looked into any more, so that it is simply
            // offered should it be wanted again.
            if self.suspects.get(name).is_some_and(|s| *s != known.version) {
                self.suspects.remove(name);
            }
            let held = self.held.entry(name.clone());
            let held = held.or_insert_with(|| Held {
                born: nonce,
                ..Held::default()
            });
            held.sent = Some((nonce, known.clone()));
            if let Some(rejection) = self.refusals.get_mut(name, &known.version) {
                rejection.retry_at = None;
            }
        }
        self.owed = false;
        self.has_dropped |= sent.drops;
        self.in_flight.push_back(sent);
    }

    /// Takes the response a nonce names out of the unanswered ones. In state of the world an answer
    /// also settles that older ones will not be answered; their items are to be offered again.
    pub(super) fn answered(&mut self, nonce: u64, only_newest: bool) -> Option<Sent> {
        let at = self.in_flight.iter().position(|sent| sent.nonce == nonce)?;
        if only_newest {
            for skipped in self.in_flight.drain(..at).collect::<Vec<_>>() {
                self.skip(skipped);
            }
            return self.in_flight.pop_front();
        }
        self.in_flight.remove(at)
    }

    /// A response that will not be answered any more: its items are offered again, suspects apart.
    fn skip(&mut self, skipped: Sent) {
        let mut suspects = Vec::new();
        for (name, known) in skipped.items {
            if self.unsend(&name, skipped.nonce) && self.is_suspect(&name, &known.version) {
                suspects.push(name);
            }
        }
        if !suspects.is_empty() {
            self.probes.push_back(suspects);
        }
    }

    /// Takes back an offer, if it is still the newest of that name.
    fn unsend(&mut self, name: &str, nonce: u64) -> bool {
        let Some(held) = self.held.get_mut(name) else {
            return false;
        };
        if held
            .sent
            .as_ref()
            .is_none_or(|(newest, _)| *newest != nonce)
        {
            return false;
        }
        held.sent = None;
        if held.acked.is_none() {
            self.held.remove(name);
        }
        true
    }

    /// The client took everything in this response; `now` is when it said so.
    pub(super) fn accept(&mut self, sent: Sent, now: Instant) {
        for (name, mut known) in sent.items {
            known.resource = known.resource.filter(|_| sent.full);
            self.refusals.withdraw(&name, &known.version);
            if self.suspects.get(&name) == Some(&known.version) {
                self.suspects.remove(&name);
            }
            // Unsubscribed or removed in the meantime: not held any more.
            let Some(held) = self.held.get_mut(&name).filter(|h| h.born <= sent.nonce) else {
                continue;
            };
            if held
                .sent
                .as_ref()
                .is_some_and(|(nonce, _)| *nonce == sent.nonce)
            {
                held.sent = None;
            }
            if self.has_dropped && held.acked.is_none() {
                held.recreated_at = Some(now);
                self.newest_recreation = Some(now);
            }
            held.acked = Some(known);
            held.accepted_offer_at = Some(sent.at);
            held.resumed = false;
            self.doubtful.remove(&name);
        }
    }

    /// The client has this from an earlier stream, so it does not refuse it.
    pub(super) fn resume(&mut self, name: &str, known: Known) {
        self.refusals.withdraw(name, &known.version);
        let held = self.held.entry(name.to_owned()).or_default();
        held.acked = Some(known);
        held.resumed = true;
    }

    /// When the client last accepted a name that it did not hold, after any removal on this stream.
    pub(super) fn newest_recreation(&self) -> Option<Instant> {
        self.newest_recreation
    }

    /// Whether what the client accepted under this name was sent at this moment or later.
    pub(super) fn accepted_since(&self, name: &str, moment: Instant) -> bool {
        let held = self.held.get(name);
        let at = held.and_then(|held| held.accepted_offer_at);
        at.is_some_and(|at| at >= moment)
    }

    /// Whether an unanswered response with this name was sent at this moment or later.
    pub(super) fn offered_since(&self, name: &str, moment: Instant) -> bool {
        let mut newer = self.in_flight.iter().filter(|sent| sent.at >= moment);
        newer.any(|sent| sent.items.iter().any(|(offered, _)| offered == name))
    }

    /// Says by which version the client will name its state once it accepts the newest response.
    pub(super) fn named(&mut self, version: &str) {
        if let Some(newest) = self.in_flight.back_mut() {
            newest.version = version.into();
        }
    }

    /// The versions of the unanswered responses.
    pub(super) fn under_way(&self) -> impl Iterator<Item = Arc<str>> {
        self.in_flight.iter().map(|sent| sent.version.clone())
    }

    /// What the client accepted, with what an unanswered response may or may not have taken from it.
    pub(super) fn accepted(&self) -> BTreeMap<String, Known> {
        let held = self.held.iter();
        let acked = held.filter_map(|(name, held)| Some((name.clone(), held.acked.clone()?)));
        let dropped = self.in_flight.iter().flat_map(|sent| sent.dropped.clone());
        dropped.chain(acked).collect()
    }

    /// What it may have applied of responses that it refused or has not answered.
    pub(super) fn perhaps_applied(&self) -> BTreeMap<String, Vec<Known>> {
        let mut doubtful = self.doubtful.clone();
        for (name, known) in self.unanswered() {
            doubtful
                .entry(name.clone())
                .or_default()
                .push(known.clone());
        }
        doubtful
    }

    /// What the client has from an earlier stream, known exactly.
    pub(super) fn resume_all(
        &mut self,
        acked: BTreeMap<String, Known>,
        doubtful: BTreeMap<String, Vec<Known>>,
    ) {
        for (name, known) in acked {
            self.resume(&name, known);
        }
        self.doubtful = doubtful;
    }

    /// Every unanswered offer.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &(String, Known)> {
        self.in_flight.iter().flat_map(|sent| &sent.items)
    }

    /// The client refused this response: condemn its only item, or bisect. `rearms` says whether a
    /// name may be offered again in other bytes.
    pub(super) fn refuse(
        &mut self,
        sent: &Sent,
        message: &str,
        rearms: impl Fn(&str) -> bool,
        options: &Options,
        now: Instant,
    ) {
        let newest = self.in_flight.is_empty();
        let [(name, known)] = sent.items.as_slice() else {
            // What was applied of a full response must go if it is not wanted any more by now; a
            // newer full response does that, too.
            self.owed |= sent.full && !sent.items.is_empty() && newest;
            self.bisect(sent, now);
            return;
        };
        self.unsend(name, sent.nonce);
        self.suspects.remove(name);
        if let Some(doubts) = self.doubtful.get_mut(name) {
            doubts.retain(|doubt| !doubt.is(known));
        }
        self.doubtful.retain(|_, doubts| !doubts.is_empty());
        if sent.full && self.acked(name).is_none() {
            // The client may still have one from before it reconnected.
            self.doubt(name, known);
        }
        // A client that refused the whole of a full response still has what was left out of it.
        self.owed |= sent.drops && newest;
        let retry = known.retry + 1;
        let retry_at = rearms(name).then(|| now + options.retry_after(retry));
        let (version, message) = (known.version.clone(), message.into());
        self.refusals.enter(
            name,
            Rejection {
                version,
                message,
                retry,
                retry_at,
            },
        );
    }

    /// Makes suspects of everything in a refused response that has not been superseded.
    fn bisect(&mut self, sent: &Sent, now: Instant) {
        let mut suspects = Vec::new();
        for (name, known) in &sent.items {
            let born = self.held.get(name).map(|held| held.born);
            if !sent.full && born.is_none_or(|born| born > sent.nonce) {
                // The client has let go of it since.
                continue;
            }
            let condemned = known.retry == 0 && self.refusals.get(name, &known.version).is_some();
            if sent.full || !condemned {
                self.doubt(name, known);
            }
            if !self.unsend(name, sent.nonce) {
                continue;
            }
            match self.refusals.get_mut(name, &known.version) {
                None => {}
                // A retry among others: offered apart at once, with a number of its own.
                Some(rejection) if known.retry > 0 => {
                    rejection.retry = known.retry + 1;
                    rejection.retry_at = Some(now);
                }
                // Condemned meanwhile.
                Some(_) => continue,
            }
            self.suspects.insert(name.clone(), known.version.clone());
            suspects.push(name.clone());
        }
        let back = suspects.split_off(suspects.len().div_ceil(2));
        for half in [suspects, back] {
            if !half.is_empty() {
                self.probes.push_back(half);
            }
        }
    }

    /// The client may run this version now, or still the one before, or nothing.
    fn doubt(&mut self, name: &str, known: &Known) {
        let doubts = self.doubtful.entry(name.to_owned()).or_default();
        if !doubts.iter().any(|doubt| doubt.is(known)) {
            doubts.push(known.clone());
        }
        if doubts.len() > DOUBTS {
            doubts.remove(0);
        }
    }

    /// Whether this version is suspected, and so offered by probes only.
    pub(super) fn is_suspect(&self, name: &str, version: &str) -> bool {
        self.suspects
            .get(name)
            .is_some_and(|suspected| **suspected == *version)
    }

    /// It is no suspect any more: it is offered with the others again.
    pub(super) fn clear_suspect(&mut self, name: &str) {
        self.suspects.remove(name);
    }

    /// Whether any version under this name is suspected.
    pub(super) fn is_suspected(&self, name: &str) -> bool {
        self.suspects.contains_key(name)
    }

    pub(super) fn any_suspect(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// The next group to offer apart, reduced to the names for which `still` holds at the suspected
    /// version; the others are no suspects any more.
    pub(super) fn next_probe(&mut self, still: impl Fn(&str, &str) -> bool) -> Option<Vec<String>> {
        while let Some(group) = self.probes.pop_front() {
            let (keep, drop): (Vec<_>, Vec<_>) = group.into_iter().partition(|name| {
                self.suspects
                    .get(name)
                    .is_some_and(|version| still(name, version))
            });
            for name in drop {
                self.suspects.remove(&name);
            }
            if !keep.is_empty() {
                return Some(keep);
            }
        }
        None
    }
}
