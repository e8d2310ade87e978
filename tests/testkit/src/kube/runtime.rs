//! The containers of pods: what listens on a pod's address, and how it ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::kube::ResourceExt;
use clap::Parser as _;
use k8s_openapi::api::core::v1::Pod;

use crate::mock_model::{MockArgs, MockHandle, MockModel, MockOptions};

/// Runs the containers of pods.
pub trait ContainerRuntime: Send + Sync + 'static {
    /// Starts a pod's containers; called once per pod. Returns the address they listen on. `None`: they do not start, and the pod
    /// stays pending until it is deleted.
    fn start(&self, pod: &Pod) -> impl Future<Output = Option<IpAddr>> + Send;

    /// Ends them, as on SIGTERM, and returns when they have ended. Called once for each bound pod, started or not; the pod stays in
    /// the API, terminating, until this returns.
    fn stop(&self, pod: &Pod) -> impl Future<Output = ()> + Send;
}

/// Loopback addresses, each handed out once, from 127.16.0.0 to 127.255.255.255. The first one is random, so that test processes
/// that run at the same time do not collide.
#[derive(Debug)]
pub struct PodAddresses {
    next: AtomicU32,
}

impl PodAddresses {
    const FIRST: u32 = 0x7f10_0000;
    const COUNT: u32 = 0x00f0_0000;

    /// The next address.
    pub fn next(&self) -> Ipv4Addr {
        let offset = self.next.fetch_add(1, Ordering::Relaxed) % Self::COUNT;
        Ipv4Addr::from(Self::FIRST + offset)
    }
}

impl Default for PodAddresses {
    fn default() -> Self {
        let start = RandomState::new().hash_one(()) % u64::from(Self::COUNT);
        let next = AtomicU32::new(u32::try_from(start).unwrap_or(0));
        Self { next }
    }
}

/// Whether a pod, given as `namespace/name`, does not start.
type HoldBack = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A runtime without servers: each pod gets its own address and ends at once. For thousands of pods.
#[derive(Default)]
pub struct EmptyRuntime {
    addresses: PodAddresses,
    is_held_back: Option<HoldBack>,
}

impl std::fmt::Debug for EmptyRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmptyRuntime").finish_non_exhaustive()
    }
}

impl EmptyRuntime {
    /// Holds back the pods for which `is_held_back` is true, given as `namespace/name`: they stay pending, and the test reports them.
    pub fn holding_back(is_held_back: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            addresses: PodAddresses::default(),
            is_held_back: Some(Box::new(is_held_back)),
        }
    }
}

impl ContainerRuntime for EmptyRuntime {
    async fn start(&self, pod: &Pod) -> Option<IpAddr> {
        let is_held_back = self
            .is_held_back
            .as_ref()
            .is_some_and(|is_held_back| is_held_back(&key(pod)));
        (!is_held_back).then(|| self.addresses.next().into())
    }

    async fn stop(&self, _: &Pod) {}
}

/// The server that runs in a pod. `None`: its containers do not start.
type OptionsFor = Box<dyn Fn(&Pod) -> Option<MockOptions> + Send + Sync>;

/// A runtime with a mock model server in each pod, on the pod's own address and its port `http` or `grpc`.
///
/// On a stop, a server keeps serving for a delay, as with a preStop hook, and then until its last response has ended.
pub struct ModelServers {
    options_for: OptionsFor,
    drain_delay: Duration,
    addresses: PodAddresses,
    running: Mutex<BTreeMap<String, Running>>,
    crashed: Mutex<BTreeMap<String, MockOptions>>,
}

/// A server and its options.
struct Running {
    server: MockModel,
    options: MockOptions,
}

impl std::fmt::Debug for ModelServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelServers")
            .field("drain_delay", &self.drain_delay)
            .finish_non_exhaustive()
    }
}

/// Longest wait for responses to end, as `terminationGracePeriodSeconds`.
const GRACE: Duration = Duration::from_secs(30);
/// Image of the containers in the shipped manifests.
const IMAGE: &str = "headgate/mock-model";
/// Number of addresses to try.
const ATTEMPTS: usize = 16;

