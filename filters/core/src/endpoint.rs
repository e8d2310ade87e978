//! The request line → the treatment of a request. The first step of a request.
//!
//! Servers read a path more liberally than an exact comparison does. So repeated slashes, `.` and `..` segments and
//! percent-encoding are undone first: an unusual spelling of a path is not an unmetered path.

use std::borrow::Cow;

use headgate_contract::{OptionalApi, Realtime, UnknownEndpoints, names};
use headgate_dialect::{Access, Api, Apis, Dialect, Endpoint, Found, Operation, Price, find};

use crate::headers::Headers;

/// The basis of the decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A known operation of an API.
    Call(&'static Operation),
    /// A path under a serving prefix that no enabled API knows. A policy decides.
    Unknown {
        /// Its method is GET or HEAD, so it costs nothing.
        reads: bool,
    },
    /// A known operation that changes the server, and that no policy allows.
    Unlisted(&'static Operation),
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
            Self::Call(operation) | Self::Unlisted(operation) => operation.endpoint,
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

    /// Whether the body is read.
    pub(crate) fn reads_body(self) -> bool {
        matches!(self, Self::Call(operation) if operation.endpoint.reads_body())
    }

    /// Whether its API names the model in the body or the path.
    pub(crate) fn names_model(self) -> bool {
        matches!(self, Self::Call(operation) if operation.api.names_model())
    }

    /// Whether the request is charged.
    pub(crate) fn is_charged(self) -> bool {
        match self {
            Self::Call(operation) => operation.access == Access::Charged,
            Self::Unknown { reads } => !reads,
            _ => false,
        }
    }
}

/// The names in a path that tell where a request goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathNames {
    /// The model. It takes precedence over the model in the body.
    pub model: Option<String>,
    /// The version: a pin.
    pub version: Option<String>,
}

/// The APIs that a namespace serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedApis {
    /// The APIs whose paths count.
    pub apis: Apis,
    /// Paths that stand for `/v1`, without a slash at their end.
    pub prefixes: Vec<String>,
    /// The prefixes of all paths that are served, with a slash only at their beginning.
    pub serving: Vec<String>,
    /// Names of operations that change the server and are allowed.
    pub allow: Vec<String>,
    /// The treatment of unknown paths.
    pub unknown: UnknownEndpoints,
    /// Tokens that the creation of a batch costs.
    pub batch_tokens: u32,
    /// The price of realtime sessions.
    pub realtime: Realtime,
}

impl Default for ServedApis {
    fn default() -> Self {
        Self::new(&headgate_contract::Apis::default())
    }
}

impl ServedApis {
    /// The APIs that a policy describes.
    #[must_use]
    pub fn new(policy: &headgate_contract::Apis) -> Self {
        let enable = |apis: Apis, dialect: &OptionalApi| {
            apis.with(match dialect {
                OptionalApi::Ollama => Api::Ollama,
                OptionalApi::Tgi => Api::Tgi,
                OptionalApi::LlamaCpp => Api::LlamaCpp,
                OptionalApi::SgLang => Api::SgLang,
                OptionalApi::Vllm => Api::Vllm,
            })
        };
        let prefixes = policy
            .prefixes
            .iter()
            .map(|prefix| prefix.as_str().to_owned());
        let slashes = |prefix: &String| format!("/{}", prefix.trim_matches('/'));
        Self {
            apis: policy.dialects.iter().fold(Apis::STANDARD, enable),
            prefixes: prefixes.chain([KSERVE_PREFIX.to_owned()]).collect(),
            serving: policy.serving_prefixes().iter().map(slashes).collect(),
            allow: policy.allow.clone(),
            unknown: policy.unknown_endpoints,
            batch_tokens: policy.batch_tokens,
            realtime: policy.realtime,
        }
    }

    /// Everything that any of these namespaces serves. The treatment of unknown paths and the allowed operations are those of the first
    /// one: they count only where all namespaces serve the same.
    pub(crate) fn of_all<'s>(mut all: impl Iterator<Item = &'s Self>) -> Self {
        let first = all.next().cloned().unwrap_or_default();
        let unite = |union: &mut Vec<String>, prefixes: &[String]| {
            for prefix in prefixes {
                if !union.contains(prefix) {
                    union.push(prefix.clone());
                }
            }
        };
        all.fold(first, |mut union, one| {
            union.apis = union.apis.union(one.apis);
            unite(&mut union.prefixes, &one.prefixes);
            unite(&mut union.serving, &one.serving);
            union
        })
    }

    /// Whether a plain path is under one of the serving prefixes.
    fn serves(&self, plain: &[u8]) -> bool {
        let mut prefixes = self.serving.iter();
        prefixes.any(|prefix| under(plain, prefix).is_some())
    }

    /// The path as the table of operations has it: `/v1` replaces a prefix that stands for `/v1`.
    fn in_table<'p>(&self, plain: &'p [u8]) -> Cow<'p, [u8]> {
        let mut prefixes = self.prefixes.iter();
        match prefixes.find_map(|prefix| under(plain, prefix)) {
            Some(rest) => Cow::Owned([b"/v1", rest].concat()),
            None => Cow::Borrowed(plain),
        }
    }
}

/// The rest of a path under a prefix, by whole segments. Both begin with a slash.
fn under<'p>(path: &'p [u8], prefix: &str) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(prefix.as_bytes())?;
    matches!(rest, [] | [b'/', ..]).then_some(rest)
}

