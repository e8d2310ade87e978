//! The connection to the API server: found as `kubectl` finds it, and inside a pod by its ServiceAccount.

use std::path::PathBuf;
use std::time::Duration;

pub use kube::Client;
use kube::Config;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Timeout of a connection attempt.
const CONNECT: Duration = Duration::from_secs(5);

/// The API server and the user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig; default: `$KUBECONFIG`, `~/.kube/config`, the ServiceAccount of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; default: the current one.
    pub context: Option<String>,
}

/// The client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error(
        "the kubeconfig cannot be used: {0}. Name another one with --kubeconfig or $KUBECONFIG, and its context with --context"
    )]
    Kubeconfig(#[source] KubeconfigError),
    /// There is neither a kubeconfig nor a ServiceAccount.
    #[error(
        "no Kubernetes API is configured: {0}. Outside a pod, name a kubeconfig with --kubeconfig or $KUBECONFIG"
    )]
    Unknown(#[source] InferConfigError),
    /// The configuration is not valid for a client.
    #[error(
        "Headgate cannot create a client from the kubeconfig: {0}. Correct it, or name another one with --kubeconfig"
    )]
    Client(#[source] kube::Error),
}

/// Creates a client. The API server does not have to be reachable yet.
///
/// # Errors
/// [`ConnectError`], with the remedy.
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
    // The watches handle refusals: they honour `Retry-After`, and `headgate status` reports the failure.
    config.default_retry = false;
    Client::try_from(config).map_err(ConnectError::Client)
}
