//! The demo's environment as background processes: `up` and `down`.
//!
//! Invariant: `down` ends exactly the processes that `up` started, also when `up` stopped half-way.

mod backend;
mod state;
mod text;

use std::io::{self, Write};

use headgate_testkit::envoy::find_envoy;
use headgate_testkit::process::ProcessOptions;
use headgate_testkit::testbed::{
    Addresses, Source, TestbedError, artifacts, bootstrap, serve_options,
};

pub(crate) use self::backend::{addresses, serve_cluster, serve_models};

use self::state::State;

/// The error of `up` or `down`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// An error of the testbed.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// Only some of the processes run.
    #[error("processes of an earlier `up` still run ({0}); end them with `make down`")]
    PartlyRunning(String),
    /// A process exited during its start.
    #[error("{part} exited during its start; its log ends:\n{tail}")]
    Exited {
        /// Name of the process.
        part: String,
        /// The end of its log.
        tail: String,
    },
}

/// Starts everything in the background, unless it runs already, and prints commands to try.
///
/// # Errors
/// A missing program, an occupied address, or a process that did not start; all started processes are ended then.
pub(crate) async fn up(source: Source) -> Result<(), DemoError> {
    let addresses = addresses(source)?;
    let state = State::of(&addresses);
    let alive = state.alive();
    if alive == backend::parts(source) {
        print("Already running.\n");
        print(&text::instructions(source, &addresses, &state));
        return Ok(());
    }
    if !alive.is_empty() {
        return Err(DemoError::PartlyRunning(alive.join(" and ")));
    }
    addresses.check_free()?;
    let started = start(source, &addresses, &state).await;
    if started.is_err() {
        state.end_all().await?;
    }
    started?;
    print(&text::instructions(source, &addresses, &state));
    Ok(())
}

/// Ends the processes that `up` started, with or without Kubernetes.
///
/// # Errors
/// A process that could not be ended.
pub(crate) async fn down() -> Result<(), DemoError> {
    let state = State::of(&Addresses::from_env()?);
    let ended = state.end_all().await?;
    match ended.as_slice() {
        [] => print("Nothing is running."),
        parts => print(&format!("Ended: {}.", parts.join(", "))),
    }
    Ok(())
}

/// The first process of `up` that runs on these addresses.
pub(crate) fn running(addresses: &Addresses) -> Option<&'static str> {
    State::of(addresses).alive().first().copied()
}

async fn start(source: Source, addresses: &Addresses, state: &State) -> Result<(), DemoError> {
    match std::fs::remove_dir_all(&state.dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(files(state.dir.display())(error));
        }
        _ => {}
    }
    let backend = backend::prepare(source, addresses, state).await?;
    let binary = artifacts::headgate_binary()?;
    let input = backend.input();
    let serve = serve_options(binary, &input, addresses, &[], state.log("headgate"));
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

fn envoy(addresses: &Addresses, state: &State) -> Result<ProcessOptions, DemoError> {
    let config = state.dir.join("bootstrap.yaml");
    std::fs::write(&config, bootstrap(addresses.xds, addresses.envoy_admin)?)
        .map_err(files(config.display()))?;
    let options = ProcessOptions::new(find_envoy().map_err(TestbedError::from)?)
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

fn files(what: impl ToString) -> impl FnOnce(io::Error) -> DemoError {
    move |source| {
        let what = what.to_string();
        DemoError::Testbed(TestbedError::Files { what, source })
    }
}

/// A closed standard output (`| head`) is not an error.
fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
