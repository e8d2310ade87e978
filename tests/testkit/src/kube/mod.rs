//! Launcher of a real Kubernetes API on loopback: etcd, kube-apiserver and kube-controller-manager, and the real `kubectl`.
//!
//! The controllers make Deployments, ReplicaSets and Pods. No machine runs the pods; tests act as the kubelet, with [`Node`] one
//! request at a time or with [`Kubelet`] for all pods, on a [`ContainerRuntime`] that decides what listens on a pod's address.
//! Pod addresses are loopback addresses, so each mock model server can listen on its pod's own.
//!
//! A [`FaultProxy`] injects faults between the API and one client.
//!
//! ```no_run
//! # use headgate_testkit::kube::{Kube, KubeError, KubeOptions, ModelServers, deployment};
//! # use headgate_testkit::mock_model::MockOptions;
//! # async fn example() -> Result<(), KubeError> {
//! let kube = Kube::start(KubeOptions::default()).await?;
//! let _kubelet = kube.kubelet(ModelServers::new(|_| Some(MockOptions::new("phi-3", "mini-4k"))));
//! kube.kubectl().apply_and_wait(&deployment("phi-3", "phi-3", "mini-4k", 1)).await?;
//! # Ok(()) }
//! ```
//!
//! Place in the flow: the cluster that the Kubernetes source watches. Invariant: it listens on loopback only, needs no privileges
//! and no container, and is removed with its [`Kube`] or with the process that holds it.

mod config;
mod credentials;
mod error;
mod etcd;
mod fault_proxy;
mod kubectl;
mod kubelet;
mod node;
mod programs;
mod runtime;
mod servers;
mod workload;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::kube::Client;
use ::kube::api::{Api, PostParams};
use ::kube::config::{Config, KubeConfigOptions, Kubeconfig};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tempfile::TempDir;

pub use self::error::KubeError;
pub use self::etcd::Revision;
pub use self::fault_proxy::FaultProxy;
pub use self::kubectl::{CommandOutput, Kubectl, KubectlWatch};
pub use self::kubelet::{Kubelet, OnRuntime, PodRunner};
pub use self::node::{Node, PodReport};
pub use self::runtime::{ContainerRuntime, EmptyRuntime, ModelServers, PodAddresses};
pub use self::workload::{crd, crd_without_conversion, deployment, stateful_set};

use self::config::ClusterConfig;
use self::etcd::Etcd;
use crate::process::Process;

/// Lifetime of a ServiceAccount's token: longer than any test, and than one left running over night.
const TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Options of a Kubernetes API.
#[derive(Debug, Clone)]
pub struct KubeOptions {
    /// Directory of data, keys, logs and kubeconfigs, created if missing; a temporary directory by default. The data of an earlier
    /// API in it (`etcd/`) is removed.
    pub dir: Option<PathBuf>,
    /// Address of the API server, on loopback; a free port of 127.0.0.1 by default.
    pub address: Option<SocketAddr>,
    /// Further arguments of the API server, such as `--watch-cache=false`.
    pub api_args: Vec<String>,
    /// Start deadline of each server.
    pub within: Duration,
}

impl Default for KubeOptions {
    /// A temporary directory, a free port, and 60 s until ready (4 s on two idle cores).
    fn default() -> Self {
        Self {
            dir: None,
            address: None,
            api_args: Vec::new(),
            within: Duration::from_secs(60),
        }
    }
}

/// A running Kubernetes API.
pub struct Kube {
    // Dropped in this order: clients before their servers.
    controllers: Process,
    api: Process,
    etcd: Process,
    store: Etcd,
    config: ClusterConfig,
    client: Client,
    _temporary: Option<TempDir>,
}

impl std::fmt::Debug for Kube {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kube")
            .field("url", &self.url())
            .field("dir", &self.config.dir)
            .finish_non_exhaustive()
    }
}

