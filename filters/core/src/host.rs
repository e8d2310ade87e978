//! The proxy as a stream uses it: the ports, and properties of the stream.
//!
//! A method that returns bytes costs about 2 µs in a wasm module, so each is called only where the result matters.

use crate::ports::{Cells, Clock, Entropy};

/// A property that a proxy of an Istio mesh has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IstioProperty<'a> {
    /// `xds.upstream_host_metadata` → `filter_metadata` → `istio` → `workload`, of the endpoint that answered:
    /// `workload;namespace;canonical service;canonical revision;cluster`.
    Workload,
    /// `xds.cluster_metadata` → `filter_metadata` → `istio` → `subset`: the subset of a `DestinationRule`.
    Subset,
    /// `xds.node.metadata` → `NAMESPACE`: the namespace of this proxy's pod.
    NodeNamespace,
    /// `xds.node.metadata` → `WORKLOAD_NAME`: the workload of this proxy's pod.
    NodeWorkload,
    /// `xds.node.metadata` → `LABELS` → this key: a label of this proxy's pod.
    NodeLabel(&'a str),
}

/// The proxy, as one stream sees it. A property that the host does not have is `None`.
pub trait Host: Clock + Cells + Entropy {
    /// `xds.virtual_host_name`. Correct in the request callbacks. Used only if the namespace depends on it.
    fn virtual_host(&self) -> Option<String>;

    /// The version of the endpoint that answered: `xds.upstream_host_metadata` → `filter_metadata` →
    /// `headgate` → `version`.
    fn served_version(&self) -> Option<String>;

    /// A property that a proxy of an Istio mesh has.
    fn istio(&self, property: IstioProperty<'_>) -> Option<String>;

    /// `connection.uri_san_peer_certificate`: the first URI among the subject alternative names of the client's certificate.
    fn peer_uri(&self) -> Option<String>;

    /// `source.address`: the address of the client with its port, as the proxy determined it (`use_remote_address`, trusted hops).
    fn source_address(&self) -> Option<String>;

    /// `metadata.filter_metadata` → `envoy.filters.http.jwt_authn` → `headgate`, or `payload` in a mesh of Istio → a claim at the
    /// top level. Text as it is, a number as a double in 8 bytes, little-endian.
    fn jwt_claim(&self, name: &str) -> Option<Vec<u8>>;

    /// A part of the held request body: at most `length` bytes from byte `from` on, empty after its end. Valid in request callbacks; it includes
    /// the bytes of the current callback.
    fn held_body(&self, from: usize, length: usize) -> Option<Vec<u8>>;

    /// Bytes of all names and values of the current request headers.
    fn request_headers_size(&self) -> Option<u32>;

    /// `response.code_details`: `via_upstream`, `response_timeout`, `direct_response`, …
    fn code_details(&self) -> Option<String>;

    /// `response.code`: the status that the client gets. `None` before a response.
    fn status(&self) -> Option<u16>;

    /// `upstream.address`: the selected endpoint. `None` before one is selected: nothing was sent.
    fn upstream_address(&self) -> Option<String>;
}
