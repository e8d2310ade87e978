//! The counters of a mock model.
//!
//! Invariant: every request is counted once when it comes and leaves `in_flight` exactly once, whether its response ended, was
//! broken off here, or the client disconnected.

use std::iter::Sum;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A snapshot of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct StatsSnapshot {
    /// Model requests received (without health checks, model lists and the statistics page).
    pub requests: u64,
    /// Model requests whose response has not ended.
    pub in_flight: u64,
    /// Responses during which the client disconnected.
    pub client_aborts: u64,
    /// Responses broken off on demand.
    pub own_aborts: u64,
    /// Tokens sent, over all choices.
    pub tokens_produced: u64,
}

/// The sum over several servers.
impl Sum for StatsSnapshot {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            requests: sum.requests + one.requests,
            in_flight: sum.in_flight + one.in_flight,
            client_aborts: sum.client_aborts + one.client_aborts,
            own_aborts: sum.own_aborts + one.own_aborts,
            tokens_produced: sum.tokens_produced + one.tokens_produced,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Stats {
    requests: AtomicU64,
    in_flight: AtomicU64,
    client_aborts: AtomicU64,
    own_aborts: AtomicU64,
    tokens_produced: AtomicU64,
}

impl Stats {
    pub(super) fn snapshot(&self) -> StatsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        StatsSnapshot {
            requests: read(&self.requests),
            in_flight: read(&self.in_flight),
            client_aborts: read(&self.client_aborts),
            own_aborts: read(&self.own_aborts),
            tokens_produced: read(&self.tokens_produced),
        }
    }
}

/// One request in flight. Its state when dropped decides how it is counted.
#[derive(Debug)]
pub(super) struct RequestGuard {
    stats: Arc<Stats>,
    number: u64,
    ended: bool,
}

impl RequestGuard {
    pub(super) fn begin(stats: &Arc<Stats>) -> Self {
        stats.in_flight.fetch_add(1, Ordering::AcqRel);
        Self {
            stats: Arc::clone(stats),
            number: stats.requests.fetch_add(1, Ordering::AcqRel),
            ended: false,
        }
    }

    /// The number of the request, from 0.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn produced(&self, tokens: u64) {
        self.stats
            .tokens_produced
            .fetch_add(tokens, Ordering::AcqRel);
    }

    /// The complete response was sent.
    pub(super) fn complete(&mut self) {
        self.ended = true;
    }

    /// The response is broken off on demand.
    pub(super) fn abort(&mut self) {
        self.ended = true;
        self.stats.own_aborts.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if !self.ended {
            self.stats.client_aborts.fetch_add(1, Ordering::AcqRel);
        }
        self.stats.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
