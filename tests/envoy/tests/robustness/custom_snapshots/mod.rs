//! The xDS server alone, with snapshots made by the test: the output of `translate` for manifests, with one modified resource. The
//! control plane would never send such resources, so the test takes its place; server and Envoy are real.

mod per_type;
mod refusals;
mod removal;
mod trailers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headgate_model::{LabelKeys, Registry, Scales, plan};
use headgate_source::files::Files;
use headgate_source::files::Options as FilesOptions;
use headgate_testkit::client::{Job, Load, LoadOptions, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::{Manifest, artifacts, bootstrap};
use headgate_translate::{Code, Options, ScopeSpec, snapshot};
use headgate_xds::connection::tcp;
use headgate_xds::fleet::{Fleet, Progress};
use headgate_xds::{
    Kind, Peer, PermissionDenied, Resource, Scope, Snapshot, SnapshotProvider, XdsServer,
};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::common::SOON;

/// One scope for all proxies, and its snapshot.
struct FixedSnapshot(watch::Sender<Option<Arc<Snapshot>>>);

impl SnapshotProvider for FixedSnapshot {
    fn scope(&self, _: &Peer) -> Result<Scope, PermissionDenied> {
        Ok(Scope("fixed".to_owned()))
    }

    fn snapshots(
        &self,
        _: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied> {
        Ok(self.0.subscribe())
    }
}

/// Model `m` in `v1` and `v2`, an xDS server with a snapshot of the test, and an Envoy.
struct Fixture {
    envoy: Envoy,
    server: XdsServer<FixedSnapshot>,
    serving: JoinHandle<()>,
    mocks: [MockModel; 2],
    listen: SocketAddr,
    /// The transport of the resources.
    transport: Transport,
}

/// The xDS services that deliver the resources.
#[derive(Clone, Copy)]
struct Transport {
    /// Its name in failed assertions.
    name: &'static str,
    bootstrap: fn(String) -> String,
    resources: fn(Vec<Resource>) -> Vec<Resource>,
}

/// All types on one delta stream, as shipped.
const ADS: Transport = Transport {
    name: "delta",
    bootstrap: |text| text,
    resources: |all| all,
};

/// All types on one stream of state-of-the-world xDS.
const ADS_SOTW: Transport = Transport {
    name: "state of the world",
    bootstrap: |text| {
        let delta = "api_type: DELTA_GRPC";
        assert_eq!(text.matches(delta).count(), 1);
        text.replace(delta, "api_type: GRPC")
    },
    resources: |all| all,
};

/// Both; each make-before-break test runs with both.
const BOTH: [Transport; 2] = [ADS, ADS_SOTW];

impl Drop for Fixture {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The resources of manifests, as the control plane would serve them.
fn resources(manifests: &[Manifest], listen: SocketAddr) -> Vec<Resource> {
    let files: Vec<_> = manifests.iter().map(Manifest::render).collect();
    resources_of(&files, listen)
}

/// The resources of files with manifests and policies.
fn resources_of(files: &[String], listen: SocketAddr) -> Vec<Resource> {
    let dir = tempfile::tempdir().unwrap();
    for (at, file) in files.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{at}.yaml")), file).unwrap();
    }
    let objects = Files::read(FilesOptions::new([dir.path()]))
        .unwrap()
        .objects;
    let registry = Registry::build(&objects, &LabelKeys::default());
    let plan = plan(&registry, &objects, &Scales::default());
    let scope = ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec!["default".to_owned()],
        listen,
        asks_over_quic: true,
    };
    let module = artifacts::wasm_module().unwrap();
    let module = Code::File(module.to_string_lossy().into_owned());
    let domains = [("default".to_owned(), vec!["*".to_owned()])];
    let options = Options::new(module, domains);
    let snapshot = snapshot(&plan, &scope, &options).unwrap().snapshot;
    let all = Kind::PUSH_ORDER
        .into_iter()
        .flat_map(|kind| snapshot.of(kind));
    all.map(|resource| Resource::clone(resource)).collect()
}

/// The same resource with another body and the same requirements.
fn with_body(resource: &Resource, body: Vec<u8>) -> Resource {
    Resource::new(resource.kind(), resource.name(), body)
        .requiring(resource.requires().iter().cloned())
}

/// The same resource with a modified message.
fn changed<M: Message + Default>(resource: &Resource, change: impl Fn(&mut M)) -> Resource {
    let mut message = M::decode(resource.body().clone()).unwrap();
    change(&mut message);
    with_body(resource, message.encode_to_vec())
}

/// Replaces one resource of the list.
fn tamper(
    all: &mut [Resource],
    kind: Kind,
    name: &str,
    change: impl FnOnce(&Resource) -> Resource,
) {
    let found = all
        .iter_mut()
        .find(|r| r.kind() == kind && r.name() == name);
    let found = found.unwrap_or_else(|| panic!("no {kind} {name}"));
    *found = change(found);
}

impl Fixture {
    /// Starts with `v1` alone, over ADS and delta.
    async fn open(options: headgate_xds::Options) -> Self {
        Self::open_with(ADS, options).await
    }

    async fn open_with(transport: Transport, options: headgate_xds::Options) -> Self {
        let start = async |version| {
            MockModel::start(MockOptions::new("m", version))
                .await
                .unwrap()
        };
        let mocks = [start("v1").await, start("v2").await];
        let listen = free_addr().unwrap();
        let xds = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = xds.local_addr().unwrap();
        let first = (transport.resources)(resources(&[v1(&mocks)], listen));
        let first = Snapshot::new(first).unwrap();
        let provider = FixedSnapshot(watch::Sender::new(Some(Arc::new(first))));
        let server = XdsServer::new(provider, options);
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(tcp(xds), std::future::pending()).await }
        });
        let envoy = EnvoyOptions {
            node_id: Some("by-hand".to_owned()),
            node_cluster: Some("test".to_owned()),
            ..EnvoyOptions::new((transport.bootstrap)(bootstrap(address, None).unwrap()))
        };
        Self {
            envoy: Envoy::start(envoy).await.unwrap(),
            server,
            serving,
            mocks,
            listen,
            transport,
        }
    }

    /// The resources of `v1` alone.
    fn one(&self) -> Vec<Resource> {
        (self.transport.resources)(resources(&[v1(&self.mocks)], self.listen))
    }

    /// The resources of `v1` and of `v2`, which gets all traffic.
    fn both(&self) -> Vec<Resource> {
        let v2 = Manifest::new("m", "v2")
            .weight("100")
            .endpoints(&[self.mocks[1].addr()]);
        (self.transport.resources)(resources(&[v1(&self.mocks), v2], self.listen))
    }

    fn publish(&self, resources: Vec<Resource>) {
        let snapshot = Snapshot::new(resources).unwrap();
        self.server
            .provider()
            .0
            .send_replace(Some(Arc::new(snapshot)));
    }

    fn fleet(&self) -> Fleet {
        self.server.fleet()
    }

    /// Waits until the Envoy's progress for one type satisfies `holds`.
    async fn await_progress(
        &self,
        kind: Kind,
        what: &str,
        holds: impl Fn(&Progress) -> bool,
    ) -> Progress {
        let seen = eventually(SOON, what, async || {
            let proxies = self.fleet().proxies();
            let progress = proxies.first().and_then(|p| p.kinds.get(&kind)).cloned();
            match progress {
                Some(progress) if holds(&progress) => Ok(progress),
                other => Err(format!("{other:?}")),
            }
        });
        seen.await.unwrap()
    }

    async fn await_settled(&self) {
        let settled = eventually(SOON, "the Envoy to run everything", async || {
            match self.fleet().proxies().first() {
                Some(proxy) if proxy.is_current() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        settled.await.unwrap();
    }

    fn request(&self) -> OpenAiRequest {
        OpenAiRequest::chat("m").max_tokens(4)
    }

    fn load(&self) -> Load {
        let url = format!("http://{}", self.listen);
        let request = self.request();
        Load::start(LoadOptions {
            pause: Duration::from_millis(5),
            ..LoadOptions::new(4, move |n| Job {
                session: n.to_string(),
                request: request.to(&url),
            })
        })
    }

    /// Number of requests that reached `v2`.
    fn at_v2(&self) -> u64 {
        self.mocks[1].stats().requests
    }

    /// Waits until `v2` is served.
    async fn await_v2(&self) {
        let served = eventually(SOON, "v2 to be served", async || match self.at_v2() {
            0 => Err("it has had no request"),
            _ => Ok(()),
        });
        served.await.unwrap();
    }
}

fn v1(mocks: &[MockModel; 2]) -> Manifest {
    Manifest::new("m", "v1").endpoints(&[mocks[0].addr()])
}
