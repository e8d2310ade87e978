//! Options and errors of the file source.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use headgate_model::LabelKeys;

/// Options of the file source.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directories, such as models and policies. Each may contain objects of any kind.
    pub directories: Vec<PathBuf>,
    /// Whether subdirectories are read, too.
    pub recursive: bool,
    /// The state directory, which need not exist.
    pub state: Option<PathBuf>,
    /// Namespace of objects without a namespace.
    pub default_namespace: String,
    /// Keys of the three labels.
    pub keys: LabelKeys,
    /// Period of scans, which find changes without notifications.
    pub poll: Duration,
    /// Time without writes after which a file that is not closed counts as complete, and time after which a missing file counts as
    /// removed.
    pub quiet: Duration,
}

impl Options {
    /// These directories with the defaults: namespace `default`, default labels, a scan every 2 s, 500 ms without writes.
    pub fn new(directories: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        let mut list: Vec<PathBuf> = Vec::new();
        for directory in directories.into_iter().map(Into::into) {
            if !list.contains(&directory) {
                list.push(directory);
            }
        }
        Self {
            directories: list,
            recursive: false,
            state: None,
            default_namespace: "default".into(),
            keys: LabelKeys::default(),
            poll: Duration::from_secs(2),
            quiet: Duration::from_millis(500),
        }
    }
}

/// The source cannot start.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A directory cannot be read.
    #[error("{directory}: cannot be read: {source}. It must be a directory that this process may read", directory = .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The thread could not be started.
    #[error("the file reader thread cannot be started: {0}")]
    Thread(io::Error),
}
