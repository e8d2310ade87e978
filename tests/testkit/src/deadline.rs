//! Waiting for an event, with an end and a reason.
//!
//! Invariant: a wait ends with what was awaited or with a [`TimedOut`] that says what was awaited, how long,
//! and what was seen last. A probe that hangs is cut at the deadline.

use std::fmt;
use std::time::{Duration, Instant};

/// Time between two probes: short enough for measuring pushes, long enough to leave the core to what is awaited.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// The event did not come in time. `Debug` reads like `Display`, so that `unwrap` tells the story.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("not within {within:?}: {what}; last seen: {last}")]
pub struct TimedOut {
    /// What was awaited.
    pub what: String,
    /// How long.
    pub within: Duration,
    /// The last probe's reason for saying no.
    pub last: String,
}

impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Probes until `probe` answers `Ok`, at least once, at most for `within`.
///
/// # Errors
/// [`TimedOut`] with the last `Err` of the probe.
///
/// ```
/// # use headgate_testkit::deadline::eventually;
/// # use std::time::Duration;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut seen = 0;
/// let third = eventually(Duration::from_secs(5), "the third probe", async || {
///     seen += 1;
///     if seen == 3 { Ok(seen) } else { Err(format!("probe {seen}")) }
/// });
/// assert_eq!(third.await, Ok(3));
/// # });
/// ```
pub async fn eventually<T, E: fmt::Display>(
    within: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let deadline = Instant::now() + within;
    let mut last = String::from("no probe came back");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(why)) => last = why.to_string(),
            Err(_) => return Err(timed_out(what, within, last)),
        }
        if Instant::now() >= deadline {
            return Err(timed_out(what, within, last));
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

fn timed_out(what: &str, within: Duration, last: String) -> TimedOut {
    TimedOut {
        what: what.to_owned(),
        within,
        last,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_timeout_says_what_was_awaited_and_seen_last() {
        let error = eventually(Duration::from_millis(30), "the moon", async || {
            Err::<(), _>("clouds")
        })
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "not within 30ms: the moon; last seen: clouds"
        );
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_cut_at_the_deadline() {
        let error = eventually(Duration::from_millis(30), "an answer", async || {
            std::future::pending::<Result<(), String>>().await
        })
        .await
        .unwrap_err();
        assert_eq!(error.last, "no probe came back");
    }
}