impl ModelServers {
    /// Servers with the options that `options_for` returns; [`MockOptions::addr`] is ignored.
    pub fn new(options_for: impl Fn(&Pod) -> Option<MockOptions> + Send + Sync + 'static) -> Self {
        Self {
            options_for: Box::new(options_for),
            drain_delay: Duration::from_secs(1),
            addresses: PodAddresses::default(),
            running: Mutex::default(),
            crashed: Mutex::default(),
        }
    }

    /// The options of the container with the image `headgate/mock-model`, from the arguments in its manifest. `None` for pods
    /// without such a container, or with invalid arguments.
    #[must_use]
    pub fn from_container_args(pod: &Pod) -> Option<MockOptions> {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let container = containers
            .into_iter()
            .find(|container| container.image.as_deref() == Some(IMAGE))?;
        let args = container.args.iter().flatten().map(String::as_str);
        let args = MockArgs::try_parse_from(std::iter::once(IMAGE).chain(args)).ok()?;
        Some(args.options())
    }

    /// Sets how long a server keeps serving after a stop; the default is 1 s.
    #[must_use]
    pub fn with_drain_delay(mut self, time: Duration) -> Self {
        self.drain_delay = time;
        self
    }

    /// Address and counters of the running servers, by `namespace/pod`.
    #[must_use]
    pub fn running(&self) -> BTreeMap<String, (SocketAddr, MockHandle)> {
        lock(&self.running)
            .iter()
            .map(|(pod, running)| {
                let server = &running.server;
                (pod.clone(), (server.addr(), server.handle().clone()))
            })
            .collect()
    }

    /// Ends the server of a pod (`namespace/pod`) as SIGKILL does: its responses break and its address refuses connections. The API
    /// gets no report. Returns whether there was a server.
    pub async fn crash(&self, pod: &str) -> bool {
        let Some(Running { server, options }) = lock(&self.running).remove(pod) else {
            return false;
        };
        lock(&self.crashed).insert(pod.to_owned(), options);
        server.stop().await;
        true
    }

    /// Restarts the crashed server of a pod, at its old address. The API gets no report.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the server did not crash; the error of the bind when its address is taken.
    pub async fn restart(&self, pod: &str) -> io::Result<()> {
        let options = lock(&self.crashed).remove(pod);
        let options = options.ok_or(io::ErrorKind::NotFound)?;
        let server = MockModel::start(options.clone()).await?;
        lock(&self.running).insert(pod.to_owned(), Running { server, options });
        Ok(())
    }

    async fn listen(&self, options: MockOptions, port: u16) -> io::Result<Running> {
        let mut refusal = None;
        for _ in 0..ATTEMPTS {
            let addr = (self.addresses.next(), port).into();
            let options = options.clone().at(addr);
            match MockModel::start(options.clone()).await {
                Ok(server) => return Ok(Running { server, options }),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }
}

impl ContainerRuntime for ModelServers {
    async fn start(&self, pod: &Pod) -> Option<IpAddr> {
        let options = (self.options_for)(pod)?;
        let running = self.listen(options, serving_port(pod)?).await.ok()?;
        let ip = running.server.addr().ip();
        lock(&self.running).insert(key(pod), running);
        Some(ip)
    }

    async fn stop(&self, pod: &Pod) {
        lock(&self.crashed).remove(&key(pod));
        let handle = lock(&self.running)
            .get(&key(pod))
            .map(|running| running.server.handle().clone());
        let Some(handle) = handle else { return };
        tokio::time::sleep(self.drain_delay).await;
        // Responses that do not end in time are broken off, as by SIGKILL.
        let _ = tokio::time::timeout(GRACE, idle(&handle)).await;
        let running = lock(&self.running).remove(&key(pod));
        if let Some(Running { server, .. }) = running {
            server.stop().await;
        }
    }
}

impl<M: ContainerRuntime> ContainerRuntime for Arc<M> {
    fn start(&self, pod: &Pod) -> impl Future<Output = Option<IpAddr>> + Send {
        (**self).start(pod)
    }

    fn stop(&self, pod: &Pod) -> impl Future<Output = ()> + Send {
        (**self).stop(pod)
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns when no response is in flight.
async fn idle(server: &MockHandle) {
    while server.stats().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn key(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// The port named `http` or `grpc`.
fn serving_port(pod: &Pod) -> Option<u16> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| matches!(port.name.as_deref(), Some("http" | "grpc")))
        .and_then(|port| u16::try_from(port.container_port).ok())
}
