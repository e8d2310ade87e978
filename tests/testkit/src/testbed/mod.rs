//! A complete environment for one end-to-end test: mock models, files, the control plane and Envoys, all real.
//!
//! The control plane reads files, or, with [`Source::Kubernetes`], the objects of a real Kubernetes API.
//!
//! A [`Testbed`] listens on free ports of 127.0.0.1 (or on the documented ones: [`Addresses::from_env`]), works on copies of the
//! manifests, policies and modules, and ends everything by PID when it is dropped. The `headgate` binary and the modules must be
//! built first ([`artifacts`] finds them).
//!
//! ```no_run
//! # use headgate_testkit::client::OpenAiRequest;
//! # use headgate_testkit::testbed::{Testbed, TestbedOptions};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let testbed = Testbed::start(TestbedOptions::default()).await?;
//! testbed.files().label("llama3-70b-v2.yaml", "canary-weight", Some("30"))?;
//! testbed.wait_until_settled().await?;
//! let reply = testbed.send(&OpenAiRequest::chat("llama3-70b")).await?;
//! assert_eq!(reply.status, 200);
//! # Ok(()) }
//! ```
//!
//! Invariant: a testbed uses only the product's files and objects, its command line, its admin port and its traffic.

mod actions;
mod addresses;
pub mod artifacts;
mod cluster;
mod control_plane;
mod envoy;
mod error;
mod files;
mod manifest;
mod options;
pub mod status;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

pub use self::addresses::Addresses;
pub use self::cluster::Cluster;
pub use self::control_plane::{ControlPlane, Input, serve_options};
pub use self::envoy::{TestbedEnvoy, bootstrap, bootstrap_with_replicas};
pub use self::error::TestbedError;
pub use self::files::{Files, LabelledBy, Seed};
pub use self::manifest::Manifest;
pub use self::options::{SHIPPED, Shipped, Source, TestbedOptions};
pub use self::status::{Problem, Status};

use self::envoy::EnvoyPlacement;
use crate::client::{ClientError, HttpClient, OpenAiRequest, Reply};
use crate::deadline::eventually;
use crate::kube::KubeOptions;
use crate::mock_model::{MockModel, MockOptions};
use crate::ports::free_addr;

/// Deadline for a push to settle: several times the server's own wait of 15 s for a cluster.
const SETTLE: Duration = Duration::from_secs(40);

/// A running environment.
#[derive(Debug)]
pub struct Testbed {
    // Dropped in this order: proxies before their servers, the directory last.
    envoys: Vec<TestbedEnvoy>,
    control_plane: ControlPlane,
    mocks: BTreeMap<(String, String), MockModel>,
    cluster: Option<Cluster>,
    client: HttpClient,
    files: Files,
    addresses: Addresses,
    workers: u32,
    dir: TempDir,
}

impl Testbed {
    /// Starts everything and waits until every Envoy runs the configuration of the files.
    ///
    /// # Errors
    /// [`TestbedError`]: a missing program, an occupied address, or a program that did not start, with the end of its log.
    pub async fn start(options: TestbedOptions) -> Result<Self, TestbedError> {
        let mut addresses = match options.addresses {
            Some(addresses) => {
                addresses.check_free()?;
                addresses
            }
            None => Addresses::free()?,
        };
        let dir =
            tempfile::tempdir().map_err(|e| TestbedError::files("a temporary directory", e))?;
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
            ControlPlane::start(options.binary, &input, &addresses, &options.serve_args, log)
                .await?;
        let mut testbed = Self {
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
            testbed.add_envoy().await?;
        }
        testbed.wait_until_settled().await?;
        Ok(testbed)
    }

