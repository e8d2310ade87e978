//! The errors of the bench.

use std::io;
use std::path::PathBuf;

use headgate_testkit::envoy::EnvoyError;
use headgate_tests_cluster::ClusterError;

/// The bench could not run, or a run did not measure its row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The module cannot be read.
    #[error("cannot read the module {path}: {source}; run `make wasm`")]
    Module {
        /// Its path.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A cluster could not be measured.
    #[error("row {row}: {source}")]
    Cluster {
        /// Id of the row.
        row: &'static str,
        /// The error.
        source: Box<ClusterError>,
    },
    /// The runtime does not start.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    /// No row has this id.
    #[error("no row matches {0:?}; the rows are:\n{1}")]
    NoRow(String, String),
    /// The control plane does not plan or translate the models of this bench.
    #[error("the control plane rejects the models of this bench: {0}")]
    Fleet(String),
    /// A temporary file cannot be written.
    #[error("cannot write a temporary file: {0}")]
    Files(#[source] io::Error),
    /// The lower-bound module does not compile.
    #[error("the lower-bound module does not compile: {0}")]
    Floor(#[from] wat::Error),
    /// The upstream does not start.
    #[error("the upstream cannot start: {0}")]
    Upstream(#[source] io::Error),
    /// Envoy failed.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// A request did not end as its row requires.
    #[error("row {row}: {source}")]
    Load {
        /// Id of the row.
        row: String,
        /// The error.
        source: io::Error,
    },
    /// A filter did not count the requests sent through it, so the row would not measure the filter.
    #[error("row {row}: sent {sent} requests, but {stat} counted {counted}")]
    NotCounted {
        /// Id of the row.
        row: String,
        /// The filter's counter.
        stat: String,
        /// Requests sent.
        sent: u64,
        /// Requests counted.
        counted: u64,
    },
    /// Envoy has no worker thread.
    #[error("Envoy has no worker thread")]
    NoWorker,
    /// Threads cannot be bound to cores.
    #[error("cannot bind threads to cores: {0}")]
    Pin(#[source] io::Error),
    /// The results cannot be printed.
    #[error("cannot print the results: {0}")]
    Print(#[from] serde_json::Error),
}
