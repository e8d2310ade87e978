//! A real Kubernetes API on loopback: etcd, kube-apiserver and kube-controller-manager, driven by the real `kubectl`.
//!
//! Deployments, ReplicaSets and Pods are made by the controllers. No machine runs the pods, so tests play the kubelet, by
//! [`Node`] one request at a time or by [`Kubelet`] for all pods, with a [`Machine`] that says what listens on a pod's
//! address. Addresses of pods are loopback addresses, so each mock model server can listen on its pod's own.
//!
//! A [`Relay`] stands for a bad network between the API and one client.
//!
//! ```no_run
//! # use headgate_testkit::kube::{Kube, KubeError, KubeOptions, ModelServers, deployment};
//! # use headgate_testkit::mock_model::MockOptions;
//! # async fn story() -> Result<(), KubeError> {
//! let kube = Kube::start(KubeOptions::default()).await?;
//! let _kubelet = kube.kubelet(ModelServers::new(|_| Some(MockOptions::new("phi-3", "mini-4k"))));
//! kube.kubectl().rolled_out(&deployment("phi-3", "phi-3", "mini-4k", 1)).await?;
//! # Ok(()) }
//! ```
//!
//! Place in the flow: outside of it, as the world that the Kubernetes source watches. Invariant: it listens on loopback
//! only, needs no rights and no container, and all of it is gone when its [`Kube`] is, or the process that holds it.

mod error;
mod etcd;
mod identity;
mod kubectl;
mod kubelet;
mod machine;
mod node;
mod programs;
mod relay;
mod server;
mod setting;
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
pub use self::kubectl::{Kubectl, Typed, Watching};
pub use self::kubelet::Kubelet;
pub use self::machine::{Machine, ModelServers, Nothing, PodAddresses};
pub use self::node::Node;
pub use self::relay::Relay;
pub use self::workload::{definition, deployment, stateful_set, unconvertible};

use self::etcd::Etcd;
use self::setting::Setting;
use crate::process::Process;

/// How long a ServiceAccount's token lives: longer than any test, also one that was left running over night.
const TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How to start a Kubernetes API.
#[derive(Debug, Clone)]
pub struct KubeOptions {
    /// Where data, keys, logs and kubeconfigs go, made if it is not there; a temporary directory if none. The data of an
    /// earlier API in it (`etcd/`) is removed.
    pub dir: Option<PathBuf>,
    /// Where the API server listens, on loopback; a free port of 127.0.0.1 if none.
    pub address: Option<SocketAddr>,
    /// Further arguments of the API server, such as `--watch-cache=false`.
    pub api_args: Vec<String>,
    /// How long each server may take until it is ready.
    pub within: Duration,
}

impl Default for KubeOptions {
    /// In a temporary directory, on a free port, ready within 60 s (4 s on two idle cores).
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
    // Dropped in this order: who talks to another ends first.
    controllers: Process,
    api: Process,
    etcd: Process,
    store: Etcd,
    setting: Setting,
    client: Client,
    _temporary: Option<TempDir>,
}

impl std::fmt::Debug for Kube {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kube")
            .field("url", &self.url())
            .field("dir", &self.setting.dir)
            .finish_non_exhaustive()
    }
}

impl Kube {
    /// Starts etcd, the API server and the controllers, and returns when the API is ready and has its namespaces.
    ///
    /// # Errors
    /// [`KubeError::Programs`] when a program is not there; [`KubeError::Process`] with the end of a server's log
    /// when it ends or is not ready in time.
    pub async fn start(options: KubeOptions) -> Result<Self, KubeError> {
        let (setting, temporary) = Setting::new(options)?;
        let etcd = start_etcd(&setting).await?;
        let mut api = Process::start(setting.apiserver())?;
        let client = client(&setting.admin).await?;
        ready(&mut api, &client, setting.within).await?;
        let controllers = Process::start(setting.controllers())?;
        Ok(Self {
            controllers,
            api,
            etcd,
            store: Etcd::new(setting.addresses.etcd_url()),
            setting,
            client,
            _temporary: temporary,
        })
    }

