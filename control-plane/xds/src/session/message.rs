//! What goes into and comes out of a session, free of protobuf and of the two protocols' shapes.

use std::sync::Arc;

use bytes::Bytes;

use crate::resource::{Kind, Resource};

/// Which of the two xDS protocols a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// State of the world: `DiscoveryRequest` and `DiscoveryResponse`.
    StateOfTheWorld,
    /// Incremental: `DeltaDiscoveryRequest` and `DeltaDiscoveryResponse`.
    Delta,
}

/// One request of a client, already reduced to a kind we serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The kind it is about.
    pub kind: Kind,
    /// The nonce of the response it answers; empty if it answers none.
    pub nonce: String,
    /// The message of `error_detail`: present means NACK, whatever else the request says.
    pub error: Option<String>,
    /// What it subscribes to.
    pub interest: Interest,
}

/// How a request changes the subscription, per protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// State of the world: the whole list, and the version the client last accepted (empty: none).
    Whole {
        /// `resource_names`.
        names: Vec<String>,
        /// `version_info`.
        version: String,
    },
    /// Delta: changes to the list, and what the client already has (on a stream's first request).
    Change {
        /// `resource_names_subscribe`.
        subscribe: Vec<String>,
        /// `resource_names_unsubscribe`.
        unsubscribe: Vec<String>,
        /// `initial_resource_versions`.
        initial: Vec<(String, String)>,
    },
}

/// One response to perform.
#[derive(Clone, Debug)]
pub struct Response {
    /// The kind of everything in it.
    pub kind: Kind,
    /// What the client's answer will name.
    pub nonce: String,
    /// `version_info`, or delta's `system_version_info`.
    pub version: String,
    /// What is added or changed.
    pub items: Vec<Item>,
    /// Names that are gone (delta only; never together with items).
    pub removed: Vec<String>,
}

/// A resource in a response. The body is shared until it is written to the wire.
#[derive(Clone, Debug)]
pub struct Item {
    /// The resource as the snapshot has it.
    pub resource: Arc<Resource>,
    /// The retry this is, 0 for the first offer.
    pub retry: u32,
}

impl Item {
    /// The version on the wire: the content hash, followed by `+r<n>` on retry n.
    #[must_use]
    pub fn version(&self) -> String {
        wire_version(self.resource.version(), self.retry)
    }

    /// The encoded message.
    #[must_use]
    pub fn body(&self) -> Bytes {
        match self.resource.rearm() {
            Some(rearm) if self.retry > 0 => rearm(self.retry),
            _ => self.resource.body().clone(),
        }
    }
}

/// See [`Item::version`].
pub(super) fn wire_version(version: &str, retry: u32) -> String {
    if retry == 0 {
        version.to_owned()
    } else {
        format!("{version}+r{retry}")
    }
}

/// The content hash and the retry in a version on the wire.
pub(super) fn parse_wire_version(wire: &str) -> (&str, u32) {
    wire.rsplit_once("+r")
        .and_then(|(version, retry)| Some((version, retry.parse().ok()?)))
        .unwrap_or((wire, 0))
}

/// What a session learnt or did, for whoever follows the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A response went out.
    Sent {
        /// Its kind.
        kind: Kind,
        /// How many resources it holds.
        items: usize,
        /// How many it removes.
        removed: usize,
    },
    /// A response was accepted.
    Acked {
        /// Its kind.
        kind: Kind,
        /// Names and versions the client now runs.
        items: Vec<(String, String)>,
    },
    /// A response was refused. A single item is the culprit; several are offered again apart.
    Nacked {
        /// Its kind.
        kind: Kind,
        /// Names and versions that were in it.
        items: Vec<(String, String)>,
        /// What the client said.
        message: String,
    },
}
