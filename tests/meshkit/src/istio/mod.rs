//! Launcher of a real Istio mesh on loopback: istiod, and a real `pilot-agent` with Envoy in each pod.
//!
//! istiod runs on the API of [`Kube`]. Pods get their proxies when [`ProcessRunner`](crate::pods::ProcessRunner) runs them with
//! [`Mesh::injector`]: in namespaces labelled `istio-injection=enabled`, by the pod's label `sidecar.istio.io/inject`, and as a gateway by
//! the annotation `inject.istio.io/templates: gateway`. The proxies have their certificates from istiod, for the token of their own
//! ServiceAccount.
//!
//! | in a cluster | here |
//! |---|---|
//! | a webhook of istiod injects the proxy | the kubelet does |
//! | packets are redirected to the sidecar | it listens on the pod's address, and on another one for what the pod sends ([`Mesh::proxy`]) |
//! | pods are endpoints of Services by EndpointSlice | by WorkloadEntry |
//!
//! Invariant: Envoys listen on loopback only, and end with their pods. The agents' status ports are open on all interfaces, because
//! `pilot-agent` has no setting for their address.

mod annotations;
mod endpoints;
mod error;
mod objects;
mod programs;
mod sidecar;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headgate_testkit::envoy::Admin;
use headgate_testkit::kube::{Kube, PodAddresses};
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessOptions};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::AbortHandle;

pub use self::error::MeshError;
pub use self::objects::gateway_objects;
pub use self::sidecar::{OutboundPort, ProxyAddresses};

use self::error::files;
use self::objects::apply;
use self::programs::Programs;
use crate::command::output;
use crate::pods::{Image, Injected, Injecting, Injector};

/// Options of a mesh.
#[derive(Debug, Clone)]
pub struct MeshOptions {
    /// Whether workloads refuse plaintext (mutual TLS mode `STRICT`).
    pub strict: bool,
    /// The ports of Services on which sidecars listen for their pods.
    pub outbound: Vec<OutboundPort>,
    /// Whether the Gateway API is installed and served. A `Gateway` needs `spec.addresses` with the host of a Service whose pods are
    /// gateways: no Deployment is made for it.
    pub gateway_api: bool,
    /// Fields added to the mesh configuration, such as `accessLogFormat`.
    pub config: Value,
    /// Start deadline of istiod.
    pub within: Duration,
}

impl Default for MeshOptions {
    /// Strict mutual TLS, outbound `http` 8000 and `grpc-xds` 18000, and 60 s until ready (5 s on two idle cores).
    fn default() -> Self {
        let port = |number, name: &str| OutboundPort {
            number,
            name: name.to_owned(),
        };
        Self {
            strict: true,
            outbound: vec![port(8000, "http"), port(18000, "grpc-xds")],
            gateway_api: false,
            config: json!({}),
            within: Duration::from_secs(60),
        }
    }
}

/// A running control plane of Istio.
#[derive(Debug)]
pub struct Mesh {
    istiod: Process,
    command: ProcessOptions,
    ready: String,
    within: Duration,
    shared: Arc<Shared>,
    programs: Programs,
    kubeconfig: PathBuf,
    endpoints: AbortHandle,
    _dir: TempDir,
}

/// What injections need.
struct Shared {
    client: Client,
    istiod: SocketAddr,
    proxy: Image,
    outbound: Vec<OutboundPort>,
    addresses: PodAddresses,
    proxies: Mutex<BTreeMap<String, ProxyAddresses>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("istiod", &self.istiod)
            .finish_non_exhaustive()
    }
}

