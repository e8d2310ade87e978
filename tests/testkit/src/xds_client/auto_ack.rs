//! A proxy that acknowledges every response in the background, unless the test says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{DeltaProxy, Service, XdsError, channel, node, type_url};

/// The acknowledged resources of a proxy: type URL → name → version and bytes.
pub type AcceptedResources = BTreeMap<String, BTreeMap<String, (String, Vec<u8>)>>;

/// A delta proxy that subscribes to all resources that Headgate serves and responds at once. Dropping it closes its stream.
#[derive(Debug)]
pub struct AutoAckProxy {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    accepted: AcceptedResources,
    nacked_types: BTreeSet<&'static str>,
    /// Names of resources.
    nacked_resources: BTreeSet<&'static str>,
    held_types: BTreeSet<&'static str>,
    unanswered: Vec<DeltaDiscoveryResponse>,
}

impl AutoAckProxy {
    /// Connects with a node id.
    ///
    /// # Errors
    /// [`XdsError`] when there is no such service.
    pub fn connect(id: &str, xds: SocketAddr) -> Result<Self, XdsError> {
        Self::connect_with(id, xds, &FILTERS, [])
    }

    /// As [`Self::connect`], with the two filters `traffic-tag` and `token-bucket` instead of the fused one.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_split_filters(id: &str, xds: SocketAddr) -> Result<Self, XdsError> {
        Self::connect_with(id, xds, &FILTERS[1..], [])
    }

    /// As [`Self::connect`], rejecting every response of these types from the first on.
    ///
    /// # Errors
    /// [`XdsError`] when there is no such service.
    pub fn connect_nacking(
        id: &str,
        xds: SocketAddr,
        type_urls: impl IntoIterator<Item = &'static str>,
    ) -> Result<Self, XdsError> {
        Self::connect_with(id, xds, &FILTERS, type_urls)
    }

    fn connect_with(
        id: &str,
        xds: SocketAddr,
        filters: &[&str],
        nacked_types: impl IntoIterator<Item = &'static str>,
    ) -> Result<Self, XdsError> {
        let channel = channel(&format!("http://{xds}"))?;
        let mut proxy = DeltaProxy::open(channel, node(id, "test", &[]), Service::Aggregated)?;
        subscribe(&mut proxy, filters);
        let shared = Arc::new(Shared::default());
        shared.lock().nacked_types.extend(nacked_types);
        let task = tokio::spawn(run(proxy, Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// The resources acknowledged so far.
    #[must_use]
    pub fn accepted(&self) -> AcceptedResources {
        self.shared.lock().accepted.clone()
    }

    /// Rejects every response of this type from now on.
    pub fn nack_type(&self, type_url: &'static str) {
        self.shared.lock().nacked_types.insert(type_url);
    }

    /// Rejects every response that contains the resource of this name from now on.
    pub fn nack_resource(&self, name: &'static str) {
        self.shared.lock().nacked_resources.insert(name);
    }

    /// Leaves every response of this type unanswered from now on, as a busy proxy does.
    pub fn hold_acks(&self, type_url: &'static str) {
        self.shared.lock().held_types.insert(type_url);
    }

    /// The responses left unanswered.
    #[must_use]
    pub fn unanswered(&self) -> Vec<DeltaDiscoveryResponse> {
        self.shared.lock().unanswered.clone()
    }

    /// Acknowledges the unanswered responses, and answers all types again.
    pub fn release_acks(&self) {
        self.shared.lock().held_types.clear();
        self.shared.released.notify_one();
    }
}

impl Drop for AutoAckProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of the filter configurations: the fused filter, then one filter for each stage.
const FILTERS: [&str; 3] = ["headgate", "headgate.traffic-tag", "headgate.token-bucket"];

/// Subscribes to all types that Headgate serves, as Envoys do.
pub fn subscribe_to_all(proxy: &mut DeltaProxy) {
    subscribe(proxy, &FILTERS);
}

fn subscribe(proxy: &mut DeltaProxy, filters: &[&str]) {
    proxy.subscribe(type_url::CLUSTER, &[]);
    proxy.subscribe(type_url::ENDPOINTS, &["*"]);
    proxy.subscribe(type_url::LISTENER, &[]);
    proxy.subscribe(type_url::ROUTES, &["ai-model-route"]);
    proxy.subscribe(type_url::EXTENSION, filters);
}

async fn run(mut proxy: DeltaProxy, shared: Arc<Shared>) {
    const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
    loop {
        tokio::select! {
            response = proxy.next(FOR_EVER) => match response {
                Ok(response) => respond(&mut proxy, &mut shared.lock(), response),
                // The owner aborts the task silently; if the server ends the stream, a waiting test should show the reason.
                Err(why) => {
                    eprintln!("the stream of a test proxy ended: {why}");
                    return;
                }
            },
            () = shared.released.notified() => {
                let state = &mut *shared.lock();
                for response in std::mem::take(&mut state.unanswered) {
                    accept(&mut proxy, &mut state.accepted, &response);
                }
            }
        }
    }
}

fn respond(proxy: &mut DeltaProxy, state: &mut State, response: DeltaDiscoveryResponse) {
    let named = |name: &str| state.nacked_resources.contains(name);
    let rejected = state.nacked_types.contains(response.type_url.as_str())
        || response.resources.iter().any(|r| named(&r.name));
    if rejected {
        proxy.nack(&response, "the proxy does not want it");
    } else if state.held_types.contains(response.type_url.as_str()) {
        state.unanswered.push(response);
    } else {
        accept(proxy, &mut state.accepted, &response);
    }
}

fn accept(
    proxy: &mut DeltaProxy,
    accepted: &mut AcceptedResources,
    response: &DeltaDiscoveryResponse,
) {
    let resources = accepted.entry(response.type_url.clone()).or_default();
    for name in &response.removed_resources {
        resources.remove(name);
    }
    for resource in &response.resources {
        let bytes = resource.resource.as_ref().map(|any| any.value.clone());
        let entry = (resource.version.clone(), bytes.unwrap_or_default());
        resources.insert(resource.name.clone(), entry);
    }
    proxy.ack(response);
}
