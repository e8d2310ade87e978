//! The error of a testbed.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

use crate::client::ClientError;
use crate::deadline::TimedOut;
use crate::envoy::EnvoyError;
use crate::kube::KubeError;
use crate::process::ProcessError;

/// A testbed could not be set up, queried or changed.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// Something must be built or installed first.
    #[error("missing: {what}; {fix}")]
    Missing {
        /// The missing item.
        what: String,
        /// The command that provides it.
        fix: String,
    },
    /// A variable has an invalid value.
    #[error("{variable}: {why}")]
    Setting {
        /// Name of the variable.
        variable: &'static str,
        /// The reason.
        why: String,
    },
    /// An address cannot be bound.
    #[error(
        "{what} {addr} is not available ({why}): stop the program that listens there, or set {variable}"
    )]
    AcceptedResources {
        /// The listener.
        what: &'static str,
        /// Its address.
        addr: SocketAddr,
        /// The variable that moves it.
        variable: &'static str,
        /// The reason.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{what}: {source}")]
    Files {
        /// The file.
        what: String,
        /// The error.
        source: io::Error,
    },
    /// A manifest has no labels.
    #[error("{0}: the manifest has no labels")]
    Label(String),
    /// The shipped bootstrap does not have the expected form.
    #[error("envoy-config/bootstrap.yaml: expected {0:?} exactly once")]
    Bootstrap(String),
    /// The control plane does not run.
    #[error("the control plane does not run")]
    NoControlPlane,
    /// A command of the control plane failed.
    #[error("headgate {task}: {message}")]
    Refused {
        /// The command.
        task: &'static str,
        /// Its standard error.
        message: String,
    },
    /// A process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// An Envoy failed.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// A Kubernetes API failed.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// An exchange failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A condition did not hold in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

impl TestbedError {
    pub(super) fn files(what: impl Display, source: io::Error) -> Self {
        Self::Files {
            what: what.to_string(),
            source,
        }
    }
}
