//! What a client's request does to the session: its answer to a response, and what it wants now.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::resource::Kind;

use super::good::good_of;
use super::known::Known;
use super::message::{Event, Interest, Protocol, Request, parse_wire_version};
use super::subscription::Changed;
use super::{Session, TooManyNames};

impl Session {
    /// A request of the client.
    ///
    /// # Errors
    /// [`TooManyNames`] if it subscribes to more than a stream may; the stream is to be closed.
    pub fn request(&mut self, request: Request, now: Instant) -> Result<(), TooManyNames> {
        let kind = request.kind;
        let newest = self.kind(kind).newest_nonce;
        let nonce = request.nonce.parse::<u64>().ok();
        if let Some(nonce) = nonce {
            self.answer(kind, nonce, request.error, now);
        }
        // In state of the world a list that answers an older response may itself be older than what
        // a newer answer will say; a delta is never stale.
        let stale = newest.is_some() && !request.nonce.is_empty() && nonce != newest;
        match request.interest {
            Interest::Whole { names, .. } if stale => self.note_left_out(kind, &names),
            Interest::Whole { names, version } => self.replace_interest(kind, &names, &version),
            Interest::Change {
                subscribe,
                unsubscribe,
                initial,
            } => {
                self.change_interest(kind, &subscribe, &unsubscribe, &initial);
            }
        }
        let names: usize = self
            .kinds
            .iter()
            .map(|k| k.subscription.names().len())
            .sum();
        let limit = self.options.max_names;
        if names > limit {
            Err(TooManyNames { limit })
        } else {
            Ok(())
        }
    }

    fn answer(&mut self, kind: Kind, nonce: u64, error: Option<String>, now: Instant) {
        let only_newest = self.protocol == Protocol::StateOfTheWorld;
        let snapshot = self.snapshot.clone();
        let options = self.options.clone();
        let state = self.kind_mut(kind);
        let Some(sent) = state.ledger.answered(nonce, only_newest) else {
            return;
        };
        let items = sent
            .items
            .iter()
            .map(|(name, known)| (name.clone(), known.wire()))
            .collect();
        let mut accepted = Vec::new();
        let unsure = state.ledger.any_suspect() || !state.ledger.doubtful.is_empty();
        let looks = only_newest || error.is_some() || unsure || sent.is_retry();
        let event = match error {
            None => {
                state.named = Some(sent.version.clone());
                accepted.extend(good_of(kind, &sent));
                state.ledger.accept(sent, now);
                Event::Acked { kind, items }
            }
            Some(message) => {
                let rearms = |n: &str| snapshot.get(kind, n).is_some_and(|r| r.rearm().is_some());
                state.ledger.refuse(&sent, &message, rearms, &options, now);
                // Not everything is with the client after all.
                state.sent.clone_from(&state.acked);
                Event::Nacked {
                    kind,
                    items,
                    message,
                }
            }
        };
        // A plain ACK makes nothing due of its own kind: looking would cost every ACK a full pass.
        state.dirty |= looks;
        if !state.dirty && state.ledger.in_flight() == 0 {
            state.acked.clone_from(&state.sent);
        }
        self.accepted.extend(accepted);
        self.events.push(event);
        self.look_at_dependants(kind);
    }

    /// An answer about clusters may release what waits for them; one about routes may end their use.
    fn look_at_dependants(&mut self, kind: Kind) {
        if matches!(kind, Kind::Cluster | Kind::Endpoints) {
            for state in &mut self.kinds {
                state.dirty |= !state.waits.is_empty();
            }
        } else if kind.routes_to_clusters() {
            self.kind_mut(Kind::Cluster).dirty |= self.gate.watches_use();
            self.release(kind);
        }
    }

    /// A stale list changes nothing, but what it leaves out is gone at the client.
    fn note_left_out(&mut self, kind: Kind, names: &[String]) {
        let named: BTreeSet<&String> = names.iter().collect();
        let state = self.kind_mut(kind);
        let wanted = state.subscription.names().iter();
        let left_out = wanted.filter(|name| !named.contains(name)).cloned();
        state.left_out.extend(left_out);
    }

