//! The end of a stream → the final charge of each of its buckets. It is decided once, when the stream ends.
//!
//! ```text
//! never sent, connect refused, answered by the proxy      nothing
//! usage or generated text, with any status                the usage; the text, if no usage is reported;
//!                                                         the greater of both, if the stream was cut
//! an answer that cannot be read                           its bytes, or the reservation: `unreadable`
//! 4xx, 429, 5xx, 200 with only an error, reset, 504       `onFailure`
//! the client disconnected before anything was generated   `abandoned`
//! complete and empty                                      the prompt; in `semantic` the reservation
//! ```
//!
//! Bytes of generated text and of unreadable parts become tokens by `bytesPerToken`. Without reported usage, text counts at
//! most what the body allows (`max_tokens`).
//!
//! Where an endpoint generates nothing (embeddings), only the prompt is charged: the usage if it is reported, else the
//! estimate, whatever the bytes of the answer. `semantic` has no price for a prompt, so its reservation stands.

use headgate_contract::{FailureCharge, Unreadable};
use headgate_dialect::{Observed, Usage};

use crate::cost::{Parts, Pricing, Work, tokens_of_bytes};
use crate::failure::Failure;
use crate::headers::Headers;
use crate::limit::Charge;

/// The source of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnsweredBy {
    /// No response headers arrived.
    #[default]
    Nobody,
    /// The proxy itself.
    Proxy,
    /// The upstream.
    Upstream,
}

/// The record of a stream whose request was forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRecord {
    /// The source of the answer.
    pub answered_by: AnsweredBy,
    /// HTTP status; 0 if it is unknown, which is charged like a success.
    pub status: u16,
    /// The answer is complete.
    pub complete: bool,
    /// The answer was not read, because it is compressed. Only its bytes count.
    pub unread: bool,
    /// The usage that was reported, as far as it can be true.
    pub usage: Option<Usage>,
    /// Generated text came after that report.
    pub stale: bool,
    /// The observed part of the answer.
    pub observed: Observed,
    /// The answer is an error and nothing else.
    pub error_only: bool,
    /// `response.code_details` at the end. Not read if the answer is complete.
    pub details: Option<String>,
    /// The proxy had chosen an upstream endpoint.
    pub upstream: bool,
    /// The outcome of a gRPC request, which its HTTP status does not tell.
    pub grpc: Option<GrpcOutcome>,
}

/// The outcome of a gRPC request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcOutcome {
    /// There was no `grpc-status` yet.
    Open,
    /// The `grpc-status`.
    Status(u8),
}

impl GrpcOutcome {
    /// The outcome in these headers or trailers. A status that is no number is `UNKNOWN` (2).
    #[must_use]
    pub fn of(headers: &Headers) -> Self {
        match headers.text("grpc-status") {
            None => Self::Open,
            Some(status) => Self::Status(status.parse().unwrap_or(2)),
        }
    }

    /// The HTTP status with the same meaning, as in `google/rpc/code.proto`; `None` before the outcome is known.
    fn http(self) -> Option<u16> {
        let Self::Status(status) = self else {
            return None;
        };
        Some(match status {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        })
    }
}

/// The basis of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettlementBasis {
    /// Nothing reached an upstream.
    NeverSent,
    /// The request failed, without generated text or usage.
    Failed(Failure),
    /// The answer is complete, without generated text or usage.
    Unobserved,
    /// The use that was reported or observed.
    Used(Used),
    /// The answer cannot be read; only its bytes are known.
    Unreadable {
        /// Bytes of the answer.
        bytes: u64,
        /// The answer is complete.
        complete: bool,
    },
}

/// The use of a request, reported and observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The upstream's report.
    pub usage: Option<Usage>,
    /// Bytes of generated text.
    pub text_bytes: u64,
    /// Bytes of the parts that could not be read.
    pub unread_bytes: u64,
    /// The answer is complete, and no text came after the last report, if there is one.
    pub complete: bool,
}

