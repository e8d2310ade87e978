//! Protobuf messages to inputs of a session, and outputs of a session to protobuf messages, for both xDS protocols.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as pb;
use envoy_types::pb::google::protobuf::Any;

use crate::resource::Kind;
use crate::session::{Item, Protocol, Request, Response, SubscriptionUpdate};

/// Characters that are kept of a client's error message.
const MAX_ERROR_CHARS: usize = 4096;

/// A request names another type than its stream serves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this stream serves {served}, not {requested}")]
pub struct WrongType {
    /// The type URL that the stream serves.
    pub served: &'static str,
    /// The type URL of the request.
    pub requested: String,
}

/// One of the two protocols on the wire.
pub trait Wire: 'static {
    /// The message that clients send.
    type Request: prost::Message + Default + 'static;
    /// The message that the server sends.
    type Response: prost::Message + 'static;
    /// The protocol.
    const PROTOCOL: Protocol;

    /// Takes the node out of a request, if it has one.
    fn take_node(request: &mut Self::Request) -> Option<Node>;
    /// The type URL of a request.
    fn type_url(request: &Self::Request) -> &str;
    /// The input of a session. `kind` is what [`kind_of`] answered for the request.
    fn parse(kind: Kind, request: Self::Request) -> Request;
    /// The message for a response. It copies the bodies, so it is called only when the transport asks for the message.
    fn encode(response: Response) -> Self::Response;
}

/// The kind that a request is about: on an aggregated stream the one that its type URL names, on a per-type stream that
/// stream's own, `only`. `None` is a type that this server does not deliver; such a request gets no answer.
///
/// # Errors
/// [`WrongType`] if a request on a per-type stream names another type.
pub fn kind_of<P: Wire>(
    request: &P::Request,
    only: Option<Kind>,
) -> Result<Option<Kind>, WrongType> {
    let url = P::type_url(request);
    match only {
        None => Ok(Kind::from_type_url(url)),
        Some(kind) if url.is_empty() || url == kind.type_url() => Ok(Some(kind)),
        Some(kind) => Err(WrongType {
            served: kind.type_url(),
            requested: url.to_owned(),
        }),
    }
}

fn error_message(detail: Option<envoy_types::pb::google::rpc::Status>) -> Option<String> {
    detail.map(|status| status.message.chars().take(MAX_ERROR_CHARS).collect())
}

fn any(item: &Item) -> Any {
    Any {
        type_url: item.resource.kind().type_url().to_owned(),
        value: item.body().to_vec(),
    }
}

/// State of the world: `DiscoveryRequest` and `DiscoveryResponse`.
#[derive(Clone, Copy, Debug)]
pub struct StateOfTheWorld;

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
            error: error_message(request.error_detail),
            subscription: SubscriptionUpdate::Replace {
                names: request.resource_names,
                version_info: request.version_info,
            },
        }
    }

    fn encode(response: Response) -> Self::Response {
        pb::DiscoveryResponse {
            version_info: response.version.as_ref().to_owned(),
            resources: response.items.iter().map(any).collect(),
            type_url: response.kind.type_url().to_owned(),
            nonce: response.nonce,
            ..pb::DiscoveryResponse::default()
        }
    }
}

/// Incremental: `DeltaDiscoveryRequest` and `DeltaDiscoveryResponse`.
#[derive(Clone, Copy, Debug)]
pub struct Delta;

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
            error: error_message(request.error_detail),
            subscription: SubscriptionUpdate::Change {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
                initial_versions: request.initial_resource_versions.into_iter().collect(),
            },
        }
    }

    fn encode(response: Response) -> Self::Response {
        let resource = |item: &Item| pb::Resource {
            name: item.resource.name().to_owned(),
            version: item.version().as_ref().to_owned(),
            resource: Some(any(item)),
            ..pb::Resource::default()
        };
        pb::DeltaDiscoveryResponse {
            system_version_info: response.version.as_ref().to_owned(),
            resources: response.items.iter().map(resource).collect(),
            type_url: response.kind.type_url().to_owned(),
            removed_resources: response.removed.iter().map(ToString::to_string).collect(),
            nonce: response.nonce,
            ..pb::DeltaDiscoveryResponse::default()
        }
    }
}
