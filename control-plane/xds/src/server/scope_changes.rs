//! The scopes of open streams, computed again when the rules change.

use crate::peer::Peer;
use crate::provider::{Scope, SnapshotProvider};

use tokio::sync::watch;
use tonic::Status;

use super::XdsServer;
use super::admission::denied;

/// The changes of scopes since one moment.
pub(super) struct ScopeChanges(Option<watch::Receiver<u64>>);

impl ScopeChanges {
    /// The changes from now on. Called before a stream is admitted, so that no change is missed.
    pub(super) fn since_now<S: SnapshotProvider>(server: &XdsServer<S>) -> Self {
        Self(server.inner.provider.scope_changes())
    }

    /// Waits until `peer` has another scope than `scope`, or may have nothing. Returns the status that ends its stream.
    pub(super) async fn until_changed<S: SnapshotProvider>(
        &mut self,
        server: &XdsServer<S>,
        peer: &Peer,
        scope: &Scope,
    ) -> Status {
        loop {
            let is_open = match &mut self.0 {
                Some(changes) => changes.changed().await.is_ok(),
                None => false,
            };
            if !is_open {
                return std::future::pending().await;
            }
            match server.inner.provider.scope(peer) {
                Ok(now) if now == *scope => {}
                Ok(_) => {
                    return Status::unavailable(
                        "the scope of the proxy changed; open a new stream",
                    );
                }
                Err(reason) => return denied(server, peer, reason),
            }
        }
    }
}