impl Kube {
    /// Starts etcd, the API server and the controllers; returns when the API is ready and has its namespaces.
    ///
    /// # Errors
    /// [`KubeError::Programs`] when a program is missing; [`KubeError::Process`] with the end of a server's log when it exits or
    /// is not ready in time.
    pub async fn start(options: KubeOptions) -> Result<Self, KubeError> {
        let (config, temporary) = ClusterConfig::new(options)?;
        let etcd = start_etcd(&config).await?;
        let mut api = Process::start(config.apiserver())?;
        let client = client(&config.admin).await?;
        ready(&mut api, &client, config.within).await?;
        let controllers = Process::start(config.controllers())?;
        Ok(Self {
            controllers,
            api,
            etcd,
            store: Etcd::new(config.addresses.etcd_url()),
            config,
            client,
            _temporary: temporary,
        })
    }

    /// URL of the API: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.config.addresses.api_url()
    }

    /// The directory of data, keys, logs and kubeconfigs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.config.admin
    }

    /// The administrator's client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// `kubectl` as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_as(&self.config.admin)
    }

    /// `kubectl` with the identity of a kubeconfig.
    #[must_use]
    pub fn kubectl_as(&self, kubeconfig: &Path) -> Kubectl {
        Kubectl::new(&self.config.programs.kubectl, kubeconfig, &self.config.dir)
    }

    /// A client with the identity of a kubeconfig.
    ///
    /// # Errors
    /// [`KubeError::Kubeconfig`].
    pub async fn client_as(&self, kubeconfig: &Path) -> Result<Client, KubeError> {
        client(kubeconfig).await
    }

    /// The kubeconfig of a ServiceAccount, which is created if missing. It has a token that the API server issued, and only the
    /// permissions that RBAC grants.
    ///
    /// # Errors
    /// [`KubeError::Api`], also for a namespace that does not exist.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<PathBuf, KubeError> {
        let failed = || KubeError::api(format!("ServiceAccount {namespace}/{name}"));
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        let params = PostParams::default();
        let made = api.create(&params, &account).await.map_err(failed());
        // It may exist already.
        made.map(|_| ()).or_else(|error| {
            if error.status() == Some(409) {
                Ok(())
            } else {
                Err(error)
            }
        })?;
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: i64::try_from(TOKEN_LIFE.as_secs()).ok(),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = api
            .create_token_request(name, &params, &request)
            .await
            .map_err(failed())?;
        let token = answer
            .status
            .and_then(|status| status.token)
            .unwrap_or_default();
        let authority = &self.config.authority;
        authority.bearer(namespace, name, &token, &self.url())
    }

    /// A node for which the test itself reports pods.
    #[must_use]
    pub fn node(&self) -> Node {
        Node::new(self.client())
    }

    /// Starts a kubelet that runs all pods on `runtime`. Only one should run at a time.
    #[must_use]
    pub fn kubelet(&self, runtime: impl ContainerRuntime) -> Kubelet {
        Kubelet::start(self.node(), OnRuntime(runtime))
    }

    /// Starts a kubelet that runs all pods with `runner`. Only one kubelet should run at a time.
    #[must_use]
    pub fn kubelet_with(&self, runner: impl PodRunner) -> Kubelet {
        Kubelet::start(self.node(), runner)
    }

    /// The certificate of the API's authority, as `ca.crt` in pods.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.config.authority.certificate()
    }

    /// Address of the API server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.config.addresses.api
    }

    /// A fault-injecting proxy in front of the API, with the identity of `kubeconfig`.
    ///
    /// # Errors
    /// [`KubeError::Kubeconfig`], [`KubeError::Address`], [`KubeError::Files`].
    pub async fn fault_proxy(&self, kubeconfig: &Path) -> Result<FaultProxy, KubeError> {
        let upstream = self.client_as(kubeconfig).await?;
        FaultProxy::start(upstream, |url| self.config.authority.anonymous(url)).await
    }

    /// `kill -9` of the API server. etcd and the controllers keep running.
    ///
    /// # Errors
    /// [`KubeError::Process`].
    pub fn kill_api(&mut self) -> Result<(), KubeError> {
        self.api.kill()?;
        Ok(())
    }

    /// Starts the API server again, on the same port and data, and waits until it is ready.
    ///
    /// # Errors
    /// [`KubeError::Process`], also when it still runs and holds its port.
    pub async fn start_api(&mut self) -> Result<(), KubeError> {
        self.api = Process::start(self.config.apiserver())?;
        ready(&mut self.api, &self.client, self.config.within).await
    }

    /// [`Self::kill_api`], then [`Self::start_api`].
    ///
    /// # Errors
    /// As those.
    pub async fn restart_api(&mut self) -> Result<(), KubeError> {
        self.kill_api()?;
        self.start_api().await
    }

    /// Copies etcd's data for [`Self::restore`]. All three servers are stopped for the copy and started again.
    ///
    /// # Errors
    /// [`KubeError::Process`], [`KubeError::Files`].
    pub async fn backup(&mut self) -> Result<(), KubeError> {
        self.stop()?;
        copied(&self.config.dir.join("etcd"), &self.saved())?;
        self.start_again().await
    }

    /// Restores the data of the last [`Self::backup`]: the API returns to the objects and the resource version of that time.
    ///
    /// # Errors
    /// [`KubeError::Process`], [`KubeError::Files`].
    pub async fn restore(&mut self) -> Result<(), KubeError> {
        self.stop()?;
        copied(&self.saved(), &self.config.dir.join("etcd"))?;
        self.start_again().await
    }

    fn saved(&self) -> PathBuf {
        self.config.dir.join("etcd-saved")
    }

    fn stop(&mut self) -> Result<(), KubeError> {
        self.controllers.kill()?;
        self.api.kill()?;
        self.etcd.kill()?;
        Ok(())
    }

    async fn start_again(&mut self) -> Result<(), KubeError> {
        self.etcd = start_etcd(&self.config).await?;
        self.start_api().await?;
        self.controllers = Process::start(self.config.controllers())?;
        Ok(())
    }

    /// Compacts etcd: a watch from any earlier resource version and a read at one fail with 410 Gone. The API server's own watch
    /// cache still has the versions that it saw: to make a watch fail, kill the API server before and start it afterwards, or start
    /// it with `--watch-cache=false`.
    ///
    /// # Errors
    /// [`KubeError::Etcd`] or [`KubeError::Client`].
    pub async fn compact(&self) -> Result<Revision, KubeError> {
        self.store.compact().await
    }

    /// Whether etcd still has the state at a revision.
    ///
    /// # Errors
    /// [`KubeError::Etcd`] or [`KubeError::Client`].
    pub async fn has_revision(&self, revision: Revision) -> Result<bool, KubeError> {
        self.store.has_revision(revision).await
    }

    /// The API server, to suspend or resume it, or to read its log.
    pub fn api(&mut self) -> &mut Process {
        &mut self.api
    }

    /// The process ids of etcd, the API server and the controllers.
    #[must_use]
    pub fn pids(&self) -> [u32; 3] {
        [self.etcd.pid(), self.api.pid(), self.controllers.pid()]
    }
}

