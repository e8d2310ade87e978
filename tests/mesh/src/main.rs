//! `headgate-demo-mesh`: checks every claim about Headgate in a genuine Istio mesh and prints the measured figures.

use std::process::ExitCode;

use clap::Parser;

const PROGRAMS: &str = "\
Programs:
  HEADGATE_BIN        the control plane's binary     [`headgate` next to this program]
  HEADGATE_WASM       the directory of headgate.wasm [dist]
  ENVOY               the Envoy binary               [`envoy` on PATH]
  KUBEBUILDER_ASSETS  the directory of etcd, kube-apiserver, kube-controller-manager and kubectl
  HEADGATE_ISTIO_PROGRAMS  the directory of pilot-discovery, pilot-agent and istioctl
  REGISTRY            an OCI registry";

/// Runs Headgate in an Istio mesh on one machine: kube-apiserver, istiod, sidecars and a gateway, all on loopback.
///
/// Checks every claim, prints the figures measured in this run, and exits with 1 if a claim does not hold. Everything it starts ends
/// with it.
#[derive(Parser)]
#[command(name = "headgate-demo-mesh", version, after_help = PROGRAMS)]
struct Cli {}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli {} = Cli::parse();
    tokio::select! {
        broken = headgate_tests_mesh::sequence::run() => match broken {
            Ok(broken) if broken.is_empty() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("headgate-demo-mesh: {error}");
                ExitCode::FAILURE
            }
        },
        // Dropping the future ends its processes.
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
    }
}
