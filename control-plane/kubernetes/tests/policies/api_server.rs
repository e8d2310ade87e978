//! Test fixture: an API server with the definitions of policies.

use std::sync::OnceLock;
use std::time::Duration;

use headgate_kubernetes::policies::crds;
use headgate_kubernetes::policies::yaml;
use headgate_testkit::kube::{Kube, KubeOptions, Kubectl};
use tokio::runtime::Runtime;

/// The path of a file in the repository.
pub(crate) fn file(path: &str) -> String {
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    format!("{crate_dir}/../../{path}")
}

/// The runtime of all tests, so that one server and its client serve them.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// An API server for one test, with the definitions.
pub(crate) async fn start() -> Kube {
    let kube = Kube::start(KubeOptions {
        within: Duration::from_secs(120),
        ..KubeOptions::default()
    })
    .await
    .unwrap();
    define(&kube.kubectl()).await;
    kube
}

/// Installs the definitions, and waits until the API server serves them.
pub(crate) async fn define(kubectl: &Kubectl) {
    let definitions = yaml(&crds().unwrap()).unwrap();
    kubectl.apply_crds(&definitions).await.unwrap();
}
