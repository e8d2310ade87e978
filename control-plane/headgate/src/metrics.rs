//! The control plane's own metrics, for `/metrics`.

use std::sync::{Mutex, PoisonError};

use headgate_xds::fleet::{FleetEvent, ProxyEvent};
use headgate_xds::session::Event;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::broadcast;

use headgate_report::Report;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByType {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    severity: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByVersion {
    namespace: String,
    model: String,
    version: String,
}

/// Counters that live as long as the process, gauges that are set from a [`Report`] when they are read.
pub(crate) struct Metrics {
    registry: Registry,
    pushes: Family<ByType, Counter>,
    acks: Family<ByType, Counter>,
    nacks: Family<ByType, Counter>,
    proxies: Gauge,
    settled: Gauge,
    synced: Gauge,
    publications: Gauge,
    away: Gauge,
    /// Cleared and set as one, so that two scrapes do not meet in between.
    current: Mutex<Current>,
}

struct Current {
    problems: Family<ByReason, Gauge>,
    unread: Family<ByKind, Gauge<f64, std::sync::atomic::AtomicU64>>,
    weights: Family<ByVersion, Gauge<f64, std::sync::atomic::AtomicU64>>,
    ready: Family<ByVersion, Gauge>,
    unreachable: Family<ByVersion, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("headgate");
        let (pushes, acks, nacks) = (Family::default(), Family::default(), Family::default());
        registry.register("xds_pushes", "Responses sent to proxies", pushes.clone());
        registry.register("xds_acks", "Responses that proxies accepted", acks.clone());
        registry.register("xds_nacks", "Responses that proxies refused", nacks.clone());
        let (proxies, settled) = (Gauge::default(), Gauge::default());
        registry.register("proxies", "Connected proxies", proxies.clone());
        registry.register(
            "proxies_settled",
            "Connected proxies that run everything they should",
            settled.clone(),
        );
        let (synced, publications) = (Gauge::default(), Gauge::default());
        registry.register("synced", "Whether the source was read", synced.clone());
        registry.register(
            "publications",
            "Plans published by this process",
            publications.clone(),
        );
        let away = Gauge::default();
        registry.register(
            "kubernetes_api_away",
            "Whether the Kubernetes API itself does not answer",
            away.clone(),
        );
        let current = Current {
            problems: Family::default(),
            unread: Family::default(),
            weights: Family::default(),
            ready: Family::default(),
            unreachable: Family::default(),
        };
        registry.register(
            "problems",
            "What an operator should know, by reason",
            current.problems.clone(),
        );
        registry.register(
            "kubernetes_kind_unread_since_timestamp_seconds",
            "Unix time in seconds since which a kind of the Kubernetes API cannot be read",
            current.unread.clone(),
        );
        registry.register(
            "version_weight_percent",
            "Share of a model's new sessions, wanted",
            current.weights.clone(),
        );
        registry.register(
            "version_ready_endpoints",
            "Ready endpoints of a version",
            current.ready.clone(),
        );
        registry.register(
            "version_unreachable_proxies",
            "Proxies that report that they cannot connect to a version",
            current.unreachable.clone(),
        );
        Self {
            registry,
            pushes,
            acks,
            nacks,
            proxies,
            settled,
            synced,
            publications,
            away,
            current: Mutex::new(current),
        }
    }
}

impl Metrics {
    /// Counts what happens to proxies, until the fleet is gone.
    pub(crate) async fn follow(&self, mut events: broadcast::Receiver<FleetEvent>) {
        loop {
            match events.recv().await {
                Ok(event) => self.count(&event.event),
                // Missed some: the counters are behind, the gauges are not.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn count(&self, event: &ProxyEvent) {
        let ProxyEvent::Delivery(event) = event else {
            return;
        };
        let (family, kind) = match event {
            Event::Sent { kind, .. } => (&self.pushes, kind),
            Event::Acked { kind, .. } => (&self.acks, kind),
            Event::Nacked { kind, .. } => (&self.nacks, kind),
        };
        let r#type = kind.as_str();
        family.get_or_create(&ByType { r#type }).inc();
    }

    /// The exposition of this moment.
    ///
    /// # Errors
    /// Only if formatting into a string fails.
    pub(crate) fn render(&self, report: &Report) -> Result<String, std::fmt::Error> {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.proxies.set(gauge(report.proxies.len()));
        self.settled
            .set(gauge(report.proxies.iter().filter(|p| p.settled).count()));
        self.synced.set(i64::from(report.head.synced));
        self.publications
            .set(i64::try_from(report.head.publication).unwrap_or(i64::MAX));
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.problems.clear();
        for problem in &report.problems {
            let labels = ByReason {
                severity: problem.severity.clone(),
                reason: problem.reason.clone(),
            };
            current.problems.get_or_create(&labels).inc();
        }
        let api = report.api.as_ref();
        let away = api.is_some_and(|api| api.away_since.is_some());
        self.away.set(i64::from(away));
        current.unread.clear();
        for unread in api.into_iter().flat_map(|api| &api.unread) {
            let kind = unread.kind.clone();
            let since = current.unread.get_or_create(&ByKind { kind });
            since.set(unread.since);
        }
        current.weights.clear();
        current.ready.clear();
        current.unreachable.clear();
        for model in &report.models {
            for version in &model.versions {
                let labels = ByVersion {
                    namespace: model.namespace.clone(),
                    model: model.model.clone(),
                    version: version.version.clone(),
                };
                current
                    .weights
                    .get_or_create(&labels)
                    .set(version.weight_wanted);
                current
                    .ready
                    .get_or_create(&labels)
                    .set(gauge(version.endpoints.are));
                let unreachable = version.unreachable.as_ref().map_or(0, |u| u.proxies.are);
                current
                    .unreachable
                    .get_or_create(&labels)
                    .set(gauge(unreachable));
            }
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
