//! The targets for a whole cluster, measured at full size; the tests of `tests/cluster` measure a tenth of it.
//!
//! Each row starts its own Kubernetes API. The rows run one after the other, before any thread is bound to a core.

use headgate_tests_cluster::ClusterError;
use headgate_tests_cluster::fleet::Size;
use headgate_tests_cluster::label_latency::{self, TARGET};
use headgate_tests_cluster::late_start;
use serde::Serialize;

use crate::error::BenchError;

/// Number of timed label edits.
const EDITS: usize = 100;

/// A target for a whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterTarget {
    /// The time from `kubectl label` to the ACKs of three Envoys.
    Labels,
    /// No proxy ever gets fewer variants than exist.
    Start,
}

/// The result of one target.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterReport {
    /// Its name for `--only`.
    pub id: String,
    /// Its description.
    pub title: String,
    /// The measured value.
    pub value: String,
    /// The target.
    pub target: String,
    /// Whether the target is met.
    pub holds: bool,
    /// All figures.
    pub figures: String,
}

impl ClusterTarget {
    /// All targets, in table order.
    pub(crate) const ALL: [Self; 2] = [Self::Labels, Self::Start];

    /// Its name for `--only`.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Labels => "cluster-labels",
            Self::Start => "cluster-start",
        }
    }

    /// Its description.
    pub(crate) fn title(self) -> String {
        let Size {
            models,
            versions,
            pods,
        } = self.size();
        let what = match self {
            Self::Labels => "kubectl label to 3 ACKs",
            Self::Start => "start before the API",
        };
        format!("{what}, {models} × {versions} × {pods} pods")
    }

    /// The size of the cluster.
    fn size(self) -> Size {
        let (models, versions) = match self {
            Self::Labels => (200, 3),
            Self::Start => (250, 4),
        };
        Size {
            models,
            versions,
            pods: 20,
        }
    }

    /// Whether the pattern selects it.
    pub(crate) fn is_named(self, pattern: &str) -> bool {
        self.id().contains(pattern) || self.title().contains(pattern)
    }

    async fn measure(self) -> Result<ClusterReport, ClusterError> {
        let report = |value, target, holds, figures| ClusterReport {
            id: self.id().to_owned(),
            title: self.title(),
            value,
            target,
            holds,
            figures,
        };
        match self {
            Self::Labels => {
                let found = label_latency::measure(self.size(), EDITS).await?;
                let p99 = found.within(0.99);
                let value = format!("p99 {} ms", p99.as_millis());
                let target = format!("< {} ms", TARGET.as_millis());
                Ok(report(value, target, p99 < TARGET, found.summary()))
            }
            Self::Start => {
                let found = late_start::measure(self.size()).await?;
                let (least, all) = (found.least(), self.size());
                let value = format!("{} variants, {} pods", least.variants, least.endpoints);
                let target = format!("{}, {}", all.variants(), all.all_pods());
                Ok(report(value, target, found.is_complete(), found.summary()))
            }
        }
    }
}

/// Measures the targets one after the other. Names each on stderr, because it takes minutes.
///
/// # Errors
/// [`BenchError::Cluster`], [`BenchError::Runtime`].
pub(crate) fn measure(targets: &[ClusterTarget]) -> Result<Vec<ClusterReport>, BenchError> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    targets
        .iter()
        .map(|target| {
            eprintln!("{} ...", target.title());
            let measured = runtime.block_on(target.measure());
            measured.map_err(|source| BenchError::Cluster {
                row: target.id(),
                source: Box::new(source),
            })
        })
        .collect()
}
