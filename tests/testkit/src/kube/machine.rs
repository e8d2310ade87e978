//! What runs the containers of pods: where a test says what listens on a pod's address, and how it ends.

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
pub trait Machine: Send + Sync + 'static {
    /// Starts a pod's containers, once; says on which address they listen. `None`: they do not start, and the pod stays
    /// pending until it is deleted.
    fn start(&self, pod: &Pod) -> impl Future<Output = Option<IpAddr>> + Send;

    /// Ends them, as on SIGTERM, and returns when they have ended. Called once for each pod that was bound, whether it
    /// started or not; the pod is in the API, terminating, until this returns.
    fn stop(&self, pod: &Pod) -> impl Future<Output = ()> + Send;
}

/// Loopback addresses, each handed out once: 127.16.0.0 to 127.255.255.255, from a random one on, so that two test
/// processes do not meet.
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

/// Whether a pod, by its `namespace/name`, does not start.
type Held = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Nothing listens: each pod gets an address of its own and ends at once. For thousands of pods.
#[derive(Default)]
pub struct Nothing {
    addresses: PodAddresses,
    held: Option<Held>,
}

impl std::fmt::Debug for Nothing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nothing").finish_non_exhaustive()
    }
}

impl Nothing {
    /// Without the pods that are `held`, by their `namespace/name`: these stay pending, and the test reports them.
    pub fn without(held: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            addresses: PodAddresses::default(),
            held: Some(Box::new(held)),
        }
    }
}

impl Machine for Nothing {
    async fn start(&self, pod: &Pod) -> Option<IpAddr> {
        let held = self.held.as_ref().is_some_and(|held| held(&key(pod)));
        (!held).then(|| self.addresses.next().into())
    }

    async fn stop(&self, _: &Pod) {}
}

/// Who a pod's model server says it is. `None`: its containers do not start.
type Casting = Box<dyn Fn(&Pod) -> Option<MockOptions> + Send + Sync>;

/// A mock model server in each pod, on the pod's own address and its port `http` or `grpc`.
///
/// Told to stop, it goes on serving for a while, as a preStop hook would have it, then until no answer is under way.
pub struct ModelServers {
    casting: Casting,
    goes_on: Duration,
    addresses: PodAddresses,
    running: Mutex<BTreeMap<String, Running>>,
    crashed: Mutex<BTreeMap<String, MockOptions>>,
}

/// A server, and what it was started as.
struct Running {
    server: MockModel,
    options: MockOptions,
}

impl std::fmt::Debug for ModelServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelServers")
            .field("goes_on", &self.goes_on)
            .finish_non_exhaustive()
    }
}

/// The longest a server waits for its answers to end, as `terminationGracePeriodSeconds` has it.
const GRACE: Duration = Duration::from_secs(30);
/// What the containers of the shipped manifests run.
const IMAGE: &str = "headgate/mock-model";
/// How many addresses are tried.
const ATTEMPTS: usize = 16;

impl ModelServers {
    /// Servers that are who `casting` says; [`MockOptions::addr`] of its answer is not looked at.
    pub fn new(casting: impl Fn(&Pod) -> Option<MockOptions> + Send + Sync + 'static) -> Self {
        Self {
            casting: Box::new(casting),
            goes_on: Duration::from_secs(1),
            addresses: PodAddresses::default(),
            running: Mutex::default(),
            crashed: Mutex::default(),
        }
    }

    /// The server that the container of the image `headgate/mock-model` is told to be, by the arguments in its manifest.
    /// `None` for pods without such a container, or with arguments that the program would refuse.
    #[must_use]
    pub fn told(pod: &Pod) -> Option<MockOptions> {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let container = containers
            .into_iter()
            .find(|container| container.image.as_deref() == Some(IMAGE))?;
        let args = container.args.iter().flatten().map(String::as_str);
        let args = MockArgs::try_parse_from(std::iter::once(IMAGE).chain(args)).ok()?;
        Some(args.options())
    }

    /// How long a server goes on serving after it was told to stop; 1 s unless said here.
    #[must_use]
    pub fn going_on_for(mut self, time: Duration) -> Self {
        self.goes_on = time;
        self
    }

    /// Where the servers listen and what they counted, by `namespace/pod`.
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

    /// Ends the server of a pod (`namespace/pod`) as SIGKILL does: what it was answering breaks, and its address refuses
    /// connections. Nobody else is told. Whether there was one.
    pub async fn crash(&self, pod: &str) -> bool {
        let Some(Running { server, options }) = lock(&self.running).remove(pod) else {
            return false;
        };
        lock(&self.crashed).insert(pod.to_owned(), options);
        server.stop().await;
        true
    }

    /// Starts the server of a pod that crashed anew, at its address. Nobody else is told.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it did not crash, and an address that is taken.
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

impl Machine for ModelServers {
    async fn start(&self, pod: &Pod) -> Option<IpAddr> {
        let options = (self.casting)(pod)?;
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
        tokio::time::sleep(self.goes_on).await;
        // Answers that do not end in time are cut, as SIGKILL would.
        let _ = tokio::time::timeout(GRACE, idle(&handle)).await;
        let running = lock(&self.running).remove(&key(pod));
        if let Some(Running { server, .. }) = running {
            server.stop().await;
        }
    }
}

impl<M: Machine> Machine for Arc<M> {
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

/// Returns when no answer is under way.
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
