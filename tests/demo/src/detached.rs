//! The same world, left running: `up` and `down`.
//!
//! Invariant: what `up` starts is known by a file with its PID and its start time, so `down` ends exactly that and
//! never another process that was given the same number later, also when `up` got no further than half of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use headgate_test_support::client::{HttpClient, HttpRequest};
use headgate_test_support::deadline::eventually;
use headgate_test_support::envoy::find_envoy;
use headgate_test_support::mock_model::{MockModel, MockOptions};
use headgate_test_support::process::{Log, ProcessOptions};
use headgate_test_support::stage::{
    Addresses, Files, SHIPPED, StageError, bootstrap, serve_options, tools,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// What runs, in the order in which it is started; ended in the reverse order.
const PARTS: [&str; 3] = ["models", "headgate", "envoy"];
const READY: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(5);

/// Why the world is not up, or not down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Anything that the stage of a test could fail at as well.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Some parts run, others do not.
    #[error("parts of an earlier `up` still run ({0}): run `make down`, then `make up`")]
    HalfUp(String),
    /// A part ended while it was awaited.
    #[error("{part} ended at once; its log ends:\n{tail}")]
    Died {
        /// Which.
        part: String,
        /// The end of its log.
        tail: String,
    },
}

/// Starts everything detached, unless it runs already, and prints what to try.
///
/// # Errors
/// What is missing, taken, or did not start; nothing is left running then.
pub(crate) async fn up() -> Result<(), Failure> {
    let addresses = Addresses::from_env()?;
    let state = State::of(&addresses);
    let alive = state.alive();
    if alive.len() == PARTS.len() {
        say("It is up already.\n");
        print_what_to_try(&addresses, &state);
        return Ok(());
    }
    if !alive.is_empty() {
        return Err(Failure::HalfUp(alive.join(" and ")));
    }
    addresses.check_free()?;
    let started = start(&addresses, &state).await;
    if started.is_err() {
        state.end_all().await?;
    }
    started?;
    print_what_to_try(&addresses, &state);
    Ok(())
}

/// Ends what `up` started.
///
/// # Errors
/// What could not be ended.
pub(crate) async fn down() -> Result<(), Failure> {
    let state = State::of(&Addresses::from_env()?);
    let ended = state.end_all().await?;
    match ended.as_slice() {
        [] => say("Nothing was up."),
        parts => say(&format!("Ended: {}.", parts.join(", "))),
    }
    Ok(())
}

/// A part of `up` that runs on these addresses.
pub(crate) fn running(addresses: &Addresses) -> Option<&'static str> {
    State::of(addresses).alive().first().copied()
}

/// Serves the four mock models until SIGTERM.
///
/// # Errors
/// An address that cannot be bound.
pub(crate) async fn serve_models() -> Result<(), Failure> {
    let addresses = Addresses::from_env()?;
    let mut models = Vec::new();
    for (served, address) in SHIPPED.iter().zip(&addresses.models) {
        let options = MockOptions::new(served.model, served.version).at(*address);
        models.push(MockModel::start(options).await.map_err(files(address))?);
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(files("SIGTERM"))?;
    terminate.recv().await;
    Ok(())
}

async fn start(addresses: &Addresses, state: &State) -> Result<(), Failure> {
    match std::fs::remove_dir_all(&state.dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(files(state.dir.display())(error));
        }
        _ => {}
    }
    let prepared = Files::prepare(&state.dir, addresses)?;
    let this = std::env::current_exe().map_err(files("this program"))?;
    state.spawn("models", ProcessOptions::new(this).arg("serve-models"))?;
    for model in &addresses.models {
        state
            .await_http("models", &format!("http://{model}/healthz"))
            .await?;
    }
    let binary = tools::headgate_binary()?;
    let serve = serve_options(binary, &prepared, addresses, &[], state.log("headgate"));
    state.spawn("headgate", serve)?;
    state
        .await_http("headgate", &format!("http://{}/readyz", addresses.admin))
        .await?;
    state.spawn("envoy", envoy(addresses, state)?)?;
    if let Some(admin) = addresses.envoy_admin {
        state
            .await_http("envoy", &format!("http://{admin}/ready"))
            .await?;
    }
    let models = format!("http://{}/v1/models", addresses.envoy);
    state.await_http("envoy", &models).await
}

