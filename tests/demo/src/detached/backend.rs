//! The input of the control plane and the model servers, for `up`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use headgate_testkit::kube::{KubeOptions, Kubectl};
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::process::ProcessOptions;
use headgate_testkit::testbed::{
    Addresses, Cluster, Files, Input, SHIPPED, Source, TestbedError, artifacts,
};
use tokio::signal::unix::{SignalKind, signal};

use super::state::State;
use super::{DemoError, files};

/// Start deadline of each server of the Kubernetes API, for a busy machine.
const WITHIN: Duration = Duration::from_secs(80);

/// The addresses of the demo.
///
/// # Errors
/// A variable with an invalid value.
pub(crate) fn addresses(source: Source) -> Result<Addresses, TestbedError> {
    match source {
        Source::Files => Addresses::from_env(),
        Source::Kubernetes => Addresses::from_env_with_kube(),
    }
}

/// The background processes, in start order.
pub(super) fn parts(source: Source) -> [&'static str; 3] {
    match source {
        Source::Files => ["models", "headgate", "envoy"],
        Source::Kubernetes => ["cluster", "headgate", "envoy"],
    }
}

/// The input of the control plane.
pub(super) struct Backend {
    files: Files,
    kubeconfig: Option<PathBuf>,
}

impl Backend {
    pub(super) fn input(&self) -> Input<'_> {
        match &self.kubeconfig {
            None => Input::Files(&self.files),
            Some(kubeconfig) => Input::Kubernetes(&self.files, kubeconfig),
        }
    }
}

/// Starts the model servers and declares the models.
///
/// # Errors
/// A missing program, or one that did not start.
pub(super) async fn prepare(
    source: Source,
    addresses: &Addresses,
    state: &State,
) -> Result<Backend, DemoError> {
    let this = std::env::current_exe().map_err(files("this program"))?;
    let part = ProcessOptions::new(this);
    link(state, "headgate", &artifacts::headgate_binary()?)?;
    if source == Source::Files {
        let backend = Files::prepare(&state.dir, addresses)?;
        state.spawn("models", part.arg("serve-models"))?;
        for model in &addresses.models {
            state
                .await_http("models", &format!("http://{model}/healthz"))
                .await?;
        }
        return Ok(Backend {
            files: backend,
            kubeconfig: None,
        });
    }
    let backend = Files::prepare_modules(&state.dir)?;
    let kubeconfig = state.kubeconfig();
    state.spawn("cluster", part.arg("serve-cluster"))?;
    state.await_file("cluster", &kubeconfig).await?;
    let kubectl = Kubectl::at(&kubeconfig).map_err(TestbedError::from)?;
    link(state, "kubectl", kubectl.program())?;
    Ok(Backend {
        files: backend,
        kubeconfig: Some(state.own_kubeconfig()),
    })
}

/// Links a program at a short path, for the user.
fn link(state: &State, name: &str, program: &Path) -> Result<(), DemoError> {
    let bin = state.bin();
    std::fs::create_dir_all(&bin).map_err(files(bin.display()))?;
    let program = program.canonicalize();
    program
        .and_then(|program| std::os::unix::fs::symlink(program, bin.join(name)))
        .map_err(files(name))
}

/// Serves the four mock models until SIGTERM.
///
/// # Errors
/// An address that cannot be bound.
pub(crate) async fn serve_models() -> Result<(), DemoError> {
    let addresses = Addresses::from_env()?;
    let mut models = Vec::new();
    for (served, address) in SHIPPED.iter().zip(&addresses.models) {
        let options = MockOptions::new(served.model, served.version).at(*address);
        models.push(MockModel::start(options).await.map_err(files(address))?);
    }
    terminated().await
}

/// Runs the Kubernetes API with the shipped manifests, and the pods, until SIGTERM. When it is ready it writes the kubeconfigs, the
/// administrator's last.
///
/// # Errors
/// A missing program, or one that did not start.
pub(crate) async fn serve_cluster() -> Result<(), DemoError> {
    let addresses = addresses(Source::Kubernetes)?;
    let state = State::of(&addresses);
    let cluster = Cluster::start(KubeOptions {
        dir: Some(state.dir.join("kubernetes")),
        address: addresses.kube,
        within: WITHIN,
        ..KubeOptions::default()
    });
    let cluster = cluster.await?;
    let kube = cluster.kube();
    for (from, to) in [
        (cluster.headgate(), state.own_kubeconfig()),
        (kube.kubeconfig(), state.kubeconfig()),
    ] {
        // `up` waits for the file, so it must appear complete.
        let draft = state.dir.join("kubeconfig.new");
        std::fs::copy(from, &draft)
            .and_then(|_| std::fs::rename(&draft, &to))
            .map_err(files(to.display()))?;
    }
    terminated().await
}

async fn terminated() -> Result<(), DemoError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(files("SIGTERM"))?;
    terminate.recv().await;
    Ok(())
}
