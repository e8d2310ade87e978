//! Containers that are added to a pod before it runs, as an admission webhook adds sidecars.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;

use k8s_openapi::api::core::v1::Pod;

use super::images::Image;

/// Adds containers to the pod with this address. The API's own object keeps its containers, because those of a pod cannot be changed; the
/// injected ones count for its readiness.
pub type Injector = Box<dyn Fn(Pod, IpAddr) -> Injecting + Send + Sync>;

/// A running injection; it fails with a reason for people.
pub type Injecting = Pin<Box<dyn Future<Output = Result<Injected, String>> + Send>>;

/// A pod as it runs.
#[derive(Debug, Clone)]
pub struct Injected {
    /// The pod with all its containers.
    pub pod: Pod,
    /// Images of injected containers, by the name of the container.
    pub images: BTreeMap<String, Image>,
    /// Added to each port on which a container of the manifest listens on all interfaces, so that a sidecar can have the port. In a
    /// cluster, the sidecar gets the packets by redirection instead.
    pub port_offset: u16,
}

impl Injected {
    /// A pod as it is.
    #[must_use]
    pub fn nothing(pod: Pod) -> Self {
        Self {
            pod,
            images: BTreeMap::new(),
            port_offset: 0,
        }
    }
}
