//! Tables of port names and `appProtocol` values: the purpose and the protocol of a port.

use crate::Protocol;

/// The purpose of a port by its `appProtocol` or name, the most preferred first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortClass {
    /// HTTP, by name or `appProtocol`.
    Http,
    /// An HTTP API by a name that NIM, Ray Serve or TensorFlow Serving use.
    Api,
    /// HTTP over TLS.
    Https,
    /// gRPC, by name or `appProtocol`.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
    /// Neither name nor `appProtocol` is known.
    Unknown,
}

impl PortClass {
    /// Whether requests use HTTP, with or without TLS.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Api | Self::Https)
    }

    /// Whether requests use gRPC, with or without TLS.
    #[must_use]
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    /// Whether requests use TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }
}

/// The purpose and the protocol of a port.
pub(super) type PortProtocol = (PortClass, Protocol);

/// A port whose name contains one of these never serves.
const NEVER: [&str; 6] = ["metric", "health", "admin", "probe", "status", "queueadm"];

/// A port whose name has one of these words, between hyphens, never serves: `http-envoy-prom` does not serve, `http-prompt` does.
const NEVER_WORDS: [&str; 2] = ["prom", "prometheus"];

/// Words of port names, between hyphens, for traffic between the servers of one model and for access by operators. A name that also
/// has a protocol, like `http-torch`, serves.
const SIDE_CHANNELS: [&str; 22] = [
    // Collective operations and their rendezvous: vLLM and SGLang on several nodes, PyTorchJob, MPIJob.
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
    // Transfer of KV caches and its handshake: vLLM production stack, llm-d, Dynamo, SGLang.
    "bootstrap",
    "mooncake",
    "nixl",
    "pd",
    "ucp",
    "ucx",
    "zmq",
    // Ray's internal ports.
    "dashboard",
    "gcs",
    "redis",
    // Shells.
    "ssh",
    "sshd",
];

/// Port names with a protocol, also with `-suffix`.
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

/// Values of `appProtocol`, without the prefix before a slash.
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

/// Whether a port of this name is never for requests, whatever its `appProtocol`.
pub(super) fn is_internal(name: &str) -> bool {
    NEVER.iter().any(|word| name.contains(word))
        || name.split('-').any(|word| NEVER_WORDS.contains(&word))
}

/// Whether a port of this name is for traffic between servers of one model.
pub(super) fn is_side_channel(name: &str) -> bool {
    protocol_of_name(name).is_none() && name.split('-').any(|word| SIDE_CHANNELS.contains(&word))
}

/// Whether a port of this name never serves, unless an `appProtocol` or a Service declares its protocol.
#[must_use]
pub fn never_serves(name: &str) -> bool {
    is_internal(name) || is_side_channel(name)
}

/// Whether a port of this name serves: its name is a protocol, alone or with `-suffix`.
#[must_use]
pub fn serves(name: &str) -> bool {
    protocol_of_name(name).is_some() && !never_serves(name)
}

/// The purpose and protocol that a port name declares.
pub(super) fn protocol_of_name(name: &str) -> Option<PortProtocol> {
    let is = |word: &str| {
        let rest = name.strip_prefix(word);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let found = NAMES.iter().find(|(word, _, _)| is(word));
    found.map(|(_, class, protocol)| (*class, *protocol))
}

/// The purpose and protocol that a port of a Service declares by its `appProtocol`, else by its name. `pod_name` is the name of the pod's
/// port. HTTP/2 also carries gRPC, and KServe uses `h2c` for both, so with HTTP/2 a gRPC name of the Service's port, or else of the
/// pod's port, takes precedence.
pub(super) fn protocol_of_service_port(
    app_protocol: Option<&str>,
    name: &str,
    pod_name: &str,
) -> Option<PortProtocol> {
    let named = protocol_of_name(name);
    let Some(protocol) = app_protocol.and_then(by_app_protocol) else {
        return named;
    };
    let carries_grpc = protocol == (PortClass::Http, Protocol::Http2);
    let grpc = named.or_else(|| protocol_of_name(pod_name));
    let grpc = grpc.filter(|(class, _)| carries_grpc && class.is_grpc());
    Some(grpc.unwrap_or(protocol))
}

fn by_app_protocol(text: &str) -> Option<PortProtocol> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.rsplit('/').next().unwrap_or_default();
    let found = APP_PROTOCOLS.iter().find(|(word, _, _)| *word == bare);
    found.map(|(_, class, protocol)| (*class, *protocol))
}
