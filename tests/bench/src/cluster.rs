//! What the control plane promises of a whole cluster, at full size: the tests of `tests/cluster` hold a tenth of it.
//!
//! Both rows start a Kubernetes API of their own and run one after the other, before any thread is bound to a core.

use headgate_tests_cluster::ClusterError;
use headgate_tests_cluster::fleet::Size;
use headgate_tests_cluster::labels::{self, PROMISED};
use headgate_tests_cluster::start;
use serde::Serialize;

use crate::error::BenchError;

/// Edits of labels that are timed.
const EDITS: usize = 100;

/// A promise about a whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// From `kubectl label` to three Envoys' ACKs.
    Labels,
    /// No proxy ever gets fewer variants than exist.
    Start,
}

/// What was found of one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PromiseReport {
    /// Its name for `--only`.
    pub id: String,
    /// What it is.
    pub title: String,
    /// What was measured.
    pub value: String,
    /// What is promised.
    pub mark: String,
    /// Whether it is kept.
    pub holds: bool,
    /// All figures.
    pub figures: String,
}

impl Promise {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 2] = [Self::Labels, Self::Start];

    /// Its name for `--only`.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Labels => "cluster-labels",
            Self::Start => "cluster-start",
        }
    }

    /// What it is about.
    pub(crate) fn title(self) -> String {
        let Size {
            models,
            versions,
            pods,
        } = self.size();
        let what = match self {
            Self::Labels => "kubectl label to 3 ACKs",
            Self::Start => "the API comes late",
        };
        format!("{what}, {models} × {versions} × {pods} pods")
    }

    /// Models, versions of each, pods of each.
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

    /// Whether a pattern names it.
    pub(crate) fn is_named(self, pattern: &str) -> bool {
        self.id().contains(pattern) || self.title().contains(pattern)
    }

    async fn measure(self) -> Result<PromiseReport, ClusterError> {
        let report = |value, mark, holds, figures| PromiseReport {
            id: self.id().to_owned(),
            title: self.title(),
            value,
            mark,
            holds,
            figures,
        };
        match self {
            Self::Labels => {
                let found = labels::measure(self.size(), EDITS).await?;
                let p99 = found.within(0.99);
                let value = format!("p99 {} ms", p99.as_millis());
                let mark = format!("< {} ms", PROMISED.as_millis());
                Ok(report(value, mark, p99 < PROMISED, found.told()))
            }
            Self::Start => {
                let found = start::measure(self.size()).await?;
                let (least, all) = (found.least(), self.size());
                let value = format!("{} variants, {} pods", least.variants, least.endpoints);
                let mark = format!("{}, {}", all.variants(), all.all_pods());
                Ok(report(value, mark, found.whole(), found.told()))
            }
        }
    }
}

/// Measures those, one after the other, and says so on stderr: each takes minutes.
///
/// # Errors
/// [`BenchError::Cluster`], [`BenchError::Runtime`].
pub(crate) fn measure(promises: &[Promise]) -> Result<Vec<PromiseReport>, BenchError> {
    if promises.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    promises
        .iter()
        .map(|promise| {
            eprintln!("{} ...", promise.title());
            let measured = runtime.block_on(promise.measure());
            measured.map_err(|source| BenchError::Cluster {
                row: promise.id(),
                source: Box::new(source),
            })
        })
        .collect()
}
