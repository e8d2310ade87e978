//! The control plane of a cluster: `headgate serve --kube` as a process, queried over its admin port.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use headgate_testkit::client::{ClientError, HttpClient, HttpRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessOptions};
use headgate_testkit::testbed::{Status, artifacts};
use serde_json::Value;
use tempfile::TempDir;

use crate::ClusterError;

/// A running control plane. Dropping it kills it.
#[derive(Debug)]
pub struct ControlPlane {
    process: Process,
    options: ProcessOptions,
    xds: SocketAddr,
    admin: SocketAddr,
    client: HttpClient,
    /// Its own copy of the module, because it writes a copy named by its content to the same directory.
    _module: TempDir,
}

impl ControlPlane {
    /// Starts it on the API of a kubeconfig, with the shipped module and additional arguments. Does not wait for readiness.
    ///
    /// # Errors
    /// [`ClusterError`]: no binary, no module, or no free port.
    pub fn start(kubeconfig: &Path, more: &[String]) -> Result<Self, ClusterError> {
        let module = module()?;
        let free = || free_addr().map_err(ClusterError::os("a free port"));
        let (xds, admin) = (free()?, free()?);
        let own = ["serve", "--kube", "--access-log", "none", "--kubeconfig"].map(OsString::from);
        let options = ProcessOptions::new(artifacts::headgate_binary()?)
            .args(own)
            .arg(kubeconfig)
            .arg("--wasm")
            .arg(module.path())
            .args(["--xds-address".to_owned(), xds.to_string()])
            .args(["--admin-address".to_owned(), admin.to_string()])
            .args(more);
        Ok(Self {
            process: Process::start(options.clone())?,
            options,
            xds,
            admin,
            client: HttpClient::new(),
            _module: module,
        })
    }

    /// Restarts it at the same addresses after it has ended. Does not wait for readiness.
    ///
    /// # Errors
    /// [`ClusterError::Process`].
    pub fn start_again(&mut self) -> Result<(), ClusterError> {
        self.process = Process::start(self.options.clone())?;
        Ok(())
    }

    /// Waits until it is ready: it has read the whole cluster.
    ///
    /// # Errors
    /// [`ClusterError::Process`] with the end of its log.
    pub async fn ready(&mut self, within: Duration) -> Result<(), ClusterError> {
        let url = self.url("/readyz");
        Ok(self.process.wait_for_http(&url, within).await?)
    }

    /// The xDS address.
    #[must_use]
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// URL of a page of the admin port.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// The status of `/readyz`.
    ///
    /// # Errors
    /// [`ClusterError::Client`] while it does not listen.
    pub async fn readiness(&self) -> Result<u16, ClusterError> {
        let request = HttpRequest::get(self.url("/readyz"));
        Ok(self.client.send(request).await?.status)
    }

    /// `/config_dump`.
    ///
    /// # Errors
    /// [`ClusterError::Client`].
    pub async fn dump(&self) -> Result<Value, ClusterError> {
        let request = HttpRequest::get(self.url("/config_dump"));
        Ok(self.client.send(request).await?.json()?)
    }

    /// The current status of models and proxies.
    ///
    /// # Errors
    /// [`ClusterError::Client`], also when the document cannot be parsed.
    pub async fn status(&self) -> Result<Status, ClusterError> {
        self.get_status("/syncz").await
    }

    /// The current status of one model and of all proxies. With hundreds of models the whole document is large.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn status_of(&self, model: &str) -> Result<Status, ClusterError> {
        self.get_status(&format!("/syncz?model={model}")).await
    }

    async fn get_status(&self, path: &str) -> Result<Status, ClusterError> {
        let request = HttpRequest::get(self.url(path));
        let reply = self.client.send(request).await?;
        serde_json::from_slice(&reply.body).map_err(|error| {
            ClusterError::Client(ClientError::Json {
                why: error.to_string(),
                text: reply.text(),
            })
        })
    }

    /// Waits until the status satisfies `holds`.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`] with the last status.
    pub async fn wait_for_status(
        &self,
        within: Duration,
        what: &str,
        holds: impl Fn(&Status) -> bool,
    ) -> Result<Status, ClusterError> {
        let seen = eventually(within, what, async || {
            let status = self.status().await.map_err(|error| error.to_string())?;
            if holds(&status) {
                return Ok(status);
            }
            Err(format!("{:?} {:?}", status.models, status.problems))
        });
        Ok(seen.await?)
    }

    /// Resident memory now and at its peak, in MiB.
    ///
    /// # Errors
    /// [`ClusterError::Os`] when the process has ended.
    pub fn memory(&self) -> Result<Memory, ClusterError> {
        let path = format!("/proc/{}/status", self.process.pid());
        let text = std::fs::read_to_string(&path).map_err(ClusterError::os(path))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            kib.unwrap_or_default() / 1024
        };
        Ok(Memory {
            now: field("VmRSS:"),
            peak: field("VmHWM:"),
        })
    }

    /// The process, to suspend or end it, or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Resident memory in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// Peak so far.
    pub peak: u64,
}

fn module() -> Result<TempDir, ClusterError> {
    let dir = tempfile::tempdir().map_err(ClusterError::os("a temporary directory"))?;
    let module = artifacts::wasm_module()?;
    let name = module.file_name().unwrap_or_default();
    std::fs::copy(&module, dir.path().join(name))
        .map_err(ClusterError::os(module.display().to_string()))?;
    Ok(dir)
}

/// The policies' CustomResourceDefinitions, as the product prints them.
///
/// # Errors
/// [`ClusterError`] when the binary is missing or fails.
pub fn definitions() -> Result<String, ClusterError> {
    let output = Command::new(artifacts::headgate_binary()?)
        .args(["schema", "crds"])
        .output()
        .map_err(ClusterError::os("headgate schema crds"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(ClusterError::NotMeasured(message))
}
