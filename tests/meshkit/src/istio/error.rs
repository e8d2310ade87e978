//! The error of a mesh.

use std::io;
use std::path::{Path, PathBuf};

use headgate_testkit::deadline::TimedOut;
use headgate_testkit::envoy::EnvoyError;
use headgate_testkit::kube::KubeError;
use headgate_testkit::process::ProcessError;

use crate::command::CommandError;

/// A mesh could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// A program is missing, or a call of it failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// istiod failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// `kubectl` failed.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// Envoy is not installed, or does not answer.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Files {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A pod without a sidecar, or one that does not run.
    #[error("{0} has no running proxy")]
    NoProxy(String),
    /// A condition did not hold in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

pub(super) fn files(path: &Path) -> impl FnOnce(io::Error) -> MeshError {
    let path = path.to_owned();
    move |source| MeshError::Files { path, source }
}
