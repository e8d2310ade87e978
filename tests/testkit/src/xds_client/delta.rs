//! A client of delta xDS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};
use envoy_types::pb::google::rpc::Status;
use prost::{DecodeError, Message};
use tonic::transport::Channel;

use super::stream::ProxyStream;
use super::{Service, XdsError};

/// `google.rpc.Code.INVALID_ARGUMENT`. The server checks for the presence of `error_detail`, not for its code.
const INVALID_ARGUMENT: i32 = 3;

const WILDCARD: &str = "*";

/// A delta stream and the state of the proxy behind it. The state outlives the stream, as in a real proxy.
#[derive(Debug)]
pub struct DeltaProxy {
    stream: ProxyStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>,
    subscribed: BTreeMap<String, BTreeSet<String>>,
    accepted: BTreeMap<String, BTreeMap<String, Resource>>,
}

impl DeltaProxy {
    /// Opens a stream. The first [`Self::next`] shows whether the server accepts it.
    ///
    /// # Errors
    /// [`XdsError::NoService`].
    pub fn open(channel: Channel, node: Node, service: Service<'_>) -> Result<Self, XdsError> {
        Ok(Self {
            stream: ProxyStream::open(channel, node, service.path(true)?)?,
            subscribed: BTreeMap::new(),
            accepted: BTreeMap::new(),
        })
    }

    /// Subscribes to names; no name, or `*`, is the wildcard.
    pub fn subscribe(&mut self, type_url: &str, names: &[&str]) {
        let names_of_type = self.subscribed.entry(type_url.to_owned()).or_default();
        names_of_type.extend(names.iter().map(|name| (*name).to_owned()));
        if names.is_empty() {
            names_of_type.insert(WILDCARD.to_owned());
        }
        self.send(DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        });
    }

    /// Unsubscribes from names and forgets their resources at once, as a proxy does.
    pub fn unsubscribe(&mut self, type_url: &str, names: &[&str]) {
        for name in names {
            if let Some(names_of_type) = self.subscribed.get_mut(type_url) {
                names_of_type.remove(*name);
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

    /// The next response of any type.
    ///
    /// # Errors
    /// [`XdsError::NoResponse`], or the end of the stream.
    pub async fn next(&mut self, within: Duration) -> Result<DeltaDiscoveryResponse, XdsError> {
        self.stream.next(within).await
    }

    /// Receives and acknowledges the next response.
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

    /// Succeeds if the server sends nothing for `during`.
    ///
    /// # Errors
    /// [`XdsError::UnexpectedResponse`] with the response, or the end of the stream.
    pub async fn expect_silence(&mut self, during: Duration) -> Result<(), XdsError> {
        self.stream.expect_silence(during).await
    }

    /// Stores the resources of a response and acknowledges it.
    pub fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        let resources = self.accepted.entry(response.type_url.clone()).or_default();
        for name in &response.removed_resources {
            resources.remove(name);
        }
        for resource in &response.resources {
            resources.insert(resource.name.clone(), resource.clone());
        }
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        });
    }

    /// Rejects a response with a reason (and the code INVALID_ARGUMENT). Its resources are not stored.
    pub fn nack(&mut self, response: &DeltaDiscoveryResponse, reason: &str) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: Some(refusal(reason)),
            ..Default::default()
        });
    }

    /// Sends any request, also an invalid one. The first request of a stream gets the node.
    pub fn send(&mut self, request: DeltaDiscoveryRequest) {
        self.stream.send(request);
    }

    /// Drops the stream and opens another, on which every subscription is renewed with the versions of the stored resources
    /// (`initial_resource_versions`), as Envoy does.
    ///
    /// # Errors
    /// [`XdsError::NoService`].
    pub fn reconnect(&mut self) -> Result<(), XdsError> {
        self.stream.reopen()?;
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

    /// The acknowledged resources of a type: name to version.
    #[must_use]
    pub fn versions(&self, type_url: &str) -> BTreeMap<String, String> {
        self.accepted
            .get(type_url)
            .into_iter()
            .flatten()
            .map(|(name, resource)| (name.clone(), resource.version.clone()))
            .collect()
    }

    /// An acknowledged resource, decoded; `None` when there is none of this name.
    ///
    /// # Errors
    /// When the bytes do not decode as this message.
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

/// A lone wildcard is renewed in its legacy form, without names, as Envoy does.
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
