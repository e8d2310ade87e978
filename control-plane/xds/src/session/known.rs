//! What the ledger's entries are made of: versions, names, responses.

use std::sync::Arc;
use std::time::Instant;

use crate::resource::{Resource, ResourceKey};

use super::message::wire_version;

/// A version of a resource that a client has or is being offered.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) version: Arc<str>,
    pub(super) retry: u32,
    /// What it requires; `None` if the client brought it from an earlier stream and we cannot know.
    pub(super) requires: Option<Arc<[ResourceKey]>>,
    /// The resource itself, only where a later response must be able to repeat it (see `full`, and until it is acknowledged
    /// `doubt` for a route and `good` for what a proxy cannot do without).
    pub(super) resource: Option<Arc<Resource>>,
}

impl Known {
    pub(super) fn is(&self, other: &Known) -> bool {
        self.version == other.version && self.retry == other.retry
    }

    pub(super) fn wire(&self) -> String {
        wire_version(&self.version, self.retry)
    }
}

/// One name's state at the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// The nonce that first offered it; answers to older responses are about a former life.
    pub(super) born: u64,
    /// The client brought it from an earlier stream and has answered nothing about it on this one.
    pub(super) resumed: bool,
    /// What it is known to run.
    pub(super) acked: Option<Known>,
    /// When the response that it accepted last was sent; `None` if it comes from an earlier stream.
    pub(super) accepted_offer_at: Option<Instant>,
    /// When the client accepted this name again after a removal on this stream. For a cluster, endpoints that were sent earlier may have
    /// been dropped with the removed cluster.
    pub(super) recreated_at: Option<Instant>,
    /// What it was offered last and has not answered, with that response's nonce.
    pub(super) sent: Option<(u64, Known)>,
}

impl Held {
    /// What it runs once it accepts what is on its way.
    pub(super) fn current(&self) -> Option<&Known> {
        self.sent
            .as_ref()
            .map(|(_, known)| known)
            .or(self.acked.as_ref())
    }
}

/// An unanswered response.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) nonce: u64,
    pub(super) at: Instant,
    pub(super) items: Vec<(String, Known)>,
    /// Whether it was all there is, so that what it left out was taken away.
    pub(super) full: bool,
    /// Whether it did take something away.
    pub(super) drops: bool,
    /// `version_info`, by which a client that accepts it names what it then has; empty in delta.
    pub(super) version: Arc<str>,
    /// What it left out and the client had.
    pub(super) dropped: Vec<(String, Known)>,
}

impl Sent {
    pub(super) fn is_retry(&self) -> bool {
        self.items.iter().any(|(_, known)| known.retry > 0)
    }
}
