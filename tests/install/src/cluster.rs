//! An API server that knows the kinds of the projects that the manifests use.

use std::time::Duration;

use headgate_testkit::kube::{Kube, KubeOptions};

use crate::program;

/// A Kubernetes API with the kinds of cert-manager, Istio and the Prometheus operator.
///
/// # Panics
/// If it does not start, or a program or the definitions are missing.
pub async fn start() -> Kube {
    let options = KubeOptions {
        within: Duration::from_secs(120),
        ..KubeOptions::default()
    };
    let kube = Kube::start(options).await.expect("an API server");
    let crds = program("HEADGATE_CRDS", "crds");
    let crds = crds.to_str().expect("UTF-8");
    let kubectl = kube.kubectl();
    for args in [
        vec!["apply", "--server-side", "-f", crds],
        vec![
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=60s",
        ],
    ] {
        kubectl.run(args).await.expect("definitions");
    }
    kube
}
