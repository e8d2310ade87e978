//! The whole world of one end-to-end test: mock models, files, the control plane and Envoys, all real.
//!
//! What the control plane follows are files, or, with [`Source::Kubernetes`], the objects of a real Kubernetes API.
//!
//! A [`Stage`] listens on free ports of 127.0.0.1 (or on the documented ones: [`Addresses::from_env`]), works on copies of the
//! manifests, policies and modules, and takes everything down by PID when it is dropped. The `headgate` binary and the modules
//! must have been built ([`tools`] says how they are found).
//!
//! ```no_run
//! # use headgate_testkit::client::OpenAiRequest;
//! # use headgate_testkit::stage::{Stage, StageOptions};
//! # async fn story() -> Result<(), Box<dyn std::error::Error>> {
//! let stage = Stage::start(StageOptions::default()).await?;
//! stage.files().label("llama3-70b-v2.yaml", "canary-weight", Some("30"))?;
//! stage.settled().await?;
//! let reply = stage.send(&OpenAiRequest::chat("llama3-70b")).await?;
//! assert_eq!(reply.status, 200);
//! # Ok(()) }
//! ```
//!
//! Invariant: a stage knows the product by its files and objects, its command line, its admin port and its traffic alone.

mod acts;
mod addresses;
mod cluster;
mod control_plane;
mod error;
mod files;
mod manifest;
mod options;
mod proxy;
pub mod status;
pub mod tools;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

pub use self::addresses::Addresses;
pub use self::cluster::Cluster;
pub use self::control_plane::{ControlPlane, Input, serve_options};
pub use self::error::StageError;
pub use self::files::{Files, LabelledBy, Seed};
pub use self::manifest::Manifest;
pub use self::options::{SHIPPED, Shipped, Source, StageOptions};
pub use self::proxy::{StageEnvoy, bootstrap, bootstrap_among};
pub use self::status::{Problem, Status};

use self::proxy::Place;
use crate::client::{ClientError, HttpClient, OpenAiRequest, Reply};
use crate::deadline::eventually;
use crate::kube::KubeOptions;
use crate::mock_model::{MockModel, MockOptions};
use crate::ports::free_addr;

/// How long a push may take until it is settled: several times the server's own 15 s of waiting for a cluster.
const SETTLE: Duration = Duration::from_secs(40);

/// A running world.
#[derive(Debug)]
pub struct Stage {
    // Dropped in this order: proxies before what they talk to, the directory last.
    envoys: Vec<StageEnvoy>,
    control_plane: ControlPlane,
    mocks: BTreeMap<(String, String), MockModel>,
    cluster: Option<Cluster>,
    client: HttpClient,
    files: Files,
    addresses: Addresses,
    workers: u32,
    dir: TempDir,
}

impl Stage {
    /// Starts everything and waits until every Envoy runs what the files say.
    ///
    /// # Errors
    /// [`StageError`]: what is missing, taken, or did not start, with the end of its log.
    pub async fn start(options: StageOptions) -> Result<Self, StageError> {
        let mut addresses = match options.addresses {
            Some(addresses) => {
                addresses.check_free()?;
                addresses
            }
            None => Addresses::free()?,
        };
        let dir = tempfile::tempdir().map_err(|e| StageError::files("a temporary directory", e))?;
        let mut mocks = BTreeMap::new();
        if options.models == Seed::Shipped {
            for (served, address) in SHIPPED.iter().zip(&mut addresses.models) {
                let options = MockOptions::new(served.model, served.version).at(*address);
                let mock = start_mock(options).await?;
                *address = mock.addr();
                mocks.insert((served.model.to_owned(), served.version.to_owned()), mock);
            }
        }
        let files = Files::create(dir.path())?;
        files.seed(&addresses, &options.models, &options.policies)?;
        for (file, text) in &options.write_policies {
            files.write_policy(file, text)?;
        }
        let mut cluster = None;
        if options.source == Source::Kubernetes {
            let made = Cluster::start(KubeOptions {
                address: addresses.kube,
                ..KubeOptions::default()
            });
            cluster = Some(made.await?);
        }
        let log = dir.path().join("headgate.log");
        let input = match &cluster {
            Some(cluster) => Input::Kubernetes(&files, cluster.headgate()),
            None => Input::Files(&files),
        };
        let control_plane =
            ControlPlane::start(&input, &addresses, &options.serve_args, log).await?;
        let mut stage = Self {
            envoys: Vec::new(),
            control_plane,
            mocks,
            cluster,
            client: HttpClient::new(),
            files,
            addresses,
            workers: options.workers,
            dir,
        };
        for _ in 0..options.envoys {
            stage.add_envoy().await?;
        }
        stage.settled().await?;
        Ok(stage)
    }

    /// The files the control plane watches.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The Kubernetes API, of a stage that has one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The Kubernetes API, to kill and restart it.
    pub fn cluster_mut(&mut self) -> Option<&mut Cluster> {
        self.cluster.as_mut()
    }

    /// Where everything listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Where clients of the first Envoy send traffic; empty without one.
    #[must_use]
    pub fn url(&self) -> &str {
        self.envoys.first().map_or("", StageEnvoy::url)
    }

