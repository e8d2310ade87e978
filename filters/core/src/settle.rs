//! How a stream ended → what each of its buckets is finally charged. Decided once, where the stream ends.
//!
//! ```text
//! never sent, connect refused, answered before upstream   nothing
//! usage or generated text, whatever the status            the usage; the text where none is reported;
//!                                                         of a stream that was cut, the greater of both
//! an answer that cannot be read                           its bytes, or the reservation: `unreadable`
//! 4xx, 429, 5xx, 200 with only an error, reset, 504       `onFailure`
//! the client left before anything was generated           `abandoned`
//! complete, and empty                                     the prompt; in `semantic` the reservation
//! ```
//!
//! The bytes of generated text and of unreadable parts become tokens by `bytesPerToken`: of text without a report at most
//! what the body allows (`max_tokens`).

use headgate_contract::{FailureCharge, OnFailure, SettleOn, Unreadable};
use headgate_dialect::{Observed, Usage};

use crate::cost::{Pricing, Work, tokens_of_bytes};
use crate::limit::Charge;

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answered {
    /// Nobody: no response headers were seen.
    #[default]
    Nobody,
    /// The proxy itself.
    Locally,
    /// The upstream.
    Upstream,
}

/// What was seen of a stream whose request was sent on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Who answered.
    pub answered: Answered,
    /// HTTP status; 0 if none was seen, which is charged as a success is.
    pub status: u16,
    /// The answer came to its end.
    pub complete: bool,
    /// The answer was not read: compressed, or of an unknown kind. Only its bytes count.
    pub unread: bool,
    /// The usage that was reported and can be true.
    pub usage: Option<Usage>,
    /// Generated text came after that report.
    pub stale: bool,
    /// What flowed.
    pub observed: Observed,
    /// The answer holds an error and nothing else.
    pub error_only: bool,
    /// `response.code_details` at the end; not asked for where an answer is complete.
    pub details: Option<String>,
    /// An endpoint had been chosen.
    pub upstream: bool,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// 4xx, except 429.
    ClientError,
    /// 429.
    RateLimited,
    /// 5xx, except 504, or 200 with only an error.
    ServerError,
    /// Reset after the request was forwarded.
    Reset,
    /// No answer in time, or 504.
    Timeout,
    /// The client left.
    Abandoned,
}

/// What a stream is settled on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing reached an upstream.
    NeverSent,
    /// It failed, and nothing that was generated came back.
    Failed(Failure),
    /// Complete, and nothing that was generated came back.
    Unobserved,
    /// This was used, as reported or observed.
    Used(Used),
    /// The answer cannot be read; only its bytes are known.
    Unreadable {
        /// Bytes of the answer.
        bytes: u64,
        /// The answer came to its end.
        complete: bool,
    },
}

/// What was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The upstream's report.
    pub usage: Option<Usage>,
    /// Bytes of generated text.
    pub text_bytes: u64,
    /// Bytes of the parts that could not be read.
    pub unread_bytes: u64,
    /// The answer came to its end, and the report, if there is one, came no sooner than its text.
    pub complete: bool,
}

impl Used {
    /// Whether the report tells all of it: it is the last one, and does not deny the text that flowed.
    fn report_is_complete(&self) -> bool {
        let denies = |usage: Usage| !usage.tells_output();
        self.complete && !(self.text_bytes > 0 && self.usage.is_some_and(denies))
    }
}

/// What the proxy says when nothing reached an upstream. With a reset it is the reason in braces that counts.
const NEVER_SENT: [&str; 8] = [
    "direct_response",
    "route_not_found",
    "route_configuration_not_found",
    "cluster_not_found",
    NO_ENDPOINT,
    "maintenance_mode",
    "overload",
    "drop_overload",
];
/// What it says when it gave up waiting.
const TIMED_OUT: [&str; 5] = [
    "response_timeout",
    "upstream_per_try_timeout",
    "upstream_per_try_idle_timeout",
    "upstream_max_stream_duration_reached",
    "stream_idle_timeout",
];
const RESET_BEFORE: &str = "upstream_reset_before_response_started";
const RESET_AFTER: &str = "upstream_reset_after_response_started";
/// Reasons of a reset before a byte of the request was sent.
const NOT_CONNECTED: [&str; 4] = [
    "connection_failure",
    "connection_timeout",
    "connect_timeout",
    OVERFLOW,
];
/// A limit of the proxy's own.
const OVERFLOW: &str = "overflow";
/// The cluster has no healthy endpoint.
const NO_ENDPOINT: &str = "no_healthy_upstream";

