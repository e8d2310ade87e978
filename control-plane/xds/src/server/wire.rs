//! Protobuf messages to a session's inputs, a session's outputs to protobuf messages.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use tonic::Status;

use crate::resource::Kind;
use crate::session::{Interest, Item, Protocol, Request, Response};

/// Characters kept of a client's complaint.
const MAX_MESSAGE_CHARS: usize = 4096;

/// One of the two protocols on the wire.
pub(super) trait Wire: 'static {
    /// What clients send.
    type Request: Send + 'static;
    /// What they are sent.
    type Response: Send + 'static;
    /// Its name.
    const PROTOCOL: Protocol;

    /// The node of a request, if it names one.
    fn take_node(request: &mut Self::Request) -> Option<Node>;
    /// The type URL of a request.
    fn type_url(request: &Self::Request) -> &str;
    /// The request, given its kind.
    fn parse(kind: Kind, request: Self::Request) -> Request;
    /// The response. Bodies are copied only here, when the transport asks for the message.
    fn encode(response: Response) -> Self::Response;
}

/// The kind a request is about: on a per-type stream that stream's, on an aggregated one what its
/// type URL says. `None` is a type that we do not serve, which is answered with silence.
///
/// # Errors
/// `InvalidArgument` for another type on a per-type stream.
pub(super) fn kind_of<P: Wire>(
    request: &P::Request,
    only: Option<Kind>,
) -> Result<Option<Kind>, Status> {
    let url = P::type_url(request);
    match only {
        None => Ok(Kind::from_type_url(url)),
        Some(kind) if url.is_empty() || url == kind.type_url() => Ok(Some(kind)),
        Some(kind) => Err(Status::invalid_argument(format!(
            "this stream serves {}, not {url}",
            kind.type_url()
        ))),
    }
}

fn complaint(detail: Option<envoy_types::pb::google::rpc::Status>) -> Option<String> {
    detail.map(|status| status.message.chars().take(MAX_MESSAGE_CHARS).collect())
}

fn any(item: &Item) -> Any {
    Any {
        type_url: item.resource.kind().type_url().to_owned(),
        value: item.body().to_vec(),
    }
}

/// State of the world.
pub(super) struct StateOfTheWorld;

impl Wire for StateOfTheWorld {
    type Request = pb::DiscoveryRequest;
    type Response = pb::DiscoveryResponse;
    const PROTOCOL: Protocol = Protocol::StateOfTheWorld;

    fn take_node(request: &mut Self::Request) -> Option<Node> {
        request.node.take()
    }

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn parse(kind: Kind, request: Self::Request) -> Request {
        Request {
            kind,
            nonce: request.response_nonce,
            error: complaint(request.error_detail),
            interest: Interest::Whole {
                names: request.resource_names,
                version: request.version_info,
            },
        }
    }

    fn encode(response: Response) -> Self::Response {
        pb::DiscoveryResponse {
            version_info: response.version,
            resources: response.items.iter().map(any).collect(),
            type_url: response.kind.type_url().to_owned(),
            nonce: response.nonce,
            ..pb::DiscoveryResponse::default()
        }
    }
}

/// Incremental.
pub(super) struct Delta;

impl Wire for Delta {
    type Request = pb::DeltaDiscoveryRequest;
    type Response = pb::DeltaDiscoveryResponse;
    const PROTOCOL: Protocol = Protocol::Delta;

    fn take_node(request: &mut Self::Request) -> Option<Node> {
        request.node.take()
    }

    fn type_url(request: &Self::Request) -> &str {
        &request.type_url
    }

    fn parse(kind: Kind, request: Self::Request) -> Request {
        Request {
            kind,
            nonce: request.response_nonce,
            error: complaint(request.error_detail),
            interest: Interest::Change {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
                initial: request.initial_resource_versions.into_iter().collect(),
            },
        }
    }

    fn encode(response: Response) -> Self::Response {
        let resource = |item: &Item| pb::Resource {
            name: item.resource.name().to_owned(),
            version: item.version(),
            resource: Some(any(item)),
            ..pb::Resource::default()
        };
        pb::DeltaDiscoveryResponse {
            system_version_info: response.version,
            resources: response.items.iter().map(resource).collect(),
            type_url: response.kind.type_url().to_owned(),
            removed_resources: response.removed,
            nonce: response.nonce,
            ..pb::DeltaDiscoveryResponse::default()
        }
    }
}
