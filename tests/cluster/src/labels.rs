//! From `kubectl label` to the last Envoy's ACK, at a size, while pods come and go.

use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, KubeOptions};

use crate::ClusterError;
use crate::edge::Edge;
use crate::fleet::{Churn, Size, deploy, model, runs_nothing, workload};
use crate::plane::{Memory, Plane};

/// What the design promises: an edited label is at three Envoys within this time, 99 times of 100.
pub const PROMISED: Duration = Duration::from_secs(1);
/// The Envoys.
pub const ENVOYS: usize = 3;
/// Pods that end each second, and come again.
pub const CHURN: u32 = 10;
/// Of these, as many are to have ended in fact: a promise that was measured among fewer was not measured.
pub const CHURNED: f64 = 0.9 * CHURN as f64;
/// The version whose label is edited.
const EDITED: usize = 2;
/// How long an edit may take before it counts as lost.
const LOST: Duration = Duration::from_secs(30);

/// What was found.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The size.
    pub size: Size,
    /// From kubectl's exit to the last ACK, shortest first.
    pub took: Vec<Duration>,
    /// Pods that ended each second meanwhile.
    pub churned: f64,
    /// How long all pods took to run.
    pub running_after: Duration,
    /// How long the control plane took to be ready, all pods running.
    pub ready_after: Duration,
    /// The control plane's memory at the end.
    pub memory: Memory,
}

impl Labelled {
    /// The time within which the fraction `q` (0–1) of the edits were acked.
    #[must_use]
    pub fn within(&self, q: f64) -> Duration {
        let rank = (q * self.took.len() as f64).ceil() as usize;
        let at = rank.clamp(1, self.took.len().max(1)) - 1;
        self.took.get(at).copied().unwrap_or(Duration::MAX)
    }

    /// The figures, as one line.
    #[must_use]
    pub fn told(&self) -> String {
        format!(
            "kubectl label to the last of {ENVOYS} ACKs, {} edits, {} variants of {} pods, {:.1} of them ended each second: \
             median {:?}, p99 {:?}, longest {:?}; pods ran after {:.0?}, headgate was ready after {:.1?} and holds {} MiB",
            self.took.len(),
            self.size.variants(),
            self.size.all_pods(),
            self.churned,
            self.within(0.5),
            self.within(0.99),
            self.within(1.0),
            self.running_after,
            self.ready_after,
            self.memory.now,
        )
    }
}

/// Starts a cluster of this size, and edits labels one after the other.
///
/// # Errors
/// [`ClusterError`]: what does not start, an edit that is lost, pods that do not churn as they should.
pub async fn measure(size: Size, edits: usize) -> Result<Labelled, ClusterError> {
    let kube = Kube::start(KubeOptions::default()).await?;
    let kubelet = runs_nothing(&kube);
    let running_after = deploy(&kube, size).await?;
    let began = Instant::now();
    let linger = ["--linger", "2"].map(str::to_owned);
    let mut plane = Plane::start(kube.kubeconfig(), &linger)?;
    plane.ready(size.patience()).await?;
    let ready_after = began.elapsed();
    let mut edges = Vec::new();
    for number in 0..ENVOYS {
        edges.push(Edge::start(&format!("edge-{number}"), plane.xds(), 1).await?);
    }
    let churn = Churn::start(kubelet.node().clone(), kube.client(), CHURN);
    let mut took = Vec::with_capacity(edits);
    for edit in 0..edits {
        took.push(one(&kube, &plane, size, edit).await?);
    }
    took.sort();
    let labelled = Labelled {
        size,
        took,
        churned: churn.rate(),
        running_after,
        ready_after,
        memory: plane.memory()?,
    };
    if labelled.churned < CHURNED {
        let why = format!(
            "{:.1} pods ended each second, which are to be {CHURNED} at least: {}",
            labelled.churned,
            labelled.told()
        );
        return Err(ClusterError::NotMeasured(why));
    }
    Ok(labelled)
}

/// One edit: from kubectl's exit until all Envoys acked it.
async fn one(
    kube: &Kube,
    plane: &Plane,
    size: Size,
    edit: usize,
) -> Result<Duration, ClusterError> {
    // Seven at a time, so that few edits meet all parts of the world.
    let (model, percent) = (model(7 * edit % size.models), 10 + edit / size.models);
    let label = format!("canary-weight={percent}");
    let deployment = format!("deploy/{}", workload(&model, EDITED));
    let words = ["label", &deployment, &label, "--overwrite"];
    kube.kubectl().run(words).await?;
    let edited = Instant::now();
    let what = format!("{label} of {model} at all Envoys");
    let version = format!("v{EDITED}");
    let seen = eventually(LOST, &what, async || {
        let status = plane
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
