//! The behaviour that the `x-mock-…` request headers ask for.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

/// The point at which to break the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortAfter {
    /// Before the response headers.
    Nothing,
    /// After this number of chunks.
    Chunks(u64),
}

/// How to break the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AbortWith {
    /// Close it: FIN.
    #[default]
    Close,
    /// Reset it: RST. The client may lose bytes that it has not read yet.
    Reset,
}

/// The usage to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// None.
    Omitted,
    /// The true numbers, except for those given here.
    Reported {
        /// Overrides `prompt_tokens`.
        prompt: Option<u64>,
        /// Overrides `completion_tokens`.
        completion: Option<u64>,
        /// Overrides the sum of the two reported numbers.
        total: Option<u64>,
        /// `prompt_tokens_details.cached_tokens`, reported only if given.
        cached: Option<u64>,
        /// `completion_tokens_details.reasoning_tokens`, reported only if given.
        reasoning: Option<u64>,
    },
}

impl Default for Usage {
    fn default() -> Self {
        Self::Reported {
            prompt: None,
            completion: None,
            total: None,
            cached: None,
            reasoning: None,
        }
    }
}

/// All settings that request headers can make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Behaviour {
    /// Number of tokens to produce per choice.
    pub tokens: Option<u64>,
    /// The text of one token.
    pub text: Option<String>,
    /// Delay before each chunk but the first.
    pub delay: Duration,
    /// Delay before the response headers.
    pub headers_delay: Duration,
    /// Number of chunks before the response stalls.
    pub stall_after: Option<u64>,
    /// When to break the connection, if at all.
    pub abort_after: Option<AbortAfter>,
    /// How to break it.
    pub abort_with: AbortWith,
    /// The status, if not 200.
    pub status: Option<StatusCode>,
    /// The usage to report.
    pub usage: Usage,
    /// Whether each event carries usage.
    pub continuous_usage: bool,
    /// Whether to compress the response.
    pub gzip: bool,
    /// Sizes in bytes of the pieces into which the response is split, repeated; none is zero.
    pub split: Vec<usize>,
    /// Bytes of padding in the usage event.
    pub pad_bytes: usize,
    /// Whether to send a trailer.
    pub trailers: bool,
    /// The name of a canned response to send.
    pub answer: Option<String>,
    /// The name under which the request is recorded.
    pub keep: Option<String>,
    /// The status for a body that has `stream_options`.
    pub refuse_stream_options: Option<StatusCode>,
}

impl Behaviour {
    /// Parses the headers of a request.
    ///
    /// # Errors
    /// A message that names the header.
    pub fn parse(headers: &HeaderMap) -> Result<Self, String> {
        let mut behaviour = Self::default();
        for (name, value) in headers {
            let Some(setting) = name.as_str().strip_prefix("x-mock-") else {
                continue;
            };
            std::str::from_utf8(value.as_bytes())
                .ok()
                .and_then(|value| behaviour.set(setting, value))
                .ok_or_else(|| format!("invalid value of {name}: {value:?}"))?;
        }
        Ok(behaviour)
    }

    /// Whether the response is sent in chunks; otherwise a complete response is one piece.
    pub(super) fn is_chunked(&self) -> bool {
        !self.delay.is_zero() || self.stall_after.is_some() || self.abort_after.is_some()
    }

    fn set(&mut self, setting: &str, value: &str) -> Option<()> {
        match setting {
            "tokens" => self.tokens = Some(value.parse().ok()?),
            "text" => self.text = Some(value.to_owned()),
            "delay-ms" => self.delay = Duration::from_millis(value.parse().ok()?),
            "headers-delay-ms" => self.headers_delay = Duration::from_millis(value.parse().ok()?),
            "stall-after" => self.stall_after = Some(value.parse().ok()?),
            "abort-after" => {
                self.abort_after = Some(match value {
                    "headers" => AbortAfter::Nothing,
                    chunks => AbortAfter::Chunks(chunks.parse().ok()?),
                });
            }
            "abort-with" => {
                self.abort_with = match value {
                    "close" => AbortWith::Close,
                    "reset" => AbortWith::Reset,
                    _ => return None,
                }
            }
            "status" => self.status = Some(parse_status(value)?),
            "usage" => self.usage = parse_usage(value)?,
            "continuous-usage" => self.continuous_usage = value.parse().ok()?,
            "gzip" => self.gzip = value.parse().ok()?,
            "split" => self.split = parse_split(value)?,
            "pad-bytes" => self.pad_bytes = value.parse().ok()?,
            "trailers" => self.trailers = value.parse().ok()?,
            "answer" => self.answer = Some(value.to_owned()),
            "keep" => self.keep = Some(value.to_owned()),
            "refuse-stream-options" => self.refuse_stream_options = Some(parse_status(value)?),
            _ => return None,
        }
        Some(())
    }
}

/// A final status; 1xx is not final.
fn parse_status(value: &str) -> Option<StatusCode> {
    let status: StatusCode = value.parse().ok()?;
    (status.as_u16() >= 200).then_some(status)
}

fn parse_split(value: &str) -> Option<Vec<usize>> {
    let sizes: Option<Vec<usize>> = value
        .split(',')
        .map(|size| size.trim().parse().ok().filter(|size| *size > 0))
        .collect();
    sizes.filter(|sizes| !sizes.is_empty())
}

fn parse_usage(value: &str) -> Option<Usage> {
    if value == "omit" {
        return Some(Usage::Omitted);
    }
    let (mut prompt, mut completion, mut total, mut cached, mut reasoning) =
        (None, None, None, None, None);
    for part in value.split(',') {
        let (name, number) = part.split_once('=')?;
        let number = Some(number.trim().parse().ok()?);
        match name.trim() {
            "prompt_tokens" => prompt = number,
            "completion_tokens" => completion = number,
            "total_tokens" => total = number,
            "cached_tokens" => cached = number,
            "reasoning_tokens" => reasoning = number,
            _ => return None,
        }
    }
    Some(Usage::Reported {
        prompt,
        completion,
        total,
        cached,
        reasoning,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(rows: &[(&'static str, &'static str)]) -> Result<Behaviour, String> {
        let headers = rows
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Behaviour::parse(&headers.collect())
    }

    #[test]
    fn the_error_for_an_invalid_header_names_it() {
        for (name, value) in [
            ("x-mock-tokens", "many"),
            ("x-mock-abort-after", "-1"),
            ("x-mock-abort-with", "grace"),
            ("x-mock-status", "99"),
            ("x-mock-usage", "prompt=1"),
            ("x-mock-split", "3,0"),
            ("x-mock-gzip", "yes"),
            ("x-mock-trailers", "1"),
            ("x-mock-refuse-stream-options", "yes"),
            ("x-mock-typo", "1"),
        ] {
            let why = parse(&[(name, value)]).unwrap_err();
            assert!(why.contains(name) && why.contains(value), "{why}");
        }
    }

    #[test]
    fn other_headers_are_ignored() {
        let behaviour = parse(&[("x-model", "m"), ("accept", "*/*")]).unwrap();
        assert_eq!(behaviour, Behaviour::default());
        assert!(!behaviour.is_chunked());
    }

    #[test]
    fn forged_usage_numbers_leave_the_others_unchanged() {
        let behaviour = parse(&[("x-mock-usage", "completion_tokens=7, cached_tokens=2")]).unwrap();
        let expected = Usage::Reported {
            prompt: None,
            completion: Some(7),
            total: None,
            cached: Some(2),
            reasoning: None,
        };
        assert_eq!(behaviour.usage, expected);
    }
}
