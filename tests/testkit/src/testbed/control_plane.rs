//! The control plane of a testbed: `headgate serve` as a real process, queried over its admin port.
//!
//! Invariant: "current" refers to the files or objects as they are now. `headgate translate` computes the expected state: the same
//! binary over the same directories or API, in its own process; equal content has equal versions.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use super::addresses::reachable;
use super::status::Status;
use super::{Addresses, Files, TestbedError, artifacts};
use crate::client::{HttpClient, HttpRequest};
use crate::process::{Log, Process, ProcessOptions};

/// Types whose content follows from the files. The listener depends on the proxy, the filters also on live scales.
const FROM_FILES: [&str; 3] = ["cds", "eds", "rds"];
/// Flags of `serve` that `translate` does not have; each takes a value.
const SERVE_ONLY: [&str; 17] = [
    "--allow-identity",
    "--allow-node",
    "--drain-time",
    "--follow-node",
    "--lease-duration",
    "--lease-name",
    "--lease-namespace",
    "--linger",
    "--load-report-interval",
    "--node-namespaces",
    "--replica-name",
    "--scopes",
    "--spiffe-socket",
    "--trust-bundle",
    "--trust-domains",
    "--trust-xfcc-from",
    "--xds-tls",
];
/// Deadline for the process to become ready.
const START: Duration = Duration::from_secs(20);

/// A control plane that runs, or was killed and can be restarted.
#[derive(Debug)]
pub struct ControlPlane {
    binary: PathBuf,
    options: ProcessOptions,
    input: Vec<OsString>,
    admin: SocketAddr,
    process: Option<Process>,
    client: HttpClient,
}

/// The command line of `headgate serve` for an input.
#[must_use]
pub fn serve_options(
    binary: PathBuf,
    input: &Input<'_>,
    addresses: &Addresses,
    more: &[OsString],
    log: PathBuf,
) -> ProcessOptions {
    let mut options = ProcessOptions::new(binary)
        .arg("serve")
        .args(input.args())
        .args(["--listen".into(), addresses.envoy.to_string()])
        .args(["--xds-address".into(), addresses.xds.to_string()])
        .args(["--admin-address".into(), addresses.admin.to_string()])
        .args(more);
    options.log = Some(log);
    options
}

/// The input of a control plane. The modules are always the copies of [`Files`].
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Models and policies from the files.
    Files(&'a Files),
    /// Models and policies from the Kubernetes API that a kubeconfig names.
    Kubernetes(&'a Files, &'a Path),
}

impl Input<'_> {
    fn args(&self) -> Vec<OsString> {
        let (mut args, files): (Vec<OsString>, _) = match *self {
            Self::Files(files) => {
                let models = ["--models".into(), files.models().into()];
                let policies = ["--policies".into(), files.policies().into()];
                ([models, policies].concat(), files)
            }
            Self::Kubernetes(files, kubeconfig) => (
                vec!["--kube".into(), "--kubeconfig".into(), kubeconfig.into()],
                files,
            ),
        };
        args.extend(["--wasm".into(), files.wasm().into()]);
        args
    }
}

/// The additional arguments that `translate` needs too.
fn shared_args(more: &[OsString]) -> Vec<OsString> {
    let mut shared = Vec::new();
    let mut args = more.iter();
    while let Some(arg) = args.next() {
        if SERVE_ONLY.iter().any(|flag| arg == *flag) {
            args.next();
        } else {
            shared.push(arg.clone());
        }
    }
    shared
}

impl ControlPlane {
    pub(super) async fn start(
        binary: Option<PathBuf>,
        input: &Input<'_>,
        addresses: &Addresses,
        more: &[OsString],
        log: PathBuf,
    ) -> Result<Self, TestbedError> {
        let binary = binary.map_or_else(artifacts::headgate_binary, Ok)?;
        let mut this = Self {
            options: serve_options(binary.clone(), input, addresses, more, log),
            binary,
            input: [input.args(), shared_args(more)].concat(),
            admin: reachable(addresses.admin),
            process: None,
            client: HttpClient::new().with_timeout(Duration::from_secs(5)),
        };
        this.restart().await?;
        Ok(this)
    }

