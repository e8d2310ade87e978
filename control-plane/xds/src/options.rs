//! The durations and bounds of delivery, with the values the design gives.

use std::time::Duration;

/// How the server delivers. [`Options::default`] is what the design says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a route or filter configuration waits for a proxy to take a new cluster before the
    /// wait is reported as failed (rule 3): 15 s.
    pub warm_timeout: Duration,
    /// How long a cluster outlives the last route to it at a proxy (rule 3): 60 s. The listener's
    /// `request_timeout` must stay below it.
    pub linger: Duration,
    /// Wait before a refused filter configuration is offered again: 30 s, doubling each time.
    pub retry_first: Duration,
    /// The longest wait between two such offers: 10 min.
    pub retry_max: Duration,
    /// Body bytes from which a delta response is closed and the rest goes into the next: 2 MiB.
    /// One resource larger than that still goes, alone.
    pub response_bytes: usize,
    /// Responses of one kind that may be unanswered; beyond it newer state waits: 32.
    pub in_flight: usize,
    /// Names one stream may subscribe to, over all kinds; beyond it the stream is closed: 100 000.
    pub max_names: usize,
    /// Responses that may wait for a stream's transport; beyond it only the newest snapshot waits: 4.
    pub response_queue: usize,
    /// Over how long proxies are sent elsewhere when the server ends: 10 s.
    pub drain: Duration,
    /// HTTP/2 keepalive: interval of pings, and how long an answer may take: 60 s, 60 s.
    ///
    /// Envoy answers pings on its main thread, which says nothing while it takes a large first push
    /// (20 s for 8000 clusters, more on a slow core). Cutting it off there would make it start over, and
    /// be cut off again. A peer that is gone without a word costs a stream for two minutes at most; one
    /// that reconnects does not wait for that.
    pub keepalive: (Duration, Duration),
    /// How often a proxy reports its load: 10 s.
    pub load_interval: Duration,
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
            load_interval: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// The wait before retry `n` (from 1): `retry_first · 2^(n−1)`, at most `retry_max`.
    #[must_use]
    pub fn retry_after(&self, n: u32) -> Duration {
        let doubled = 2u32.saturating_pow(n.saturating_sub(1));
        self.retry_first.saturating_mul(doubled).min(self.retry_max)
    }
}
