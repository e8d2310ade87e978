//! A child process of a test, with its log in a file and a certain end.
//!
//! Invariant: a process started here does not outlive the test. It is killed by PID when its [`Process`] is dropped, and by the
//! kernel (`PR_SET_PDEATHSIG`) when the test process dies without dropping anything.

mod log;
mod spawn;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use self::log::Log;
pub use self::spawn::find_program;

use crate::client::{HttpClient, HttpRequest};
use crate::deadline::eventually;

/// Lines of the log to show in an error.
const TAIL: usize = 40;

/// Options of a process.
#[derive(Debug, Clone, Default)]
pub struct ProcessOptions {
    /// Its name in messages and of its log file.
    pub name: String,
    /// A path, or a name to look up on `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the inherited environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Its working directory; by default the test's own.
    pub dir: Option<PathBuf>,
    /// The file for stdout and stderr (appended); by default a temporary file.
    pub log: Option<PathBuf>,
}

impl ProcessOptions {
    /// A program without arguments, named after its file.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let name = program.file_name().unwrap_or(program.as_os_str());
        Self {
            name: name.to_string_lossy().into_owned(),
            program,
            ..Self::default()
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }
}

/// A process could not be started, observed or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No executable was found.
    #[error("{program} is neither an executable file nor on PATH")]
    NotFound {
        /// The program as given.
        program: String,
    },
    /// An operation of the operating system failed.
    #[error("{name}: cannot {action}: {source}")]
    Os {
        /// Name of the process.
        name: String,
        /// The attempted operation.
        action: &'static str,
        /// The error.
        source: io::Error,
    },
    /// The process exited during a wait.
    #[error("{name} exited ({status}) while waiting for {awaited}; its log ends:\n{tail}")]
    Ended {
        /// Name of the process.
        name: String,
        /// Its exit status.
        status: ExitStatus,
        /// The awaited condition.
        awaited: String,
        /// The end of its log.
        tail: String,
    },
    /// The condition did not hold in time; the process still runs.
    #[error(
        "{name}: timed out after {within:?} waiting for {awaited} ({last}); its log ends:\n{tail}"
    )]
    NotInTime {
        /// Name of the process.
        name: String,
        /// The awaited condition.
        awaited: String,
        /// The deadline.
        within: Duration,
        /// The last reason.
        last: String,
        /// The end of its log.
        tail: String,
    },
}

/// A running child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Log,
    /// Holds the log when no path was given.
    _dir: Option<TempDir>,
}

impl Process {
    /// Starts it, without waiting for it to be ready.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`], or [`ProcessError::Os`] when the log or the process cannot be created.
    pub fn start(options: ProcessOptions) -> Result<Self, ProcessError> {
        let name = options.name;
        let os = |action| {
            let name = name.clone();
            move |source| ProcessError::Os {
                name,
                action,
                source,
            }
        };
        let program = find_program(&options.program)?;
        let (path, dir) = match options.log {
            Some(path) => (path, None),
            None => {
                let dir = tempfile::tempdir().map_err(os("create a directory for the log"))?;
                (dir.path().join(format!("{name}.log")), Some(dir))
            }
        };
        let out = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(os("open the log"))?;
        let err = out.try_clone().map_err(os("open the log"))?;
        let mut command: Command = spawn::killed_with_parent(&program);
        command
            .args(&options.args)
            .envs(&options.env)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        if let Some(dir) = options.dir {
            command.current_dir(dir);
        }
        let child = spawn::spawn(command).map_err(os("start"))?;
        Ok(Self {
            name,
            child,
            log: Log::new(path),
            _dir: dir,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log: stdout and stderr in one file.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its exit status, if it has exited.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child
            .try_wait()
            .map_err(|source| self.os("wait", source))
    }

    /// Calls `probe` until it returns `Ok`; gives up when the process exits or at the deadline.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] or [`ProcessError::NotInTime`], both with the end of the log.
    pub async fn wait_until<T>(
        &mut self,
        within: Duration,
        awaited: &str,
        mut probe: impl AsyncFnMut(&Log) -> Result<T, String>,
    ) -> Result<T, ProcessError> {
        let (child, log) = (&mut self.child, &self.log);
        let outcome = eventually(within, awaited, async || match probe(log).await {
            Ok(found) => Ok(Ok(found)),
            Err(why) => match child.try_wait() {
                Ok(Some(status)) => Ok(Err(status)),
                Ok(None) => Err(why),
                Err(error) => Err(error.to_string()),
            },
        })
        .await;
        let (name, awaited) = (self.name.clone(), awaited.to_owned());
        match outcome {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(status)) => Err(ProcessError::Ended {
                name,
                status,
                awaited,
                tail: self.log.tail(TAIL),
            }),
            Err(timed_out) => Err(ProcessError::NotInTime {
                name,
                awaited,
                within,
                last: timed_out.last,
                tail: self.log.tail(TAIL),
            }),
        }
    }

    /// Waits for a line of the log that contains `needle`, and returns it.
    ///
    /// # Errors
    /// As [`Self::await_that`].
    pub async fn wait_for_line(
        &mut self,
        needle: &str,
        within: Duration,
    ) -> Result<String, ProcessError> {
        let awaited = format!("a line with {needle:?}");
        self.wait_until(within, &awaited, async |log| {
            log.line_with(needle).ok_or_else(|| "no such line".into())
        })
        .await
    }

    /// Waits until `GET url` responds with a 2xx.
    ///
    /// # Errors
    /// As [`Self::await_that`].
    pub async fn wait_for_http(&mut self, url: &str, within: Duration) -> Result<(), ProcessError> {
        let client = HttpClient::new();
        let awaited = format!("GET {url} to succeed");
        self.wait_until(within, &awaited, async |_| {
            match client.send(HttpRequest::get(url)).await {
                Ok(reply) if reply.is_success() => Ok(()),
                Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map_err(|source| self.os("kill", source))
    }

    /// Sends SIGTERM and waits for the exit.
    ///
    /// # Errors
    /// [`ProcessError::NotInTime`] when it does not exit; it still runs then.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        match self
            .wait_until(within, "its exit on SIGTERM", async |_| {
                Err::<(), _>("it still runs".to_owned())
            })
            .await
        {
            Err(ProcessError::Ended { status, .. }) => Ok(status),
            Err(error) => Err(error),
            Ok(()) => self.kill(),
        }
    }

    /// Sends SIGTERM, without waiting for the exit.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn request_exit(&self) -> Result<(), ProcessError> {
        self.signal(Signal::TERM)
    }

    /// Suspends it (SIGSTOP), as a peer that no longer reads.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn suspend(&self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)
    }

    /// Resumes a suspended process (SIGCONT).
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn resume(&self) -> Result<(), ProcessError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        // A process id that is not reaped yet cannot belong to another process.
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|errno| self.os("signal", errno.into()))
    }

    fn os(&self, action: &'static str, source: io::Error) -> ProcessError {
        ProcessError::Os {
            name: self.name.clone(),
            action,
            source,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failure means that the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