    /// Starts or restarts it and waits until it is ready. A running process is killed first.
    ///
    /// # Errors
    /// [`TestbedError::Process`] with the end of its log.
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        self.kill()?;
        let mut process = Process::start(self.options.clone())?;
        process.wait_for_http(&self.url("/readyz"), START).await?;
        self.process = Some(process);
        Ok(())
    }

    /// `kill -9`. `None` if it does not run.
    ///
    /// # Errors
    /// [`TestbedError::Process`].
    pub fn kill(&mut self) -> Result<Option<ExitStatus>, TestbedError> {
        match self.process.take() {
            Some(mut process) => Ok(Some(process.kill()?)),
            None => Ok(None),
        }
    }

    /// The process, to suspend or resume it; `None` after a kill.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Its process id; `None` after a kill.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its log, over all restarts.
    #[must_use]
    pub fn log(&self) -> Log {
        Log::new(self.options.log.clone().unwrap_or_default())
    }

    /// URL of a page of the admin port.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// `GET path` of the admin port, as JSON.
    ///
    /// # Errors
    /// [`TestbedError::Client`].
    pub async fn get(&self, path: &str) -> Result<Value, TestbedError> {
        let reply = self.client.send(HttpRequest::get(self.url(path))).await?;
        Ok(reply.json()?)
    }

    /// The current status of models and proxies.
    ///
    /// # Errors
    /// [`TestbedError::Client`], also when the document cannot be parsed.
    pub async fn status(&self) -> Result<Status, TestbedError> {
        let document = self.get("/syncz").await?;
        let text = document.to_string();
        serde_json::from_value(document).map_err(|error| {
            TestbedError::Client(crate::client::ClientError::Json {
                why: error.to_string(),
                text,
            })
        })
    }

    /// Runs another command of the binary on the testbed's input and returns its output.
    ///
    /// # Errors
    /// [`TestbedError::Refused`] with its standard error.
    pub fn run(&self, task: &'static str, more: &[&str]) -> Result<String, TestbedError> {
        let output = Command::new(&self.binary)
            .arg(task)
            .args(&self.input)
            .args(more)
            .output()
            .map_err(|source| TestbedError::files(self.binary.display(), source))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(TestbedError::Refused { task, message });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The state that the input describes now.
    pub(super) fn expected_state(&self) -> Result<ExpectedState, TestbedError> {
        let text = self.run("translate", &["-o", "json"])?;
        let document: Value =
            serde_json::from_str(&text).map_err(|error| TestbedError::Refused {
                task: "translate",
                message: format!("{error}: {text}"),
            })?;
        Ok(ExpectedState {
            config: without_scales(&document["filterConfig"]),
            versions: FROM_FILES.map(|kind| document["resources"][kind]["version"].clone()),
        })
    }

    /// Checks that every node of `nodes` runs the expected state.
    pub(super) async fn check_settled(
        &self,
        expected: &ExpectedState,
        nodes: &[String],
    ) -> Result<Status, String> {
        let dump = self.get("/config_dump").await.map_err(|e| e.to_string())?;
        if without_scales(&dump["filterConfig"]) != expected.config {
            return Err("the plan of the control plane differs".into());
        }
        let status = self.status().await.map_err(|e| e.to_string())?;
        for node in nodes {
            let proxy = status
                .proxy(node)
                .ok_or_else(|| format!("{node} is not connected"))?;
            let scope = &dump["scopes"][&proxy.scope]["resources"];
            for (kind, version) in FROM_FILES.iter().zip(&expected.versions) {
                if scope[kind]["version"] != *version {
                    return Err(format!(
                        "{kind} of scope {} differs from the input",
                        proxy.scope
                    ));
                }
            }
            for (kind, at) in &proxy.types {
                if scope[kind]["version"].as_str() != Some(at.wanted.as_str()) {
                    return Err(format!("{node} was not offered the newest {kind}"));
                }
            }
            if !proxy.current {
                return Err(format!("{node} is not current: {:?}", proxy.types));
            }
        }
        Ok(status)
    }
}

/// The state that the input describes: the filter configuration, and the versions of the other types.
#[derive(Debug)]
pub(super) struct ExpectedState {
    config: Value,
    versions: [Value; FROM_FILES.len()],
}

/// The filter configuration without live scales, which also depend on time.
fn without_scales(config: &Value) -> Value {
    let mut config = config.clone();
    let namespaces = config["namespaces"].as_object_mut();
    for namespace in namespaces.into_iter().flat_map(|all| all.values_mut()) {
        let models = namespace["models"].as_object_mut();
        for model in models.into_iter().flat_map(|all| all.values_mut()) {
            if let Some(model) = model.as_object_mut() {
                model.remove("scale");
            }
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translate_gets_the_arguments_of_serve_that_change_the_configuration() {
        let more = [
            "--linger",
            "5",
            "--idle-timeout",
            "2",
            "--follow-node",
            "a",
            "--wasm-inline",
        ];
        let shared = shared_args(&more.map(OsString::from));
        assert_eq!(shared, ["--idle-timeout", "2", "--wasm-inline"]);
    }
}
