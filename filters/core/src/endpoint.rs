//! Request line → which treatment a request gets. First step of a request.
//!
//! Servers read a path more liberally than an exact comparison does: repeated slashes, `.` and `..` segments
//! and percent-encoding are undone first, so that an oddly spelt path is not an unmetered one.

use std::borrow::Cow;

use headgate_contract::names;
use headgate_dialect::Endpoint;

const MODELS: &[u8] = b"/v1/models";

/// Paths that generate when posted to, and whose bodies are not read.
const POSTED: [&[u8]; 13] = [
    b"/v1/embeddings",
    b"/v1/responses",
    b"/v1/messages",
    b"/v1/messages/count_tokens",
    b"/v1/rerank",
    b"/v1/score",
    b"/v1/moderations",
    b"/v1/audio/speech",
    b"/v1/audio/transcriptions",
    b"/v1/audio/translations",
    b"/v1/images/generations",
    b"/v1/images/edits",
    b"/v1/images/variations",
];

/// What decides about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Its body, in the dialect of this endpoint.
    Body(Endpoint),
    /// Its headers alone: a serving path whose bodies are not read. `known`: the path is one that models serve.
    Headers {
        /// The path is in the table of APIs.
        known: bool,
    },
    /// Nothing: it asks for the models, or for one of them, which the filter answers.
    Models,
    /// A health check: routed by headers, not metered.
    Health,
    /// A CORS preflight whose origin no policy allows.
    Preflight,
    /// A known path that answers other methods.
    WrongMethod {
        /// The methods it answers, as the header `allow` lists them.
        allow: &'static str,
    },
    /// Not a serving path: passed through, only tags the client sent are stripped.
    Other,
}

const POST: &str = "POST";
const GET: &str = "GET, HEAD";

/// Classifies a request. `preflight`: it has the header `access-control-request-method`.
#[must_use]
pub fn classify(method: &[u8], path: &[u8], preflight: bool) -> Class {
    let plain = normalize(path);
    // As the routes have them, which know no other spelling.
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
    let endpoint = Endpoint::of_path(plain);
    let posted = endpoint.is_some() || POSTED.contains(&plain);
    let known = posted || !(plain == b"/v1" || plain.starts_with(b"/v1/"));
    let asked = health || model_asked(plain).is_some();
    match method {
        b"GET" | b"HEAD" if health => Class::Health,
        b"GET" | b"HEAD" if asked => Class::Models,
        _ if asked => Class::WrongMethod { allow: GET },
        b"POST" => endpoint.map_or(Class::Headers { known }, Class::Body),
        _ if posted => Class::WrongMethod { allow: POST },
        _ => Class::Headers { known },
    }
}

/// Whether a plain path is under one of the serving prefixes.
fn serving(plain: &[u8]) -> bool {
    let plain = plain.strip_prefix(b"/").unwrap_or(plain);
    let (first, rest) = first_segment(plain);
    match first {
        b"v1" | b"infer" | b"inference.GRPCInferenceService" => true,
        b"v2" => first_segment(rest).0 == b"models",
        _ => false,
    }
}

/// What comes before the first slash, and after it.
fn first_segment(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, b""),
    }
}

/// Without slashes at its end.
fn trimmed(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

/// The model whose object a path asks for; empty where it asks for all of them, `None` for other paths.
fn model_asked(plain: &[u8]) -> Option<&[u8]> {
    let rest = plain.strip_prefix(MODELS)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix(b"/")
}

/// The same, of the path as it was sent. Names may have slashes, encoded or not.
pub(crate) fn model_of(path: &[u8]) -> String {
    let plain = normalize(path);
    let name = model_asked(trimmed(&plain)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The path without query, decoded, each segment once; a slash may be left at its end.
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

/// Text with its percent-encoding undone, and `\u{fffd}` for what is no UTF-8 then.
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
