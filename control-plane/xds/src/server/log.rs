//! The log lines about streams. Messages are constant; the facts are in fields, whose names are the same in every line: `node`,
//! `scope` and `peer` (also in the span of the stream), `type_url`, `version`, `resource`, `object`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Span;

use crate::peer::Peer;
use crate::provider::{PermissionDenied, Scope};
use crate::resource::Kind;
use crate::session::{Event, KindStatus, Protocol, RejectedResource};

use super::log_limiter::{LogLimiter, Topic};

/// The latency from which an acknowledgement is slow.
const SLOW_ACK: Duration = Duration::from_secs(1);
/// Names that are listed in one field.
const MAX_LISTED: usize = 3;

/// The limits of the log lines of all streams.
#[derive(Debug, Default)]
pub(super) struct LogLimits(Mutex<LogLimiter>);

impl LogLimits {
    fn lock(&self) -> MutexGuard<'_, LogLimiter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs that a proxy may have nothing.
    pub(super) fn denied(&self, peer: &Peer, denied: &PermissionDenied, now: Instant) {
        let admitted = self.lock().admit(&peer.origin(), None, Topic::Denied, now);
        if let Some(suppressed) = admitted {
            let (node, peer, detail) = (&*peer.id, peer.remote(), &*denied.reason);
            let refusal = denied.refusal.as_str();
            tracing::warn!(node, peer, refusal, detail, suppressed, "proxy denied");
        }
    }
}

/// The span of a stream.
pub(super) fn span(peer: &Peer, scope: &Scope, protocol: Protocol, only: Option<Kind>) -> Span {
    tracing::info_span!(
        "xds_stream",
        node = peer.id,
        scope = scope.0,
        peer = peer.remote(),
        protocol = protocol.as_str(),
        type_url = only.map(Kind::type_url),
    )
}

/// The log of one stream. It logs within the stream's span.
pub(super) struct StreamLog<'a> {
    node: String,
    limits: &'a LogLimits,
    opened_at: Instant,
    only: Option<Kind>,
    has_first_snapshot: bool,
    /// When to call [`StreamLog::report_suppressed`].
    report_at: Option<Instant>,
}

impl<'a> StreamLog<'a> {
    /// Logs that a proxy has connected.
    pub(super) fn connected(
        peer: &Peer,
        only: Option<Kind>,
        limits: &'a LogLimits,
        now: Instant,
    ) -> Self {
        let log = Self {
            node: peer.id.clone(),
            limits,
            opened_at: now,
            only,
            has_first_snapshot: false,
            report_at: limits.lock().report_at(&peer.id),
        };
        if let Some(suppressed) = log.admit_connection(now) {
            let agent = &*peer.agent;
            tracing::info!(agent, suppressed, "proxy connected");
        }
        log
    }

    /// Whether to log a line on the begin or the end of the stream: if so, how many were suppressed before it.
    fn admit_connection(&self, now: Instant) -> Option<u64> {
        let mut limits = self.limits.lock();
        limits.admit(&self.node, self.only, Topic::Connection, now)
    }

    /// Logs that the proxy has disconnected.
    pub(super) fn disconnected(&self, detail: &str, now: Instant) {
        if let Some(suppressed) = self.admit_connection(now) {
            let connected_ms = millis(now.saturating_duration_since(self.opened_at));
            tracing::info!(detail, connected_ms, suppressed, "proxy disconnected");
        }
    }

    /// Logs what the operator should know of the events of the session.
    pub(super) fn events(
        &mut self,
        events: &[Event],
        status: &BTreeMap<Kind, KindStatus>,
        now: Instant,
    ) {
        for event in events {
            match event {
                Event::Sent { .. } => {}
                Event::Acked {
                    kind,
                    version,
                    latency,
                    ..
                } => self.acked(*kind, version, *latency, now),
                Event::Nacked {
                    kind,
                    version,
                    items,
                    message,
                    ..
                } => self.nacked(*kind, version, items, message, now),
            }
        }
        if !self.has_first_snapshot && !events.is_empty() && self.runs_snapshot(status) {
            self.has_first_snapshot = true;
            if let Some(suppressed) = self.admit_connection(now) {
                let elapsed_ms = millis(now.saturating_duration_since(self.opened_at));
                tracing::info!(elapsed_ms, suppressed, "proxy runs its first snapshot");
            }
        }
    }

    /// Whether the proxy runs the snapshot: everything it subscribes to, on an aggregated stream something that routes among it.
    fn runs_snapshot(&self, status: &BTreeMap<Kind, KindStatus>) -> bool {
        let is_complete = |kind: &Kind| self.only.is_some() || kind.routes_to_clusters();
        status.keys().any(is_complete) && status.values().all(KindStatus::is_current)
    }

    fn acked(&self, kind: Kind, version: &str, latency: Duration, now: Instant) {
        if latency <= SLOW_ACK {
            return;
        }
        let mut limits = self.limits.lock();
        if let Some(suppressed) = limits.admit(&self.node, Some(kind), Topic::SlowAck, now) {
            let (type_url, latency_ms) = (kind.type_url(), millis(latency));
            tracing::info!(
                type_url,
                version,
                latency_ms,
                suppressed,
                "slow acknowledgement"
            );
        }
    }

    fn nacked(
        &mut self,
        kind: Kind,
        version: &str,
        items: &[RejectedResource],
        error: &str,
        now: Instant,
    ) {
        let (topic, version) = match items {
            [item] => {
                let (name, version) = (&*item.name, &*item.version);
                (Topic::RejectedResource { name, version }, version)
            }
            _ => (Topic::RejectedResponse, version),
        };
        let mut limits = self.limits.lock();
        let admitted = limits.admit(&self.node, Some(kind), topic, now);
        self.report_at = limits.report_at(&self.node);
        drop(limits);
        let Some(suppressed) = admitted else {
            return;
        };
        // The span of the stream names the node too, but a log of warnings alone leaves the span out.
        let (node, type_url) = (&*self.node, kind.type_url());
        let resource = listed(items.iter().map(|item| &item.name));
        let object = listed(items.iter().flat_map(RejectedResource::blamed));
        let message = match topic {
            Topic::RejectedResource { .. } => "proxy rejected a resource",
            _ => "proxy rejected a response; offering its resources again in smaller responses",
        };
        tracing::warn!(
            node,
            type_url,
            version,
            resource,
            object,
            error,
            suppressed,
            "{message}"
        );
    }

    /// When to call [`StreamLog::report_suppressed`].
    pub(super) fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    /// Logs how many rejections were suppressed, if no later line says so.
    pub(super) fn report_suppressed(&mut self, now: Instant) {
        let mut limits = self.limits.lock();
        for (kind, suppressed) in limits.take_suppressed(&self.node, now) {
            let (node, type_url) = (&*self.node, kind.type_url());
            tracing::warn!(node, type_url, suppressed, "proxy rejected more resources");
        }
        self.report_at = limits.report_at(&self.node);
    }
}

/// The first few of these, separated by commas, and the number of the others. `none` if there is none.
fn listed(all: impl Iterator<Item = impl ToString>) -> String {
    let mut first: Vec<String> = Vec::new();
    let mut others = 0_usize;
    for one in all {
        if first.len() < MAX_LISTED {
            let one = one.to_string();
            if !first.contains(&one) {
                first.push(one);
            }
        } else {
            others += 1;
        }
    }
    match (first.as_slice(), others) {
        ([], _) => "none".to_owned(),
        (first, 0) => first.join(", "),
        (first, others) => format!("{} and {others} more", first.join(", ")),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
