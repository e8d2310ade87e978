//! `headgate-demo`: the whole story on a real Envoy, every figure measured in the run.
//!
//! Place in the flow: a thin shell. What is claimed and measured is in the library; here it is told ([`story`]), and the same
//! world is left running for people ([`detached`]).

mod detached;
mod paper;
mod story;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headgate_demo::Broken;
use headgate_testkit::stage::Source;

use self::detached::Failure;

const ADDRESSES: &str = "\
Where it listens:
  HEADGATE_XDS_ADDRESS          control plane, for proxies   [127.0.0.1:18000]
  HEADGATE_ADMIN_ADDRESS        control plane, for people    [127.0.0.1:18001]
  HEADGATE_ENVOY_ADDRESS        Envoy's traffic              [127.0.0.1:10000]
  HEADGATE_ENVOY_ADMIN_ADDRESS  Envoy's admin interface      [127.0.0.1:9901]
  HEADGATE_MODEL_ADDRESSES      the four mock models         [127.0.0.1:8101,…,127.0.0.1:8104]
  HEADGATE_KUBE_ADDRESS         the Kubernetes API           [127.0.0.1:16443]

What it runs:
  HEADGATE_BIN   the control plane's binary    [`headgate` beside this program]
  HEADGATE_WASM  the directory of headgate.wasm  [dist]
  ENVOY          the Envoy binary              [`envoy` on PATH]
  KUBEBUILDER_ASSETS  etcd, kube-apiserver, kube-controller-manager and kubectl, for --kubernetes";

/// Headgate on one machine: mock models, the control plane and a real Envoy that gets everything over delta ADS.
///
/// Without a command: tells the story, measures every figure in this run, and exits 1 if a claim does not hold.
#[derive(Parser)]
#[command(name = "headgate-demo", version, after_help = ADDRESSES)]
struct Cli {
    /// On a real Kubernetes API instead of files: the models are Deployments, and run in pods.
    #[arg(long, global = true)]
    kubernetes: bool,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Leave the same world running, and print what to try.
    Up,
    /// End what `up` left running.
    Down,
    /// Serve the mock models in the foreground; `up` runs this.
    #[command(hide = true)]
    ServeModels,
    /// Serve the Kubernetes API and the pods' mock models in the foreground; `up --kubernetes` runs this.
    #[command(hide = true)]
    ServeCluster,
}

/// One claim that does not hold is enough.
fn verdict(broken: &[Broken]) -> ExitCode {
    match broken {
        [] => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let source = if cli.kubernetes {
        Source::Kubernetes
    } else {
        Source::Files
    };
    let outcome = match cli.task {
        None => told(source).await,
        Some(Task::Up) => detached::up(source).await.map(|()| ExitCode::SUCCESS),
        Some(Task::Down) => detached::down().await.map(|()| ExitCode::SUCCESS),
        Some(Task::ServeModels) => detached::serve_models().await.map(|()| ExitCode::SUCCESS),
        Some(Task::ServeCluster) => detached::serve_cluster().await.map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("headgate-demo: {error}");
        ExitCode::FAILURE
    })
}

async fn told(source: Source) -> Result<ExitCode, Failure> {
    let addresses = detached::addresses(source)?;
    if let Some(running) = detached::running(&addresses) {
        eprintln!("headgate-demo: {running} of `up` still runs there; `make down` ends it");
        return Ok(ExitCode::FAILURE);
    }
    tokio::select! {
        broken = story::tell(source, addresses) => Ok(verdict(&broken?)),
        // Dropping the story takes its processes down.
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headgate_demo::pace;

    use super::*;
    use crate::paper::Paper;

    /// What the program exits with after a story that took so long.
    fn told_in(seconds: u64) -> (Vec<Broken>, ExitCode) {
        let (mut paper, took) = (Paper::new(), Duration::from_secs(seconds));
        paper.judge(pace::CLAIM, pace::in_time(took), |_, _| ());
        let broken = paper.end(took);
        let code = verdict(&broken);
        (broken, code)
    }

    #[test]
    fn a_claim_that_does_not_hold_is_named_and_fails_the_program() {
        let (broken, code) = told_in(119);
        assert!(broken.is_empty());
        assert_eq!(code, ExitCode::SUCCESS);
        let (broken, code) = told_in(120);
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].claim, pace::CLAIM.sentence());
        assert_eq!(code, ExitCode::FAILURE);
    }
}
