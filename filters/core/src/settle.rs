//! How a stream ended → what each of its buckets is finally charged. Decided once, where the stream ends.
//!
//! ```text
//! never sent, connect refused, answered before upstream   nothing
//! 504                                                     the reservation
//! usage reported                                          that
//! cut short                                               the larger of reported and observed flowing
//! complete without usage                                  what was observed flowing
//! sent, nothing observed; an error without usage          input (`tokens`), the reservation (`semantic`)
//! an answer that cannot be read                           by the bucket's policy, never nothing
//! the same, cut short                                     at least as sent, nothing observed
//! ```
//!
//! An upstream's 4xx or 5xx without usage is *sent, nothing observed*: its body is no generated text, and the
//! prompt was read. What was observed of an answer is its text, divided by `bytesPerToken`; of a stream the
//! larger of that and its deltas, for a delta is a token or, where a server batches, several.

use headgate_contract::{SettleOn, Unreadable};
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
    /// The answer could be read: known dialect, not compressed.
    pub readable: bool,
    /// It is a stream of events.
    pub streamed: bool,
    /// The usage last reported.
    pub usage: Option<Usage>,
    /// What flowed.
    pub observed: Observed,
    /// `response.code_details`, where the upstream did not answer.
    pub details: Option<String>,
    /// An endpoint had been chosen.
    pub upstream: bool,
}

/// What a stream is settled on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing reached an upstream.
    NeverSent,
    /// The upstream may still be working.
    Kept,
    /// Sent, and nothing that was generated came back.
    Unobserved,
    /// This was used, as reported or observed.
    Used {
        /// Prompt tokens, if they were reported.
        input: Option<u64>,
        /// Tokens generated, at least.
        output: u64,
        /// Bytes of the text generated, where that may say more than `output` does; else 0.
        text_bytes: u64,
        /// The upstream said so.
        reported: bool,
    },
    /// So many bytes came back, and nobody knows what they say.
    Unreadable {
        /// Bytes of the answer.
        bytes: u64,
        /// The answer came to its end.
        complete: bool,
    },
}

/// What the proxy says when nothing reached an upstream. With a reset it is the reason in braces that counts.
const NEVER_SENT: [&str; 8] = [
    "direct_response",
    "route_not_found",
    "route_configuration_not_found",
    "cluster_not_found",
    "no_healthy_upstream",
    "maintenance_mode",
    "overload",
    "drop_overload",
];
/// What it says when it gave up waiting, which is a 504: connected or not, it may have been sent.
const TIMED_OUT: [&str; 4] = [
    "response_timeout",
    "upstream_per_try_timeout",
    "upstream_per_try_idle_timeout",
    "upstream_max_stream_duration_reached",
];
const RESET: &str = "upstream_reset_before_response_started{";
/// Reasons of a reset before a byte of the request was sent.
const NOT_CONNECTED: [&str; 4] = [
    "connection_failure",
    "connection_timeout",
    "connect_timeout",
    "overflow",
];

impl Seen {
    /// What the stream is settled on.
    #[must_use]
    pub fn ending(&self) -> Ending {
        if self.status == 504 && self.usage.is_none() {
            return Ending::Kept;
        }
        if self.answered == Answered::Upstream {
            return self.answer();
        }
        let details = self.details.as_deref().unwrap_or_default();
        if TIMED_OUT.contains(&details) {
            return Ending::Kept;
        }
        if never_sent(details) || !self.upstream {
            return Ending::NeverSent;
        }
        Ending::Unobserved
    }

    fn answer(&self) -> Ending {
        let Observed {
            text_bytes, bytes, ..
        } = self.observed;
        if let Some(usage) = self.usage {
            // Of a stream that was cut, the report may be an early one.
            let cut = self.streamed && !self.complete;
            return Ending::Used {
                input: usage.input,
                output: usage.output,
                text_bytes: if cut { text_bytes } else { 0 },
                reported: true,
            };
        }
        match self.status {
            0 | 200..300 if !self.readable && bytes > 0 => Ending::Unreadable {
                bytes,
                complete: self.complete,
            },
            0 | 200..300 if text_bytes > 0 => Ending::Used {
                input: None,
                output: 0,
                text_bytes,
                reported: false,
            },
            _ => Ending::Unobserved,
        }
    }
}

fn never_sent(details: &str) -> bool {
    match details.strip_prefix(RESET) {
        Some(reason) => NOT_CONNECTED.iter().any(|r| reason.contains(r)),
        None => NEVER_SENT.contains(&details),
    }
}

impl Ending {
    /// As metrics say it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NeverSent => "never_sent",
            Self::Kept => "kept",
            Self::Unobserved => "unobserved",
            Self::Used { reported: true, .. } => "usage",
            Self::Used { .. } => "observed",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

impl Charge {
    /// What this bucket is finally charged, in cells; `reserved` are those it holds.
    pub(crate) fn used(&self, ending: &Ending, reserved: u64) -> u64 {
        let limit = &self.limit;
        let keeps = limit.settle_on == SettleOn::Reservation;
        let tokens = |bytes: u64| tokens_of_bytes(bytes, limit.bytes_per_token);
        match *ending {
            Ending::NeverSent => 0,
            _ if keeps => reserved,
            Ending::Kept => reserved,
            Ending::Unobserved => self.unobserved(reserved),
            Ending::Used {
                input,
                output,
                text_bytes,
                ..
            } => self.price(input.unwrap_or(self.input), output.max(tokens(text_bytes))),
            Ending::Unreadable { bytes, complete } => self.unreadable(reserved, bytes, complete),
        }
    }

    #[cold]
    fn unreadable(&self, reserved: u64, bytes: u64, complete: bool) -> u64 {
        if self.limit.unreadable == Unreadable::Reservation {
            return reserved;
        }
        let least = match complete {
            true => 0,
            false => self.unobserved(reserved),
        };
        let output = tokens_of_bytes(bytes, self.limit.bytes_per_token);
        self.price(self.input, output).max(least)
    }

    /// Sent, and nothing seen of what was generated.
    fn unobserved(&self, reserved: u64) -> u64 {
        match self.limit.pricing {
            Pricing::Tokens { .. } => self.price(self.input, 0),
            Pricing::Semantic { .. } => reserved,
        }
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
