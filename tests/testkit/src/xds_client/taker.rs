//! A proxy that takes what it is sent, in the background, and can be told not to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{DeltaProxy, Service, XdsError, channel, node, type_url};

/// Everything a proxy was sent and took: type URL → name → version and bytes.
pub type Taken = BTreeMap<String, BTreeMap<String, (String, Vec<u8>)>>;

/// A delta proxy that subscribes to all that Headgate serves and answers at once; dropping it cuts its stream.
#[derive(Debug)]
pub struct Taker {
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
    taken: Taken,
    refuses: BTreeSet<&'static str>,
    /// Names of resources.
    refuses_named: BTreeSet<&'static str>,
    holds: BTreeSet<&'static str>,
    held: Vec<DeltaDiscoveryResponse>,
}

impl Taker {
    /// Connects under a node id.
    ///
    /// # Errors
    /// [`XdsError`] when there is no such service.
    pub fn connect(id: &str, xds: SocketAddr) -> Result<Self, XdsError> {
        Self::connect_with(id, xds, &FILTERS, [])
    }

    /// The same with a filter for each stage, and not the one that is both.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_staged(id: &str, xds: SocketAddr) -> Result<Self, XdsError> {
        Self::connect_with(id, xds, &FILTERS[1..], [])
    }

    /// The same, of a proxy that refuses every response of these types from the first on.
    ///
    /// # Errors
    /// [`XdsError`] when there is no such service.
    pub fn connect_refusing(
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
        refused: impl IntoIterator<Item = &'static str>,
    ) -> Result<Self, XdsError> {
        let channel = channel(&format!("http://{xds}"))?;
        let mut proxy = DeltaProxy::open(channel, node(id, "test", &[]), Service::Aggregated)?;
        subscribe(&mut proxy, filters);
        let shared = Arc::new(Shared::default());
        shared.lock().refuses.extend(refused);
        let task = tokio::spawn(answer(proxy, Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// What it took so far.
    #[must_use]
    pub fn taken(&self) -> Taken {
        self.shared.lock().taken.clone()
    }

    /// From now on refuses every response of this type.
    pub fn refuse(&self, type_url: &'static str) {
        self.shared.lock().refuses.insert(type_url);
    }

    /// From now on refuses every response that has the resource of this name in it.
    pub fn refuse_named(&self, name: &'static str) {
        self.shared.lock().refuses_named.insert(name);
    }

    /// From now on leaves every response of this type unanswered, as a busy proxy does.
    pub fn hold(&self, type_url: &'static str) {
        self.shared.lock().holds.insert(type_url);
    }

    /// The responses that it left unanswered.
    #[must_use]
    pub fn held(&self) -> Vec<DeltaDiscoveryResponse> {
        self.shared.lock().held.clone()
    }

    /// Takes what it left unanswered, and holds nothing any more.
    pub fn release(&self) {
        self.shared.lock().holds.clear();
        self.shared.released.notify_one();
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filters' configurations: of both stages in one, then of each.
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

async fn answer(mut proxy: DeltaProxy, shared: Arc<Shared>) {
    const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
    loop {
        tokio::select! {
            response = proxy.next(FOR_EVER) => match response {
                Ok(response) => decide(&mut proxy, &mut shared.lock(), response),
                // Aborted with its owner it says nothing; ended by the server, a test that waits for it should tell why.
                Err(why) => {
                    eprintln!("a proxy's stream ended: {why}");
                    return;
                }
            },
            () = shared.released.notified() => {
                let state = &mut *shared.lock();
                for response in std::mem::take(&mut state.held) {
                    take(&mut proxy, &mut state.taken, &response);
                }
            }
        }
    }
}

fn decide(proxy: &mut DeltaProxy, state: &mut State, response: DeltaDiscoveryResponse) {
    let named = |name: &str| state.refuses_named.contains(name);
    let refused = state.refuses.contains(response.type_url.as_str())
        || response.resources.iter().any(|r| named(&r.name));
    if refused {
        proxy.nack(&response, "the proxy does not want it");
    } else if state.holds.contains(response.type_url.as_str()) {
        state.held.push(response);
    } else {
        take(proxy, &mut state.taken, &response);
    }
}

fn take(proxy: &mut DeltaProxy, taken: &mut Taken, response: &DeltaDiscoveryResponse) {
    let books = taken.entry(response.type_url.clone()).or_default();
    for name in &response.removed_resources {
        books.remove(name);
    }
    for resource in &response.resources {
        let bytes = resource.resource.as_ref().map(|any| any.value.clone());
        let entry = (resource.version.clone(), bytes.unwrap_or_default());
        books.insert(resource.name.clone(), entry);
    }
    proxy.ack(response);
}
