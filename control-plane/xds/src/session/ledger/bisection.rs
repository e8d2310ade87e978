//! The search for the resource at fault in a rejected response (see the head of the parent module).

use std::sync::Arc;
use std::time::Instant;

use crate::options::Options;

use super::{Ledger, PendingResponse, Rejection, ResourceVersion};

/// Unconfirmed versions that are kept per name; beyond it the oldest is dropped.
const MAX_UNCONFIRMED: usize = 64;

impl Ledger {
    /// Records at `now` that the client rejected a response: its only item is rejected, several items become suspects.
    /// `has_retry_body` answers whether a name may be offered again in other bytes.
    pub(in crate::session) fn reject(
        &mut self,
        response: &PendingResponse,
        message: &str,
        has_retry_body: impl Fn(&str) -> bool,
        options: &Options,
        now: Instant,
    ) {
        let is_newest = self.in_flight.is_empty();
        let [(name, version)] = response.items.as_slice() else {
            // The client may have applied part of a full response. What is no longer wanted of it is removed by the next full
            // response; if none is in flight, one is owed.
            self.response_owed |= response.is_full && !response.items.is_empty() && is_newest;
            self.bisect(response, now);
            return;
        };
        self.withdraw_offer(name, response.nonce);
        self.suspects.remove(name);
        if let Some(unconfirmed) = self.unconfirmed.get_mut(name) {
            unconfirmed.retain(|other| !other.is(version));
        }
        self.unconfirmed.retain(|_, versions| !versions.is_empty());
        if response.is_full && self.acked(name).is_none() {
            // The client may still have one from before it reconnected.
            self.mark_unconfirmed(name, version);
        }
        // A client that rejected a full response as a whole still has what the response left out.
        self.response_owed |= response.removes && is_newest;
        let retry = version.retry + 1;
        let rejection = Rejection {
            version: version.descriptor.version.clone(),
            message: message.into(),
            retry,
            retry_at: has_retry_body(name).then(|| now + options.retry_after(retry)),
        };
        self.rejections.insert(name, rejection);
    }

    /// Makes suspects of all items of a rejected response that no later response has superseded.
    fn bisect(&mut self, response: &PendingResponse, now: Instant) {
        let mut suspects = Vec::new();
        for (name, version) in &response.items {
            let first_nonce = self.held.get(name).map(|held| held.first_nonce);
            if !response.is_full && first_nonce.is_none_or(|first| first > response.nonce) {
                // The client has unsubscribed from it since.
                continue;
            }
            let rejected = self.rejections.get(name, version.version()).is_some();
            if response.is_full || version.retry > 0 || !rejected {
                self.mark_unconfirmed(name, version);
            }
            if !self.withdraw_offer(name, response.nonce) {
                continue;
            }
            match self.rejections.get_mut(name, version.version()) {
                None => {}
                // A retry among other items: it is offered alone at once, under the next number.
                Some(rejection) if version.retry > 0 => {
                    rejection.retry = version.retry + 1;
                    rejection.retry_at = Some(now);
                }
                // Rejected by another response in the meantime.
                Some(_) => continue,
            }
            let suspected = version.descriptor.version.clone();
            self.suspects.insert(name.clone(), suspected);
            suspects.push(name.clone());
        }
        let back = suspects.split_off(suspects.len().div_ceil(2));
        for half in [suspects, back] {
            if !half.is_empty() {
                self.probes.push_back(half);
            }
        }
    }

    /// The client may run this version now, or still the one before, or none.
    fn mark_unconfirmed(&mut self, name: &Arc<str>, version: &ResourceVersion) {
        let versions = self.unconfirmed.entry(name.clone()).or_default();
        if !versions.iter().any(|other| other.is(version)) {
            versions.push(version.clone());
        }
        if versions.len() > MAX_UNCONFIRMED {
            versions.remove(0);
        }
    }

    /// Whether this version is a suspect, and so offered in probes only.
    pub(in crate::session) fn is_suspect(&self, name: &str, version: &str) -> bool {
        let suspected = self.suspects.get(name);
        suspected.is_some_and(|suspected| **suspected == *version)
    }

    /// Ends the suspicion against a name: it is offered with the others again.
    pub(in crate::session) fn clear_suspect(&mut self, name: &str) {
        self.suspects.remove(name);
    }

    /// Whether any version of this name is a suspect.
    pub(in crate::session) fn is_suspected(&self, name: &str) -> bool {
        self.suspects.contains_key(name)
    }

    /// Whether there is a suspect.
    pub(in crate::session) fn any_suspect(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// The next group of suspects to offer in a response of its own, reduced to the names for which `wanted` holds at the
    /// suspected version. The other names are no longer suspects.
    pub(in crate::session) fn next_probe(
        &mut self,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Option<Vec<Arc<str>>> {
        while let Some(group) = self.probes.pop_front() {
            let is_wanted = |name: &Arc<str>| {
                let suspected: Option<&Arc<str>> = self.suspects.get(name);
                suspected.is_some_and(|version| wanted(name, version))
            };
            let (keep, drop): (Vec<_>, Vec<_>) = group.into_iter().partition(is_wanted);
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
