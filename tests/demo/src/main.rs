//! `headgate-demo`: checks every claim of Headgate on a real Envoy and prints the measured figures.
//!
//! Place in the flow: a thin shell. The library has the claims and the measurements; this program prints them ([`sections`]) and
//! can leave the same environment running ([`detached`]).

mod detached;
mod sections;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headgate_demo::BrokenClaim;
use headgate_testkit::testbed::Source;

use self::detached::DemoError;

const ADDRESSES: &str = "\
Addresses:
  HEADGATE_XDS_ADDRESS          control plane, xDS port      [127.0.0.1:18000]
  HEADGATE_ADMIN_ADDRESS        control plane, admin port    [127.0.0.1:18001]
  HEADGATE_ENVOY_ADDRESS        Envoy's traffic              [127.0.0.1:10000]
  HEADGATE_ENVOY_ADMIN_ADDRESS  Envoy's admin interface      [127.0.0.1:9901]
  HEADGATE_MODEL_ADDRESSES      the four mock models         [127.0.0.1:8101,…,127.0.0.1:8104]
  HEADGATE_KUBE_ADDRESS         the Kubernetes API           [127.0.0.1:16443]

Programs:
  HEADGATE_BIN   the control plane's binary     [`headgate` next to this program]
  HEADGATE_WASM  the directory of headgate.wasm [dist]
  ENVOY          the Envoy binary               [`envoy` on PATH]
  KUBEBUILDER_ASSETS  the directory of etcd, kube-apiserver, kube-controller-manager and kubectl (for --kubernetes)";

/// Runs Headgate on one machine: mock models, the control plane and a real Envoy, configured over delta ADS.
///
/// Without a command: checks every claim, prints the figures measured in this run, and exits with 1 if a claim does not hold.
#[derive(Parser)]
#[command(name = "headgate-demo", version, after_help = ADDRESSES)]
struct Cli {
    /// Use a real Kubernetes API instead of files; the models are Deployments and run in pods.
    #[arg(long, global = true)]
    kubernetes: bool,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Start the environment in the background and print commands to try.
    Up,
    /// End the processes that `up` started.
    Down,
    /// Serve the mock models in the foreground; `up` runs this.
    #[command(hide = true)]
    ServeModels,
    /// Serve the Kubernetes API and the pods' mock models in the foreground; `up --kubernetes` runs this.
    #[command(hide = true)]
    ServeCluster,
}

/// One claim that does not hold fails the program.
fn verdict(broken: &[BrokenClaim]) -> ExitCode {
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
        None => run(source).await,
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

async fn run(source: Source) -> Result<ExitCode, DemoError> {
    let addresses = detached::addresses(source)?;
    if let Some(running) = detached::running(&addresses) {
        eprintln!(
            "headgate-demo: {running} of an earlier `up` still runs; end it with `make down`"
        );
        return Ok(ExitCode::FAILURE);
    }
    tokio::select! {
        broken = sections::run(source, addresses) => Ok(verdict(&broken?)),
        // Dropping the future ends its processes.
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headgate_demo::{Printer, duration};

    use super::*;

    /// The exit code of the program after a demo of this duration.
    fn run_in(seconds: u64) -> (Vec<BrokenClaim>, ExitCode) {
        let (mut printer, took) = (Printer::new(), Duration::from_secs(seconds));
        printer.judge(duration::CLAIM, duration::in_time(took), |_, _| ());
        let broken = printer.finish(took);
        let code = verdict(&broken);
        (broken, code)
    }

    #[test]
    fn a_claim_that_does_not_hold_is_named_and_fails_the_program() {
        let (broken, code) = run_in(119);
        assert!(broken.is_empty());
        assert_eq!(code, ExitCode::SUCCESS);
        let (broken, code) = run_in(120);
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].claim, duration::CLAIM.sentence());
        assert_eq!(code, ExitCode::FAILURE);
    }
}
