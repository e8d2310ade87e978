//! The effect of a client's request on a session: its answer to a response, and the change of its subscription.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::origin::Origin;
use crate::resource::Kind;

use super::last_good::essential_resources;
use super::ledger::{PendingResponse, ResourceVersion};
use super::message::{
    AcceptedResource, Event, Protocol, RejectedResource, Request, SubscriptionUpdate,
    parse_wire_version,
};
use super::subscription::SubscriptionChange;
use super::{Session, TooManyNames};

impl Session {
    /// Handles a request of the client.
    ///
    /// # Errors
    /// [`TooManyNames`] if it subscribes to more names than a stream may; the stream is to be closed.
    pub fn request(&mut self, request: Request, now: Instant) -> Result<(), TooManyNames> {
        let limit = self.options.max_names;
        if request.subscription.longest_list() > limit {
            return Err(TooManyNames { limit });
        }
        let kind = request.kind;
        let newest = self.kind(kind).newest_nonce;
        let nonce = request.nonce.parse::<u64>().ok();
        if let Some(nonce) = nonce {
            self.answer(kind, nonce, request.error, now);
        }
        // In state of the world a list that answers an older response may itself be older than the one that answers a newer
        // response. A delta is never stale.
        let stale = newest.is_some() && !request.nonce.is_empty() && nonce != newest;
        match request.subscription {
            SubscriptionUpdate::Replace { names, .. } if stale => self.note_left_out(kind, &names),
            SubscriptionUpdate::Replace {
                names,
                version_info,
            } => self.replace_subscription(kind, &names, &version_info),
            SubscriptionUpdate::Change {
                subscribe,
                unsubscribe,
                initial_versions,
            } => {
                self.change_subscription(kind, &subscribe, &unsubscribe, &initial_versions);
            }
        }
        let subscriptions = self.kinds.iter().map(|state| &state.subscription);
        let names: usize = subscriptions.map(|s| s.names().len()).sum();
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
        let ledger = &mut self.kind_mut(kind).ledger;
        let Some(response) = ledger.take_answered(nonce, only_newest) else {
            return;
        };
        let version = response.version.clone();
        let latency = now.saturating_duration_since(response.sent_at);
        let unsure = ledger.any_suspect() || !ledger.unconfirmed.is_empty();
        let may_be_due = only_newest || error.is_some() || unsure || response.is_retry();
        let event = match error {
            None => {
                let items = accepted_items(&response);
                let resources = essential_resources(kind, &response);
                self.accepted.extend(resources);
                let state = self.kind_mut(kind);
                state.accepted_version = Some(version.clone());
                state.ledger.accept(response, now);
                Event::Acked {
                    kind,
                    version,
                    items,
                    latency,
                }
            }
            Some(message) => {
                let items = self.rejected_items(kind, &response);
                let has_retry_body = |name: &str| {
                    let wanted = snapshot.get(kind, name);
                    wanted.is_some_and(|wanted| wanted.retry_body().is_some())
                };
                let state = self.kind_mut(kind);
                let ledger = &mut state.ledger;
                ledger.reject(&response, &message, has_retry_body, &options, now);
                // The client does not have everything after all.
                state.sent.clone_from(&state.acked);
                Event::Nacked {
                    kind,
                    version,
                    items,
                    message,
                    latency,
                }
            }
        };
        self.events.push(event);
        let state = self.kind_mut(kind);
        // A plain ACK makes nothing due of its own kind, and a full pass for every ACK would be expensive.
        state.dirty |= may_be_due;
        if !state.dirty && state.ledger.in_flight() == 0 {
            state.acked.clone_from(&state.sent);
        }
        self.mark_dependants(kind);
    }

    fn rejected_items(&self, kind: Kind, response: &PendingResponse) -> Vec<RejectedResource> {
        let items = response.items.iter();
        items
            .map(|(name, version)| RejectedResource {
                name: name.clone(),
                version: version.wire(),
                origin: version.descriptor.origin.clone(),
                running: self.running_origin(kind, name),
            })
            .collect()
    }

    /// An answer about clusters may release what waits for them; an answer about routes may end their use of clusters.
    fn mark_dependants(&mut self, kind: Kind) {
        if matches!(kind, Kind::Cluster | Kind::Endpoints) {
            for state in &mut self.kinds {
                state.dirty |= !state.waits.is_empty();
            }
        } else if kind.routes_to_clusters() {
            self.kind_mut(Kind::Cluster).dirty |= self.gate.watches_use();
            self.release_endpoints(kind);
        }
    }

    /// A stale list changes nothing, but the client has dropped what it leaves out.
    fn note_left_out(&mut self, kind: Kind, names: &[String]) {
        let listed: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let state = self.kind_mut(kind);
        let subscribed = state.subscription.names().keys();
        let left_out = subscribed
            .filter(|name| !listed.contains(&***name))
            .cloned();
        state.left_out.extend(left_out);
    }

