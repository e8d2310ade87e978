//! The history that outlives a stream: the versions that its client rejected, and what a state-of-the-world client had.
//!
//! A client says little when it reconnects. Without its history, each new stream would offer a rejected version again (and Envoy
//! *acknowledges* a filter configuration that it rejected, without applying it, when the same bytes come a second time), and a
//! state-of-the-world client would lose clusters that left the snapshot meanwhile while its routes still use them.
//!
//! The rule, per kind and in the order of a stream's requests: a request that names an earlier accepted version proves that the
//! client is the same process, so its rejections stay valid. Before that, the client may be a new process, with another binary,
//! other files, a port that is free now, so the server offers every version once. This is safe: a new process runs nothing yet,
//! and without the offer it might have no listener at all.
//!
//! Endpoints are the exception: only an answer about them distinguishes a warm cluster from one that still waits, so rejected
//! endpoints are offered once more.
//!
//! The server believes that a state-of-the-world client has what it had only if the version that the client names is the one
//! that it last accepted, or one that was in flight. Otherwise the server assumes nothing, as for a new client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::resource::Kind;

use super::ledger::{Rejection, Rejections, ResourceVersion};
use super::message::Protocol;
use super::{KindState, Session};

/// Names whose rejections are kept, per kind.
const MAX_NAMES: usize = 256;

/// The history of a client, from its earlier streams.
#[derive(Clone, Debug, Default)]
pub struct StreamHistory {
    kinds: [KindHistory; 6],
}

#[derive(Clone, Debug, Default)]
struct KindHistory {
    rejections: Rejections,
    /// Routes and filter configurations that the client may have applied from responses it did not accept.
    unconfirmed: BTreeMap<Arc<str>, Vec<ResourceVersion>>,
    full_state: Option<FullState>,
}

/// The resources that a state-of-the-world client had, of a kind whose responses replace everything.
#[derive(Clone, Debug)]
struct FullState {
    /// The versions that the client may name: the one that it last accepted, and those that were in flight.
    versions: Vec<Arc<str>>,
    acked: BTreeMap<Arc<str>, ResourceVersion>,
    unconfirmed: BTreeMap<Arc<str>, Vec<ResourceVersion>>,
}

impl StreamHistory {
    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// The number of names in it.
    #[must_use]
    pub fn size(&self) -> usize {
        let full_state = |state: &FullState| state.acked.len() + state.unconfirmed.len();
        let of_kind = |kind: &KindHistory| {
            let full_state = kind.full_state.as_ref().map_or(0, full_state);
            kind.rejections.len() + kind.unconfirmed.len() + full_state
        };
        self.kinds.iter().map(of_kind).sum()
    }
}

impl Session {
    /// The session of a client with this history.
    #[must_use]
    pub fn with_history(mut self, history: StreamHistory) -> Self {
        self.history = history;
        self
    }

    /// The history for the client's next stream, if this stream ended at `now`.
    #[must_use]
    pub fn history(&self, now: Instant) -> StreamHistory {
        let mut history = self.history.clone();
        for kind in Kind::PUSH_ORDER {
            let state = self.kind(kind);
            // A kind that the client did not ask for on this stream stays as it was.
            if state.subscription.opened() {
                history.kinds[kind.index()] = KindHistory {
                    rejections: self.rejections_to_keep(kind, now),
                    unconfirmed: self.unconfirmed_to_keep(kind, state),
                    full_state: self.full_state(kind, state),
                };
            }
        }
        history
    }

    fn rejections_to_keep(&self, kind: Kind, now: Instant) -> Rejections {
        let ledger = &self.kind(kind).ledger;
        let mut rejections = ledger.rejections.clone();
        // The client may have rejected an unanswered response by now. A resource with a retry body is not offered again
        // unchanged, and a retry gets a new number.
        for (name, version) in ledger.unanswered() {
            let wanted = self.snapshot.get(kind, name);
            let wanted = wanted.filter(|wanted| wanted.version() == version.version());
            if wanted.is_some_and(|wanted| wanted.retry_body().is_some()) {
                let earlier = rejections.get(name, version.version());
                let message = earlier.map_or_else(
                    || "the stream ended before the proxy answered".into(),
                    |earlier| earlier.message.clone(),
                );
                let rejection = Rejection {
                    version: version.descriptor.version.clone(),
                    message,
                    retry: version.retry + 1,
                    retry_at: Some(now),
                };
                rejections.insert(name, rejection);
            }
        }
        rejections.truncated(MAX_NAMES)
    }

    fn full_state(&self, kind: Kind, state: &KindState) -> Option<FullState> {
        if self.protocol == Protocol::Delta || !kind.is_full_state() {
            return None;
        }
        let ledger = &state.ledger;
        let mut acked = ledger.accepted();
        acked.retain(|name, _| state.subscription.wants(name));
        let accepted = state.accepted_version.clone().into_iter();
        Some(FullState {
            versions: accepted.chain(ledger.versions_in_flight()).collect(),
            acked,
            unconfirmed: ledger.possibly_applied(),
        })
    }

    /// The first request of a kind: its history is restored if the client is `returning`, and else forgotten.
    pub(super) fn restore_history(&mut self, kind: Kind, returning: bool) {
        self.is_returning |= returning;
        let history = &mut self.history.kinds[kind.index()];
        let rejections = std::mem::take(&mut history.rejections);
        let mut unconfirmed = std::mem::take(&mut history.unconfirmed);
        if self.is_returning && kind != Kind::Endpoints {
            let state = self.kind_mut(kind);
            unconfirmed.retain(|name, _| state.subscription.wants(name));
            state.ledger.rejections = rejections;
            state.ledger.unconfirmed = unconfirmed;
        }
    }

    /// Restores what a state-of-the-world client has that names this version, if the history tells. If it does not, the
    /// client's rejections are forgotten too: a response without the rejected version would remove the one before, which the
    /// client may have.
    pub(super) fn restore_full_state(&mut self, kind: Kind, version: &str) {
        let full_state = self.history.kinds[kind.index()].full_state.take();
        let state = self.kind_mut(kind);
        let names_it = |full: &FullState| full.versions.iter().any(|v| **v == *version);
        match full_state.filter(names_it) {
            Some(full) => {
                state.accepted_version = Some(version.into());
                state.ledger.resume_all(full.acked, full.unconfirmed);
            }
            None if kind.is_full_state() => state.ledger.rejections = Rejections::default(),
            None => {}
        }
    }

    /// Unconfirmed routes and filter configurations of a state-of-the-world client. A delta client says itself what it has.
    fn unconfirmed_to_keep(
        &self,
        kind: Kind,
        state: &KindState,
    ) -> BTreeMap<Arc<str>, Vec<ResourceVersion>> {
        let sotw = self.protocol == Protocol::StateOfTheWorld;
        if !sotw || !kind.routes_to_clusters() || kind.is_full_state() {
            return BTreeMap::new();
        }
        let mut unconfirmed = state.ledger.possibly_applied();
        // Without the bytes: they are large, and the next stream sends what is wanted first.
        let versions = unconfirmed.values_mut().flatten();
        versions.for_each(|version| version.resource = None);
        unconfirmed
    }
}
