//! What keeps a test or a measurement from telling anything.

use headgate_testkit::client::ClientError;
use headgate_testkit::deadline::TimedOut;
use headgate_testkit::envoy::EnvoyError;
use headgate_testkit::kube::KubeError;
use headgate_testkit::process::ProcessError;
use headgate_testkit::stage::StageError;
use headgate_testkit::xds_client::XdsError;

/// What keeps a test or a measurement from telling anything.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The Kubernetes API.
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// An Envoy.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// The control plane's process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The product's files.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The control plane's admin port.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The control plane's xDS port.
    #[error(transparent)]
    Xds(#[from] XdsError),
    /// Something did not come in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// A file or an address.
    #[error("{what}: {source}")]
    Os {
        /// Which.
        what: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// What ran was not what the measurement is about.
    #[error("{0}")]
    NotMeasured(String),
}

impl ClusterError {
    pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Os { what, source }
    }
}
