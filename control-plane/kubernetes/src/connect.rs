//! How the API server is found: as `kubectl` finds it, and inside a pod by its ServiceAccount.

use std::path::PathBuf;
use std::time::Duration;

pub use kube::Client;
use kube::Config;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Which API server, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig; else `$KUBECONFIG`, else `~/.kube/config`, else the ServiceAccount of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; else its current one.
    pub context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig was asked for and cannot be used.
    #[error(
        "the kubeconfig cannot be used: {0}: name another by --kubeconfig or $KUBECONFIG, and its context by --context"
    )]
    Kubeconfig(#[source] KubeconfigError),
    /// There is neither a kubeconfig nor a ServiceAccount.
    #[error(
        "no Kubernetes API is known here: {0}. Outside a pod, name a kubeconfig by --kubeconfig or $KUBECONFIG"
    )]
    Unknown(#[source] InferConfigError),
    /// The configuration describes no client.
    #[error("the kubeconfig describes no client: {0}")]
    Client(#[source] kube::Error),
}

/// A client of the API server, which need not be there yet.
///
/// # Errors
/// [`ConnectError`], with what to do about it.
pub async fn connect(access: &Access) -> Result<Client, ConnectError> {
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut config = match &access.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(ConnectError::Kubeconfig)?;
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(ConnectError::Kubeconfig)?
        }
        None if access.context.is_some() => Config::from_kubeconfig(&options)
            .await
            .map_err(ConnectError::Kubeconfig)?,
        None => Config::infer().await.map_err(ConnectError::Unknown)?,
    };
    config.connect_timeout = Some(CONNECT);
    // A refusal is for the watches to know: they wait as long as they are told, and `status` says so meanwhile.
    config.default_retry = false;
    Client::try_from(config).map_err(ConnectError::Client)
}
