//! Why a stage cannot be set up, asked or changed.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

use crate::client::ClientError;
use crate::deadline::TimedOut;
use crate::envoy::EnvoyError;
use crate::kube::KubeError;
use crate::process::ProcessError;

/// Why a stage cannot be set up, asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Something that has to be built or installed first.
    #[error("missing: {what}; {fix}")]
    Missing {
        /// What.
        what: String,
        /// How to get it.
        fix: String,
    },
    /// A variable that cannot be understood.
    #[error("{variable}: {why}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// An address that cannot be bound.
    #[error("{what} {addr} cannot be used ({why}): end what listens there, or set {variable}")]
    Taken {
        /// What would listen there.
        what: &'static str,
        /// Where.
        addr: SocketAddr,
        /// The variable that moves it.
        variable: &'static str,
        /// The refusal.
        why: String,
    },
    /// A file that cannot be read or written.
    #[error("{what}: {source}")]
    Files {
        /// Which.
        what: String,
        /// The refusal.
        source: io::Error,
    },
    /// A manifest without labels.
    #[error("{0}: there are no labels to edit")]
    Label(String),
    /// The shipped bootstrap is not as the stage knows it.
    #[error("envoy-config/bootstrap.yaml: {0:?} is not in it exactly once")]
    Bootstrap(String),
    /// The control plane does not run.
    #[error("the control plane was killed")]
    NoControlPlane,
    /// The control plane refused what it was asked.
    #[error("headgate {task}: {message}")]
    Refused {
        /// The command.
        task: &'static str,
        /// What it wrote.
        message: String,
    },
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// An Envoy.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// A Kubernetes API.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// An exchange.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Something did not come in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

impl StageError {
    pub(super) fn files(what: impl Display, source: io::Error) -> Self {
        Self::Files {
            what: what.to_string(),
            source,
        }
    }
}
