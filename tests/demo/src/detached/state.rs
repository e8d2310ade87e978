//! The files that record the background processes.
//!
//! Invariant: a process is identified by its PID and its start time, so that no later process with the same PID is ended.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use headgate_testkit::client::{HttpClient, HttpRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::process::{Log, ProcessOptions};
use headgate_testkit::testbed::{Addresses, TestbedError};
use rustix::process::{Pid, Signal, kill_process};

use super::{DemoError, files};

/// All processes, in start order; they are ended in reverse order.
const PROCESSES: [&str; 4] = ["models", "cluster", "headgate", "envoy"];
const READY: Duration = Duration::from_secs(180);
const END: Duration = Duration::from_secs(5);

/// The directory of the background processes.
pub(super) struct State {
    /// Path of the directory.
    pub(super) dir: PathBuf,
}

/// A recorded process.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ProcessRecord {
    pid: i32,
    /// In clock ticks since boot; distinguishes processes that had the same PID.
    started: u64,
}

impl State {
    /// One directory per control plane address, so that two demos can run side by side.
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

    /// Path of the administrator's kubeconfig, with Kubernetes.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Path of the control plane's own kubeconfig, with Kubernetes.
    pub(super) fn own_kubeconfig(&self) -> PathBuf {
        self.dir.join("headgate.kubeconfig")
    }

    /// The directory of the programs for the user.
    pub(super) fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    pub(super) fn log(&self, part: &str) -> PathBuf {
        self.dir.join(format!("{part}.log"))
    }

    fn pid_file(&self, part: &str) -> PathBuf {
        self.dir.join(format!("{part}.pid"))
    }

    /// Starts a background process in its own process group, so that Ctrl-C for this program does not reach it.
    pub(super) fn spawn(&self, part: &str, options: ProcessOptions) -> Result<(), DemoError> {
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

    fn record(&self, part: &str) -> Option<ProcessRecord> {
        let text = std::fs::read_to_string(self.pid_file(part)).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(ProcessRecord {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        })
    }

    pub(super) fn alive(&self) -> Vec<&'static str> {
        let runs = |part: &&str| self.record(part).is_some_and(ProcessRecord::alive);
        PROCESSES.into_iter().filter(runs).collect()
    }

    pub(super) async fn await_http(&self, part: &str, url: &str) -> Result<(), DemoError> {
        let client = HttpClient::new().with_timeout(Duration::from_secs(2));
        let what = format!("{part} to answer {url}");
        let answered = eventually(READY, &what, async || {
            match client.send(HttpRequest::get(url)).await {
                Ok(reply) if reply.is_success() => Ok(Ok(())),
                Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
                Err(_) if !self.record(part).is_some_and(ProcessRecord::alive) => {
                    Ok(Err(self.exited(part)))
                }
                Err(error) => Err(error.to_string()),
            }
        });
        answered.await.map_err(TestbedError::from)?
    }

    /// Waits for a file that a process writes when it is ready.
    pub(super) async fn await_file(&self, part: &str, file: &Path) -> Result<(), DemoError> {
        let what = format!("{part} to write {}", file.display());
        let written = eventually(READY, &what, async || match file.is_file() {
            true => Ok(Ok(())),
            false if !self.record(part).is_some_and(ProcessRecord::alive) => {
                Ok(Err(self.exited(part)))
            }
            false => Err("the file does not exist"),
        });
        written.await.map_err(TestbedError::from)?
    }

    fn exited(&self, part: &str) -> DemoError {
        DemoError::Exited {
            part: part.to_owned(),
            tail: Log::new(self.log(part)).tail(15),
        }
    }

    /// Ends the running processes, last started first, and removes their records. Returns their names.
    pub(super) async fn end_all(&self) -> Result<Vec<&'static str>, DemoError> {
        let mut ended = Vec::new();
        for part in PROCESSES.into_iter().rev() {
            if let Some(record) = self.record(part).filter(|record| record.alive()) {
                record.end(part).await?;
                ended.push(part);
            }
            remove(&self.pid_file(part))?;
        }
        Ok(ended)
    }
}

impl ProcessRecord {
    fn alive(self) -> bool {
        self.started != 0 && started(self.pid) == Some(self.started)
    }

    async fn end(self, part: &str) -> Result<(), DemoError> {
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
            .map_err(TestbedError::from)?)
    }

    fn signal(self, signal: Signal) -> Result<(), DemoError> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(files(format!("process {}", self.pid))(errno.into())),
        }
    }
}

/// Start time of a running process; `None` when it is gone or a zombie.
fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain any character; the state follows, and 19 fields later the start time.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X") | None) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

fn remove(file: &Path) -> Result<(), DemoError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(files(file.display())(error)),
        _ => Ok(()),
    }
}
