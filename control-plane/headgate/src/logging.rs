//! Logging to standard error, with a level that can change at run time.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use headgate_report::output::is_plain;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::config::{Failure, LogConfig};

/// The client of the Kubernetes API logs each failed request. Headgate logs a problem once, so this target is off by default.
const CLIENT: &str = "kube_client";

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
    let (current, filter) = parse(&config.filter).map_err(|e| format!("--log: {e}"))?;
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
        current: Arc::new(Mutex::new(current)),
    })
}

/// The directives, with the default for [`CLIENT`] unless they name it.
fn with_default(directives: &str) -> String {
    let mut all = directives.split(',');
    let named = all.any(|directive| {
        let target = directive.split('=').next();
        target.is_some_and(|target| target.trim() == CLIENT)
    });
    match directives.trim() {
        "" => format!("error,{CLIENT}=off"),
        _ if named => directives.to_owned(),
        _ => format!("{directives},{CLIENT}=off"),
    }
}

/// The directives with the default, and their filter.
///
/// # Errors
/// A word alone that is no level: the filter would take it for a module, and log nothing else. Or invalid directives.
fn parse(directives: &str) -> Result<(String, EnvFilter), String> {
    let invalid = |error: &str| {
        format!(
            "{directives:?} is not a log level{error}: write error, warn, info, debug, trace or off, or MODULE=LEVEL"
        )
    };
    let words = directives.split(',').map(str::trim);
    let mut alone = words.filter(|word| !word.is_empty() && !word.contains(['=', '[']));
    if alone.any(|word| word.parse::<LevelFilter>().is_err()) {
        return Err(invalid(""));
    }
    let effective = with_default(directives);
    match EnvFilter::builder().parse(&effective) {
        Ok(filter) => Ok((effective, filter)),
        Err(error) => Err(invalid(&format!(" ({error})"))),
    }
}

impl LogLevel {
    /// The current filter directives.
    pub(crate) fn current(&self) -> String {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the filter. Directives that do not name the client of the Kubernetes API keep it off.
    ///
    /// # Errors
    /// The directives cannot be parsed.
    pub(crate) fn set(&self, directives: &str) -> Result<(), String> {
        let (effective, filter) = parse(directives)?;
        self.handle
            .reload(filter)
            .map_err(|error| error.to_string())?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = effective;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_client_of_the_kubernetes_api_is_silent_unless_it_is_named() {
        for (directives, effective) in [
            ("debug", "debug,kube_client=off"),
            (
                "info,headgate_xds=debug",
                "info,headgate_xds=debug,kube_client=off",
            ),
            ("info, kube_client=debug", "info, kube_client=debug"),
            (
                "kube_client::client=debug",
                "kube_client::client=debug,kube_client=off",
            ),
            ("", "error,kube_client=off"),
        ] {
            assert_eq!(with_default(directives), effective);
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_the_levels() {
        for valid in ["warn", "info,headgate_xds=debug", "off", "", "INFO"] {
            assert!(parse(valid).is_ok(), "{valid}");
        }
        for invalid in ["loud", "warning", "info,headgate_xds", "headgate_xds=loud"] {
            let error = parse(invalid).unwrap_err();
            assert!(
                error.contains(invalid) && error.contains("MODULE=LEVEL"),
                "{error}"
            );
        }
    }
}
