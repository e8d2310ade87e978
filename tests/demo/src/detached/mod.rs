//! The same world, left running: `up` and `down`.
//!
//! Invariant: `down` ends exactly what `up` started, also when `up` got no further than half of it.

mod state;
mod text;
mod world;

use std::io::{self, Write};

use headgate_testkit::envoy::find_envoy;
use headgate_testkit::process::ProcessOptions;
use headgate_testkit::stage::{Addresses, Source, StageError, bootstrap, serve_options, tools};

pub(crate) use self::world::{addresses, serve_cluster, serve_models};

use self::state::State;

/// Why the world is not up, or not down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Anything that the stage of a test could fail at as well.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Some parts run, others do not.
    #[error("parts of another `up` still run there ({0}): `make down` ends them")]
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
pub(crate) async fn up(source: Source) -> Result<(), Failure> {
    let addresses = addresses(source)?;
    let state = State::of(&addresses);
    let alive = state.alive();
    if alive == world::parts(source) {
        say("It is up already.\n");
        say(&text::what_to_try(source, &addresses, &state));
        return Ok(());
    }
    if !alive.is_empty() {
        return Err(Failure::HalfUp(alive.join(" and ")));
    }
    addresses.check_free()?;
    let started = start(source, &addresses, &state).await;
    if started.is_err() {
        state.end_all().await?;
    }
    started?;
    say(&text::what_to_try(source, &addresses, &state));
    Ok(())
}

/// Ends what `up` started, whichever world it was.
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

async fn start(source: Source, addresses: &Addresses, state: &State) -> Result<(), Failure> {
    match std::fs::remove_dir_all(&state.dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(files(state.dir.display())(error));
        }
        _ => {}
    }
    let prepared = world::prepare(source, addresses, state).await?;
    let binary = tools::headgate_binary()?;
    let input = prepared.input();
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
