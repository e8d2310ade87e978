//! One container: its process, its probes, its restarts and its end.
//!
//! Invariant: the process ends when this is dropped. The state is always published: a reader sees the last one.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use headgate_testkit::process::{Process, ProcessOptions};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use tokio::sync::{oneshot, watch};

use super::error::Unable;
use super::exec::Exec;
use super::expansion::PodAddress;
use super::probes::{Probes, http};
use super::root::Privileges;

/// Interval between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);
/// Time between two tries to prepare a container, whose ConfigMap may still come.
const RETRY: Duration = Duration::from_secs(1);
/// Longest time before a restart; a cluster waits up to five minutes.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// The published state of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerState {
    pub(super) phase: Phase,
    /// The startup probe has succeeded.
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) restarts: u32,
    /// The exit code of the last process, and why it ended.
    pub(super) last: Option<(i32, &'static str)>,
}

/// A container waits, runs, or has ended for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting { reason: String, message: String },
    Running { pid: u32 },
    Ended { code: i32 },
}

impl ContainerState {
    fn waiting(reason: &str) -> Self {
        Self {
            phase: Phase::Waiting {
                reason: reason.to_owned(),
                message: String::new(),
            },
            started: false,
            ready: false,
            restarts: 0,
            last: None,
        }
    }
}

/// The states of a pod's containers, by name. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct States {
    all: watch::Sender<BTreeMap<String, ContainerState>>,
}

impl States {
    pub(super) fn new(containers: impl IntoIterator<Item = String>) -> Self {
        let waiting = |name| (name, ContainerState::waiting("ContainerCreating"));
        let all = containers.into_iter().map(waiting).collect();
        Self {
            all: watch::Sender::new(all),
        }
    }

    pub(super) fn read(&self) -> watch::Receiver<BTreeMap<String, ContainerState>> {
        self.all.subscribe()
    }

    /// Changes the state of one container. Readers are woken only if it differs.
    fn change(&self, name: &str, change: impl FnOnce(&mut ContainerState)) {
        self.all.send_if_modified(|all| {
            let Some(state) = all.get_mut(name) else {
                return false;
            };
            let before = state.clone();
            change(state);
            *state != before
        });
    }
}

/// When a container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// A container that can be started.
#[derive(Debug)]
pub(super) struct Runnable {
    pub(super) command: ProcessOptions,
    pub(super) probes: Probes,
    pub(super) privileges: Privileges,
    /// `NAME=VALUE`, for commands beside the process.
    pub(super) variables: Vec<String>,
}

/// Makes containers startable.
pub(super) trait Prepare {
    /// Reads everything that a container refers to.
    fn prepare(
        &self,
        container: &Container,
    ) -> impl Future<Output = Result<Runnable, Unable>> + Send;
}

/// The fixed part of a container's life.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) container: Container,
    pub(super) address: PodAddress,
    pub(super) restart: Restart,
    pub(super) grace: Duration,
    pub(super) log: PathBuf,
    pub(super) states: States,
}

/// Why a process is to end, or has ended.
enum Event {
    Exited(ExitStatus),
    Unhealthy(String),
    /// The pod ends; the deadline of its grace period.
    Stop(Instant),
}

