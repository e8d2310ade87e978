//! What the control plane of the detached world reads, and what serves its models.

use std::path::{Path, PathBuf};
use std::time::Duration;

use headgate_testkit::kube::{KubeOptions, Kubectl};
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::process::ProcessOptions;
use headgate_testkit::stage::{
    Addresses, Cluster, Files, Input, SHIPPED, Source, StageError, tools,
};
use tokio::signal::unix::{SignalKind, signal};

use super::state::State;
use super::{Failure, files};

/// How long each server of the Kubernetes API may take, on a machine that does other things.
const WITHIN: Duration = Duration::from_secs(80);

/// Where the world listens.
///
/// # Errors
/// The variable that cannot be understood.
pub(crate) fn addresses(source: Source) -> Result<Addresses, StageError> {
    match source {
        Source::Files => Addresses::from_env(),
        Source::Kubernetes => Addresses::from_env_with_kube(),
    }
}

/// Its parts, in the order in which they are started.
pub(super) fn parts(source: Source) -> [&'static str; 3] {
    match source {
        Source::Files => ["models", "headgate", "envoy"],
        Source::Kubernetes => ["cluster", "headgate", "envoy"],
    }
}

/// Models that are served, and what declares them.
pub(super) struct Prepared {
    files: Files,
    kubeconfig: Option<PathBuf>,
}

impl Prepared {
    pub(super) fn input(&self) -> Input<'_> {
        match &self.kubeconfig {
            None => Input::Files(&self.files),
            Some(kubeconfig) => Input::Kubernetes(&self.files, kubeconfig),
        }
    }
}

/// Starts what serves the models, and declares them.
///
/// # Errors
/// What is missing or did not start.
pub(super) async fn prepare(
    source: Source,
    addresses: &Addresses,
    state: &State,
) -> Result<Prepared, Failure> {
    let this = std::env::current_exe().map_err(files("this program"))?;
    let part = ProcessOptions::new(this);
    link(state, "headgate", &tools::headgate_binary()?)?;
    if source == Source::Files {
        let prepared = Files::prepare(&state.dir, addresses)?;
        state.spawn("models", part.arg("serve-models"))?;
        for model in &addresses.models {
            state
                .await_http("models", &format!("http://{model}/healthz"))
                .await?;
        }
        return Ok(Prepared {
            files: prepared,
            kubeconfig: None,
        });
    }
    let prepared = Files::prepare_modules(&state.dir)?;
    let kubeconfig = state.kubeconfig();
    state.spawn("cluster", part.arg("serve-cluster"))?;
    state.await_file("cluster", &kubeconfig).await?;
    let kubectl = Kubectl::at(&kubeconfig).map_err(StageError::from)?;
    link(state, "kubectl", kubectl.program())?;
    Ok(Prepared {
        files: prepared,
        kubeconfig: Some(state.own_kubeconfig()),
    })
}

/// A program for people to call, at a short path.
fn link(state: &State, name: &str, program: &Path) -> Result<(), Failure> {
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
pub(crate) async fn serve_models() -> Result<(), Failure> {
    let addresses = Addresses::from_env()?;
    let mut models = Vec::new();
    for (served, address) in SHIPPED.iter().zip(&addresses.models) {
        let options = MockOptions::new(served.model, served.version).at(*address);
        models.push(MockModel::start(options).await.map_err(files(address))?);
    }
    terminated().await
}

/// Runs the Kubernetes API, with what is shipped applied to it, and the pods, until SIGTERM. When it is ready the
/// kubeconfigs are there, the administrator's last.
///
/// # Errors
/// What is missing or did not start.
pub(crate) async fn serve_cluster() -> Result<(), Failure> {
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
        // Whole or not at all: it is waited for.
        let draft = state.dir.join("kubeconfig.new");
        std::fs::copy(from, &draft)
            .and_then(|_| std::fs::rename(&draft, &to))
            .map_err(files(to.display()))?;
    }
    terminated().await
}

async fn terminated() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(files("SIGTERM"))?;
    terminate.recv().await;
    Ok(())
}