    fn replace_interest(&mut self, kind: Kind, names: &[String], version: &str) {
        let state = self.kind_mut(kind);
        let mut changed = state.subscription.replace(kind, names);
        let left_out = std::mem::take(&mut state.left_out);
        let again = names.iter().filter(|name| left_out.contains(*name));
        changed.asked.extend(again.cloned());
        if changed.first {
            self.recall(kind, !version.is_empty());
            // Nothing was sent unasked before; what was recalled stays.
            changed.new.clear();
        }
        if changed.first && !version.is_empty() {
            self.resume_whole(kind, version);
            return;
        }
        let owed = changed.first
            || changed.asked_all
            || !changed.asked.is_empty()
            || !changed.dropped.is_empty();
        let ledger = &mut self.kind_mut(kind).ledger;
        ledger.owed |= owed && kind.is_full_state();
        self.apply_change(kind, changed);
    }

    /// A client that reconnects with the version it last accepted. That says only that it may have
    /// something under each name: it may since have applied part of a response that it refused, so
    /// everything is sent again. The next response of clusters or listeners replaces all of them: what
    /// the client had is in it if we remember, and else nothing is assumed.
    fn resume_whole(&mut self, kind: Kind, version: &str) {
        self.recall_held(kind, version);
        let state = self.kind_mut(kind);
        state.dirty = true;
        if kind.is_full_state() {
            state.ledger.owed = true;
            state.brought = state.named.is_none();
            return;
        }
        for name in state.subscription.names() {
            let unknown = Known {
                version: "".into(),
                retry: 0,
                requires: None,
                resource: None,
            };
            state.ledger.resume(name, unknown);
        }
    }

    fn change_interest(
        &mut self,
        kind: Kind,
        subscribe: &[String],
        unsubscribe: &[String],
        initial: &[(String, String)],
    ) {
        let mut changed = self
            .kind_mut(kind)
            .subscription
            .change(kind, subscribe, unsubscribe);
        if changed.first {
            self.recall(kind, !initial.is_empty());
            self.resume(kind, initial);
            let ledger = &mut self.kind_mut(kind).ledger;
            ledger.owed = changed.asked_all && initial.is_empty();
            changed.new.clear();
            // What the client said it has is not sent again merely because it subscribes to it.
            changed.asked_all = false;
            changed.asked.retain(|name| !ledger.held.contains_key(name));
        }
        self.apply_change(kind, changed);
    }

    /// A client that reconnects and lists what it has.
    fn resume(&mut self, kind: Kind, initial: &[(String, String)]) {
        let snapshot = self.snapshot.clone();
        let state = self.kind_mut(kind);
        for (name, wire) in initial
            .iter()
            .filter(|(name, _)| state.subscription.wants(name))
        {
            let (version, retry) = parse_wire_version(wire);
            let same = snapshot
                .get(kind, name)
                .filter(|resource| resource.version() == version);
            let requires = same.map(|resource| resource.shared_requires());
            let known = Known {
                version: version.into(),
                retry,
                requires,
                resource: None,
            };
            state.ledger.resume(name, known);
        }
    }

    fn apply_change(&mut self, kind: Kind, changed: Changed) {
        if changed == Changed::default() {
            return;
        }
        let snapshot = self.snapshot.clone();
        let delta = self.protocol == Protocol::Delta;
        let state = self.kind_mut(kind);
        // Whatever it was sent unasked it may have thrown away.
        for name in &changed.new {
            state.ledger.forget(name);
            // Where removals are sent, one may be under way behind it.
            if !kind.reports_removal() {
                state.ledger.still_comes(name);
            }
        }
        let everything = changed
            .asked_all
            .then(|| snapshot.of(kind).map(|r| r.name().to_owned()));
        // A name dropped from a wildcard subscription stays wanted, and the client has let go of it.
        let (regained, dropped): (Vec<_>, Vec<_>) = changed
            .dropped
            .into_iter()
            .partition(|name| state.subscription.wants(name));
        for name in changed
            .asked
            .into_iter()
            .chain(everything.into_iter().flatten())
            .chain(regained)
        {
            if snapshot.get(kind, &name).is_some() {
                state.ledger.forced.insert(name);
            } else if delta && kind.reports_removal() {
                state.ledger.missing.insert(name);
            }
        }
        for name in dropped {
            state.ledger.forget(&name);
        }
        let unwanted: Vec<_> = state
            .ledger
            .held
            .keys()
            .filter(|n| !state.subscription.wants(n))
            .cloned()
            .collect();
        for name in unwanted {
            state.ledger.forget(&name);
        }
        state.dirty = true;
        // Routes that are dropped, or only now known to be there, change which clusters are used.
        if kind.routes_to_clusters() && self.gate.watches_use() {
            self.kind_mut(Kind::Cluster).dirty = true;
        }
    }
}