    /// The files that the control plane watches.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The Kubernetes API, if the testbed has one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The Kubernetes API, to kill and restart it.
    pub fn cluster_mut(&mut self) -> Option<&mut Cluster> {
        self.cluster.as_mut()
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// URL for the traffic of the first Envoy; empty without one.
    #[must_use]
    pub fn url(&self) -> &str {
        self.envoys.first().map_or("", TestbedEnvoy::url)
    }

    /// The Envoys.
    #[must_use]
    pub fn envoys(&self) -> &[TestbedEnvoy] {
        &self.envoys
    }

    /// The Envoys, to stop or observe them.
    pub fn envoys_mut(&mut self) -> &mut Vec<TestbedEnvoy> {
        &mut self.envoys
    }

    /// Starts another Envoy on the same control plane.
    ///
    /// # Errors
    /// [`TestbedError::Envoy`] with the end of its log.
    pub async fn add_envoy(&mut self) -> Result<&mut TestbedEnvoy, TestbedError> {
        let number = self.envoys.len();
        let (traffic, admin) = match number {
            0 => (self.addresses.envoy, self.addresses.envoy_admin),
            _ => (
                free_addr().map_err(|e| TestbedError::files("a free port", e))?,
                None,
            ),
        };
        let place = EnvoyPlacement {
            id: format!("envoy-{number}"),
            xds: self.addresses.xds,
            traffic,
            admin,
            workers: self.workers,
            log: self.path(&format!("envoy-{number}.log")),
        };
        self.envoys.push(TestbedEnvoy::start(&place).await?);
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

    /// The control plane's current status of models and proxies.
    ///
    /// # Errors
    /// As [`ControlPlane::status`].
    pub async fn status(&self) -> Result<Status, TestbedError> {
        self.control_plane.status().await
    }

    /// Waits until the status satisfies `holds`.
    ///
    /// # Errors
    /// [`TestbedError::TimedOut`] with the condition and the last status.
    pub async fn wait_for_status(
        &self,
        within: Duration,
        what: &str,
        holds: impl Fn(&Status) -> bool,
    ) -> Result<Status, TestbedError> {
        let seen = eventually(within, what, async || {
            let status = self.status().await.map_err(|error| error.to_string())?;
            if holds(&status) {
                return Ok(status);
            }
            Err(format!("{status:?}"))
        });
        Ok(seen.await?)
    }

    /// Waits until every Envoy runs the configuration of the current files or objects. A file that cannot be parsed counts as absent
    /// here, although the control plane keeps its last good content; wait for the status instead.
    ///
    /// # Errors
    /// [`TestbedError::TimedOut`] with the last difference.
    pub async fn wait_until_settled(&self) -> Result<Status, TestbedError> {
        let expected = self.control_plane.expected_state()?;
        let nodes: Vec<String> = self.envoys.iter().map(|e| e.id().to_owned()).collect();
        let settled = eventually(
            SETTLE,
            "every proxy to run the current configuration",
            async || self.control_plane.check_settled(&expected, &nodes).await,
        );
        Ok(settled.await?)
    }

    /// A client; clones share its connections.
    #[must_use]
    pub fn client(&self) -> HttpClient {
        self.client.clone()
    }

    /// Sends a request to the first Envoy and reads the complete response.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: &OpenAiRequest) -> Result<Reply, ClientError> {
        self.client.send(request.to(self.url())).await
    }

    /// A running mock model.
    #[must_use]
    pub fn mock(&self, model: &str, version: &str) -> Option<&MockModel> {
        self.mocks.get(&(model.to_owned(), version.to_owned()))
    }

    /// Starts another mock model; a [`Manifest`] must declare it. One of the same model and version is replaced.
    ///
    /// # Errors
    /// [`TestbedError::Files`] when no port can be bound.
    pub async fn add_mock(
        &mut self,
        model: &str,
        version: &str,
    ) -> Result<SocketAddr, TestbedError> {
        let mock = start_mock(MockOptions::new(model, version)).await?;
        let addr = mock.addr();
        self.mocks
            .insert((model.to_owned(), version.to_owned()), mock);
        Ok(addr)
    }

    /// Ends a mock model: its connections break and its port refuses new ones. False if there is none.
    pub async fn stop_mock(&mut self, model: &str, version: &str) -> bool {
        match self.mocks.remove(&(model.to_owned(), version.to_owned())) {
            Some(mock) => {
                mock.stop().await;
                true
            }
            None => false,
        }
    }

    /// A path in the testbed's own directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Files {
    /// Creates the directories below `root` and fills them.
    ///
    /// # Errors
    /// [`TestbedError`].
    pub fn prepare(root: &std::path::Path, addresses: &Addresses) -> Result<Self, TestbedError> {
        let files = Self::create(root)?;
        files.seed(addresses, &Seed::Shipped, &Seed::Shipped)?;
        Ok(files)
    }

    /// As [`Self::prepare`], with the modules alone.
    ///
    /// # Errors
    /// [`TestbedError`].
    pub fn prepare_modules(root: &std::path::Path) -> Result<Self, TestbedError> {
        let files = Self::create(root)?;
        files.copy_module()?;
        Ok(files)
    }

    fn seed(
        &self,
        addresses: &Addresses,
        models: &Seed,
        policies: &Seed,
    ) -> Result<(), TestbedError> {
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

async fn start_mock(options: MockOptions) -> Result<MockModel, TestbedError> {
    let what = format!(
        "mock model {} {} on {}",
        options.name, options.version, options.addr
    );
    MockModel::start(options)
        .await
        .map_err(|source| TestbedError::files(what, source))
}
