//! The request line → the treatment of a request. The first step of a request.
//!
//! Servers read a path more liberally than an exact comparison does. So repeated slashes, `.` and `..` segments and
//! percent-encoding are undone first: an unusual spelling of a path is not an unmetered path.

use std::borrow::Cow;

use headgate_contract::names;
use headgate_dialect::{Dialect, Endpoint, models_path};

/// The basis of the decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Its body and its headers. It is for this endpoint, whose bodies are read.
    Body(&'static Endpoint),
    /// Its headers alone: a serving path whose bodies are not read. `known`: models are known to serve the path.
    Headers {
        /// The endpoint, by whose format the answer is read.
        endpoint: &'static Endpoint,
        /// The path is in a table of paths.
        known: bool,
    },
    /// It asks for the list of models, or for one of them. The filter answers it in this dialect.
    Models(&'static Dialect),
    /// A health check: routed by its headers, not metered.
    Health,
    /// A CORS preflight whose origin no policy allows.
    Preflight,
    /// A known path that accepts other methods.
    WrongMethod {
        /// The methods that it accepts, as in the header `allow`.
        allow: &'static str,
    },
    /// Not a serving path. It passes through, and only tags that the client sent are removed.
    Other,
}

impl Class {
    /// The endpoint of the request.
    pub(crate) fn endpoint(self) -> &'static Endpoint {
        match self {
            Self::Body(endpoint) | Self::Headers { endpoint, .. } => endpoint,
            _ => Endpoint::unknown(),
        }
    }

    /// The dialect of the answers that the filter itself gives.
    pub(crate) fn dialect(self) -> &'static Dialect {
        match self {
            Self::Models(dialect) => dialect,
            _ => self.endpoint().dialect(),
        }
    }
}

const POST: &str = "POST";
const GET: &str = "GET, HEAD";

/// Classifies a request. `preflight`: it has the header `access-control-request-method`.
#[must_use]
pub fn classify(method: &[u8], path: &[u8], preflight: bool) -> Class {
    let plain = normalize(path);
    // Routes match health checks as they were sent.
    let health = names::HEALTH_PATHS
        .iter()
        .any(|path| path.as_bytes() == &*plain);
    let plain = trimmed(&plain);
    if !health && !serving(plain) {
        return Class::Other;
    }
    if preflight && method == b"OPTIONS" {
        return Class::Preflight;
    }
    if health {
        return match method {
            b"GET" | b"HEAD" => Class::Health,
            _ => Class::WrongMethod { allow: GET },
        };
    }
    match (method, Endpoint::of_path(plain)) {
        (b"POST", Some(endpoint)) if endpoint.reads_body() => Class::Body(endpoint),
        (b"POST", Some(endpoint)) => Class::Headers {
            endpoint,
            known: true,
        },
        (_, Some(_)) => Class::WrongMethod { allow: POST },
        (_, None) => without_endpoint(method, plain),
    }
}

/// Classifies a request for a path that is no endpoint.
#[inline(never)]
fn without_endpoint(method: &[u8], plain: &[u8]) -> Class {
    match (method, models_path(plain)) {
        (b"GET" | b"HEAD", Some((dialect, _))) => Class::Models(dialect),
        (_, Some(_)) => Class::WrongMethod { allow: GET },
        (_, None) => Class::Headers {
            endpoint: Endpoint::unknown(),
            // Under the other prefixes, the model's name is part of every path.
            known: !matches!(plain, b"/v1" | [b'/', b'v', b'1', b'/', ..]),
        },
    }
}

/// Whether a plain path is under one of the serving prefixes, by whole segments.
fn serving(plain: &[u8]) -> bool {
    let plain = plain.strip_prefix(b"/").unwrap_or(plain);
    names::SERVING_PREFIXES.iter().any(|prefix| {
        let prefix = prefix.as_bytes();
        let prefix = prefix.strip_prefix(b"/").unwrap_or(prefix);
        let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
        let rest = plain.strip_prefix(prefix);
        rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    })
}

/// The path without slashes at its end.
fn trimmed(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

/// The model that a path asks for, as it was sent; empty if it asks for all of them. Names may have slashes, encoded or not.
pub(crate) fn model_of(path: &[u8]) -> String {
    let plain = normalize(path);
    let name = models_path(trimmed(&plain)).map_or(&[][..], |(_, name)| name);
    String::from_utf8_lossy(name).into_owned()
}

/// The path without its query, decoded, with each segment once. It may still end with a slash.
fn normalize(path: &[u8]) -> Cow<'_, [u8]> {
    let end = path.iter().position(|b| matches!(b, b'?' | b'#'));
    let path = &path[..end.unwrap_or(path.len())];
    let mut before = 0;
    let odd = |&byte: &u8| {
        let odd = matches!(byte, b'%' | b'\\') || (before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
        odd
    };
    if path.iter().any(odd) {
        return Cow::Owned(resolve(&decode(path)).into_bytes());
    }
    Cow::Borrowed(path)
}

fn resolve(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The text without percent-encoding, with `\u{fffd}` in place of what is not UTF-8.
pub(crate) fn decode(path: &[u8]) -> String {
    let hex = |b: u8| char::from(b).to_digit(16);
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let pair = match (*byte, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|d| (d, after)),
            _ => None,
        };
        if let Some(((high, low), after)) = pair {
            out.push((high << 4 | low) as u8);
            rest = after;
        } else {
            out.push(*byte);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
