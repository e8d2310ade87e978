//! The error of a trust domain.

use std::io;
use std::path::{Path, PathBuf};

use headgate_testkit::deadline::TimedOut;
use headgate_testkit::process::ProcessError;

use crate::command::CommandError;

/// A trust domain could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum SpireError {
    /// A program is missing, or a call of it failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The server or the agent failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file cannot be written or linked.
    #[error("{path}: {source}")]
    Files {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// No free port.
    #[error("no free address: {0}")]
    Address(io::Error),
    /// The output of a program is not what its documentation says.
    #[error("{line}: unexpected output {output}")]
    Output {
        /// The command.
        line: &'static str,
        /// What it printed.
        output: String,
    },
    /// A condition did not hold in time.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

pub(super) fn files(path: &Path) -> impl FnOnce(io::Error) -> SpireError {
    let path = path.to_owned();
    move |source| SpireError::Files { path, source }
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), SpireError> {
    std::fs::write(path, text).map_err(files(path))
}
