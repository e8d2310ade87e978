//! A proxy that speaks delta xDS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};
use envoy_types::pb::google::rpc::Status;
use prost::{DecodeError, Message};
use tonic::transport::Channel;

use super::exchange::Exchange;
use super::{Service, XdsError};

/// `google.rpc.Code.INVALID_ARGUMENT`. The server judges by `error_detail` being there, not by its code.
const INVALID_ARGUMENT: i32 = 3;

const WILDCARD: &str = "*";

/// A delta stream and the books of the proxy behind it. The books outlive the stream, as a proxy's do.
#[derive(Debug)]
pub struct DeltaProxy {
    channel: Channel,
    path: String,
    node: Node,
    exchange: Exchange<DeltaDiscoveryRequest, DeltaDiscoveryResponse>,
    node_sent: bool,
    subscribed: BTreeMap<String, BTreeSet<String>>,
    accepted: BTreeMap<String, BTreeMap<String, Resource>>,
}

impl DeltaProxy {
    /// Opens a stream. Whether the server takes it shows with the first [`Self::next`].
    ///
    /// # Errors
    /// [`XdsError::NoService`].
    pub fn open(channel: Channel, node: Node, service: Service<'_>) -> Result<Self, XdsError> {
        let path = service.path(true)?;
        Ok(Self {
            exchange: Exchange::open(channel.clone(), &path)?,
            channel,
            path,
            node,
            node_sent: false,
            subscribed: BTreeMap::new(),
            accepted: BTreeMap::new(),
        })
    }

    /// Subscribes to names; none, or `*`, is the wildcard.
    pub fn subscribe(&mut self, type_url: &str, names: &[&str]) {
        let wanted = self.subscribed.entry(type_url.to_owned()).or_default();
        wanted.extend(names.iter().map(|name| (*name).to_owned()));
        if names.is_empty() {
            wanted.insert(WILDCARD.to_owned());
        }
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        });
    }

    /// Unsubscribes from names and forgets them, as a proxy does without waiting for an answer.
    pub fn unsubscribe(&mut self, type_url: &str, names: &[&str]) {
        for name in names {
            if let Some(wanted) = self.subscribed.get_mut(type_url) {
                wanted.remove(*name);
            }
            if let Some(accepted) = self.accepted.get_mut(type_url) {
                accepted.remove(*name);
            }
        }
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_unsubscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        });
    }

    /// The next response, of whatever type.
    ///
    /// # Errors
    /// [`XdsError::Silence`], or how the stream ended.
    pub async fn next(&mut self, within: Duration) -> Result<DeltaDiscoveryResponse, XdsError> {
        self.exchange.next(within).await
    }

    /// The next response, accepted.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_acked(
        &mut self,
        within: Duration,
    ) -> Result<DeltaDiscoveryResponse, XdsError> {
        let response = self.next(within).await?;
        self.ack(&response);
        Ok(response)
    }

    /// Succeeds if the server sends nothing for a while.
    ///
    /// # Errors
    /// [`XdsError::NotSilent`] with what came, or how the stream ended.
    pub async fn silent(&mut self, during: Duration) -> Result<(), XdsError> {
        self.exchange.silent(during).await
    }

    /// Accepts a response: books it and says so.
    pub fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        let books = self.accepted.entry(response.type_url.clone()).or_default();
        for name in &response.removed_resources {
            books.remove(name);
        }
        for resource in &response.resources {
            books.insert(resource.name.clone(), resource.clone());
        }
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        });
    }

    /// Refuses a response with a reason (and the code INVALID_ARGUMENT). Nothing of it is booked.
    pub fn nack(&mut self, response: &DeltaDiscoveryResponse, reason: &str) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: Some(refusal(reason)),
            ..Default::default()
        });
    }

    /// Sends any request, the wrong ones included. The node is added to the first of a stream.
    pub fn send(&mut self, mut request: DeltaDiscoveryRequest) {
        if !self.node_sent {
            request.node = Some(self.node.clone());
            self.node_sent = true;
        }
        self.exchange.send(request);
    }

    /// Drops the stream and opens another, on which every subscription is renewed with the versions held
    /// (`initial_resource_versions`), as Envoy does.
    ///
    /// # Errors
    /// [`XdsError::NoService`].
    pub fn reconnect(&mut self) -> Result<(), XdsError> {
        self.exchange = Exchange::open(self.channel.clone(), &self.path)?;
        self.node_sent = false;
        let renewals: Vec<DeltaDiscoveryRequest> = self
            .subscribed
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(type_url, names)| DeltaDiscoveryRequest {
                type_url: type_url.clone(),
                resource_names_subscribe: as_subscribed(names),
                initial_resource_versions: self.versions(type_url).into_iter().collect(),
                ..Default::default()
            })
            .collect();
        for renewal in renewals {
            self.send(renewal);
        }
        Ok(())
    }

    /// What was accepted of a type: name to version.
    #[must_use]
    pub fn versions(&self, type_url: &str) -> BTreeMap<String, String> {
        self.accepted
            .get(type_url)
            .into_iter()
            .flatten()
            .map(|(name, resource)| (name.clone(), resource.version.clone()))
            .collect()
    }

    /// An accepted resource, decoded; `None` when there is none of this name.
    ///
    /// # Errors
    /// When the bytes are not of this message.
    pub fn resource<M: Message + Default>(
        &self,
        type_url: &str,
        name: &str,
    ) -> Result<Option<M>, DecodeError> {
        let resource = self.accepted.get(type_url).and_then(|all| all.get(name));
        match resource.and_then(|resource| resource.resource.as_ref()) {
            Some(any) => M::decode(any.value.as_slice()).map(Some),
            None => Ok(None),
        }
    }
}

/// The wildcard alone is renewed in its legacy form, no names at all, as Envoy does.
fn as_subscribed(names: &BTreeSet<String>) -> Vec<String> {
    if names.len() == 1 && names.contains(WILDCARD) {
        return Vec::new();
    }
    names.iter().cloned().collect()
}

pub(super) fn refusal(reason: &str) -> Status {
    Status {
        code: INVALID_ARGUMENT,
        message: reason.to_owned(),
        details: Vec::new(),
    }
}