impl Used {
    /// Whether the report covers everything: it is the last one, and reports output if generated text was observed.
    fn report_is_complete(&self, generates: bool) -> bool {
        let text = generates && self.text_bytes > 0;
        let denies = |usage: Usage| !usage.reports_output();
        self.complete && !(text && self.usage.is_some_and(denies))
    }
}

/// Response code details when nothing reached an upstream. (After a reset, the reason in braces decides.)
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
/// Response code details when the proxy stopped waiting.
const TIMED_OUT: [&str; 5] = [
    "response_timeout",
    "upstream_per_try_timeout",
    "upstream_per_try_idle_timeout",
    "upstream_max_stream_duration_reached",
    "stream_idle_timeout",
];
const RESET_BEFORE: &str = "upstream_reset_before_response_started";
const RESET_AFTER: &str = "upstream_reset_after_response_started";
/// Reasons of a reset before any byte of the request was sent.
const NOT_CONNECTED: [&str; 4] = [
    "connection_failure",
    "connection_timeout",
    "connect_timeout",
    OVERFLOW,
];
/// A limit of the proxy itself.
const OVERFLOW: &str = "overflow";
/// The cluster has no healthy endpoint.
const NO_ENDPOINT: &str = "no_healthy_upstream";

impl StreamRecord {
    /// The basis of the settlement.
    #[must_use]
    pub fn basis(&self) -> SettlementBasis {
        if self.answered_by == AnsweredBy::Upstream {
            return self.answer();
        }
        let details = self.details.as_deref().unwrap_or_default();
        if never_sent(details) {
            return SettlementBasis::NeverSent;
        }
        // Without a known connection too, the request may have been sent.
        if self.status == 504 || TIMED_OUT.contains(&details) {
            return SettlementBasis::Failed(Failure::Timeout);
        }
        if !self.upstream {
            return SettlementBasis::NeverSent;
        }
        SettlementBasis::Failed(self.cut())
    }

    fn answer(&self) -> SettlementBasis {
        let Observed {
            text_bytes,
            unread_bytes,
            bytes,
        } = self.observed;
        let grpc = self.grpc.and_then(GrpcOutcome::http);
        let complete = self.complete && self.grpc.is_none_or(|_| grpc.is_some());
        let failure = match grpc.unwrap_or(self.status) {
            429 => Some(Failure::RateLimited),
            504 => Some(Failure::Timeout),
            400..500 => Some(Failure::ClientError),
            500.. => Some(Failure::ServerError),
            _ if self.error_only => Some(Failure::ServerError),
            _ => None,
        };
        if self.usage.is_some() || text_bytes > 0 {
            return SettlementBasis::Used(Used {
                usage: self.usage,
                text_bytes,
                unread_bytes: if failure.is_some() { 0 } else { unread_bytes },
                complete: complete && !self.stale,
            });
        }
        if let Some(failure) = failure {
            return SettlementBasis::Failed(failure);
        }
        let unread = if self.unread { bytes } else { unread_bytes };
        if unread > 0 {
            return SettlementBasis::Unreadable {
                bytes: unread,
                complete,
            };
        }
        match complete {
            true => SettlementBasis::Unobserved,
            false => SettlementBasis::Failed(self.cut()),
        }
    }

    /// The reason why an answer is incomplete.
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
        Some(reason) => NOT_CONNECTED.iter().any(|known| mentions(reason, known)),
        None => NEVER_SENT.contains(&details),
    }
}

/// Whether no server was reached: there was no endpoint, or no connection to one. A limit of the proxy itself (a circuit
/// breaker) does not count.
pub(crate) fn unreachable(details: &str) -> bool {
    match details.strip_prefix(RESET_BEFORE) {
        Some(reason) => never_sent(details) && !mentions(reason, OVERFLOW),
        None => details == NO_ENDPOINT,
    }
}

/// Whether a text contains another. (The search of the standard library is for long texts, and takes much more code.)
fn mentions(text: &str, part: &str) -> bool {
    let mut parts = text.as_bytes().windows(part.len());
    parts.any(|window| window == part.as_bytes())
}

