//! What can keep the bench from telling anything.

use std::io;
use std::path::PathBuf;

use headgate_testkit::envoy::EnvoyError;
use headgate_tests_cluster::ClusterError;

/// The bench could not run, or what it ran was not what it is about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// No module to measure.
    #[error("cannot read the module {path}: {source}; run make wasm first")]
    Module {
        /// Where it should be.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A cluster that could not be measured.
    #[error("row {row}: {source}")]
    Cluster {
        /// The row's id.
        row: &'static str,
        /// What happened.
        source: Box<ClusterError>,
    },
    /// No threads to run on.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// No row has such an id.
    #[error("no row matches {0:?}; the rows are:\n{1}")]
    NoRow(String, String),
    /// The control plane does not plan or translate what it is given.
    #[error("the control plane refuses the models of this bench: {0}")]
    Fleet(String),
    /// A temporary file.
    #[error("cannot write a temporary file: {0}")]
    Files(#[source] io::Error),
    /// The module that does nothing but hostcalls.
    #[error("the floor's module: {0}")]
    Floor(#[from] wat::Error),
    /// The upstream.
    #[error("the upstream does not start: {0}")]
    Upstream(#[source] io::Error),
    /// Envoy.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// A request did not end as its row says.
    #[error("row {row}: {source}")]
    Load {
        /// The row's id.
        row: String,
        /// What happened.
        source: io::Error,
    },
    /// A filter did not see what was sent through it: the row would not measure what it says.
    #[error("row {row}: {sent} requests were sent, but {stat} counted {counted}")]
    NotCounted {
        /// The row's id.
        row: String,
        /// The filter's counter.
        stat: String,
        /// Requests sent.
        sent: u64,
        /// Requests counted.
        counted: u64,
    },
    /// Envoy has no worker thread of its own.
    #[error("Envoy shows no worker thread")]
    NoWorker,
    /// The machine does not let threads be placed.
    #[error("cannot bind threads to cores: {0}")]
    Pin(#[source] io::Error),
    /// The results do not print.
    #[error("cannot print the results: {0}")]
    Print(#[from] serde_json::Error),
}
