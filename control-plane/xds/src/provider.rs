//! The interface to the rest of the control plane: which proxy may have which snapshots.
//!
//! Invariant: a scope decides everything that differs between proxies, so a snapshot is built and encoded once per scope,
//! however many proxies share it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::connection::PeerIdentity;
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;

/// An opaque key of what a proxy may have: proxies of equal scopes get the same snapshots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub String);

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The proxy may have nothing. Its stream ends with the gRPC status `PermissionDenied`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PermissionDenied {
    /// The kind of the reason, for metrics.
    pub refusal: Refusal,
    /// The reason, for the operator of the proxy.
    pub reason: String,
}

/// The source of snapshots.
pub trait SnapshotProvider: Send + Sync + 'static {
    /// The scope of a proxy. Builds no snapshot.
    ///
    /// # Errors
    /// [`PermissionDenied`] if the proxy may have nothing.
    fn scope(&self, peer: &Peer) -> Result<Scope, PermissionDenied>;

    /// Whether the proxy of a peer with this identity may have a scope. Only the identity is known before the first request of a stream.
    /// Without a scope, the limits of the first request are those of a peer without an identity.
    fn may_allow(&self, _identity: &PeerIdentity) -> bool {
        true
    }

    /// The keys of node metadata that [`SnapshotProvider::scope`] uses. The others are dropped.
    fn node_metadata(&self) -> &'static [&'static str] {
        &[]
    }

    /// A number that changes when scopes must be computed again. A stream whose proxy may have nothing any more, or has another
    /// scope, then ends; the proxy opens a new one. `None` if scopes never change.
    fn scope_changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// The snapshots of a proxy's scope, now and later.
    ///
    /// `None` means that the source is not synced yet: the server then ends streams with `Unavailable` instead of serving an
    /// empty snapshot (rule 6). A later `None` changes nothing for streams that already have a snapshot. The first call for a
    /// scope may build its snapshot and may block meanwhile.
    ///
    /// # Errors
    /// [`PermissionDenied`] if the proxy may have nothing.
    fn snapshots(
        &self,
        peer: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied>;
}
