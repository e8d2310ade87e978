//! Latency from `kubectl label` to the last Envoy's ACK, for a fleet whose pods are replaced continuously.

use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, KubeOptions};

use crate::ClusterError;
use crate::control_plane::{ControlPlane, Memory};
use crate::envoy::ClusterEnvoy;
use crate::fleet::{Churn, Size, deploy, model, run_empty_pods, workload};

/// The target: 99 % of label edits reach three Envoys within this time.
pub const TARGET: Duration = Duration::from_secs(1);
/// Number of Envoys.
pub const ENVOYS: usize = 3;
/// Pods deleted and recreated per second.
pub const CHURN: u32 = 10;
/// The minimum rate; with fewer pods per second the measurement is invalid.
pub const MIN_CHURN: f64 = 0.9 * CHURN as f64;
/// The version with the edited label.
const EDITED: usize = 2;
/// Deadline of an edit.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The result.
#[derive(Debug, Clone)]
pub struct LabelLatency {
    /// The size.
    pub size: Size,
    /// Latencies from kubectl's exit to the last ACK, shortest first.
    pub took: Vec<Duration>,
    /// Pods deleted per second meanwhile.
    pub churned: f64,
    /// Time until all pods ran.
    pub running_after: Duration,
    /// Time until the control plane was ready, with all pods running.
    pub ready_after: Duration,
    /// The control plane's memory at the end.
    pub memory: Memory,
}

impl LabelLatency {
    /// The quantile `q` (0–1) of the latencies.
    #[must_use]
    pub fn within(&self, q: f64) -> Duration {
        let rank = (q * self.took.len() as f64).ceil() as usize;
        let at = rank.clamp(1, self.took.len().max(1)) - 1;
        self.took.get(at).copied().unwrap_or(Duration::MAX)
    }

    /// The figures as one line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "kubectl label to the last of {ENVOYS} ACKs: median {:?}, p99 {:?}, longest {:?} ({} edits, {} variants with {} pods, \
             {:.1} pods replaced per second); pods ran after {:.0?}, headgate was ready after {:.1?} and uses {} MiB",
            self.within(0.5),
            self.within(0.99),
            self.within(1.0),
            self.took.len(),
            self.size.variants(),
            self.size.all_pods(),
            self.churned,
            self.running_after,
            self.ready_after,
            self.memory.now,
        )
    }
}

/// Starts a cluster of this size and edits labels one after the other.
///
/// # Errors
/// [`ClusterError`]: a program that does not start, a lost edit, or too few replaced pods.
pub async fn measure(size: Size, edits: usize) -> Result<LabelLatency, ClusterError> {
    let kube = Kube::start(KubeOptions::default()).await?;
    let kubelet = run_empty_pods(&kube);
    let running_after = deploy(&kube, size).await?;
    let began = Instant::now();
    let linger = ["--linger", "2"].map(str::to_owned);
    let mut control_plane = ControlPlane::start(kube.kubeconfig(), &linger)?;
    control_plane.ready(size.timeout()).await?;
    let ready_after = began.elapsed();
    let mut envoys = Vec::new();
    for number in 0..ENVOYS {
        envoys.push(ClusterEnvoy::start(&format!("envoy-{number}"), control_plane.xds(), 1).await?);
    }
    let churn = Churn::start(kubelet.node().clone(), kube.client(), CHURN);
    let mut took = Vec::with_capacity(edits);
    for edit in 0..edits {
        took.push(edit_label(&kube, &control_plane, size, edit).await?);
    }
    took.sort();
    let result = LabelLatency {
        size,
        took,
        churned: churn.rate(),
        running_after,
        ready_after,
        memory: control_plane.memory()?,
    };
    if result.churned < MIN_CHURN {
        let why = format!(
            "only {:.1} of at least {MIN_CHURN} pods were replaced per second: {}",
            result.churned,
            result.summary()
        );
        return Err(ClusterError::NotMeasured(why));
    }
    Ok(result)
}

/// One edit: the time from kubectl's exit to the last Envoy's ACK.
async fn edit_label(
    kube: &Kube,
    control_plane: &ControlPlane,
    size: Size,
    edit: usize,
) -> Result<Duration, ClusterError> {
    // In steps of seven, so that few edits cover the whole fleet.
    let (model, percent) = (model(7 * edit % size.models), 10 + edit / size.models);
    let label = format!("canary-weight={percent}");
    let deployment = format!("deploy/{}", workload(&model, EDITED));
    let words = ["label", &deployment, &label, "--overwrite"];
    kube.kubectl().run(words).await?;
    let edited = Instant::now();
    let what = format!("{label} of {model} at all Envoys");
    let version = format!("v{EDITED}");
    let seen = eventually(TIMEOUT, &what, async || {
        let status = control_plane
            .status_of(&model)
            .await
            .map_err(|error| error.to_string())?;
        if status.proxies.len() == ENVOYS && status.all_acked(&model, &version, percent as f64) {
            return Ok(edited.elapsed());
        }
        Err(format!("{:?}", status.version(&model, &version)))
    });
    Ok(seen.await?)
}
