//! A client of state-of-the-world xDS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use prost::{DecodeError, Message};
use tonic::transport::Channel;

use super::delta::refusal;
use super::stream::ProxyStream;
use super::{Service, XdsError};

/// The state of one type.
#[derive(Debug, Default)]
struct TypeState {
    /// All subscribed names; empty is the legacy wildcard.
    names: BTreeSet<String>,
    /// The version acknowledged last.
    version: String,
    /// The last nonce of this stream.
    nonce: String,
    /// The response acknowledged last.
    accepted: Option<DiscoveryResponse>,
}

/// A state-of-the-world stream and the state of the proxy behind it, which outlives the stream.
#[derive(Debug)]
pub struct SotwProxy {
    stream: ProxyStream<DiscoveryRequest, DiscoveryResponse>,
    types: BTreeMap<String, TypeState>,
}

impl SotwProxy {
    /// Opens a stream. The first [`Self::next`] shows whether the server accepts it.
    ///
    /// # Errors
    /// [`XdsError::NoService`].
    pub fn open(channel: Channel, node: Node, service: Service<'_>) -> Result<Self, XdsError> {
        Ok(Self {
            stream: ProxyStream::open(channel, node, service.path(false)?)?,
            types: BTreeMap::new(),
        })
    }

    /// Replaces the subscription of a type by these names; no name is the legacy wildcard.
    pub fn subscribe(&mut self, type_url: &str, names: &[&str]) {
        let state = self.types.entry(type_url.to_owned()).or_default();
        state.names = names.iter().map(|name| (*name).to_owned()).collect();
        self.send_state(type_url, None);
    }

    /// The next response of any type.
    ///
    /// # Errors
    /// [`XdsError::NoResponse`], or the end of the stream.
    pub async fn next(&mut self, within: Duration) -> Result<DiscoveryResponse, XdsError> {
        self.stream.next(within).await
    }

    /// Receives and acknowledges the next response.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_acked(&mut self, within: Duration) -> Result<DiscoveryResponse, XdsError> {
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

    /// Stores a response and acknowledges it.
    pub fn ack(&mut self, response: &DiscoveryResponse) {
        let state = self.types.entry(response.type_url.clone()).or_default();
        state.version.clone_from(&response.version_info);
        state.nonce.clone_from(&response.nonce);
        state.accepted = Some(response.clone());
        self.send_state(&response.type_url, None);
    }

    /// Rejects a response with a reason: its nonce with the last acknowledged version.
    pub fn nack(&mut self, response: &DiscoveryResponse, reason: &str) {
        let state = self.types.entry(response.type_url.clone()).or_default();
        state.nonce.clone_from(&response.nonce);
        self.send_state(&response.type_url, Some(reason));
    }

    /// Sends any request, also an invalid one. The first request of a stream gets the node.
    pub fn send(&mut self, request: DiscoveryRequest) {
        self.stream.send(request);
    }

    /// Drops the stream and opens another, on which every subscription is renewed with its acknowledged version and no nonce, as
    /// Envoy does.
    ///
    /// # Errors
    /// [`XdsError::NoService`].
    pub fn reconnect(&mut self) -> Result<(), XdsError> {
        self.stream.reopen()?;
        for state in self.types.values_mut() {
            state.nonce.clear();
        }
        let types: Vec<String> = self.types.keys().cloned().collect();
        for type_url in types {
            self.send_state(&type_url, None);
        }
        Ok(())
    }

    /// The version of a type acknowledged last; empty before the first.
    #[must_use]
    pub fn version(&self, type_url: &str) -> &str {
        self.types
            .get(type_url)
            .map_or("", |state| state.version.as_str())
    }

    /// The resources of a type acknowledged last, decoded, in the order of the response.
    ///
    /// # Errors
    /// When the bytes do not decode as this message.
    pub fn resources<M: Message + Default>(&self, type_url: &str) -> Result<Vec<M>, DecodeError> {
        let state = self.types.get(type_url);
        state
            .and_then(|state| state.accepted.as_ref())
            .into_iter()
            .flat_map(|response| &response.resources)
            .map(|any| M::decode(any.value.as_slice()))
            .collect()
    }

    /// Sends the state of a type.
    fn send_state(&mut self, type_url: &str, refused: Option<&str>) {
        let state = self.types.entry(type_url.to_owned()).or_default();
        let request = DiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names: state.names.iter().cloned().collect(),
            version_info: state.version.clone(),
            response_nonce: state.nonce.clone(),
            error_detail: refused.map(refusal),
            ..Default::default()
        };
        self.send(request);
    }
}
