//! A proxy that speaks state-of-the-world xDS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use prost::{DecodeError, Message};
use tonic::transport::Channel;

use super::delta::refusal;
use super::exchange::Exchange;
use super::{Service, XdsError};

/// What the proxy knows of one type.
#[derive(Debug, Default)]
struct Books {
    /// All names wanted; empty is the legacy wildcard.
    names: BTreeSet<String>,
    /// The version accepted last.
    version: String,
    /// The nonce seen last on this stream.
    nonce: String,
    /// The response accepted last.
    accepted: Option<DiscoveryResponse>,
}

/// A state-of-the-world stream and the books of the proxy behind it, which outlive the stream.
#[derive(Debug)]
pub struct SotwProxy {
    channel: Channel,
    path: String,
    node: Node,
    exchange: Exchange<DiscoveryRequest, DiscoveryResponse>,
    node_sent: bool,
    types: BTreeMap<String, Books>,
}

impl SotwProxy {
    /// Opens a stream. Whether the server takes it shows with the first [`Self::next`].
    ///
    /// # Errors
    /// [`XdsError::NoService`].
    pub fn open(channel: Channel, node: Node, service: Service<'_>) -> Result<Self, XdsError> {
        let path = service.path(false)?;
        Ok(Self {
            exchange: Exchange::open(channel.clone(), &path)?,
            channel,
            path,
            node,
            node_sent: false,
            types: BTreeMap::new(),
        })
    }

    /// Asks for exactly these names of a type from now on; none is the legacy wildcard.
    pub fn subscribe(&mut self, type_url: &str, names: &[&str]) {
        let books = self.types.entry(type_url.to_owned()).or_default();
        books.names = names.iter().map(|name| (*name).to_owned()).collect();
        self.tell(type_url, None);
    }

    /// The next response, of whatever type.
    ///
    /// # Errors
    /// [`XdsError::Silence`], or how the stream ended.
    pub async fn next(&mut self, within: Duration) -> Result<DiscoveryResponse, XdsError> {
        self.exchange.next(within).await
    }

    /// The next response, accepted.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_acked(&mut self, within: Duration) -> Result<DiscoveryResponse, XdsError> {
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
    pub fn ack(&mut self, response: &DiscoveryResponse) {
        let books = self.types.entry(response.type_url.clone()).or_default();
        books.version.clone_from(&response.version_info);
        books.nonce.clone_from(&response.nonce);
        books.accepted = Some(response.clone());
        self.tell(&response.type_url, None);
    }

    /// Refuses a response with a reason: its nonce beside the version held before.
    pub fn nack(&mut self, response: &DiscoveryResponse, reason: &str) {
        let books = self.types.entry(response.type_url.clone()).or_default();
        books.nonce.clone_from(&response.nonce);
        self.tell(&response.type_url, Some(reason));
    }

    /// Sends any request, the wrong ones included. The node is added to the first of a stream.
    pub fn send(&mut self, mut request: DiscoveryRequest) {
        if !self.node_sent {
            request.node = Some(self.node.clone());
            self.node_sent = true;
        }
        self.exchange.send(request);
    }

    /// Drops the stream and opens another, on which every subscription is renewed with the version held and no
    /// nonce, as Envoy does.
    ///
    /// # Errors
    /// [`XdsError::NoService`].
    pub fn reconnect(&mut self) -> Result<(), XdsError> {
        self.exchange = Exchange::open(self.channel.clone(), &self.path)?;
        self.node_sent = false;
        for books in self.types.values_mut() {
            books.nonce.clear();
        }
        let types: Vec<String> = self.types.keys().cloned().collect();
        for type_url in types {
            self.tell(&type_url, None);
        }
        Ok(())
    }

    /// The version of a type accepted last; empty before the first.
    #[must_use]
    pub fn version(&self, type_url: &str) -> &str {
        self.types
            .get(type_url)
            .map_or("", |books| books.version.as_str())
    }

    /// The resources of a type accepted last, decoded, in the order they came.
    ///
    /// # Errors
    /// When the bytes are not of this message.
    pub fn resources<M: Message + Default>(&self, type_url: &str) -> Result<Vec<M>, DecodeError> {
        let books = self.types.get(type_url);
        books
            .and_then(|books| books.accepted.as_ref())
            .into_iter()
            .flat_map(|response| &response.resources)
            .map(|any| M::decode(any.value.as_slice()))
            .collect()
    }

    /// Says where the proxy stands with a type.
    fn tell(&mut self, type_url: &str, refused: Option<&str>) {
        let books = self.types.entry(type_url.to_owned()).or_default();
        let request = DiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names: books.names.iter().cloned().collect(),
            version_info: books.version.clone(),
            response_nonce: books.nonce.clone(),
            error_detail: refused.map(refusal),
            ..Default::default()
        };
        self.send(request);
    }
}