    /// Where the API is: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.setting.addresses.api_url()
    }

    /// The directory of data, keys, logs and kubeconfigs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.setting.dir
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.setting.admin
    }

    /// The administrator's client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// `kubectl` as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_as(&self.setting.admin)
    }

    /// `kubectl` as whom a kubeconfig says.
    #[must_use]
    pub fn kubectl_as(&self, kubeconfig: &Path) -> Kubectl {
        Kubectl::new(
            &self.setting.programs.kubectl,
            kubeconfig,
            &self.setting.dir,
        )
    }

    /// A client as whom a kubeconfig says.
    ///
    /// # Errors
    /// [`KubeError::Kubeconfig`].
    pub async fn client_as(&self, kubeconfig: &Path) -> Result<Client, KubeError> {
        client(kubeconfig).await
    }

    /// The kubeconfig of a ServiceAccount, which is made if it is not there: with a token that the API server issued, and
    /// with no rights but those that RBAC gives it.
    ///
    /// # Errors
    /// [`KubeError::Api`], among them a namespace that is not there.
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
        // It may have been there before.
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
        let authority = &self.setting.authority;
        authority.bearer(namespace, name, &token, &self.url())
    }

    /// A node that the test itself reports pods for.
    #[must_use]
    pub fn node(&self) -> Node {
        Node::new(self.client())
    }

    /// Starts a kubelet that runs all pods on `machine`. There should be one at a time.
    #[must_use]
    pub fn kubelet(&self, machine: impl Machine) -> Kubelet {
        Kubelet::start(self.node(), machine)
    }

    /// A relay before the API that fails on demand, for a client that comes as whom `kubeconfig` says.
    ///
    /// # Errors
    /// [`KubeError::Kubeconfig`], [`KubeError::Address`], [`KubeError::Files`].
    pub async fn relay(&self, kubeconfig: &Path) -> Result<Relay, KubeError> {
        let upstream = self.client_as(kubeconfig).await?;
        Relay::start(upstream, |url| self.setting.authority.anonymous(url)).await
    }

    /// `kill -9` of the API server. Its etcd and its controllers go on.
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
    /// [`KubeError::Process`], also when it still runs: then its port is taken.
    pub async fn start_api(&mut self) -> Result<(), KubeError> {
        self.api = Process::start(self.setting.apiserver())?;
        ready(&mut self.api, &self.client, self.setting.within).await
    }

    /// [`Self::kill_api`], then [`Self::start_api`].
    ///
    /// # Errors
    /// As these.
    pub async fn restart_api(&mut self) -> Result<(), KubeError> {
        self.kill_api()?;
        self.start_api().await
    }

    /// Copies etcd's data for [`Self::restore`]. All three servers are stopped for that, and started again.
    ///
    /// # Errors
    /// [`KubeError::Process`], [`KubeError::Files`].
    pub async fn backup(&mut self) -> Result<(), KubeError> {
        self.stop()?;
        copied(&self.setting.dir.join("etcd"), &self.saved())?;
        self.start_again().await
    }

    /// Puts the data of the last [`Self::backup`] in place: the API comes back with what it had then, at the resource version
    /// of then.
    ///
    /// # Errors
    /// [`KubeError::Process`], [`KubeError::Files`].
    pub async fn restore(&mut self) -> Result<(), KubeError> {
        self.stop()?;
        copied(&self.saved(), &self.setting.dir.join("etcd"))?;
        self.start_again().await
    }

    fn saved(&self) -> PathBuf {
        self.setting.dir.join("etcd-saved")
    }

    fn stop(&mut self) -> Result<(), KubeError> {
        self.controllers.kill()?;
        self.api.kill()?;
        self.etcd.kill()?;
        Ok(())
    }

    async fn start_again(&mut self) -> Result<(), KubeError> {
        self.etcd = start_etcd(&self.setting).await?;
        self.start_api().await?;
        self.controllers = Process::start(self.setting.controllers())?;
        Ok(())
    }

    /// Compacts etcd: every resource version seen so far is then too old to watch from, and a read at it is 410 Gone. The API
    /// server's own watch cache still remembers what it saw itself: to have a watch refused, kill the API server before
    /// and start it after, or start it with `--watch-cache=false`.
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
    pub async fn remembers(&self, revision: Revision) -> Result<bool, KubeError> {
        self.store.remembers(revision).await
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

/// Makes a directory a copy of another.
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

/// Starts etcd and waits until it answers: an API server only retries where etcd has ended, and its log does not say why.
async fn start_etcd(setting: &Setting) -> Result<Process, KubeError> {
    let mut etcd = Process::start(setting.etcd())?;
    let health = format!("{}/health", setting.addresses.etcd_url());
    etcd.wait_for_http(&health, setting.within).await?;
    Ok(etcd)
}

/// Waits until the API server is ready and has made the namespace `default`, which it does after that.
async fn ready(api: &mut Process, client: &Client, within: Duration) -> Result<(), KubeError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    api.await_that(within, "the API to be ready", async |_| {
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
