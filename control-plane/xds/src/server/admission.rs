//! The admission of streams: their peer, their scope, and what happens to those without permission.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use prost::Message as _;
use tonic::Status;
use tonic::codegen::http::Request;
use tonic::metadata::MetadataMap;

use crate::connection::ConnectionInfo;
use crate::counts::Counted;
use crate::forwarded;
use crate::peer::Peer;
use crate::provider::{PermissionDenied, Scope, SnapshotProvider};
use crate::refusal::Refusal;

use super::{MAX_REQUEST_BYTES, XdsServer};

/// The largest first request of a client without an identity that may be allowed. It has the node, which decides whether the client is.
const MAX_ANONYMOUS_REQUEST_BYTES: usize = 2 << 20;

/// The largest node of such a client, and the most that is kept of any.
const MAX_NODE_BYTES: usize = 64 << 10;

/// The largest first request of a stream.
pub(super) fn first_request_limit<S: SnapshotProvider>(
    server: &XdsServer<S>,
    connection: &ConnectionInfo,
) -> usize {
    match may_allow(server, connection) {
        true => MAX_REQUEST_BYTES,
        false => MAX_ANONYMOUS_REQUEST_BYTES,
    }
}

/// Whether the rules may allow a client, as far as is known before its first request.
fn may_allow<S: SnapshotProvider>(server: &XdsServer<S>, connection: &ConnectionInfo) -> bool {
    let identity = connection.identity.as_ref();
    identity.is_some_and(|identity| server.inner.provider.may_allow(identity))
}

/// The remote end of the connection that a request came on, with the identity that this request forwards.
pub(super) fn connection_of<S, T>(
    server: &XdsServer<S>,
    request: &Request<T>,
) -> Result<ConnectionInfo, Status> {
    let connection = request.extensions().get::<ConnectionInfo>();
    let connection = connection.cloned().unwrap_or_default();
    let trusted = &server.inner.options.trusted_forwarders;
    let address = connection.address;
    let metadata = MetadataMap::from_headers(request.headers().clone());
    forwarded::identify(connection, &metadata, trusted).map_err(|malformed| {
        let peer = Peer {
            address,
            ..Peer::default()
        };
        let denial = PermissionDenied {
            refusal: Refusal::ForwardedHeader,
            reason: malformed.to_string(),
        };
        denied(server, &peer, denial)
    })
}

/// Counts a stream of an identity, if it is within the limit. `None` if there is no identity or no limit.
pub(super) fn count_stream<S>(
    server: &XdsServer<S>,
    connection: &ConnectionInfo,
) -> Result<Option<Counted>, Status> {
    let limit = server.inner.options.max_streams_per_identity;
    let Some(identity) = connection.identity.as_ref().filter(|_| limit > 0) else {
        return Ok(None);
    };
    let check = |_, of_identity| if of_identity < limit { Ok(()) } else { Err(()) };
    let counted = server.inner.streams.add(identity.to_string(), check);
    counted.map(Some).map_err(|()| {
        let peer = Peer {
            address: connection.address,
            identity: connection.identity.clone(),
            ..Peer::default()
        };
        let reason = format!(
            "{limit} streams of {identity} are open, the limit of --max-streams-per-identity"
        );
        let refusal = Refusal::IdentityStreamLimit;
        let status = Status::resource_exhausted(reason.clone());
        denied(server, &peer, PermissionDenied { refusal, reason });
        status
    })
}

/// The peer of a stream, and its scope.
pub(super) fn admit<S: SnapshotProvider>(
    server: &XdsServer<S>,
    node: Node,
    connection: ConnectionInfo,
) -> Result<(Arc<Peer>, Scope), Status> {
    let bytes = node.encoded_len();
    let may_allow = may_allow(server, &connection);
    let peer = Peer::new(node, connection, server.inner.provider.node_metadata());
    // Of the node of a client that may be allowed, all is accepted and only what is used is kept.
    let used = peer.metadata.encoded_len() + peer.id.len() + peer.cluster.len();
    let bytes = if may_allow { used } else { bytes };
    if bytes > MAX_NODE_BYTES {
        let denial = PermissionDenied {
            refusal: Refusal::NodeSize,
            reason: format!(
                "the node has {bytes} bytes, and at most {MAX_NODE_BYTES} are accepted: shorten its metadata"
            ),
        };
        // Nothing of it goes into the log.
        let (address, identity) = (peer.address, peer.identity);
        let nameless = Peer {
            address,
            identity,
            ..Peer::default()
        };
        return Err(denied(server, &nameless, denial));
    }
    let peer = Arc::new(peer);
    let scope = server.inner.provider.scope(&peer);
    let scope = scope.map_err(|reason| denied(server, &peer, reason))?;
    Ok((peer, scope))
}

/// Logs and counts a refusal, and returns the status that ends the stream.
pub(super) fn denied<S>(server: &XdsServer<S>, peer: &Peer, denied: PermissionDenied) -> Status {
    let now = tokio::time::Instant::now().into_std();
    server.inner.refusals.count(denied.refusal);
    server.inner.log_limits.denied(peer, &denied, now);
    Status::permission_denied(denied.reason)
}
