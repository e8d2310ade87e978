//! Launcher of a real OCI registry on loopback, without authentication.
//!
//! Invariant: it listens on loopback only, and its content is removed with it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessError, ProcessOptions};
use serde_json::json;
use tempfile::TempDir;

/// The variable that names the program.
const VARIABLE: &str = "REGISTRY";
/// Start deadline.
const WITHIN: Duration = Duration::from_secs(30);

/// A registry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The program is not installed.
    #[error(
        "{VARIABLE} names no registry; run `tools/setup registry`, then run this command with `tools/with`"
    )]
    Missing,
    /// The process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file cannot be written, or no address is free.
    #[error("registry: {0}")]
    Os(#[from] io::Error),
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Registry {
    /// Starts an empty registry; returns when it answers.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn start() -> Result<Self, RegistryError> {
        let program = std::env::var_os(VARIABLE).map(PathBuf::from);
        let program = program.filter(|program| program.is_file());
        let program = program.ok_or(RegistryError::Missing)?;
        let (dir, addr) = (tempfile::tempdir()?, free_addr()?);
        let config = dir.path().join("config.json");
        let content = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": dir.path().join("content")}},
            "http": {"addr": addr},
        });
        // JSON is YAML.
        std::fs::write(&config, content.to_string())?;
        let options = ProcessOptions::new(program).arg("serve").arg(config);
        let mut process = Process::start(options)?;
        let ready = format!("http://{addr}/v2/");
        process.wait_for_http(&ready, WITHIN).await?;
        Ok(Self {
            process,
            addr,
            _dir: dir,
        })
    }

    /// Its address, as the host of image references: `127.0.0.1:PORT`. Clients use plain HTTP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process, to end it or to read its log, which has a line for each request.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