impl Seen {
    /// What the stream is settled on.
    #[must_use]
    pub fn ending(&self) -> Ending {
        if self.answered == Answered::Upstream {
            return self.answer();
        }
        let details = self.details.as_deref().unwrap_or_default();
        if never_sent(details) {
            return Ending::NeverSent;
        }
        // Connected or not, the request may have been sent.
        if self.status == 504 || TIMED_OUT.contains(&details) {
            return Ending::Failed(Failure::Timeout);
        }
        if !self.upstream {
            return Ending::NeverSent;
        }
        Ending::Failed(self.cut())
    }

    fn answer(&self) -> Ending {
        let Observed {
            text_bytes,
            unread_bytes,
            bytes,
        } = self.observed;
        let failure = match self.status {
            429 => Some(Failure::RateLimited),
            504 => Some(Failure::Timeout),
            400..500 => Some(Failure::ClientError),
            500.. => Some(Failure::ServerError),
            _ if self.error_only => Some(Failure::ServerError),
            _ => None,
        };
        if self.usage.is_some() || text_bytes > 0 {
            return Ending::Used(Used {
                usage: self.usage,
                text_bytes,
                unread_bytes: if failure.is_some() { 0 } else { unread_bytes },
                complete: self.complete && !self.stale,
            });
        }
        if let Some(failure) = failure {
            return Ending::Failed(failure);
        }
        let unread = if self.unread { bytes } else { unread_bytes };
        if unread > 0 {
            return Ending::Unreadable {
                bytes: unread,
                complete: self.complete,
            };
        }
        match self.complete {
            true => Ending::Unobserved,
            false => Ending::Failed(self.cut()),
        }
    }

    /// Why an answer did not come to its end.
    fn cut(&self) -> Failure {
        let details = self.details.as_deref().unwrap_or_default();
        if details.starts_with(RESET_BEFORE) || details.starts_with(RESET_AFTER) {
            Failure::Reset
        } else if TIMED_OUT.contains(&details) {
            Failure::Timeout
        } else {
            Failure::Abandoned
        }
    }
}

fn never_sent(details: &str) -> bool {
    match details.strip_prefix(RESET_BEFORE) {
        Some(reason) => NOT_CONNECTED.iter().any(|r| reason.contains(r)),
        None => NEVER_SENT.contains(&details),
    }
}

/// Whether the request reached no server: there was no endpoint, or no connection to one. A limit of the proxy itself (circuit
/// breaker) does not count.
pub(crate) fn unreachable(details: &str) -> bool {
    match details.strip_prefix(RESET_BEFORE) {
        Some(reason) => never_sent(details) && !reason.contains(OVERFLOW),
        None => details == NO_ENDPOINT,
    }
}

impl Failure {
    /// The metric label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Ending {
    /// The metric label value.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NeverSent => "never_sent",
            Self::Failed(failure) => failure.as_str(),
            Self::Unobserved => "unobserved",
            Self::Used(Used { usage: Some(_), .. }) => "usage",
            Self::Used(_) => "observed",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

impl Charge {
    /// What this bucket is finally charged, in cells; `reserved` are those it holds. `elapsed` are the tokens per sequence that
    /// the model version generates in the time that passed, if its speed is known.
    pub(crate) fn used(&self, ending: &Ending, reserved: u64, elapsed: Option<u64>) -> u64 {
        let limit = &self.limit;
        let keeps = limit.settle_on == SettleOn::Reservation;
        match *ending {
            Ending::NeverSent => 0,
            Ending::Failed(failure) => self.failed(limit.on(failure), reserved, elapsed),
            _ if keeps => reserved,
            Ending::Unobserved => self.prompt(reserved),
            Ending::Used(used) => self.measured(&used, reserved),
            Ending::Unreadable { bytes, complete } => self.unreadable(reserved, bytes, complete),
        }
    }