impl SettlementBasis {
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
    /// The final charge, in cells. `reserved`: the cells of the reservation. `elapsed`: the tokens for each sequence that the
    /// version generates in the elapsed time, if its speed is known.
    pub(crate) fn used(&self, basis: &SettlementBasis, reserved: u64, elapsed: Option<u64>) -> u64 {
        let limit = &self.limit;
        match *basis {
            SettlementBasis::NeverSent => 0,
            SettlementBasis::Failed(failure) => self.failed(limit.on(failure), reserved, elapsed),
            _ if self.keeps => reserved,
            SettlementBasis::Unobserved => self.prompt(reserved),
            SettlementBasis::Used(used) => self.measured(&used, reserved),
            SettlementBasis::Unreadable { bytes, complete } => {
                self.unreadable(reserved, bytes, complete)
            }
        }
    }

    /// The tokens that were used, by class.
    pub(crate) fn used_tokens(&self, used: &Used) -> Work {
        let mut work = self.reported(used.usage);
        if used.usage.is_none() || !used.report_is_complete(self.generates) {
            work.output = work.output.max(self.observed(used));
        }
        work
    }

    fn measured(&self, used: &Used, reserved: u64) -> u64 {
        if !self.generates && matches!(self.pricing, Pricing::Semantic { .. }) {
            return reserved;
        }
        let reported = self.reported(used.usage);
        let price = used.usage.map(|_| self.price_of(reported));
        if let (Some(price), true) = (price, used.report_is_complete(self.generates)) {
            return price;
        }
        if used.unread_bytes > 0 && self.limit.unreadable == Unreadable::Reservation {
            return reserved;
        }
        // The parts that were reported are parts of the estimate, too. Anthropic reports the prompt and the first output at the
        // beginning of a stream, so a stream that is cut has them.
        let early = used.usage.filter(Usage::reports_output);
        let observed = Work {
            input: early.and_then(|usage| usage.input).unwrap_or(self.input),
            output: self.observed(used),
            ..reported
        };
        self.price_of(observed).max(price.unwrap_or_default())
    }

    /// The tokens of the bytes that were observed. Bytes are only an estimate, so without reported usage the limit in the body
    /// caps them: the upstream stops there.
    fn observed(&self, used: &Used) -> u64 {
        if !self.generates {
            return 0;
        }
        let tokens = self.tokens(used.text_bytes.saturating_add(used.unread_bytes));
        match (used.usage, self.most) {
            (None, Some(most)) => tokens.min(most),
            _ => tokens,
        }
    }

    /// The tokens in a report. If it leaves out the prompt, the estimate counts. A total above both parts counts.
    fn reported(&self, usage: Option<Usage>) -> Work {
        let usage = usage.unwrap_or_default();
        let input = usage.input.unwrap_or(self.input);
        let rest = usage.total.unwrap_or_default().saturating_sub(input);
        Work {
            parts: Parts::of(&usage),
            ..self.work(input, usage.output.max(rest))
        }
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
        if !self.generates {
            return self.prompt(reserved);
        }
        if self.limit.unreadable == Unreadable::Reservation {
            return reserved;
        }
        let least = match complete {
            true => 0,
            false => self.prompt(reserved),
        };
        self.price(self.input, self.tokens(bytes)).max(least)
    }

    /// The price of the prompt alone. `semantic` has none, so the reservation stands.
    fn prompt(&self, reserved: u64) -> u64 {
        match self.pricing {
            Pricing::Tokens { .. } => self.price(self.input, 0),
            Pricing::Semantic { .. } => reserved,
        }
    }

    fn tokens(&self, bytes: u64) -> u64 {
        tokens_of_bytes(bytes, self.limit.bytes_per_token)
    }

    /// The price of tokens of which no parts are known, in cells.
    pub(crate) fn price(&self, input: u64, output: u64) -> u64 {
        self.price_of(self.work(input, output))
    }

    fn work(&self, input: u64, output: u64) -> Work {
        Work {
            input,
            output,
            n: self.n,
            parts: Parts::default(),
        }
    }

    fn price_of(&self, work: Work) -> u64 {
        let quote = self.pricing.quote(work, self.temperature, self.percent);
        quote.cells(self.rule.window())
    }
}
