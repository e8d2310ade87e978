//! Why a Kubernetes API cannot be started, asked or changed.

use std::io;
use std::path::PathBuf;

use crate::client::ClientError;
use crate::deadline::TimedOut;
use crate::process::ProcessError;

/// Why a Kubernetes API cannot be started, asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// Programs that have to be built first.
    #[error(
        "missing: {missing}, looked for in {looked}; run `tools/setup kube`, then this through `tools/with`"
    )]
    Programs {
        /// Their names.
        missing: String,
        /// The directory, or the variable that should have named it.
        looked: String,
    },
    /// A file that cannot be written.
    #[error("{path}: {source}")]
    Files {
        /// Which.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// No free port.
    #[error("no address to listen on: {0}")]
    Address(io::Error),
    /// A key or a certificate that cannot be made.
    #[error("certificate of {subject}: {source}")]
    Certificate {
        /// Whose.
        subject: String,
        /// The refusal.
        source: rcgen::Error,
    },
    /// A kubeconfig that the client does not take.
    #[error("{path}: {why}")]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The API refused, or did not answer.
    #[error("{action}: {source}")]
    Api {
        /// What was asked.
        action: String,
        /// The refusal.
        source: Box<::kube::Error>,
    },
    /// A pod without an address, of which readiness says nothing.
    #[error("{0} does not run")]
    NotRunning(String),
    /// `kubectl` cannot be run.
    #[error("kubectl {args}: {source}")]
    Kubectl {
        /// What it was asked.
        args: String,
        /// The refusal.
        source: io::Error,
    },
    /// `kubectl` ended badly.
    #[error("kubectl {args}: exit {code:?}\n{stderr}")]
    Refused {
        /// What it was asked.
        args: String,
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
        /// What it said.
        stderr: String,
    },
    /// etcd refused, or answered something else.
    #[error("etcd {path}: {why}")]
    Etcd {
        /// What was asked.
        path: &'static str,
        /// What came.
        why: String,
    },
    /// An exchange with etcd.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something did not come in time.
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

    /// The HTTP status with which the API refused, if it did.
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