impl Life {
    /// Runs the container until it has ended for good or `stop` resolves.
    pub(super) async fn run(self, prepare: &impl Prepare, mut stop: oneshot::Receiver<Instant>) {
        let runnable = tokio::select! {
            runnable = self.prepared(prepare) => runnable,
            _ = &mut stop => return,
        };
        loop {
            let began = Instant::now();
            let mut options = runnable.command.clone();
            options.log = Some(self.log.clone());
            self.create_log();
            let mut process = match Process::start(options) {
                Ok(process) => process,
                Err(error) => return self.wait(&Unable::machine(error)),
            };
            let exec = Exec {
                pid: process.pid(),
                privileges: runnable.privileges,
                variables: runnable.variables.clone(),
            };
            let pid = exec.pid;
            self.change(|state| {
                state.phase = Phase::Running { pid };
                (state.started, state.ready) = (false, false);
            });
            let event = tokio::select! {
                status = exited(&mut process) => Event::Exited(status),
                why = self.probe(&runnable, &exec) => Event::Unhealthy(why),
                deadline = &mut stop => Event::Stop(deadline.unwrap_or_else(|_| Instant::now())),
            };
            let (status, reason) = match event {
                Event::Exited(status) if status.success() => (Some(status), "Completed"),
                Event::Exited(status) => (Some(status), "Error"),
                Event::Unhealthy(why) => {
                    self.note(&format!("a probe failed: {why}"));
                    let deadline = Instant::now() + self.grace;
                    (self.end(&mut process, &exec, deadline).await, "Unhealthy")
                }
                Event::Stop(deadline) => {
                    // A pod that ends stays ready as long as it says so: clients may still use it.
                    let status = tokio::select! {
                        status = self.end(&mut process, &exec, deadline) => status,
                        never = self.stay_ready(&runnable.probes, &exec) => match never {},
                    };
                    return self.ended(code(status));
                }
            };
            let code = code(status);
            if !self.restarts(code) {
                return self.ended(code);
            }
            let backoff = self.back_off(code, reason, began);
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                _ = &mut stop => return self.ended(code),
            }
        }
    }

    async fn prepared(&self, prepare: &impl Prepare) -> Runnable {
        loop {
            match prepare.prepare(&self.container).await {
                Ok(runnable) => return runnable,
                Err(unable) => self.wait(&unable),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn wait(&self, unable: &Unable) {
        self.change(|state| {
            state.phase = Phase::Waiting {
                reason: unable.reason.to_owned(),
                message: unable.message.clone(),
            };
        });
    }

    fn change(&self, change: impl FnOnce(&mut ContainerState)) {
        self.states.change(&self.container.name, change);
    }

    fn ended(&self, code: i32) {
        self.change(|state| {
            state.phase = Phase::Ended { code };
            (state.started, state.ready) = (false, false);
        });
    }

    fn restarts(&self, code: i32) -> bool {
        match self.restart {
            Restart::Always => true,
            Restart::OnFailure => code != 0,
            Restart::Never => false,
        }
    }

    /// Publishes that the container waits for its restart, and returns for how long: nothing after a process that lived for a while,
    /// else twice as long as before.
    fn back_off(&self, code: i32, reason: &'static str, began: Instant) -> Duration {
        let mut backoff = Duration::ZERO;
        self.change(|state| {
            if began.elapsed() < LONGEST_BACKOFF && state.restarts > 0 {
                let doubled = Duration::from_millis(500) * 2_u32.pow(state.restarts.min(5));
                backoff = doubled.min(LONGEST_BACKOFF);
            }
            state.phase = Phase::Waiting {
                reason: "CrashLoopBackOff".to_owned(),
                message: format!("exit code {code}"),
            };
            (state.started, state.ready) = (false, false);
            state.restarts += 1;
            state.last = Some((code, reason));
        });
        backoff
    }

    /// Probes a process until it is unhealthy; returns why.
    async fn probe(&self, runnable: &Runnable, exec: &Exec) -> String {
        if let Some(startup) = &runnable.probes.startup {
            let up = startup.watch(exec, ControlFlow::Break).await;
            if let Err(why) = up {
                return why;
            }
        }
        let waits = runnable.probes.readiness.is_some();
        self.change(|state| {
            (state.started, state.ready) = (true, !waits);
        });
        let alive = async {
            match &runnable.probes.liveness {
                Some(liveness) => {
                    let failed = |outcome: Result<(), String>| match outcome {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(why) => ControlFlow::Break(why),
                    };
                    liveness.watch(exec, failed).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            why = alive => why,
            never = self.stay_ready(&runnable.probes, exec) => match never {},
        }
    }

    /// Publishes what the readiness probe says.
    async fn stay_ready(&self, probes: &Probes, exec: &Exec) -> std::convert::Infallible {
        let Some(readiness) = &probes.readiness else {
            return std::future::pending().await;
        };
        let publish = |outcome: Result<(), String>| {
            if let Err(why) = &outcome {
                self.note(&format!("not ready: {why}"));
            }
            self.change(|state| state.ready = outcome.is_ok());
            ControlFlow::Continue(())
        };
        readiness.watch(exec, publish).await
    }

    /// Ends a process as the kubelet does: the hook `preStop`, SIGTERM, and SIGKILL at the deadline.
    async fn end(
        &self,
        process: &mut Process,
        exec: &Exec,
        deadline: Instant,
    ) -> Option<ExitStatus> {
        let hooks = self.container.lifecycle.as_ref();
        if let Some(hook) = hooks.and_then(|hooks| hooks.pre_stop.as_ref()) {
            let hook = self.hook(hook, exec);
            match tokio::time::timeout(left(deadline), hook).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => self.note(&format!("preStop: {why}")),
                Err(_) => self.note("preStop did not end within the grace period"),
            }
        }
        // The kubelet gives two seconds after a hook that used up the grace period.
        let within = left(deadline).max(Duration::from_secs(2));
        if process.request_exit().is_err() {
            return process.kill().ok();
        }
        let exit = tokio::time::timeout(within, exited(process)).await;
        if let Ok(status) = exit {
            return Some(status);
        }
        self.note("killed at the end of the grace period");
        process.kill().ok()
    }

    async fn hook(&self, hook: &LifecycleHandler, beside: &Exec) -> Result<(), String> {
        if let Some(sleep) = &hook.sleep {
            let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            return Ok(());
        }
        if let Some(exec) = &hook.exec {
            let command = exec.command.clone().unwrap_or_default();
            return beside.run(&command).await;
        }
        let Some(get) = &hook.http_get else {
            return Err("no supported action".into());
        };
        let get = http(&self.container, get, self.address);
        let get = get.map_err(|unable| unable.to_string())?;
        get.ask(beside).await
    }

    /// Programs of any user may open their standard output again, as `/dev/stdout`.
    fn create_log(&self) {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log);
        // If it fails, the process does not start either and says why.
        let _ = file.and_then(|file| file.set_permissions(Permissions::from_mode(0o666)));
    }

    /// Adds a line to the log of the container.
    fn note(&self, line: &str) {
        use std::io::Write as _;
        let log = std::fs::File::options().append(true).open(&self.log);
        // The log is for people; a line that is lost changes nothing.
        let _ = log.and_then(|mut log| writeln!(log, "[kubelet] {line}"));
    }
}

async fn exited(process: &mut Process) -> ExitStatus {
    loop {
        if let Ok(Some(status)) = process.ended() {
            return status;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// The exit code, as the kubelet reports it: 128 + the signal for a process that a signal ended.
fn code(status: Option<ExitStatus>) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    let Some(status) = status else { return 137 };
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).unwrap_or(137)
}
