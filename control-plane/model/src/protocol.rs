//! The protocol in which requests are sent to an endpoint.

use std::fmt;
use std::str::FromStr;

/// The protocol in which requests are sent to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without upgrade, as gRPC requires.
    Http2,
    /// The protocol of the client's request.
    Client,
}

/// The text is not a protocol; the message lists the valid ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write http1, http2, grpc or client")]
pub struct InvalidProtocol;

/// `http1`, `http2` or `grpc`, `client`: the values of the annotation `headgate.dev/protocol`.
impl FromStr for Protocol {
    type Err = InvalidProtocol;

    fn from_str(text: &str) -> Result<Self, InvalidProtocol> {
        match text.trim() {
            "http1" => Ok(Self::Http1),
            "http2" | "grpc" => Ok(Self::Http2),
            "client" => Ok(Self::Client),
            _ => Err(InvalidProtocol),
        }
    }
}

/// A text that [`Protocol::from_str`] reads.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Client => "client",
        })
    }
}