impl Mesh {
    /// Installs Istio's kinds in an API and starts istiod; returns when it is ready.
    ///
    /// # Errors
    /// [`MeshError::Command`] when the programs are not installed; [`MeshError::Kube`]; [`MeshError::Process`] with the end of istiod's
    /// log when it exits or is not ready in time.
    pub async fn start(kube: &Kube, options: MeshOptions) -> Result<Self, MeshError> {
        let programs = Programs::find()?;
        let dir = tempfile::tempdir().map_err(files(&std::env::temp_dir()))?;
        let addresses = PodAddresses::default();
        let address = IpAddr::from(addresses.next());
        install(kube, &programs, &options).await?;
        let mut config = json!({
            "defaultProviders": {},
            "enablePrometheusMerge": false,
            "accessLogFile": "/dev/stdout",
            "rootNamespace": ROOT_NAMESPACE,
            "trustDomain": "cluster.local",
        });
        if let (Value::Object(config), Value::Object(own)) = (&mut config, options.config) {
            config.extend(own);
        }
        let path = dir.path().join("mesh.yaml");
        // JSON is YAML.
        std::fs::write(&path, config.to_string()).map_err(files(&path))?;
        let mut command = istiod(&programs, kube.kubeconfig(), address, dir.path());
        command = command.env("PILOT_ENABLE_GATEWAY_API", options.gateway_api.to_string());
        let mut istiod = Process::start(command.clone())?;
        let ready = format!("http://{address}:15080/ready");
        istiod.wait_for_http(&ready, options.within).await?;
        let shared = Arc::new(Shared {
            client: kube.client(),
            istiod: (address, 15012).into(),
            proxy: programs.proxy(dir.path())?,
            outbound: options.outbound,
            addresses,
            proxies: Mutex::default(),
        });
        let endpoints = tokio::spawn(endpoints::publish(kube.client()));
        Ok(Self {
            istiod,
            command,
            ready,
            within: options.within,
            shared,
            programs,
            kubeconfig: kube.kubeconfig().to_owned(),
            endpoints: endpoints.abort_handle(),
            _dir: dir,
        })
    }

    /// What adds the proxies to pods.
    #[must_use]
    pub fn injector(&self) -> Injector {
        let shared = Arc::clone(&self.shared);
        Box::new(move |pod, ip| -> Injecting {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                shared
                    .inject(pod, ip)
                    .await
                    .map_err(|error| error.to_string())
            })
        })
    }

    /// The proxy of a pod (`namespace/pod`).
    ///
    /// # Errors
    /// [`MeshError::NoProxy`].
    pub fn proxy(&self, pod: &str) -> Result<ProxyAddresses, MeshError> {
        let proxies = self.shared.proxies.lock();
        let proxies = proxies.unwrap_or_else(PoisonError::into_inner);
        let found = proxies.get(pod).copied();
        found.ok_or_else(|| MeshError::NoProxy(pod.to_owned()))
    }

    /// The admin interface of a pod's Envoy.
    ///
    /// # Errors
    /// [`MeshError::NoProxy`].
    pub fn admin(&self, pod: &str) -> Result<Admin, MeshError> {
        Ok(Admin::new(self.proxy(pod)?.admin))
    }

    /// Runs `istioctl` as the administrator and returns its standard output.
    ///
    /// # Errors
    /// [`MeshError::Command`], also for findings of `analyze`.
    pub async fn istioctl(&self, args: &[&str]) -> Result<String, MeshError> {
        let mut command = tokio::process::Command::new(&self.programs.istioctl);
        command.args(args).env("KUBECONFIG", &self.kubeconfig);
        Ok(output(command).await?)
    }

    /// Runs `istioctl analyze` and returns its findings, one a line; empty if there are none. Two findings are left out, because the proxies
    /// are added after the API, and by no webhook: a pod has no proxy (IST0103), or an image that a webhook would set (IST0147).
    ///
    /// # Errors
    /// As [`Self::istioctl`]: errors among the findings, and a failed run.
    pub async fn analyze(&self, args: &[&str]) -> Result<String, MeshError> {
        let pods = ["IST0103=Pod *", "IST0147=Pod *"];
        let analyze = ["analyze", "--suppress", pods[0], "--suppress", pods[1]];
        let findings = self.istioctl(&[&analyze, args].concat()).await?;
        Ok(findings.trim().to_owned())
    }

    /// istiod, to suspend or end it, or to read its log.
    pub fn istiod(&mut self) -> &mut Process {
        &mut self.istiod
    }

    /// Starts istiod again after its end, at its address.
    ///
    /// # Errors
    /// [`MeshError::Process`], also when it still runs and holds its ports.
    pub async fn restart_istiod(&mut self) -> Result<(), MeshError> {
        self.istiod = Process::start(self.command.clone())?;
        self.istiod.wait_for_http(&self.ready, self.within).await?;
        Ok(())
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.endpoints.abort();
    }
}

