//! What the core wants done: plain data, performed by the shell in order.
//!
//! Last stage of the flow, on both lines. Nothing here does anything; a test compares it as it is.

use std::borrow::Cow;
use std::ops::Deref;
use std::rc::Rc;

pub use headgate_dialect::Splice;

use crate::metrics::Metric;

/// A header or property name: fixed ones cost no allocation.
pub type Name = Cow<'static, str>;

/// A value. What the configuration knows is shared with it: a request copies only what is its own.
#[derive(Debug, Clone)]
pub enum Text {
    /// A word of the code's.
    Fixed(&'static str),
    /// Held by others too.
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

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Add a request header that is not there. (To set one that may be there, a proxy looks for it, and Envoy makes an index of
    /// all headers for that: on a request that had none yet, 5 µs.)
    AddRequestHeader(Name, Text),
    /// Set a request header, replacing every value it has.
    SetRequestHeader(Name, Text),
    /// Remove every value of a request header.
    RemoveRequestHeader(Name),
    /// Set a response header, replacing every value it has.
    SetResponseHeader(Name, Text),
    /// Remove every value of a response header.
    RemoveResponseHeader(Name),
    /// Replace bytes of the request's body, which is here whole, and say its new length in `content-length` where it has one.
    AmendRequestBody(Splice, Option<u64>),
    /// Replace the bytes of the answer's body that are at hand.
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

/// An answer of the filter's own.
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
    /// gRPC status, where the request is gRPC: to be sent with the gRPC reply call, `message` as `grpc-message`.
    pub grpc: Option<u8>,
    /// The refusal in plain words; what `body` says inside its wrapping.
    pub message: String,
}

/// How the stream goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// On to the next filter.
    Continue,
    /// Hold headers and body here until a later step continues. (Needs `allow_on_headers_stop_iteration`.)
    Pause,
    /// Answer now; nothing reaches the upstream.
    Reply(Box<Reply>),
}

/// What a callback comes to: effects first, in order, then the flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// To perform, in order.
    pub effects: Vec<Effect>,
    /// And then.
    pub flow: Flow,
}

impl Step {
    /// Nothing to do: on.
    #[must_use]
    pub fn go_on() -> Self {
        Self::with(Vec::new())
    }

    /// Hold.
    #[must_use]
    pub fn pause() -> Self {
        Self {
            effects: Vec::new(),
            flow: Flow::Pause,
        }
    }

    /// Do these, and on.
    #[must_use]
    pub fn with(effects: Vec<Effect>) -> Self {
        Self {
            effects,
            flow: Flow::Continue,
        }
    }
}