    /// The Envoys.
    #[must_use]
    pub fn envoys(&self) -> &[StageEnvoy] {
        &self.envoys
    }

    /// The Envoys, to stop or watch them.
    pub fn envoys_mut(&mut self) -> &mut Vec<StageEnvoy> {
        &mut self.envoys
    }

    /// Starts one more Envoy, on the same control plane.
    ///
    /// # Errors
    /// [`StageError::Envoy`] with the end of its log.
    pub async fn add_envoy(&mut self) -> Result<&mut StageEnvoy, StageError> {
        let number = self.envoys.len();
        let (traffic, admin) = match number {
            0 => (self.addresses.envoy, self.addresses.envoy_admin),
            _ => (
                free_addr().map_err(|e| StageError::files("a free port", e))?,
                None,
            ),
        };
        let place = Place {
            id: format!("envoy-{number}"),
            xds: self.addresses.xds,
            traffic,
            admin,
            workers: self.workers,
            log: self.path(&format!("envoy-{number}.log")),
        };
        self.envoys.push(StageEnvoy::start(&place).await?);
        Ok(&mut self.envoys[number])
    }

    /// The control plane.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The control plane, to kill and restart it.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// What the control plane says of models and proxies now.
    ///
    /// # Errors
    /// As [`ControlPlane::status`].
    pub async fn status(&self) -> Result<Status, StageError> {
        self.control_plane.status().await
    }

    /// Waits until the status is as wanted.
    ///
    /// # Errors
    /// [`StageError::TimedOut`] with what was wanted and the last status.
    pub async fn await_status(
        &self,
        within: Duration,
        what: &str,
        holds: impl Fn(&Status) -> bool,
    ) -> Result<Status, StageError> {
        let seen = eventually(within, what, async || {
            let status = self.status().await.map_err(|error| error.to_string())?;
            if holds(&status) {
                return Ok(status);
            }
            Err(format!("{status:?}"))
        });
        Ok(seen.await?)
    }

    /// Waits until every Envoy of the stage runs what the files, or the API's objects, say now. A file that cannot be read is not there to
    /// this question, though the control plane keeps its last good content: await the status instead.
    ///
    /// # Errors
    /// [`StageError::TimedOut`] with what is missing.
    pub async fn settled(&self) -> Result<Status, StageError> {
        let wanted = self.control_plane.wanted()?;
        let nodes: Vec<String> = self.envoys.iter().map(|e| e.id().to_owned()).collect();
        let settled = eventually(
            SETTLE,
            "every proxy to run what the source says",
            async || self.control_plane.settled_on(&wanted, &nodes).await,
        );
        Ok(settled.await?)
    }

    /// A client of the stage; clones share its connections.
    #[must_use]
    pub fn client(&self) -> HttpClient {
        self.client.clone()
    }

    /// Sends a request to the first Envoy and reads the whole answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: &OpenAiRequest) -> Result<Reply, ClientError> {
        self.client.send(request.to(self.url())).await
    }

    /// A mock model that runs.
    #[must_use]
    pub fn mock(&self, model: &str, version: &str) -> Option<&MockModel> {
        self.mocks.get(&(model.to_owned(), version.to_owned()))
    }

    /// Starts one more mock model; [`Manifest`] makes it known. One of the same model and version is replaced.
    ///
    /// # Errors
    /// [`StageError::Files`] when no port can be bound.
    pub async fn add_mock(&mut self, model: &str, version: &str) -> Result<SocketAddr, StageError> {
        let mock = start_mock(MockOptions::new(model, version)).await?;
        let addr = mock.addr();
        self.mocks
            .insert((model.to_owned(), version.to_owned()), mock);
        Ok(addr)
    }

    /// Ends a mock model: its connections break and its port refuses. False if there is none.
    pub async fn stop_mock(&mut self, model: &str, version: &str) -> bool {
        match self.mocks.remove(&(model.to_owned(), version.to_owned())) {
            Some(mock) => {
                mock.stop().await;
                true
            }
            None => false,
        }
    }

    /// A path in the stage's own directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Files {
    /// Makes the directories below `root` and fills them.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn prepare(root: &std::path::Path, addresses: &Addresses) -> Result<Self, StageError> {
        let files = Self::create(root)?;
        files.seed(addresses, &Seed::Shipped, &Seed::Shipped)?;
        Ok(files)
    }

    /// As [`Self::prepare`], with the modules alone.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn prepare_modules(root: &std::path::Path) -> Result<Self, StageError> {
        let files = Self::create(root)?;
        files.copy_module()?;
        Ok(files)
    }

    fn seed(
        &self,
        addresses: &Addresses,
        models: &Seed,
        policies: &Seed,
    ) -> Result<(), StageError> {
        self.copy_module()?;
        if *models == Seed::Shipped {
            self.copy_models(&addresses.models)?;
        }
        if *policies == Seed::Shipped {
            self.copy_policies()?;
        }
        Ok(())
    }
}

async fn start_mock(options: MockOptions) -> Result<MockModel, StageError> {
    let what = format!(
        "mock model {} {} on {}",
        options.name, options.version, options.addr
    );
    MockModel::start(options)
        .await
        .map_err(|source| StageError::files(what, source))
}
