//! The sections of the demo: each checks claims of the library on one testbed and prints the figures.
//!
//! The demo runs on files or on a Kubernetes API: [`common`] has the sections for both, [`kubernetes`] those that need an API.

mod common;
mod kubernetes;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headgate_demo::{BrokenClaim, Printer, duration};
use headgate_testkit::testbed::{Addresses, Source, Testbed, TestbedError, TestbedOptions};

/// Runs all sections. Returns the claims that do not hold.
///
/// # Errors
/// When the testbed cannot be set up.
pub(crate) async fn run(
    source: Source,
    addresses: Addresses,
) -> Result<Vec<BrokenClaim>, TestbedError> {
    let (mut printer, began) = (Printer::new(), Instant::now());
    let options = match source {
        Source::Files => TestbedOptions::default(),
        Source::Kubernetes => TestbedOptions::on_kubernetes(),
    };
    let options = TestbedOptions {
        addresses: Some(addresses),
        ..options
    };
    let mut testbed = Testbed::start(options).await?;
    opening(&printer, &testbed, began.elapsed());

    if source == Source::Kubernetes {
        kubernetes::applied(&mut printer, &testbed).await;
    }
    common::tag(&mut printer, &testbed).await;
    common::split(&mut printer, &testbed).await;
    common::edit(&mut printer, &testbed).await;
    if source == Source::Kubernetes {
        kubernetes::refused(&mut printer, &testbed).await;
    }
    common::new_version(&mut printer, &mut testbed).await;
    common::pins(&mut printer, &testbed).await;
    common::out_of_budget(&mut printer, &testbed).await;
    common::streams(&mut printer, &testbed).await;
    if source == Source::Kubernetes {
        kubernetes::rollout(&mut printer, &testbed).await;
        kubernetes::scale(&mut printer, &testbed).await;
        kubernetes::away(&mut printer, &mut testbed).await;
    }
    common::killed(&mut printer, &mut testbed).await;
    let took = began.elapsed();
    if source == Source::Files {
        printer.line("");
        printer.judge(duration::CLAIM, duration::in_time(took), |_, _| ());
    }
    Ok(printer.finish(took))
}

fn opening(printer: &Printer, testbed: &Testbed, took: Duration) {
    let addresses = testbed.addresses();
    let pid = |pid: Option<u32>| pid.map_or_else(String::new, |pid| format!("(pid {pid})"));
    printer.line("Headgate demo. Every figure below is measured in this run.\n");
    match testbed.cluster() {
        None => {
            let models: Vec<String> = addresses.models.iter().map(ToString::to_string).collect();
            printer.row("mock models", models.join(", "));
        }
        Some(cluster) => {
            let [etcd, api, controllers] = cluster.kube().pids();
            printer.row(
                "Kubernetes API",
                format!(
                    "{} (etcd {etcd}, kube-apiserver {api}, kube-controller-manager {controllers})",
                    cluster.kube().url()
                ),
            );
            printer.row(
                "kubelet",
                "simulated: pods have loopback addresses, with a mock model on each",
            );
            printer.row(
                "ServiceAccount",
                "headgate-system/headgate: the control plane has the shipped permissions only",
            );
        }
    }
    let control_plane = testbed.control_plane();
    printer.row(
        "control plane",
        format!(
            "xDS {}, admin {} {}",
            addresses.xds,
            addresses.admin,
            pid(control_plane.pid())
        ),
    );
    for envoy in testbed.envoys() {
        let ids = pid(Some(envoy.envoy.pid()));
        printer.row(
            "Envoy",
            format!("{}, everything over delta ADS {ids}", envoy.url()),
        );
    }
    printer.row("started in", ms(took));
}

/// New session names in each run: a session's key decides whether it goes to the canary.
fn fresh(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    format!("{name}-{}", now.map_or(0, |now| now.as_millis()))
}

fn ms(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..10_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
