//! Headers and body → facts: what is known about a request before anything is decided.
//!
//! The body wins over the header, field by field. Where the body has no value, or is not read, `x-max-tokens` and
//! `x-temperature` may raise the reservation above the default. They never lower it, because the upstream reads only the
//! body. Values in headers have the same bounds as in the body. A header with an invalid value is refused, never ignored.

use headgate_contract::{DefaultMaxTokens, MAX_TOKENS, names};
use headgate_dialect::{Body, Endpoint};

use crate::endpoint::PathNames;
use crate::headers::Headers;
use crate::refusal::Refusal;

/// Greatest temperature in millionths, as in a body.
const MAX_TEMPERATURE: u64 = 10_000_000;
/// Longest model name in a header, as in a body.
const MAX_NAME: usize = 1024;

/// Default temperature, in millionths.
const TEMPERATURE: u64 = 1_000_000;

/// The known properties of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The endpoint.
    pub endpoint: &'static Endpoint,
    /// The model's name in the path.
    pub path_model: Option<&'a str>,
    /// The model's name in the body.
    pub body_model: Option<&'a str>,
    /// The model's name in the header `x-model`.
    pub header_model: Option<&'a str>,
    /// Most tokens to generate for each sequence, by the body.
    pub max_tokens: Option<u64>,
    /// The same by the header `x-max-tokens`. It raises the default if the body has no value.
    pub announced: Option<u64>,
    /// The number of sequences to generate; 1 if the request does not give it.
    pub n: u64,
    /// The number of prompts, each of which generates `n / prompts` sequences.
    pub prompts: u64,
    /// In millionths: the temperature in the body, else the greater of 1 and the header.
    pub temperature: u64,
    /// Bytes of the prompt; 0 if the body is not read.
    pub prompt_bytes: u64,
    /// Prompt tokens beside `prompt_bytes`: token ids, pictures, sounds, files.
    pub prompt_tokens: u64,
}

impl<'a> Facts<'a> {
    /// Reads the facts.
    ///
    /// # Errors
    /// A header is given twice with different values, or has an invalid value.
    pub fn read(
        endpoint: &'static Endpoint,
        headers: &'a Headers,
        body: Option<&'a Body>,
        names: &'a PathNames,
    ) -> Result<Self, Box<Refusal>> {
        let header_model = header_model(headers)?;
        let announced = whole(headers, names::HEADER_MAX_TOKENS)?;
        let temperature = decimal(headers, names::HEADER_TEMPERATURE)?;
        let body_of = |pick: fn(&Body) -> Option<u64>| body.and_then(pick);
        Ok(Self {
            endpoint,
            path_model: names.model.as_deref(),
            body_model: body.and_then(|b| b.model.as_deref()),
            header_model,
            max_tokens: body_of(|b| b.max_tokens),
            announced,
            n: body_of(|b| b.n).unwrap_or(1).max(1),
            prompts: body_of(|b| b.prompts).unwrap_or(1).max(1),
            temperature: body_of(|b| b.temperature)
                .unwrap_or(TEMPERATURE.max(temperature.unwrap_or_default())),
            prompt_bytes: body.map_or(0, |b| b.prompt_bytes),
            prompt_tokens: body.map_or(0, |b| b.prompt_tokens),
        })
    }

    /// The model's name as the client wrote it: in the path, else in the body, else in the header.
    #[must_use]
    pub fn model(&self) -> Option<&'a str> {
        self.named_model().or(self.header_model)
    }

    /// The model's name in the request itself: in the path, else in the body. (Servers ignore the body where the path names the model.)
    #[must_use]
    pub fn named_model(&self) -> Option<&'a str> {
        self.path_model.or(self.body_model)
    }

    /// Most tokens that the request itself allows for each sequence; 0 if its endpoint generates nothing.
    pub(crate) fn output_limit(&self) -> Option<u64> {
        match self.endpoint.generates() {
            true => self.max_tokens,
            false => Some(0),
        }
    }

    /// Most tokens to generate for each sequence, given the model's default.
    #[must_use]
    pub fn output(&self, default: DefaultMaxTokens) -> MaxTokens {
        if let Some(tokens) = self.output_limit() {
            return MaxTokens {
                tokens,
                at_most_capacity: false,
            };
        }
        let tokens = u64::from(default.tokens());
        match self.announced {
            Some(announced) if announced > tokens => MaxTokens {
                tokens: announced,
                at_most_capacity: false,
            },
            _ => MaxTokens {
                tokens,
                at_most_capacity: matches!(default, DefaultMaxTokens::Context(_)),
            },
        }
    }
}

/// Most tokens that a request may generate for each sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxTokens {
    /// The number of tokens.
    pub tokens: u64,
    /// The number is a default: a bucket with a smaller capacity reserves its whole capacity.
    pub at_most_capacity: bool,
}

/// The value of a header; `None` if it is absent or empty.
///
/// # Errors
/// The header is given more than once with different values. Servers differ in which one they take.
pub fn single<'a>(headers: &'a Headers, name: &str) -> Result<Option<&'a [u8]>, Box<Refusal>> {
    let mut values = headers.get_all(name);
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != first) {
        return Err(disagrees(name));
    }
    Ok((!first.is_empty()).then_some(first))
}

#[cold]
fn disagrees(name: &str) -> Box<Refusal> {
    Box::new(Refusal::HeaderDisagrees { name: name.into() })
}

/// The refusal of a header with an invalid value.
#[cold]
pub(crate) fn invalid(name: &str, expected: &'static str) -> Box<Refusal> {
    Box::new(Refusal::HeaderInvalid {
        name: name.into(),
        expected,
    })
}

/// The model's name in the header `x-model`.
pub(crate) fn header_model(headers: &Headers) -> Result<Option<&str>, Box<Refusal>> {
    let name = names::HEADER_MODEL;
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    if value.len() > MAX_NAME {
        return Err(invalid(name, "at most 1024 bytes long"));
    }
    let text = std::str::from_utf8(value).map_err(|_| invalid(name, "valid UTF-8"))?;
    Ok(Some(text))
}

fn whole(headers: &Headers, name: &'static str) -> Result<Option<u64>, Box<Refusal>> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    match digits(value, 8) {
        Some(number) if (1..=u64::from(MAX_TOKENS)).contains(&number) => Ok(Some(number)),
        _ => Err(invalid(name, "a whole number between 1 and 10000000")),
    }
}

fn decimal(headers: &Headers, name: &'static str) -> Result<Option<u64>, Box<Refusal>> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    match millionths(value) {
        Some(number) if number <= MAX_TEMPERATURE => Ok(Some(number)),
        _ => Err(invalid(name, "a number between 0 and 10")),
    }
}

/// A number of at most `most` digits.
fn digits(text: &[u8], most: usize) -> Option<u64> {
    let sound = (1..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    sound.then(|| text.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

/// A decimal such as `12`, `0.7` or `1.25` in millionths, rounded half up.
#[inline(never)]
pub(crate) fn millionths(text: &[u8]) -> Option<u64> {
    let point = text.iter().position(|b| *b == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    let sound = (1..=32).contains(&fraction.len()) && fraction.iter().all(u8::is_ascii_digit);
    if !sound {
        return None;
    }
    let places: [u8; 7] = std::array::from_fn(|i| fraction.get(i).copied().unwrap_or(b'0'));
    let seven = digits(&places, 7)?;
    Some(digits(whole, 8)? * 1_000_000 + (seven + 5) / 10)
}