    /// Tokens of the prompt and of the output, as they are charged.
    pub(crate) fn used_tokens(&self, used: &Used) -> (u64, u64) {
        let observed = self.observed(used);
        match used.usage {
            Some(usage) if used.report_is_complete() => {
                (usage.input.unwrap_or(self.input), self.output(usage))
            }
            Some(usage) => {
                let input = usage.input.unwrap_or(self.input);
                (input, self.output(usage).max(observed))
            }
            None => (self.input, observed),
        }
    }

    fn measured(&self, used: &Used, reserved: u64) -> u64 {
        let reported = used.usage.map(|usage| self.reported(usage));
        if let (Some(reported), true) = (reported, used.report_is_complete()) {
            return reported;
        }
        if used.unread_bytes > 0 && self.limit.unreadable == Unreadable::Reservation {
            return reserved;
        }
        let observed = self.price(self.input, self.observed(used));
        observed.max(reported.unwrap_or_default())
    }

    /// Tokens of the bytes that flowed. Bytes are an estimate, so without reported usage the body's limit caps them: the upstream
    /// stops there.
    fn observed(&self, used: &Used) -> u64 {
        let tokens = self.tokens(used.text_bytes.saturating_add(used.unread_bytes));
        match (used.usage, self.most) {
            (None, Some(most)) => tokens.min(most),
            _ => tokens,
        }
    }

    /// A report of usage: a prompt that it leaves out was sent all the same, and a total above both parts is what counts.
    fn reported(&self, usage: Usage) -> u64 {
        let input = usage.input.unwrap_or(self.input);
        self.price(input, self.output(usage))
    }

    /// The output of a report, given the estimate of a prompt that it leaves out.
    pub(crate) fn output(&self, usage: Usage) -> u64 {
        let input = usage.input.unwrap_or(self.input);
        let rest = usage.total.unwrap_or_default().saturating_sub(input);
        usage.output.max(rest)
    }

    #[cold]
    fn failed(&self, charge: FailureCharge, reserved: u64, elapsed: Option<u64>) -> u64 {
        match (charge, elapsed) {
            (FailureCharge::Nothing, _) => 0,
            (FailureCharge::Prompt, _) => self.prompt(reserved),
            (FailureCharge::Elapsed, Some(tokens)) => self
                .price(self.input, tokens.saturating_mul(self.n))
                .min(reserved),
            (FailureCharge::Reservation | FailureCharge::Elapsed, _) => reserved,
        }
    }

    #[cold]
    fn unreadable(&self, reserved: u64, bytes: u64, complete: bool) -> u64 {
        if self.limit.unreadable == Unreadable::Reservation {
            return reserved;
        }
        let least = match complete {
            true => 0,
            false => self.prompt(reserved),
        };
        self.price(self.input, self.tokens(bytes)).max(least)
    }

    /// The prompt alone; `semantic` has no price for it.
    fn prompt(&self, reserved: u64) -> u64 {
        match self.limit.pricing {
            Pricing::Tokens { .. } => self.price(self.input, 0),
            Pricing::Semantic { .. } => reserved,
        }
    }

    fn tokens(&self, bytes: u64) -> u64 {
        tokens_of_bytes(bytes, self.limit.bytes_per_token)
    }

    fn price(&self, input: u64, output: u64) -> u64 {
        let work = Work {
            input,
            output,
            n: self.n,
        };
        let quote = self
            .limit
            .pricing
            .quote(work, self.temperature, self.percent);
        quote.cells(self.limit.rule.window())
    }
}

/// What a bucket charges for a failure.
pub(crate) fn charge_of(
    failure: Failure,
    on: &OnFailure,
    abandoned: FailureCharge,
) -> FailureCharge {
    match failure {
        Failure::ClientError => on.client_error,
        Failure::RateLimited => on.rate_limited,
        Failure::ServerError => on.server_error,
        Failure::Reset => on.reset,
        Failure::Timeout => on.timeout,
        Failure::Abandoned => abandoned,
    }
}
