//! Logging to standard error, with a level that can change at run time.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use headgate_report::output::is_plain;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::config::{Failure, LogConfig};

/// The log filter of the process. Cheap to clone; all clones are the same filter.
#[derive(Clone)]
pub(crate) struct LogLevel {
    handle: Handle<EnvFilter, Registry>,
    current: Arc<Mutex<String>>,
}

/// Starts logging.
///
/// # Errors
/// The filter cannot be parsed. The message names the flag.
pub(crate) fn init(config: &LogConfig) -> Result<LogLevel, Failure> {
    let parsed = EnvFilter::try_new(&config.filter);
    let filter = parsed.map_err(|e| format!("--log {:?}: {e}", config.filter))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal() && !is_plain())
        // A closed standard error must not end the process.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let lines = match config.json {
        true => lines.json().boxed(),
        false => lines.boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    Ok(LogLevel {
        handle,
        current: Arc::new(Mutex::new(config.filter.clone())),
    })
}

impl LogLevel {
    /// The current filter directives.
    pub(crate) fn current(&self) -> String {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the filter.
    ///
    /// # Errors
    /// The directives cannot be parsed.
    pub(crate) fn set(&self, directives: &str) -> Result<(), String> {
        let filter = EnvFilter::builder()
            .parse(directives)
            .map_err(|error| format!("{directives:?} is not a log level: {error}"))?;
        self.handle
            .reload(filter)
            .map_err(|error| error.to_string())?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        directives.clone_into(&mut current);
        Ok(())
    }

    /// A filter that is not installed, for tests.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        let (_, handle) = reload::Layer::new(EnvFilter::new("info"));
        Self {
            handle,
            current: Arc::new(Mutex::new("info".to_owned())),
        }
    }
}
