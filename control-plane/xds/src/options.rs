//! Durations and limits of delivery, with the defaults of the design.

use std::time::Duration;

use ipnet::IpNet;

/// The settings of a server. [`Options::default`] has the values that the docs of the fields name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a route or a filter configuration waits for a proxy to warm a new cluster before the wait is reported as failed
    /// (rule 3): 15 s.
    pub warm_timeout: Duration,
    /// How long a proxy keeps a cluster after the last route to it (rule 3): 60 s. The listener's `request_timeout` must stay
    /// below it.
    pub linger: Duration,
    /// Delay before the first retry of a rejected filter configuration: 30 s. It doubles with each retry.
    pub retry_first: Duration,
    /// Longest delay between two retries: 10 min.
    pub retry_max: Duration,
    /// Body bytes after which a delta response is closed and the rest goes into the next one: 2 MiB. A larger resource is sent
    /// alone.
    pub response_bytes: usize,
    /// Unanswered responses of one kind on one stream: 32. Beyond it newer state waits.
    pub in_flight: usize,
    /// Names that one stream may subscribe to, over all kinds: 100 000. Beyond it the stream is closed.
    pub max_names: usize,
    /// Responses that may wait for a stream's transport: 4. Beyond it only the newest snapshot waits.
    pub response_queue: usize,
    /// Time over which a server that shuts down closes its connections: 10 s.
    pub drain: Duration,
    /// HTTP/2 keepalive: interval of pings and timeout of their answers: 60 s, 60 s.
    ///
    /// Envoy answers pings on its main thread, which is busy while it applies a large first push (20 s for 8000 clusters, more
    /// on a slow core). A shorter timeout would close the connection, Envoy would start over, and the next one would be closed
    /// too. A peer that disappears silently occupies its stream for two minutes at most; one that reconnects is served at once.
    pub keepalive: (Duration, Duration),
    /// Connections that may be open: 10 000. Beyond it a new one is closed.
    pub max_connections: usize,
    /// Connections that may be open of one identity, or, of clients without an identity, of one address: 2000.
    pub max_connections_per_peer: usize,
    /// Streams that may be open on one connection: 1024.
    pub max_streams: u32,
    /// Streams that may be open of one identity, over all connections: 10 000. Beyond it a new one is refused; 0: no limit.
    pub max_streams_per_identity: usize,
    /// Time for the first request of a new connection: 10 s. Without one the connection is closed.
    pub first_request: Duration,
    /// Interval at which a proxy reports its load: 10 s.
    pub load_interval: Duration,
    /// Addresses of peers whose `x-forwarded-client-cert` is the identity of the client: none.
    pub trusted_forwarders: Vec<IpNet>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            warm_timeout: Duration::from_secs(15),
            linger: Duration::from_secs(60),
            retry_first: Duration::from_secs(30),
            retry_max: Duration::from_secs(600),
            response_bytes: 2 << 20,
            in_flight: 32,
            max_names: 100_000,
            response_queue: 4,
            drain: Duration::from_secs(10),
            keepalive: (Duration::from_secs(60), Duration::from_secs(60)),
            max_connections: 10_000,
            max_connections_per_peer: 2_000,
            max_streams: 1024,
            max_streams_per_identity: 10_000,
            first_request: Duration::from_secs(10),
            load_interval: Duration::from_secs(10),
            trusted_forwarders: Vec::new(),
        }
    }
}

impl Options {
    /// The delay before retry `n` (from 1): `retry_first · 2^(n−1)`, at most `retry_max`.
    #[must_use]
    pub fn retry_after(&self, n: u32) -> Duration {
        let doubled = 2u32.saturating_pow(n.saturating_sub(1));
        self.retry_first.saturating_mul(doubled).min(self.retry_max)
    }
}
