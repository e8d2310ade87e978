//! Inputs and outputs of a session, free of protobuf and of the shapes of the two protocols.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::origin::{Origin, OriginObject};
use crate::resource::{Kind, Resource};

/// The xDS protocol of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// State of the world: `DiscoveryRequest` and `DiscoveryResponse`.
    StateOfTheWorld,
    /// Incremental: `DeltaDiscoveryRequest` and `DeltaDiscoveryResponse`.
    Delta,
}

impl Protocol {
    /// The short name: `sotw`, `delta`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::StateOfTheWorld => "sotw",
            Protocol::Delta => "delta",
        }
    }
}

/// One request of a client, about a kind that this server delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its kind.
    pub kind: Kind,
    /// The nonce of the response that it answers; empty if it answers none.
    pub nonce: String,
    /// The message of `error_detail`: if present the request is a NACK, whatever else it holds.
    pub error: Option<String>,
    /// The change of the client's subscription.
    pub subscription: SubscriptionUpdate,
}

/// The change of a subscription by a request, as the protocol of the stream expresses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionUpdate {
    /// State of the world: the whole list.
    Replace {
        /// `resource_names`.
        names: Vec<String>,
        /// `version_info`: the version that the client last accepted; empty if none.
        version_info: String,
    },
    /// Delta: changes to the list.
    Change {
        /// `resource_names_subscribe`.
        subscribe: Vec<String>,
        /// `resource_names_unsubscribe`.
        unsubscribe: Vec<String>,
        /// `initial_resource_versions`: names and versions that the client has when it opens a stream.
        initial_versions: Vec<(String, String)>,
    },
}

impl SubscriptionUpdate {
    /// The length of its longest list.
    pub(super) fn longest_list(&self) -> usize {
        match self {
            Self::Replace { names, .. } => names.len(),
            Self::Change {
                subscribe,
                unsubscribe,
                initial_versions,
            } => {
                let lists = subscribe.len().max(unsubscribe.len());
                lists.max(initial_versions.len())
            }
        }
    }
}

/// One response to send.
#[derive(Clone, Debug)]
pub struct Response {
    /// The kind of all its resources.
    pub kind: Kind,
    /// The nonce that the client's answer will name.
    pub nonce: String,
    /// `version_info`, or delta's `system_version_info`.
    pub version: Arc<str>,
    /// The added and changed resources.
    pub items: Vec<Item>,
    /// The names of removed resources (delta only; never together with items).
    pub removed: Vec<Arc<str>>,
}

/// A resource in a response. Its body stays shared until it is written to the wire.
#[derive(Clone, Debug)]
pub struct Item {
    /// The resource, as a snapshot has it.
    pub resource: Arc<Resource>,
    /// The number of the retry; 0 for the first offer.
    pub retry: u32,
}

impl Item {
    /// The version on the wire: the content hash, followed by `+r<n>` on retry n.
    #[must_use]
    pub fn version(&self) -> Arc<str> {
        wire_version(&self.resource.descriptor().version, self.retry)
    }

    /// The encoded message.
    #[must_use]
    pub fn body(&self) -> Bytes {
        match self.resource.retry_body() {
            Some(retry_body) if self.retry > 0 => retry_body(self.retry),
            _ => self.resource.body().clone(),
        }
    }
}

/// See [`Item::version`].
pub(super) fn wire_version(version: &Arc<str>, retry: u32) -> Arc<str> {
    if retry == 0 {
        version.clone()
    } else {
        format!("{version}+r{retry}").into()
    }
}

/// The content hash and the retry in a version on the wire.
pub(super) fn parse_wire_version(wire: &str) -> (&str, u32) {
    wire.rsplit_once("+r")
        .and_then(|(version, retry)| Some((version, retry.parse().ok()?)))
        .unwrap_or((wire, 0))
}

/// A response that was sent, or a client's answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A response was sent.
    Sent {
        /// Its kind.
        kind: Kind,
        /// The number of resources in it.
        items: usize,
        /// The number of resources that it removes.
        removed: usize,
    },
    /// The client accepted a response.
    Acked {
        /// Its kind.
        kind: Kind,
        /// Its version ([`Response::version`]).
        version: Arc<str>,
        /// The versions that the client now runs.
        items: Vec<AcceptedResource>,
        /// Time from the response to this answer.
        latency: Duration,
    },
    /// The client rejected a response. A single item is the one at fault; of several items the server does not know which, and
    /// offers them again in smaller responses.
    Nacked {
        /// Its kind.
        kind: Kind,
        /// Its version ([`Response::version`]).
        version: Arc<str>,
        /// The versions in it.
        items: Vec<RejectedResource>,
        /// The client's error message.
        message: String,
        /// Time from the response to this answer.
        latency: Duration,
    },
}

/// A version of a resource that a client has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedResource {
    /// Name.
    pub name: Arc<str>,
    /// Version on the wire ([`Item::version`]).
    pub version: Arc<str>,
    /// The objects that this version was made from.
    pub origin: Origin,
}

/// A version of a resource in a response that a client has rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedResource {
    /// Name.
    pub name: Arc<str>,
    /// Version on the wire ([`Item::version`]).
    pub version: Arc<str>,
    /// The objects that this version was made from.
    pub origin: Origin,
    /// The objects that the version was made from which the client runs; `None` if it runs none.
    pub running: Option<Origin>,
}

impl RejectedResource {
    /// The objects to blame for the rejection. See [`Origin::blamed`].
    #[must_use]
    pub fn blamed(&self) -> Vec<&OriginObject> {
        self.origin.blamed(self.running.as_ref())
    }
}
