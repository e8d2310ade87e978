//! A control plane over files in a temporary directory.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_testkit::client::{HttpClient, HttpRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessOptions};
use headgate_testkit::testbed::Manifest;
use serde_json::Value;
use tempfile::TempDir;

/// The timeout for everything that no rule delays.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Models, policies and modules on disk.
pub(crate) struct Files {
    root: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["models", "policies", "wasm"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        // A module with one empty function.
        let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";
        std::fs::write(root.path().join("wasm/headgate.wasm"), module).unwrap();
        Self { root }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    /// Replaces `models/<name>` atomically, as editors do.
    pub(crate) fn model(&self, name: &str, content: &str) {
        self.put("models", name, content);
    }

    pub(crate) fn policy(&self, name: &str, content: &str) {
        self.put("policies", name, content);
    }

    fn put(&self, dir: &str, name: &str, content: &str) {
        let scratch = self.path("scratch");
        std::fs::write(&scratch, content).unwrap();
        std::fs::rename(scratch, self.path(dir).join(name)).unwrap();
    }
}

/// A manifest with endpoints at these ports of loopback.
pub(crate) fn manifest(model: &str, version: &str, ports: &[u16]) -> Manifest {
    let endpoints: Vec<SocketAddr> = ports
        .iter()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
        .collect();
    Manifest::new(model, version).endpoints(&endpoints)
}

/// `headgate serve`, without arguments.
pub(crate) fn serve() -> ProcessOptions {
    ProcessOptions::new(env!("CARGO_BIN_EXE_headgate")).arg("serve")
}

/// A running control plane.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) xds: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) client: HttpClient,
}

impl Server {
    pub(crate) async fn start(files: &Files) -> Self {
        Self::start_with(files, &[]).await
    }

    /// Starts it with further arguments of `serve`.
    pub(crate) async fn start_with(files: &Files, more: &[&str]) -> Self {
        let (xds, admin) = (free_addr().unwrap(), free_addr().unwrap());
        Self::launch(files, xds, admin, more).await
    }

    /// Starts it at these addresses, as after a restart.
    pub(crate) async fn start_at(files: &Files, xds: SocketAddr, admin: SocketAddr) -> Self {
        Self::launch(files, xds, admin, &[]).await
    }

    async fn launch(files: &Files, xds: SocketAddr, admin: SocketAddr, more: &[&str]) -> Self {
        let options = serve()
            .arg("--models")
            .arg(files.path("models"))
            .arg("--policies")
            .arg(files.path("policies"))
            .arg("--wasm")
            .arg(files.path("wasm"))
            // Removed resources disappear within the time of a test.
            .args(["--linger", "2"])
            .args(more.iter().copied());
        Self::at(options, xds, admin).ready().await
    }

    /// Starts the process at its own addresses, without waiting until it is ready.
    pub(crate) fn spawn(options: ProcessOptions) -> Self {
        Self::at(options, free_addr().unwrap(), free_addr().unwrap())
    }

    fn at(options: ProcessOptions, xds: SocketAddr, admin: SocketAddr) -> Self {
        let options = options
            .args(["--xds-address".to_owned(), xds.to_string()])
            .args(["--admin-address".to_owned(), admin.to_string()]);
        Self {
            process: Process::start(options).unwrap(),
            xds,
            admin,
            client: HttpClient::new(),
        }
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(mut self) -> Self {
        let ready = format!("http://{}/readyz", self.admin);
        self.process.wait_for_http(&ready, SOON).await.unwrap();
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        let url = format!("http://{}{path}", self.admin);
        let reply = self.client.send(HttpRequest::get(url)).await.unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply
    }

    /// `/syncz`.
    pub(crate) async fn syncz(&self) -> Value {
        self.get("/syncz").await.json().unwrap()
    }

    /// Waits until proxies are connected and all of them are settled.
    pub(crate) async fn all_current(&self) -> Value {
        self.until("every proxy to settle", |status| {
            let proxies = status["proxies"].as_array();
            proxies.is_some_and(|all| {
                !all.is_empty() && all.iter().all(|proxy| proxy["current"] == true)
            })
        })
        .await
    }

    /// Waits until `/syncz` meets a condition.
    pub(crate) async fn until(&self, what: &str, expected: impl Fn(&Value) -> bool) -> Value {
        let status = eventually(SOON, what, async || {
            let status = self.syncz().await;
            if expected(&status) {
                Ok(status)
            } else {
                Err(status.to_string())
            }
        });
        status.await.unwrap()
    }
}

/// Runs another command of the binary and returns what it prints.
pub(crate) fn headgate(args: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_headgate"))
        .args(args)
        .output()
        .unwrap()
}
