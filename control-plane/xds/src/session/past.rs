//! What outlives a stream: what its client refused, and what a state-of-the-world client had.
//!
//! A client that reconnects tells little. Without this, a refused version would be offered again on every new stream
//! (and Envoy *acknowledges* a filter configuration that it refused, without applying it, when the same bytes come a
//! second time), and a state-of-the-world client would lose clusters that vanished meanwhile under its routes.
//!
//! The rule, per kind and in the order of a stream's requests: as soon as a request shows that the client brings
//! anything along (a version it accepted), it is the process that refused, and its refusals hold. Until then it may
//! have been started anew, with another binary, other files, a port that is free now: everything is offered, once. It
//! has nothing that the offer could hurt, and without it might have no listener at all.
//!
//! Endpoints are the exception: only an answer about them tells a cluster that is warm from one that still waits, so
//! refused ones are offered once more.
//!
//! What a state-of-the-world client had is believed only if the version it names is the one it accepted last that we
//! know of, or one that was under way; else nothing is assumed of it, as if it were new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::resource::Kind;

use super::known::Known;
use super::message::Protocol;
use super::refusals::{Refusals, Rejection};
use super::{KindState, Session};

/// Names whose refusals are remembered, per kind.
const NAMES: usize = 256;

/// What is remembered of a stream.
#[derive(Clone, Debug, Default)]
pub struct Past {
    kinds: [KindPast; 6],
}

#[derive(Clone, Debug, Default)]
struct KindPast {
    refusals: Refusals,
    /// Routes and filter configurations it may have applied from responses it did not accept.
    doubtful: BTreeMap<String, Vec<Known>>,
    held: Option<Held>,
}

/// What a client had, of a kind whose responses replace everything.
#[derive(Clone, Debug)]
struct Held {
    /// What it may name: the version it accepted last, and those that were under way.
    versions: Vec<Arc<str>>,
    acked: BTreeMap<String, Known>,
    doubtful: BTreeMap<String, Vec<Known>>,
}

impl Past {
    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// How many names are remembered.
    #[must_use]
    pub fn size(&self) -> usize {
        let held = |h: &Held| h.acked.len() + h.doubtful.len();
        let of_kind =
            |k: &KindPast| k.refusals.names() + k.doubtful.len() + k.held.as_ref().map_or(0, held);
        self.kinds.iter().map(of_kind).sum()
    }
}

impl Session {
    /// A stream of a client that had another before.
    #[must_use]
    pub fn with_past(mut self, past: Past) -> Self {
        self.past = past;
        self
    }

    /// What to remember for the client's next stream, if this one ended now.
    #[must_use]
    pub fn past(&self, now: Instant) -> Past {
        let mut past = self.past.clone();
        for kind in Kind::PUSH_ORDER {
            let state = self.kind(kind);
            // What was not asked about on this stream stays as it was.
            if state.subscription.opened() {
                past.kinds[kind.index()] = KindPast {
                    refusals: self.refusals(kind, now),
                    doubtful: self.doubts(kind, state),
                    held: self.held(kind, state),
                };
            }
        }
        past
    }

    fn refusals(&self, kind: Kind, now: Instant) -> Refusals {
        let ledger = &self.kind(kind).ledger;
        let mut refusals = ledger.refusals.clone();
        // Perhaps refused by now: bytes that can differ are not offered unchanged, and a retry gets a new number.
        for (name, known) in ledger.unanswered() {
            let wanted = self.snapshot.get(kind, name);
            if wanted.is_some_and(|r| r.rearm().is_some() && r.version() == &*known.version) {
                let told = refusals.get(name, &known.version);
                let message = told.map_or_else(
                    || "the stream ended before it answered".into(),
                    |told| told.message.clone(),
                );
                let rejection = Rejection {
                    version: known.version.clone(),
                    message,
                    retry: known.retry + 1,
                    retry_at: Some(now),
                };
                refusals.enter(name, rejection);
            }
        }
        refusals.at_most(NAMES)
    }

    fn held(&self, kind: Kind, state: &KindState) -> Option<Held> {
        if self.protocol == Protocol::Delta || !kind.is_full_state() {
            return None;
        }
        let ledger = &state.ledger;
        let mut acked = ledger.accepted();
        acked.retain(|name, _| state.subscription.wants(name));
        Some(Held {
            versions: state
                .named
                .clone()
                .into_iter()
                .chain(ledger.under_way())
                .collect(),
            acked,
            doubtful: ledger.perhaps_applied(),
        })
    }

    /// The first request of a kind: what is remembered of it counts, or is forgotten.
    pub(super) fn recall(&mut self, kind: Kind, brings: bool) {
        self.returning |= brings;
        let past = &mut self.past.kinds[kind.index()];
        let refusals = std::mem::take(&mut past.refusals);
        let mut doubtful = std::mem::take(&mut past.doubtful);
        if self.returning && kind != Kind::Endpoints {
            let state = self.kind_mut(kind);
            doubtful.retain(|name, _| state.subscription.wants(name));
            state.ledger.refusals = refusals;
            state.ledger.doubtful = doubtful;
        }
    }

    /// What a state-of-the-world client that names this version has, if that is known. If it is not, its refusals are
    /// forgotten too: a response without the refused version would take away the one before, which it may have.
    pub(super) fn recall_held(&mut self, kind: Kind, version: &str) {
        let held = self.past.kinds[kind.index()].held.take();
        let state = self.kind_mut(kind);
        match held.filter(|held| held.versions.iter().any(|v| **v == *version)) {
            Some(held) => {
                state.named = Some(version.into());
                state.ledger.resume_all(held.acked, held.doubtful);
            }
            None if kind.is_full_state() => state.ledger.refusals = Refusals::default(),
            None => {}
        }
    }

    /// A delta client says itself what it has.
    fn doubts(&self, kind: Kind, state: &KindState) -> BTreeMap<String, Vec<Known>> {
        let sotw = self.protocol == Protocol::StateOfTheWorld;
        if sotw && kind.routes_to_clusters() && !kind.is_full_state() {
            let mut doubtful = state.ledger.perhaps_applied();
            // Not the bytes: they are many, and the next stream starts with sending what is wanted.
            let known = doubtful.values_mut().flatten();
            known.for_each(|known| known.resource = None);
            doubtful
        } else {
            BTreeMap::new()
        }
    }
}