/// The prefix under which KServe serves the paths of OpenAI.
const KSERVE_PREFIX: &str = "/openai/v1";

const GET: &str = "GET, HEAD";

/// Classifies a request, by its method, its path, the header `access-control-request-method`, and the headers that tell its API.
#[must_use]
pub fn classify(headers: &Headers, served: &ServedApis) -> (Class, PathNames) {
    let method = headers.get(":method").unwrap_or_default();
    let path = headers.get(":path").unwrap_or_default();
    let plain = normalize(path);
    // Routes match health checks as they were sent.
    let health = names::HEALTH_PATHS
        .iter()
        .any(|path| path.as_bytes() == &*plain);
    let plain = trimmed(&plain);
    if !health && !served.serves(plain) {
        return (Class::Other, PathNames::default());
    }
    let reads = matches!(method, b"GET" | b"HEAD");
    let class = match method {
        b"OPTIONS" if headers.get("access-control-request-method").is_some() => Class::Preflight,
        _ if health && reads => Class::Health,
        _ if health => Class::WrongMethod { allow: GET },
        _ => return operation(headers, method, &served.in_table(plain), served),
    };
    (class, PathNames::default())
}

/// The API of the client, as the headers of its SDK tell it. It decides only in which words the list of models is written: Anthropic
/// demands `anthropic-version`, Google's clients send their key in `x-goog-api-key`, and Cohere's SDK names itself.
fn api_of_client(headers: &Headers) -> Api {
    let has = |name| headers.get(name).is_some();
    if has("anthropic-version") {
        return Api::Anthropic;
    }
    if has("x-goog-api-key") || has("x-goog-api-client") {
        return Api::Gemini;
    }
    let sdk = headers.get("x-fern-sdk-name").unwrap_or_default();
    match sdk == b"cohere" {
        true => Api::Cohere,
        false => Api::OpenAi,
    }
}

/// Classifies a request by the table of operations.
fn operation(
    headers: &Headers,
    method: &[u8],
    path: &[u8],
    served: &ServedApis,
) -> (Class, PathNames) {
    let lists = api_of_client(headers);
    let (operation, captures) = match find(method, path, served.apis, lists) {
        Found::Operation(operation, captures) => (operation, captures),
        Found::OtherMethods(allow) => return (Class::WrongMethod { allow }, PathNames::default()),
        Found::Nothing => {
            let reads = matches!(method, b"GET" | b"HEAD");
            return (Class::Unknown { reads }, PathNames::default());
        }
    };
    let class = match operation.access {
        Access::Models => Class::Models(operation.endpoint.dialect()),
        Access::Management if !served.allow.iter().any(|name| name == operation.name) => {
            Class::Unlisted(operation)
        }
        Access::Charged | Access::Free | Access::Management => Class::Call(operation),
    };
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let in_query = match operation.endpoint.price() {
        Price::Session => query_model(headers.get(":path").unwrap_or_default()),
        _ => None,
    };
    let names = PathNames {
        model: captures.model.map(text).or(in_query),
        version: captures.version.map(text),
    };
    (class, names)
}

/// The path with another model name. The query stays, and so does a prefix that stands for `/v1`.
pub(crate) fn renamed(path: &[u8], operation: &Operation, name: &str, names: &PathNames) -> String {
    let (plain, query) = match path.iter().position(|byte| *byte == b'?') {
        Some(at) => path.split_at(at),
        None => (path, &b""[..]),
    };
    let plain = normalize(plain);
    let (before, after) = operation
        .pattern
        .split_once("{model}")
        .unwrap_or((operation.pattern, ""));
    // The client may have written a prefix that stands for `/v1`. It stays as it was written.
    let tail = before
        .strip_prefix("/v1")
        .filter(|_| !plain.starts_with(before.as_bytes()));
    let prefix = tail.and_then(|tail| {
        let at = plain
            .windows(tail.len())
            .position(|part| part == tail.as_bytes())?;
        Some(String::from_utf8_lossy(plain.get(..at)?).into_owned() + tail)
    });
    let mut out = prefix.unwrap_or_else(|| before.to_owned());
    push_segment(&mut out, name);
    match (after.split_once("{version}"), &names.version) {
        (Some((before, after)), Some(version)) => {
            out.push_str(before);
            push_segment(&mut out, version);
            out.push_str(after);
        }
        _ => out.push_str(after),
    }
    out.push_str(&String::from_utf8_lossy(query));
    out
}

/// Appends a name as a segment of a path: everything but letters, digits and `-._~:@` is percent-encoded.
fn push_segment(path: &mut String, name: &str) {
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The model in the query of a path: `model`, or Azure's `deployment`.
fn query_model(path: &[u8]) -> Option<String> {
    let query = path.split(|byte| *byte == b'?').nth(1)?;
    let mut pairs = query.split(|byte| *byte == b'&');
    let value = pairs.find_map(|pair| {
        let value = pair.strip_prefix(b"model=");
        value.or_else(|| pair.strip_prefix(b"deployment="))
    })?;
    Some(decode(value)).filter(|model| !model.is_empty())
}

/// The path without slashes at its end. The root remains.
fn trimmed(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b'/'] = path
        && !rest.is_empty()
    {
        path = rest;
    }
    path
}

/// The path without its query, decoded, with each segment once. It may still end with a slash.
pub(crate) fn normalize(path: &[u8]) -> Cow<'_, [u8]> {
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