    fn replace_subscription(&mut self, kind: Kind, names: &[String], version: &str) {
        let state = self.kind_mut(kind);
        let mut change = state.subscription.replace(kind, names);
        let left_out = std::mem::take(&mut state.left_out);
        let again = names.iter().filter_map(|name| left_out.get(name.as_str()));
        change.requested.extend(again.cloned());
        if change.is_first {
            self.restore_history(kind, !version.is_empty());
            // Nothing was sent before that the client could have dropped; restored history stays.
            change.added.clear();
        }
        if change.is_first && !version.is_empty() {
            self.resume_unlisted(kind, version);
            return;
        }
        let owed = change.is_first
            || change.requested_all
            || !change.requested.is_empty()
            || !change.dropped.is_empty();
        let ledger = &mut self.kind_mut(kind).ledger;
        ledger.response_owed |= owed && kind.is_full_state();
        self.apply_change(kind, change);
    }

    /// A state-of-the-world client reconnects with the version that it last accepted. That says only that it may have something
    /// under each name: it may since have applied part of a response that it rejected, so everything is sent again. The next
    /// response of clusters or listeners replaces all of them: it holds what the client had if the history tells, and else
    /// nothing is assumed.
    fn resume_unlisted(&mut self, kind: Kind, version: &str) {
        self.restore_full_state(kind, version);
        let state = self.kind_mut(kind);
        state.dirty = true;
        if kind.is_full_state() {
            state.ledger.response_owed = true;
            state.has_unknown = state.accepted_version.is_none();
            return;
        }
        for name in state.subscription.names().keys() {
            let unknown = ResourceVersion::unknown("", 0, Origin::default());
            state.ledger.resume(name, unknown);
        }
    }

    fn change_subscription(
        &mut self,
        kind: Kind,
        subscribe: &[String],
        unsubscribe: &[String],
        initial_versions: &[(String, String)],
    ) {
        let subscription = &mut self.kind_mut(kind).subscription;
        let mut change = subscription.change(kind, subscribe, unsubscribe);
        if change.is_first {
            self.restore_history(kind, !initial_versions.is_empty());
            self.resume_listed(kind, initial_versions);
            let ledger = &mut self.kind_mut(kind).ledger;
            ledger.response_owed = change.requested_all && initial_versions.is_empty();
            change.added.clear();
            // What the client says it has is not sent again merely because it subscribes to it.
            change.requested_all = false;
            let is_held = |name: &Arc<str>| ledger.held.contains_key(name);
            change.requested.retain(|name| !is_held(name));
        }
        self.apply_change(kind, change);
    }

    /// A delta client reconnects and lists what it has.
    fn resume_listed(&mut self, kind: Kind, initial_versions: &[(String, String)]) {
        for (name, wire) in initial_versions {
            if !self.kind(kind).subscription.wants(name) {
                continue;
            }
            let (version, retry) = parse_wire_version(wire);
            let wanted = self.snapshot.get(kind, name);
            let same = wanted.filter(|wanted| wanted.version() == version);
            let resumed = match same {
                Some(same) => ResourceVersion {
                    descriptor: same.descriptor().clone(),
                    retry,
                    resource: None,
                },
                None => {
                    let origin = self.last_good_origin(kind, name, version);
                    ResourceVersion::unknown(version, retry, origin)
                }
            };
            let name = wanted.map_or_else(|| name.as_str().into(), |r| r.key().name.clone());
            self.kind_mut(kind).ledger.resume(&name, resumed);
        }
    }

    fn apply_change(&mut self, kind: Kind, change: SubscriptionChange) {
        if change == SubscriptionChange::default() {
            return;
        }
        let snapshot = self.snapshot.clone();
        let delta = self.protocol == Protocol::Delta;
        let state = self.kind_mut(kind);
        // The client may have dropped whatever it was sent before it subscribed.
        for name in &change.added {
            state.ledger.forget(name);
            // Where removals are sent, one may be in flight behind it.
            if !kind.reports_removal() {
                state.ledger.restore_in_flight(name);
            }
        }
        let all = change
            .requested_all
            .then(|| snapshot.of(kind).map(|r| r.key().name.clone()));
        // A name that the client unsubscribes from under a wildcard stays wanted, and the client has dropped the resource.
        let (still_wanted, dropped): (Vec<_>, Vec<_>) = change
            .dropped
            .into_iter()
            .partition(|name| state.subscription.wants(name));
        for name in change
            .requested
            .into_iter()
            .chain(all.into_iter().flatten())
            .chain(still_wanted)
        {
            if snapshot.get(kind, &name).is_some() {
                state.ledger.resend.insert(name);
            } else if delta && kind.reports_removal() {
                state.ledger.missing.insert(name);
            }
        }
        for name in dropped {
            state.ledger.forget(&name);
        }
        let held = state.ledger.held.keys();
        let unwanted = held.filter(|name| !state.subscription.wants(name));
        for name in unwanted.cloned().collect::<Vec<_>>() {
            state.ledger.forget(&name);
        }
        state.dirty = true;
        // Routes that the client dropped, or that are only now known to be there, change which clusters are used.
        if kind.routes_to_clusters() && self.gate.watches_use() {
            self.kind_mut(Kind::Cluster).dirty = true;
        }
    }
}

fn accepted_items(response: &PendingResponse) -> Vec<AcceptedResource> {
    let items = response.items.iter();
    items
        .map(|(name, version)| AcceptedResource {
            name: name.clone(),
            version: version.wire(),
            origin: version.descriptor.origin.clone(),
        })
        .collect()
}