/// Copies a directory.
fn copied(from: &Path, to: &Path) -> Result<(), KubeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| KubeError::Files { path, source }
    };
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(failed(to))?;
    }
    std::fs::create_dir_all(to).map_err(failed(to))?;
    for entry in std::fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copied(&path, &copy)?;
        } else {
            std::fs::copy(&path, &copy).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// The client that a kubeconfig describes.
async fn client(kubeconfig: &Path) -> Result<Client, KubeError> {
    let failed = |why: String| KubeError::Kubeconfig {
        path: kubeconfig.to_owned(),
        why,
    };
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(|e| failed(e.to_string()))?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .map_err(|e| failed(e.to_string()))?;
    Client::try_from(config).map_err(|e| failed(e.to_string()))
}

/// Starts etcd and waits for its health: an API server retries when etcd has exited, and its log does not say why.
async fn start_etcd(config: &ClusterConfig) -> Result<Process, KubeError> {
    let mut etcd = Process::start(config.etcd())?;
    let health = format!("{}/health", config.addresses.etcd_url());
    etcd.wait_for_http(&health, config.within).await?;
    Ok(etcd)
}

/// Waits until the API server is ready and has made the namespace `default`, which it does later.
async fn ready(api: &mut Process, client: &Client, within: Duration) -> Result<(), KubeError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    api.wait_until(within, "the API to be ready", async |_| {
        let request = http::Request::get("/readyz").body(Vec::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = client.request_text(request).await;
        answer.map_err(|error| error.to_string())?;
        namespaces
            .get("default")
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    })
    .await
    .map_err(KubeError::Process)
}
