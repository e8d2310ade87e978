//! The entries of a ledger: versions, held resources, unanswered responses.

use std::hash::Hasher;
use std::sync::Arc;
use std::time::Instant;

use crate::origin::Origin;
use crate::resource::{Descriptor, Kind, Resource, ResourceKey};
use crate::session::message::wire_version;
use crate::session::shared_map::Shareable;

/// A version of a resource that a client has or is offered.
#[derive(Clone, Debug)]
pub(in crate::session) struct ResourceVersion {
    pub(in crate::session) descriptor: Arc<Descriptor>,
    /// The number of the retry; 0 for the first offer.
    pub(in crate::session) retry: u32,
    /// The resource itself, kept only where a later response must be able to repeat it: in a full response, and until it is
    /// acknowledged for a route (see `unconfirmed`) and for a kind that a proxy cannot do without (see `last_good`).
    pub(in crate::session) resource: Option<Arc<Resource>>,
}

impl ResourceVersion {
    /// A version that a client brought from an earlier stream and that the snapshot does not have. What it requires is unknown.
    pub(in crate::session) fn unknown(version: &str, retry: u32, origin: Origin) -> Self {
        let descriptor = Descriptor {
            version: version.into(),
            requires: None,
            origin,
        };
        Self {
            descriptor: Arc::new(descriptor),
            retry,
            resource: None,
        }
    }

    /// The content hash.
    pub(in crate::session) fn version(&self) -> &str {
        &self.descriptor.version
    }

    /// The resources that must exist beside it; `None` if that is unknown.
    pub(in crate::session) fn requires(&self) -> Option<&[ResourceKey]> {
        self.descriptor.requires.as_deref()
    }

    /// Whether this is the version that another descriptor describes.
    fn may_adopt(&self, newest: &Arc<Descriptor>) -> bool {
        *self.descriptor.version == *newest.version && !Arc::ptr_eq(&self.descriptor, newest)
    }

    /// Whether both are the same version and retry.
    pub(in crate::session) fn is(&self, other: &ResourceVersion) -> bool {
        self.version() == other.version() && self.retry == other.retry
    }

    /// The version on the wire.
    pub(in crate::session) fn wire(&self) -> Arc<str> {
        wire_version(&self.descriptor.version, self.retry)
    }
}

/// The state of one resource name at the client.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct HeldResource {
    /// The nonce of the first response with this name. Answers to older responses are about an earlier subscription.
    pub(in crate::session) first_nonce: u64,
    /// The client brought it from an earlier stream and has not yet answered a response with it on this one.
    pub(in crate::session) resumed: bool,
    /// The version that it runs.
    pub(in crate::session) acked: Option<ResourceVersion>,
    /// When the response with `acked` was sent; `None` if the client brought it from an earlier stream.
    pub(in crate::session) acked_sent_at: Option<Instant>,
    /// When the client accepted this name again after a removal on this stream. For a cluster, endpoints that were sent earlier
    /// may have been dropped with the removed cluster.
    pub(in crate::session) recreated_at: Option<Instant>,
    /// The newest version that it was sent and has not answered, with the nonce of the response.
    pub(in crate::session) offered: Option<(u64, ResourceVersion)>,
}

impl HeldResource {
    /// Replaces the descriptor of the version that this one describes too.
    pub(in crate::session) fn adopt(&mut self, newest: &Arc<Descriptor>) {
        let offered = self.offered.iter_mut().map(|(_, version)| version);
        for version in self.acked.iter_mut().chain(offered) {
            if version.may_adopt(newest) {
                version.descriptor = newest.clone();
            }
        }
    }

    /// Whether [`HeldResource::adopt`] would change something.
    pub(in crate::session) fn may_adopt(&self, newest: &Arc<Descriptor>) -> bool {
        let offered = self.offered.iter().map(|(_, version)| version);
        let mut versions = self.acked.iter().chain(offered);
        versions.any(|version| version.may_adopt(newest))
    }

    /// The version that it runs once it has accepted every response in flight.
    pub(in crate::session) fn newest(&self) -> Option<&ResourceVersion> {
        let offered = self.offered.as_ref().map(|(_, version)| version);
        offered.or(self.acked.as_ref())
    }
}

impl HeldResource {
    /// The part of this that is the same on every stream whose client runs the same, once no response is in flight; `None` if
    /// there is more. `is_aggregated` tells that the stream has no siblings, to which alone the times matter.
    pub(in crate::session) fn settled(&self, kind: Kind, is_aggregated: bool) -> Option<Self> {
        let matters = !is_aggregated && (kind == Kind::Endpoints || self.recreated_at.is_some());
        if self.offered.is_some() || matters {
            return None;
        }
        Some(Self {
            resumed: self.resumed,
            acked: self.acked.clone(),
            ..Self::default()
        })
    }
}

impl Shareable for HeldResource {
    fn is_same(&self, other: &Self) -> bool {
        let address = |version: &ResourceVersion| version.resource.as_ref().map(Arc::as_ptr);
        let same_version = match (&self.acked, &other.acked) {
            (Some(a), Some(b)) => {
                a.retry == b.retry
                    && a.descriptor.is_same(&b.descriptor)
                    && address(a) == address(b)
            }
            (a, b) => a.is_none() && b.is_none(),
        };
        same_version
            && self.resumed == other.resumed
            && self.first_nonce == other.first_nonce
            && self.acked_sent_at == other.acked_sent_at
            && self.recreated_at == other.recreated_at
            && self.offered.is_none()
            && other.offered.is_none()
    }

    fn hash(&self, hasher: &mut impl Hasher) {
        hasher.write_u8(u8::from(self.resumed));
        if let Some(acked) = &self.acked {
            hasher.write(acked.version().as_bytes());
            hasher.write_u32(acked.retry);
        }
    }
}

/// A response that the client has not answered.
#[derive(Clone, Debug)]
pub(in crate::session) struct PendingResponse {
    pub(in crate::session) nonce: u64,
    pub(in crate::session) sent_at: Instant,
    pub(in crate::session) items: Vec<(Arc<str>, ResourceVersion)>,
    /// Whether it replaces everything, so that the client removes what it leaves out.
    pub(in crate::session) is_full: bool,
    /// Whether it removes anything.
    pub(in crate::session) removes: bool,
    /// Its version. In state of the world, a client that accepts the response names its state by it.
    pub(in crate::session) version: Arc<str>,
    /// Versions that the client had and that a full response leaves out.
    pub(in crate::session) left_out: Vec<(Arc<str>, ResourceVersion)>,
}

impl PendingResponse {
    pub(in crate::session) fn is_retry(&self) -> bool {
        self.items.iter().any(|(_, version)| version.retry > 0)
    }
}
