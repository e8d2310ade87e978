//! The error of a testbed.

use headgate_meshkit::istio::MeshError;
use headgate_testkit::kube::KubeError;
use headgate_testkit::testbed::TestbedError;

/// Why a testbed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MeshTestbedError {
    /// The mesh failed.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The API or `kubectl` failed.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// A program is missing.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A condition did not hold in time; with the last lines of all pods.
    #[error("{0}")]
    Late(String),
}
