//! Effects: the core's output as plain data, which the driver performs in order.
//!
//! Last stage of the flow, for requests and for responses. A test compares effects as they are.

use std::borrow::Cow;
use std::ops::Deref;
use std::rc::Rc;

pub use headgate_dialect::Splice;

use crate::metrics::Metric;

/// A header or property name: fixed ones cost no allocation.
pub type Name = Cow<'static, str>;

/// A value. A value of the configuration is shared with it: a request copies only its own values.
#[derive(Debug, Clone)]
pub enum Text {
    /// A constant of the code.
    Fixed(&'static str),
    /// Shared with other owners.
    Shared(Rc<str>),
    /// Made for this effect.
    Own(String),
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Shared(text) => text,
            Self::Own(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Fixed(text)
    }
}

impl From<&Rc<str>> for Text {
    fn from(text: &Rc<str>) -> Self {
        Self::Shared(Rc::clone(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Own(text)
    }
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Add a request header that is not there yet. (To set a header that may exist, Envoy first builds an index of all headers of
    /// the request, which takes 5 µs.)
    AddRequestHeader(Name, Text),
    /// Set a request header, and replace every value that it has.
    SetRequestHeader(Name, Text),
    /// Remove every value of a request header.
    RemoveRequestHeader(Name),
    /// Set a response header, and replace every value that it has.
    SetResponseHeader(Name, Text),
    /// Remove every value of a response header.
    RemoveResponseHeader(Name),
    /// Make these replacements in the request body, which is complete, and set `content-length` to this length, if given.
    AmendRequestBody(Vec<Splice>, Option<u64>),
    /// Replace the current piece of the response body.
    ReplaceResponseBody(Vec<u8>),
    /// Write a line to the proxy's log, for an operator.
    Warn(String),
    /// Set filter state. The name is the whole property, such as `headgate.model`: `set_property` with
    /// ONE path element, which access logs read as `%FILTER_STATE(wasm.headgate.model:PLAIN)%`.
    SetState(Name, Text),
    /// Add to a counter.
    Count(Metric, u64),
    /// Record a value in a histogram.
    Observe(Metric, u64),
}

/// A response that the filter itself sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, content type included.
    pub headers: Vec<(Name, String)>,
    /// Body; empty for gRPC, whose message is `message`.
    pub body: Vec<u8>,
    /// For access logs: `headgate_over_budget`, `headgate_model_not_found`, …
    pub details: &'static str,
    /// gRPC status, for a gRPC request: the reply is then a gRPC reply with `message` as `grpc-message`.
    pub grpc: Option<u8>,
    /// The refusal as a sentence, which `body` contains too.
    pub message: String,
}

/// How the stream goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// Continue with the next filter.
    Continue,
    /// Hold headers and body until a later step continues. (Needs `allow_on_headers_stop_iteration`.)
    Pause,
    /// Answer now; the request does not reach the upstream.
    Reply(Box<Reply>),
}

/// The result of a callback: effects first, in order, then the flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// To perform, in order.
    pub effects: Vec<Effect>,
    /// How the stream goes on after them.
    pub flow: Flow,
}

impl Step {
    /// No effects; continue.
    #[must_use]
    pub fn go_on() -> Self {
        Self::with(Vec::new())
    }

    /// No effects; hold.
    #[must_use]
    pub fn pause() -> Self {
        Self {
            effects: Vec::new(),
            flow: Flow::Pause,
        }
    }

    /// These effects; continue.
    #[must_use]
    pub fn with(effects: Vec<Effect>) -> Self {
        Self {
            effects,
            flow: Flow::Continue,
        }
    }
}
