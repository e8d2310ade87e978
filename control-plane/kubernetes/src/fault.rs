//! Why a watch goes no further, and how long it waits before it tries again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use kube::core::Status;

/// How long the API server may take to answer, or to send a page: a busy one lets a request wait for 15 s, then refuses it.
pub const ANSWER: Duration = Duration::from_secs(20);
/// The wait after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// The longest wait between two tries.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It refuses this request and would do so again: a right that is missing, a kind that it does not have.
    Refused,
    /// It is away, busy or fails; the same request may be answered later.
    Unanswered,
}

/// A failure, as `status` is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// What the API server said, or what was seen.
    pub message: String,
    /// The class of the failure.
    pub cause: Cause,
    /// The HTTP status that the API server refused with; 0 where it gave none.
    pub code: u16,
}

impl Loss {
    /// Whether a right is missing.
    pub fn is_forbidden(&self) -> bool {
        self.code == 403
    }
}

/// Why a watch goes no further.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The API server refused the request.
    #[error("{0}")]
    Refused(Box<Status>),
    /// The request did not arrive, or its answer cannot be read.
    #[error("{0}")]
    Broken(#[source] kube::Error),
    /// No answer within this time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// No answer to a request that was sent before the API server was ready.
    #[error("no answer to what was asked before it was ready")]
    Owed,
    /// The watch ended as soon as it began.
    #[error("it ended as soon as it began")]
    Ended,
    /// The answer has no `resourceVersion`.
    #[error("its answer has no resourceVersion")]
    Versionless,
    /// The API server is not ready yet.
    #[error("it is not ready yet")]
    Unready,
    /// The channel is closed: nobody wants to know.
    #[error("nobody listens")]
    Unheard,
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            error => Self::Broken(error),
        }
    }
}

impl From<tokio::time::error::Elapsed> for Fault {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::Silent(ANSWER)
    }
}

impl Fault {
    /// The HTTP status that the API server refused with; 0 where it gave none.
    pub fn code(&self) -> u16 {
        match self {
            Self::Refused(status) => status.code,
            _ => 0,
        }
    }

    /// Whether the API server may be away or busy: not what it would say again if it were asked at leisure.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Refused(status) => status.code == 429 || status.code >= 500,
            Self::Broken(_) | Self::Silent(_) | Self::Owed | Self::Ended | Self::Unready => true,
            Self::Versionless | Self::Unheard => false,
        }
    }

    /// Whether nothing was said about what was asked: the same question may be asked again.
    pub fn is_no_answer(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(status.code, 429 | 502..=504),
            fault => fault.is_absence(),
        }
    }

    /// As `status` is told of it.
    pub fn loss(&self) -> Loss {
        let cause = if self.is_absence() {
            Cause::Unanswered
        } else {
            Cause::Refused
        };
        Loss {
            message: self.message(),
            cause,
            code: self.code(),
        }
    }

    /// How long the API server wants to be left alone.
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

    /// As people read it: the error and what caused it.
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

/// Waits that grow with each failure, by up to a half more at random: many watches fail at once.
pub struct Backoff {
    next: Duration,
    random: RandomState,
}

impl Backoff {
    /// The backoff before the first failure.
    pub fn new() -> Self {
        Self {
            next: FIRST_RETRY,
            random: RandomState::new(),
        }
    }

    /// Starts again with the shortest wait.
    pub fn reset(&mut self) {
        self.next = FIRST_RETRY;
    }

    /// The next wait: it doubles with each failure, up to the longest, with jitter.
    pub fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LAST_RETRY);
        wait + self.jitter(wait)
    }

    /// Up to a half of a wait, at random.
    pub fn jitter(&self, wait: Duration) -> Duration {
        let half = u64::try_from(wait.as_millis() / 2).unwrap_or(0).max(1);
        Duration::from_millis(self.random.hash_one(wait) % half)
    }
}