fn envoy(addresses: &Addresses, state: &State) -> Result<ProcessOptions, Failure> {
    let config = state.dir.join("bootstrap.yaml");
    std::fs::write(&config, bootstrap(addresses.xds, addresses.envoy_admin)?)
        .map_err(files(config.display()))?;
    let options = ProcessOptions::new(find_envoy().map_err(StageError::from)?)
        .args([
            "--disable-hot-restart",
            "--concurrency",
            "2",
            "--log-level",
            "warning",
        ])
        .args(["--service-node", "envoy-0", "--service-cluster", "demo"])
        .args(["--file-flush-interval-msec", "200", "--config-path"])
        .arg(config);
    Ok(options)
}

/// Where the detached world keeps its files.
struct State {
    dir: PathBuf,
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
    fn of(addresses: &Addresses) -> Self {
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

    fn log(&self, part: &str) -> PathBuf {
        self.dir.join(format!("{part}.log"))
    }

    fn pid_file(&self, part: &str) -> PathBuf {
        self.dir.join(format!("{part}.pid"))
    }

    /// Starts a part that outlives us: a process group of its own, so that no Ctrl-C meant for us reaches it.
    fn spawn(&self, part: &str, options: ProcessOptions) -> Result<(), Failure> {
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

    fn alive(&self) -> Vec<&'static str> {
        let runs = |part: &&str| self.known(part).is_some_and(Known::alive);
        PARTS.into_iter().filter(runs).collect()
    }

    async fn await_http(&self, part: &str, url: &str) -> Result<(), Failure> {
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

    fn died(&self, part: &str) -> Failure {
        Failure::Died {
            part: part.to_owned(),
            tail: Log::new(self.log(part)).tail(15),
        }
    }

    /// Ends what runs, last started first, and forgets it. Says what it ended.
    async fn end_all(&self) -> Result<Vec<&'static str>, Failure> {
        let mut ended = Vec::new();
        for part in PARTS.into_iter().rev() {
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

fn files(what: impl ToString) -> impl FnOnce(io::Error) -> Failure {
    move |source| {
        let what = what.to_string();
        Failure::Stage(StageError::Files { what, source })
    }
}

/// A reader who leaves (`| head`) is no failure.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn print_what_to_try(addresses: &Addresses, state: &State) {
    let Addresses { envoy, admin, .. } = addresses;
    let envoy_admin = addresses
        .envoy_admin
        .map_or_else(String::new, |addr| format!("http://{addr}"));
    let dir = state.dir.display();
    say(&format!(
        "\
Envoy           http://{envoy}   (admin {envoy_admin})
control plane   http://{admin}   (/syncz /config_dump /metrics)
its files       {dir}/models  {dir}/policies
logs            {dir}/*.log

Try:
  # which version serves a session (the same one on every turn)
  curl -si http://{envoy}/v1/chat/completions -H 'x-tenant-id: acme' -H 'x-session-id: s1' \\
    -d '{{\"model\":\"llama3-70b\",\"max_tokens\":16,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}' | grep -i '^x-model'
  # a new weight, in force within a second
  kubectl label --local -f {dir}/models/llama3-70b-v2.yaml canary-weight=50 --overwrite -o yaml > {dir}/drafts/v2 && mv {dir}/drafts/v2 {dir}/models/llama3-70b-v2.yaml
  # spend the free tier: 2000 tokens a tenant; the sixth time it is a 429
  curl -si http://{envoy}/v1/chat/completions -H 'x-tenant-id: acme' -H 'x-mock-tokens: 398' \\
    -d '{{\"model\":\"phi-3\",\"max_tokens\":398,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}' | grep -iE '^(HTTP|x-ratelimit|retry-after)'
  # what the control plane plans, and what Envoy has taken of it
  curl -s http://{admin}/syncz

`make down` ends it."
    ));
}
