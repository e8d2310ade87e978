//! What a port is for, by its name or `appProtocol`: tables, and nothing of pods.

use crate::Protocol;

/// What a port is for, by its `appProtocol` or name; the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortClass {
    /// HTTP, by name or `appProtocol`.
    Http,
    /// As NIM, Ray Serve and TensorFlow Serving call the port of their HTTP API.
    Api,
    /// HTTP over TLS.
    Https,
    /// gRPC, by name or `appProtocol`.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
    /// Nothing says.
    Unknown,
}

impl PortClass {
    /// Whether it is spoken to in HTTP, over TLS or not.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Api | Self::Https)
    }

    /// Whether it is spoken to in gRPC, over TLS or not.
    #[must_use]
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }
}

pub(super) type Word = (PortClass, Protocol);

/// Ports whose names contain one of these never serve.
const NEVER: [&str; 6] = ["metric", "health", "admin", "probe", "status", "queueadm"];

/// Ports whose names have one of these words, between hyphens, never serve: `http-envoy-prom` does not, `http-prompt` does.
const NEVER_WORDS: [&str; 2] = ["prom", "prometheus"];

/// Words of port names, between hyphens: what servers of one model say to each other, and how operators get at them. A name that
/// also says a protocol, as `http-torch`, serves.
const SIDE_CHANNELS: [&str; 22] = [
    // Collective operations, and where their ranks meet: vLLM and SGLang on several nodes, PyTorchJob, MPIJob.
    "dist",
    "distributed",
    "gloo",
    "mpi",
    "nccl",
    "pytorchjob",
    "rdzv",
    "rendezvous",
    "torch",
    "torchrun",
    // Transfer of key-value caches, and its handshake: vLLM production stack, llm-d, Dynamo, SGLang.
    "bootstrap",
    "mooncake",
    "nixl",
    "pd",
    "ucp",
    "ucx",
    "zmq",
    // Ray's own.
    "dashboard",
    "gcs",
    "redis",
    // Shells.
    "ssh",
    "sshd",
];

/// Port names that say a protocol; also with `-suffix`.
const NAMES: [(&str, PortClass, Protocol); 10] = [
    ("http", PortClass::Http, Protocol::Http1),
    ("http1", PortClass::Http, Protocol::Http1),
    ("http2", PortClass::Http, Protocol::Http2),
    ("h2c", PortClass::Http, Protocol::Http2),
    ("api", PortClass::Api, Protocol::Http1),
    ("rest", PortClass::Api, Protocol::Http1),
    ("serve", PortClass::Api, Protocol::Http1),
    ("https", PortClass::Https, Protocol::Http1),
    ("grpc", PortClass::Grpc, Protocol::Http2),
    ("grpcs", PortClass::Grpcs, Protocol::Http2),
];

/// Values of `appProtocol`, without what stands before a slash.
const APP_PROTOCOLS: [(&str, PortClass, Protocol); 8] = [
    ("http", PortClass::Http, Protocol::Http1),
    ("http2", PortClass::Http, Protocol::Http2),
    ("h2c", PortClass::Http, Protocol::Http2),
    ("ws", PortClass::Http, Protocol::Http1),
    ("https", PortClass::Https, Protocol::Http1),
    ("wss", PortClass::Https, Protocol::Http1),
    ("grpc", PortClass::Grpc, Protocol::Http2),
    ("grpcs", PortClass::Grpcs, Protocol::Http2),
];

/// Whether a port of this name is for something else than requests, whatever else speaks for it.
pub(super) fn is_internal(name: &str) -> bool {
    NEVER.iter().any(|word| name.contains(word))
        || name.split('-').any(|word| NEVER_WORDS.contains(&word))
}

/// Whether a port of this name is for what servers say to each other.
pub(super) fn is_side_channel(name: &str) -> bool {
    word(name).is_none() && name.split('-').any(|word| SIDE_CHANNELS.contains(&word))
}

/// Whether a port of this name never serves, unless an `appProtocol` or a Service says its protocol.
#[must_use]
pub fn never_serves(name: &str) -> bool {
    is_internal(name) || is_side_channel(name)
}

/// Whether a port of this name serves: its name says a protocol, alone or with `-suffix`.
#[must_use]
pub fn serves(name: &str) -> bool {
    word(name).is_some() && !never_serves(name)
}

pub(super) fn word(name: &str) -> Option<Word> {
    let is = |word: &str| {
        let rest = name.strip_prefix(word);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let found = NAMES.iter().find(|(word, _, _)| is(word));
    found.map(|(_, class, protocol)| (*class, *protocol))
}

/// What is said of a port by its `appProtocol`, else by its name. HTTP/2 is also how gRPC travels, and KServe says `h2c` of both, so
/// there a name of gRPC, that of the Service's port or else the pod's, stays what the port is for.
pub(super) fn said(app_protocol: Option<&str>, name: &str, of_pod: &str) -> Option<Word> {
    let named = word(name);
    let Some(protocol) = app_protocol.and_then(by_app_protocol) else {
        return named;
    };
    let carries_grpc = protocol == (PortClass::Http, Protocol::Http2);
    let grpc = named.or_else(|| word(of_pod));
    let grpc = grpc.filter(|(class, _)| carries_grpc && class.is_grpc());
    Some(grpc.unwrap_or(protocol))
}

fn by_app_protocol(text: &str) -> Option<Word> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.rsplit('/').next().unwrap_or_default();
    let found = APP_PROTOCOLS.iter().find(|(word, _, _)| *word == bare);
    found.map(|(_, class, protocol)| (*class, *protocol))
}
