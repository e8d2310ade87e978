//! The error of a test or a measurement on a cluster.

use headgate_testkit::client::ClientError;
use headgate_testkit::deadline::TimedOut;
use headgate_testkit::envoy::EnvoyError;
use headgate_testkit::kube::KubeError;
use headgate_testkit::process::ProcessError;
use headgate_testkit::testbed::TestbedError;
use headgate_testkit::xds_client::XdsError;

/// A test or a measurement on a cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The Kubernetes API failed.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// An Envoy failed.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// The control plane's process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// An artifact of the product is missing.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// The control plane's admin port failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The control plane's xDS port failed.
    #[error(transparent)]
    Xds(#[from] XdsError),
    /// A condition did not hold in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// A file or an address cannot be used.
    #[error("{what}: {source}")]
    Os {
        /// The file or address.
        what: String,
        /// The error.
        source: std::io::Error,
    },
    /// The run was not valid for the measurement.
    #[error("{0}")]
    NotMeasured(String),
}

impl ClusterError {
    pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Os { what, source }
    }
}
