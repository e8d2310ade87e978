//! What runs detached, as its files remember it.
//!
//! Invariant: a part is known by a file with its PID and its start time, so that it is ended and never another process that
//! was given the same number later.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use headgate_testkit::client::{HttpClient, HttpRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::process::{Log, ProcessOptions};
use headgate_testkit::stage::{Addresses, StageError};
use rustix::process::{Pid, Signal, kill_process};

use super::{Failure, files};

/// Parts of either world, in the order in which they are started; ended in the reverse order.
const EVERY: [&str; 4] = ["models", "cluster", "headgate", "envoy"];
const READY: Duration = Duration::from_secs(180);
const END: Duration = Duration::from_secs(5);

/// Where the detached world keeps its files.
pub(super) struct State {
    /// All of it is below.
    pub(super) dir: PathBuf,
}

/// A process as its file remembers it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    pid: i32,
    /// In clock ticks since boot: tells two processes of one number apart.
    started: u64,
}

impl State {
    /// One directory per control plane address, so that two worlds stand side by side.
    pub(super) fn of(addresses: &Addresses) -> Self {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
        let base = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
            .or_else(home)
            .unwrap_or_else(std::env::temp_dir);
        let name = addresses.xds.to_string().replace(':', "_");
        Self {
            dir: base.join("headgate-demo").join(name),
        }
    }

    /// Where the administrator's kubeconfig is, in a world with a Kubernetes API.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Where the control plane's own kubeconfig is, in a world with a Kubernetes API.
    pub(super) fn own_kubeconfig(&self) -> PathBuf {
        self.dir.join("headgate.kubeconfig")
    }

    /// Where the programs are that a person needs.
    pub(super) fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    pub(super) fn log(&self, part: &str) -> PathBuf {
        self.dir.join(format!("{part}.log"))
    }

    fn pid_file(&self, part: &str) -> PathBuf {
        self.dir.join(format!("{part}.pid"))
    }

    /// Starts a part that outlives us: a process group of its own, so that no Ctrl-C meant for us reaches it.
    pub(super) fn spawn(&self, part: &str, options: ProcessOptions) -> Result<(), Failure> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(part));
        let log = log.map_err(files(self.log(part).display()))?;
        let error_log = log.try_clone().map_err(files(self.log(part).display()))?;
        let child = Command::new(&options.program)
            .args(&options.args)
            .envs(&options.env)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error_log)
            .spawn()
            .map_err(files(options.program.display()))?;
        let pid = child.id().cast_signed();
        let started = started(pid).unwrap_or_default();
        std::fs::write(self.pid_file(part), format!("{pid} {started}\n"))
            .map_err(files(self.pid_file(part).display()))
    }

    fn known(&self, part: &str) -> Option<Known> {
        let text = std::fs::read_to_string(self.pid_file(part)).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Known {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        })
    }

    pub(super) fn alive(&self) -> Vec<&'static str> {
        let runs = |part: &&str| self.known(part).is_some_and(Known::alive);
        EVERY.into_iter().filter(runs).collect()
    }

    pub(super) async fn await_http(&self, part: &str, url: &str) -> Result<(), Failure> {
        let client = HttpClient::new().with_timeout(Duration::from_secs(2));
        let what = format!("{part} to answer {url}");
        let answered = eventually(READY, &what, async || {
            match client.send(HttpRequest::get(url)).await {
                Ok(reply) if reply.is_success() => Ok(Ok(())),
                Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
                Err(_) if !self.known(part).is_some_and(Known::alive) => Ok(Err(self.died(part))),
                Err(error) => Err(error.to_string()),
            }
        });
        answered.await.map_err(StageError::from)?
    }

    /// Waits for a file that a part writes when it is ready.
    pub(super) async fn await_file(&self, part: &str, file: &Path) -> Result<(), Failure> {
        let what = format!("{part} to write {}", file.display());
        let written = eventually(READY, &what, async || match file.is_file() {
            true => Ok(Ok(())),
            false if !self.known(part).is_some_and(Known::alive) => Ok(Err(self.died(part))),
            false => Err("it is not there"),
        });
        written.await.map_err(StageError::from)?
    }

    fn died(&self, part: &str) -> Failure {
        Failure::Died {
            part: part.to_owned(),
            tail: Log::new(self.log(part)).tail(15),
        }
    }

    /// Ends what runs, last started first, and forgets it. Says what it ended.
    pub(super) async fn end_all(&self) -> Result<Vec<&'static str>, Failure> {
        let mut ended = Vec::new();
        for part in EVERY.into_iter().rev() {
            if let Some(known) = self.known(part).filter(|known| known.alive()) {
                known.end(part).await?;
                ended.push(part);
            }
            remove(&self.pid_file(part))?;
        }
        Ok(ended)
    }
}

impl Known {
    fn alive(self) -> bool {
        self.started != 0 && started(self.pid) == Some(self.started)
    }

    async fn end(self, part: &str) -> Result<(), Failure> {
        let gone = async || {
            if self.alive() {
                Err("it still runs")
            } else {
                Ok(())
            }
        };
        self.signal(Signal::TERM)?;
        if eventually(END, "to end on SIGTERM", gone).await.is_ok() {
            return Ok(());
        }
        self.signal(Signal::KILL)?;
        let what = format!("{part} to be gone");
        Ok(eventually(END, &what, gone)
            .await
            .map_err(StageError::from)?)
    }

    fn signal(self, signal: Signal) -> Result<(), Failure> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(files(format!("process {}", self.pid))(errno.into())),
        }
    }
}

/// When a process that still runs was started; `None` for one that is gone, or dead and not yet reaped.
fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; after it come the state and, 19 fields on, the start time.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X") | None) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

fn remove(file: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(files(file.display())(error)),
        _ => Ok(()),
    }
}
