//! The control plane of a cluster: `headgate serve --kube` as a process, asked over its admin port.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use headgate_testkit::client::{ClientError, HttpClient, HttpRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessOptions};
use headgate_testkit::stage::{Status, tools};
use serde_json::Value;
use tempfile::TempDir;

use crate::ClusterError;

/// A running control plane. Dropping it kills it.
#[derive(Debug)]
pub struct Plane {
    process: Process,
    options: ProcessOptions,
    xds: SocketAddr,
    admin: SocketAddr,
    client: HttpClient,
    /// Its own copy of the module: beside it, the control plane writes a file named by its content.
    _module: TempDir,
}

impl Plane {
    /// Starts it over what a kubeconfig names, with the module that ships and further arguments. Not awaited.
    ///
    /// # Errors
    /// [`ClusterError`]: no binary, no module, no free port.
    pub fn start(kubeconfig: &Path, more: &[String]) -> Result<Self, ClusterError> {
        let module = module()?;
        let free = || free_addr().map_err(ClusterError::os("a free port"));
        let (xds, admin) = (free()?, free()?);
        let own = ["serve", "--kube", "--access-log", "none", "--kubeconfig"].map(OsString::from);
        let options = ProcessOptions::new(tools::headgate_binary()?)
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

    /// Starts it again, at the same addresses, once it was ended. Not awaited.
    ///
    /// # Errors
    /// [`ClusterError::Process`].
    pub fn start_again(&mut self) -> Result<(), ClusterError> {
        self.process = Process::start(self.options.clone())?;
        Ok(())
    }

    /// Waits until it is ready: it knows the whole world.
    ///
    /// # Errors
    /// [`ClusterError::Process`] with the end of its log.
    pub async fn ready(&mut self, within: Duration) -> Result<(), ClusterError> {
        let url = self.url("/readyz");
        Ok(self.process.wait_for_http(&url, within).await?)
    }

    /// Where proxies connect.
    #[must_use]
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// A page of the admin port.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// What it answers to `/readyz`.
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

    /// What it says of models and proxies now.
    ///
    /// # Errors
    /// [`ClusterError::Client`], also when the document is not as known.
    pub async fn status(&self) -> Result<Status, ClusterError> {
        self.asked("/syncz").await
    }

    /// What it says of one model and of all proxies: among hundreds of models all of it is no small thing to tell.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn status_of(&self, model: &str) -> Result<Status, ClusterError> {
        self.asked(&format!("/syncz?model={model}")).await
    }

    async fn asked(&self, path: &str) -> Result<Status, ClusterError> {
        let request = HttpRequest::get(self.url(path));
        let reply = self.client.send(request).await?;
        serde_json::from_slice(&reply.body).map_err(|error| {
            ClusterError::Client(ClientError::Json {
                why: error.to_string(),
                text: reply.text(),
            })
        })
    }

    /// Waits until its status is as wanted.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`] with the last status.
    pub async fn until(
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

    /// The memory it has now and had at most, in MiB.
    ///
    /// # Errors
    /// [`ClusterError::Os`] when it has ended.
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
            most: field("VmHWM:"),
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
    /// At most so far.
    pub most: u64,
}

fn module() -> Result<TempDir, ClusterError> {
    let dir = tempfile::tempdir().map_err(ClusterError::os("a temporary directory"))?;
    let module = tools::wasm_module()?;
    let name = module.file_name().unwrap_or_default();
    std::fs::copy(&module, dir.path().join(name))
        .map_err(ClusterError::os(module.display().to_string()))?;
    Ok(dir)
}

/// The policies' CustomResourceDefinitions, as the product prints them.
///
/// # Errors
/// [`ClusterError`] when the binary is missing or refuses.
pub fn definitions() -> Result<String, ClusterError> {
    let output = Command::new(tools::headgate_binary()?)
        .args(["schema", "crds"])
        .output()
        .map_err(ClusterError::os("headgate schema crds"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(ClusterError::NotMeasured(said))
}