impl Shared {
    async fn inject(&self, mut pod: Pod, ip: IpAddr) -> Result<Injected, String> {
        let namespace = pod.namespace().unwrap_or_default();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let refused = |error: kube::Error| error.to_string();
        let labels = namespaces.get(&namespace).await.map_err(refused)?;
        let labels = labels.metadata.labels;
        let Some(kind) = sidecar::kind(&pod, &labels.unwrap_or_default()) else {
            return Ok(Injected::nothing(pod));
        };
        let port = || {
            free_addr()
                .map(|at| at.port())
                .map_err(|error| error.to_string())
        };
        let at = ProxyAddresses {
            pod: ip,
            outbound: self.addresses.next().into(),
            admin: ([127, 0, 0, 1], port()?).into(),
            status: port()?,
            ready: port()?,
            metrics: port()?,
        };
        self.prepare(&pod).await.map_err(refused)?;
        if kind == sidecar::Kind::Sidecar {
            let object = sidecar::sidecar_object(&pod, &at, &self.outbound);
            let applied = apply(&self.client, objects::Kind::Sidecar, &object).await;
            applied.map_err(refused)?;
        }
        let key = format!("{namespace}/{}", pod.name_any());
        let proxies = self.proxies.lock();
        proxies
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, at);
        sidecar::inject(&mut pod, kind, self.istiod, &at)?;
        Ok(Injected {
            pod,
            images: BTreeMap::from([(sidecar::CONTAINER.to_owned(), self.proxy.clone())]),
            port_offset: match kind {
                sidecar::Kind::Sidecar => sidecar::PORT_OFFSET,
                sidecar::Kind::Gateway => 0,
            },
        })
    }

    /// Labels the pod as the injector does, and makes the account `default`, which a controller makes in a cluster.
    async fn prepare(&self, pod: &Pod) -> Result<(), kube::Error> {
        let namespace = pod.namespace().unwrap_or_default();
        let account = sidecar::account(pod);
        if account == "default" {
            let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &namespace);
            let object = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account},
            });
            let params = PatchParams::apply("headgate-meshkit");
            let object = Patch::Apply(object);
            accounts.patch(&account, &params, &object).await?;
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let mut labels = BTreeMap::from([
            (sidecar::POD_LABEL, pod.uid().unwrap_or_default()),
            ("security.istio.io/tlsMode", "istio".to_owned()),
            ("service.istio.io/canonical-name", sidecar::workload(pod)),
            (
                "service.istio.io/canonical-revision",
                sidecar::revision(pod),
            ),
        ]);
        labels.retain(|label, _| !pod.labels().contains_key(*label));
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        let params = PatchParams::default();
        pods.patch(&pod.name_any(), &params, &patch).await?;
        Ok(())
    }
}

/// Namespace of istiod, and of objects for the whole mesh.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// Installs the kinds, the root namespace and the mode of mutual TLS.
async fn install(kube: &Kube, programs: &Programs, options: &MeshOptions) -> Result<(), MeshError> {
    let kubectl = kube.kubectl();
    let gateway_api = options.gateway_api.then_some(&programs.gateway_api);
    for definitions in [&programs.definitions].into_iter().chain(gateway_api) {
        let definitions = definitions.to_string_lossy();
        let apply = ["apply", "--server-side", "-f", &definitions];
        kubectl.run(apply).await?;
    }
    let established = "wait --for=condition=Established --timeout=60s crd --all";
    kubectl.run(established.split(' ')).await?;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ROOT_NAMESPACE},
    });
    kubectl.apply(&namespace.to_string()).await?;
    if options.strict {
        let strict = json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "default", "namespace": ROOT_NAMESPACE},
            "spec": {"mtls": {"mode": "STRICT"}},
        });
        kubectl.apply(&strict.to_string()).await?;
    }
    Ok(())
}

/// The command of istiod, with its usual ports on an address of its own.
fn istiod(programs: &Programs, kubeconfig: &Path, at: IpAddr, dir: &Path) -> ProcessOptions {
    let mut options = ProcessOptions::new(&programs.istiod)
        .env("POD_NAME", "istiod")
        .env("POD_NAMESPACE", ROOT_NAMESPACE)
        .env("PILOT_CERT_PROVIDER", "istiod")
        .env("TOKEN_AUDIENCES", "istio-ca")
        .env("ISTIOD_CUSTOM_HOST", at.to_string())
        .env("PILOT_ENABLE_ALPN_FILTER", "false")
        .env("PILOT_ENABLE_METADATA_EXCHANGE", "false")
        .env("PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER", "false")
        .args(["discovery", "--registries=Kubernetes", "--ctrlz_port=0"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--meshConfig={}", dir.join("mesh.yaml").display()))
        .arg(format!("--grpcAddr={at}:15010"))
        .arg(format!("--secureGRPCAddr={at}:15012"))
        .arg(format!("--monitoringAddr={at}:15014"))
        .arg(format!("--httpsAddr={at}:15017"))
        .arg(format!("--httpAddr={at}:15080"));
    "istiod".clone_into(&mut options.name);
    // It writes its certificates below its working directory.
    options.dir = Some(dir.to_owned());
    options.log = Some(dir.join("istiod.log"));
    options
}
