//! The error of a test Kubernetes API.

use std::io;
use std::path::PathBuf;

use crate::client::ClientError;
use crate::deadline::TimedOut;
use crate::process::ProcessError;

/// A Kubernetes API could not be started, queried or changed.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// Programs that must be built first.
    #[error(
        "missing: {missing}, not found in {looked}; run `tools/setup kube`, then run this command with `tools/with`"
    )]
    Programs {
        /// Names of the programs.
        missing: String,
        /// The directory that was searched, or the variable that should name it.
        looked: String,
    },
    /// A file cannot be written.
    #[error("{path}: {source}")]
    Files {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// No free port.
    #[error("no free address: {0}")]
    Address(io::Error),
    /// A key or a certificate cannot be made.
    #[error("certificate of {subject}: {source}")]
    Certificate {
        /// Subject of the certificate.
        subject: String,
        /// The error of the library.
        source: rcgen::Error,
    },
    /// The client rejects a kubeconfig.
    #[error("{path}: {why}")]
    Kubeconfig {
        /// Path of the kubeconfig.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The API server returned an error or did not respond.
    #[error("{action}: {source}")]
    Api {
        /// The attempted action.
        action: String,
        /// The error of the client.
        source: Box<::kube::Error>,
    },
    /// A pod without an address, whose readiness cannot be reported.
    #[error("{0} is not running")]
    NotRunning(String),
    /// `kubectl` cannot be run.
    #[error("kubectl {args}: {source}")]
    Kubectl {
        /// The arguments.
        args: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// `kubectl` failed.
    #[error("kubectl {args}: exit {code:?}\n{stderr}")]
    Refused {
        /// The arguments.
        args: String,
        /// Its exit code; `None` when a signal ended it.
        code: Option<i32>,
        /// Its standard error.
        stderr: String,
    },
    /// etcd returned an error or an unexpected response.
    #[error("etcd {path}: {why}")]
    Etcd {
        /// Path of the request.
        path: &'static str,
        /// The response.
        why: String,
    },
    /// An exchange with etcd failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A condition did not hold in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

impl KubeError {
    pub(super) fn api(action: impl Into<String>) -> impl FnOnce(::kube::Error) -> Self {
        move |source| Self::Api {
            action: action.into(),
            source: Box::new(source),
        }
    }

    /// The HTTP status of the API server's error, if it returned one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                ::kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }
}
