//! Programs that run once and end: their output, or an error with what they printed.
//!
//! Invariant: a call ends within its deadline; its process is killed then.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Longest run time of a call.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The programs are not installed.
    #[error(
        "{variable} names no directory with {program}; run `tools/setup {task}`, then run this command with `tools/with`"
    )]
    Missing {
        /// The program.
        program: &'static str,
        /// The variable that names its directory.
        variable: &'static str,
        /// The task of `tools/setup` that installs it.
        task: &'static str,
    },
    /// The program cannot be run, or does not end in time.
    #[error("{line}: {source}")]
    Run {
        /// The command line.
        line: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The program failed.
    #[error("{line}: exit {code:?}\n{output}")]
    Refused {
        /// The command line.
        line: String,
        /// Its exit code; `None` when a signal ended it.
        code: Option<i32>,
        /// Its standard output and standard error.
        output: String,
    },
}

/// The path of a program that `tools/setup` installed in the directory that a variable names.
pub(crate) fn installed(
    variable: &'static str,
    task: &'static str,
    program: &'static str,
) -> Result<PathBuf, CommandError> {
    let dir = std::env::var_os(variable).map(PathBuf::from);
    dir.map(|dir| dir.join(program))
        .filter(|path| path.is_file())
        .ok_or(CommandError::Missing {
            program,
            variable,
            task,
        })
}

/// Runs a program and returns its standard output.
///
/// # Errors
/// [`CommandError::Run`], [`CommandError::Refused`].
pub async fn run(
    program: &Path,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<String, CommandError> {
    let mut command = Command::new(program);
    command.args(args);
    output(command).await
}

/// Runs a command and returns its standard output.
///
/// # Errors
/// As [`run`].
pub async fn output(mut command: Command) -> Result<String, CommandError> {
    let line = format!("{:?}", command.as_std());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output())
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| CommandError::Run {
            line: line.clone(),
            source,
        })?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    Err(CommandError::Refused {
        line,
        code: output.status.code(),
        output: out + &String::from_utf8_lossy(&output.stderr),
    })
}
