//! Failures of requests to the API server, and the backoff before the next attempt.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use kube::core::Status;

/// Timeout of an answer, or of a page of it: a busy API server holds a request for 15 s before it refuses it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The wait after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// The longest wait between two attempts, without jitter.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The API server refuses the request and would refuse it again: a missing right, an unknown kind.
    Refused,
    /// The API server is away, busy or fails: the same request may succeed later.
    Unanswered,
}

/// A failure as `headgate status` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The message of the API server, or a description of the failure.
    pub message: String,
    /// The class of the failure.
    pub cause: Cause,
    /// The HTTP status of the refusal; 0 where there is none.
    pub code: u16,
}

impl Failure {
    /// Whether a right is missing.
    pub fn is_forbidden(&self) -> bool {
        self.code == 403
    }
}

/// A request or a watch that failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The API server refused the request.
    #[error("{0}")]
    Refused(Box<Status>),
    /// The request did not arrive, or its answer cannot be read.
    #[error("{0}")]
    Transport(#[source] kube::Error),
    /// No answer within this time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No answer to a request that was sent before the API server was ready.
    #[error("no answer to a request that was sent before the API server was ready")]
    SentBeforeReady,
    /// The watch ended as soon as it began.
    #[error("the watch ended as soon as it began")]
    EndedEarly,
    /// The answer has no `resourceVersion`.
    #[error("the answer has no resourceVersion")]
    NoResourceVersion,
    /// The API server is not ready yet.
    #[error("the API server is not ready yet")]
    NotReady,
    /// The reducer dropped the receiver of updates, so the watch ends.
    #[error("the receiver is closed")]
    ReceiverClosed,
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            error => Self::Transport(error),
        }
    }
}

impl From<tokio::time::error::Elapsed> for Fault {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::Timeout(REQUEST_TIMEOUT)
    }
}

impl Fault {
    /// The HTTP status of the refusal; 0 where there is none.
    pub fn code(&self) -> u16 {
        match self {
            Self::Refused(status) => status.code,
            _ => 0,
        }
    }

    /// Whether the API server may be away or busy, so that the same request may succeed later.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Refused(status) => status.code == 429 || status.code >= 500,
            Self::Transport(_)
            | Self::Timeout(_)
            | Self::SentBeforeReady
            | Self::EndedEarly
            | Self::NotReady => true,
            Self::NoResourceVersion | Self::ReceiverClosed => false,
        }
    }

    /// Whether the API server did not judge the request, so that the same request can be sent again.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(status.code, 429 | 502..=504),
            fault => fault.is_outage(),
        }
    }

    /// The failure as `headgate status` reports it.
    pub fn failure(&self) -> Failure {
        let cause = if self.is_outage() {
            Cause::Unanswered
        } else {
            Cause::Refused
        };
        Failure {
            message: self.message(),
            cause,
            code: self.code(),
        }
    }

    /// The wait that the API server asks for, at most the longest wait of the backoff.
    pub fn retry_after(&self) -> Duration {
        let Self::Refused(status) = self else {
            return Duration::ZERO;
        };
        let seconds = status
            .details
            .as_ref()
            .map_or(0, |details| details.retry_after_seconds);
        Duration::from_secs(seconds.into()).min(LAST_RETRY)
    }

    /// The error with its causes, for people.
    pub fn message(&self) -> String {
        if let Self::Refused(status) = self {
            return format!("{} ({})", status.message, status.code);
        }
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        message
    }
}

/// Exponential waits from 200 ms to 10 s, each prolonged by a random part of up to a half, because many watches fail at once.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// The backoff before the first failure.
    pub fn new() -> Self {
        Self(
            ExponentialBuilder::new()
                .with_min_delay(FIRST_RETRY)
                .with_max_delay(LAST_RETRY)
                .with_factor(2.0)
                .without_max_times()
                .build(),
        )
    }

    /// Starts again with the shortest wait.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// The next wait, with jitter.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.0.next().unwrap_or(LAST_RETRY);
        wait + self.jitter(wait)
    }

    /// A random duration of up to a half of `wait`.
    pub fn jitter(&self, wait: Duration) -> Duration {
        wait.mul_f64(fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_with_jitter_and_start_again() {
        let mut backoff = Backoff::new();
        for expected in [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let (wait, expected) = (backoff.next_wait(), Duration::from_millis(expected));
            assert!(
                wait >= expected && wait <= expected * 3 / 2,
                "{wait:?} {expected:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST_RETRY * 3 / 2);
    }
}
