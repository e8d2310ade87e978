//! The story: drives the claims of the library on one stage and shows what they measured.
//!
//! It is one story, told over files or over a Kubernetes API: the chapters that both have are in [`chapters`], those
//! that only an API has are in [`cluster`].

mod chapters;
mod cluster;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headgate_demo::{Broken, pace};
use headgate_testkit::stage::{Addresses, Source, Stage, StageError, StageOptions};

use crate::paper::Paper;

/// Tells it; returns the claims that do not hold.
///
/// # Errors
/// When the world cannot be set up at all.
pub(crate) async fn tell(source: Source, addresses: Addresses) -> Result<Vec<Broken>, StageError> {
    let (mut paper, began) = (Paper::new(), Instant::now());
    let options = match source {
        Source::Files => StageOptions::default(),
        Source::Kubernetes => StageOptions::on_kubernetes(),
    };
    let options = StageOptions {
        addresses: Some(addresses),
        ..options
    };
    let mut stage = Stage::start(options).await?;
    opening(&paper, &stage, began.elapsed());

    if source == Source::Kubernetes {
        cluster::applied(&mut paper, &stage).await;
    }
    chapters::tag(&mut paper, &stage).await;
    chapters::split(&mut paper, &stage).await;
    chapters::edit(&mut paper, &stage).await;
    if source == Source::Kubernetes {
        cluster::refused(&mut paper, &stage).await;
    }
    chapters::new_version(&mut paper, &mut stage).await;
    chapters::pins(&mut paper, &stage).await;
    chapters::out_of_budget(&mut paper, &stage).await;
    chapters::streams(&mut paper, &stage).await;
    if source == Source::Kubernetes {
        cluster::rollout(&mut paper, &stage).await;
        cluster::scale(&mut paper, &stage).await;
        cluster::away(&mut paper, &mut stage).await;
    }
    chapters::killed(&mut paper, &mut stage).await;
    let took = began.elapsed();
    if source == Source::Files {
        paper.line("");
        paper.judge(pace::CLAIM, pace::in_time(took), |_, _| ());
    }
    Ok(paper.end(took))
}

fn opening(paper: &Paper, stage: &Stage, took: Duration) {
    let addresses = stage.addresses();
    let pid = |pid: Option<u32>| pid.map_or_else(String::new, |pid| format!("(pid {pid})"));
    paper.line("Headgate: every figure below is measured in this run.\n");
    match stage.cluster() {
        None => {
            let models: Vec<String> = addresses.models.iter().map(ToString::to_string).collect();
            paper.seen("mock models", models.join(", "));
        }
        Some(cluster) => {
            let [etcd, api, controllers] = cluster.kube().pids();
            paper.seen(
                "Kubernetes API",
                format!(
                    "{} (etcd {etcd}, kube-apiserver {api}, kube-controller-manager {controllers})",
                    cluster.kube().url()
                ),
            );
            paper.seen(
                "kubelet",
                "played here: a pod's address is a loopback address, and a mock model listens on it",
            );
            paper.seen(
                "ServiceAccount",
                "headgate-system/headgate: the control plane has the rights that are shipped, and no others",
            );
        }
    }
    let control_plane = stage.control_plane();
    paper.seen(
        "control plane",
        format!(
            "xDS {}, admin {} {}",
            addresses.xds,
            addresses.admin,
            pid(control_plane.pid())
        ),
    );
    for envoy in stage.envoys() {
        let ids = pid(Some(envoy.envoy.pid()));
        paper.seen(
            "Envoy",
            format!("{}, everything over delta ADS {ids}", envoy.url()),
        );
    }
    paper.seen("started in", ms(took));
}

/// Other sessions in each run: which of them the canary gets is decided by their keys.
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
