//! Polling for a condition, with a deadline and a reason.
//!
//! Invariant: a wait ends with the value or with a [`TimedOut`] that names the condition, the deadline and the last reason.
//! A probe that hangs is cancelled at the deadline.

use std::fmt;
use std::time::{Duration, Instant};

/// Interval between two probes: short enough to time configuration pushes, long enough to leave the CPU to the programs under test.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// The condition did not hold in time. `Debug` prints as `Display`, so that `unwrap` shows a readable message.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("timed out after {within:?} waiting for {what}; last result: {last}")]
pub struct TimedOut {
    /// The condition.
    pub what: String,
    /// The deadline.
    pub within: Duration,
    /// The last error of the probe.
    pub last: String,
}

impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Calls `probe` until it returns `Ok`: at least once, at most for `within`.
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
    let mut last = String::from("no probe finished");
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
    async fn a_timeout_names_the_condition_and_the_last_reason() {
        let error = eventually(Duration::from_millis(30), "the moon", async || {
            Err::<(), _>("clouds")
        })
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "timed out after 30ms waiting for the moon; last result: clouds"
        );
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_cancelled_at_the_deadline() {
        let error = eventually(Duration::from_millis(30), "an answer", async || {
            std::future::pending::<Result<(), String>>().await
        })
        .await
        .unwrap_err();
        assert_eq!(error.last, "no probe finished");
    }
}
