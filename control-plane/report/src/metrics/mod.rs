//! Metrics of the control plane in OpenMetrics text, for `/metrics`.
//!
//! Counters and histograms follow events; gauges are set from a [`Report`] at each scrape.

mod catalog;
mod deliveries;
mod labels;
mod ports;
mod process;

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use headgate_xds::fleet::{FleetEvent, ProxyEvent};
use headgate_xds::session::Event;
use headgate_xds::{Kind, Refusals};
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use tokio::sync::broadcast;

pub use self::catalog::{FAMILIES, MetricFamily};
use self::deliveries::Deliveries;
use self::labels::{
    BuildLabels, KindLabels, NoLabels, ReasonLabels, SourceLabels, TypeLabels, VersionLabels,
};
pub use self::ports::Port;
use self::ports::PortMetrics;
use self::process::ProcessCollector;
use crate::explanations::explanations;
use crate::{Report, seconds};

/// Label `source` of file problems.
pub const FILES: &str = "files";

/// Buckets of durations, in seconds: an ACK takes milliseconds, a rollout seconds, and a proxy that warms clusters longer.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

type FloatGauge = Gauge<f64, AtomicU64>;

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    pushes: Family<TypeLabels, Counter>,
    acks: Family<TypeLabels, Counter>,
    nacks: Family<TypeLabels, Counter>,
    push_duration: Family<TypeLabels, Histogram>,
    convergence_duration: Histogram,
    publication_duration: Histogram,
    source_errors: Family<SourceLabels, Counter>,
    publications: Counter,
    ports: [PortMetrics; 2],
    listener_certificate: Family<NoLabels, Gauge>,
    proxies: Gauge,
    current_proxies: Gauge,
    synced: Gauge,
    unreachable: Gauge,
    deliveries: Mutex<Deliveries>,
    /// Gauges that are cleared and set at each scrape, one scrape at a time.
    current: Mutex<Current>,
}

struct Current {
    problems: Family<ReasonLabels, Gauge>,
    unread: Family<KindLabels, FloatGauge>,
    weights: Family<VersionLabels, FloatGauge>,
    ready: Family<VersionLabels, Gauge>,
    unreachable: Family<VersionLabels, Gauge>,
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// Registers a metric under its name in the catalog.
fn register<M>(registry: &mut Registry, name: &'static str, metric: &M)
where
    M: Metric + EncodeMetric + TypedMetric + Clone,
{
    registry.register(name, catalog::help(name), metric.clone());
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(SystemTime::now())
    }
}

impl Metrics {
    /// Metrics of a process that started at this time.
    pub fn new(started: SystemTime) -> Self {
        let current = Current {
            problems: Family::default(),
            unread: Family::default(),
            weights: Family::default(),
            ready: Family::default(),
            unreachable: Family::default(),
        };
        let mut metrics = Self {
            registry: Registry::default(),
            pushes: Family::default(),
            acks: Family::default(),
            nacks: Family::default(),
            push_duration: Family::new_with_constructor(histogram),
            convergence_duration: histogram(),
            publication_duration: histogram(),
            source_errors: Family::default(),
            publications: Counter::default(),
            ports: [PortMetrics::new(Port::Xds), PortMetrics::new(Port::Admin)],
            listener_certificate: Family::default(),
            proxies: Gauge::default(),
            current_proxies: Gauge::default(),
            synced: Gauge::default(),
            unreachable: Gauge::default(),
            deliveries: Mutex::default(),
            current: Mutex::new(current),
        };
        metrics.register_all(started);
        metrics
    }

    /// Shows these refusals of a port.
    #[must_use]
    pub fn counting(mut self, port: Port, refusals: Refusals) -> Self {
        let of_port = self.ports.iter_mut().filter(|p| p.port() == port);
        of_port.for_each(|ports| ports.count(refusals.clone()));
        self
    }

    /// Sets the end of the validity of the certificate of a port, in Unix seconds, by its SPIFFE id.
    pub fn certificate_expires(&self, port: Port, spiffe_id: &str, at: i64) {
        let of_port = self.ports.iter().filter(|p| p.port() == port);
        of_port.for_each(|ports| ports.certificate_expires(spiffe_id, at));
    }

    /// Sets the end of the validity of the certificate that proxies present, in Unix seconds.
    pub fn listener_certificate_expires(&self, at: i64) {
        self.listener_certificate.get_or_create(&[]).set(at);
    }

    fn register_all(&mut self, started: SystemTime) {
        let build = Family::<BuildLabels, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&BuildLabels { version }).set(1);
        // Series exist from the start, so that their first increase is visible to `rate`.
        for kind in Kind::PUSH_ORDER {
            let labels = TypeLabels {
                r#type: kind.as_str(),
            };
            for counter in [&self.pushes, &self.acks, &self.nacks] {
                drop(counter.get_or_create(&labels));
            }
            drop(self.push_duration.get_or_create(&labels));
        }
        self.expect_source(FILES);
        let to = &mut self.registry;
        register(to, "headgate_build_info", &build);
        register(to, "headgate_xds_pushes", &self.pushes);
        register(to, "headgate_xds_acks", &self.acks);
        register(to, "headgate_xds_nacks", &self.nacks);
        register(
            to,
            "headgate_xds_push_duration_seconds",
            &self.push_duration,
        );
        register(
            to,
            "headgate_convergence_duration_seconds",
            &self.convergence_duration,
        );
        register(
            to,
            "headgate_publication_duration_seconds",
            &self.publication_duration,
        );
        register(to, "headgate_publications", &self.publications);
        for port in &self.ports {
            port.register(to);
        }
        let expiry = "headgate_listener_certificate_expiry_timestamp_seconds";
        register(to, expiry, &self.listener_certificate);
        register(to, "headgate_proxies", &self.proxies);
        register(to, "headgate_proxies_current", &self.current_proxies);
        register(to, "headgate_synced", &self.synced);
        register(to, "headgate_source_errors", &self.source_errors);
        register(to, "headgate_kubernetes_api_unreachable", &self.unreachable);
        let current = self
            .current
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        register(to, "headgate_problems", &current.problems);
        let unread = "headgate_kubernetes_kind_unread_since_timestamp_seconds";
        register(to, unread, &current.unread);
        register(to, "headgate_version_weight_percent", &current.weights);
        register(to, "headgate_version_ready_endpoints", &current.ready);
        register(
            to,
            "headgate_version_unreachable_proxies",
            &current.unreachable,
        );
        let started = seconds(started);
        to.register_collector(Box::new(ProcessCollector { started }));
    }

    /// Counts the events of proxies until the fleet is dropped.
    pub async fn follow(&self, mut events: broadcast::Receiver<FleetEvent>) {
        loop {
            match events.recv().await {
                Ok(event) => self.count(&event),
                // Events were missed: counters are too low, gauges are right.
                Err(broadcast::error::RecvError::Lagged(_)) => self.deliveries().reset(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn deliveries(&self) -> std::sync::MutexGuard<'_, Deliveries> {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, event: &FleetEvent) {
        let (stream, at) = (event.stream, event.at);
        let labels = |kind: &Kind| TypeLabels {
            r#type: kind.as_str(),
        };
        let converged = match &event.event {
            ProxyEvent::Connected => None,
            ProxyEvent::Disconnected => self.deliveries().disconnected(stream, at),
            ProxyEvent::Delivery(Event::Sent { kind, .. }) => {
                self.pushes.get_or_create(&labels(kind)).inc();
                self.deliveries().sent(stream, *kind, at);
                None
            }
            ProxyEvent::Delivery(Event::Nacked { kind, .. }) => {
                self.nacks.get_or_create(&labels(kind)).inc();
                self.deliveries().nacked(stream, *kind);
                None
            }
            ProxyEvent::Delivery(Event::Acked { kind, latency, .. }) => {
                self.acks.get_or_create(&labels(kind)).inc();
                let histogram = self.push_duration.get_or_create(&labels(kind));
                histogram.observe(latency.as_secs_f64());
                self.deliveries().acked(stream, *kind, at)
            }
        };
        if let Some(converged) = converged {
            self.convergence_duration.observe(converged.as_secs_f64());
        }
    }

    /// Records a publication and the time that it took.
    pub fn published(&self, took: Duration) {
        self.publications.inc();
        self.publication_duration.observe(took.as_secs_f64());
    }

    /// Creates the error counter of a source, with the value 0.
    pub fn expect_source(&self, source: &str) {
        drop(self.source_errors.get_or_create(&SourceLabels {
            source: source.to_owned(),
        }));
    }

    /// Counts a failure to read a source: a Kubernetes kind, or [`FILES`].
    pub fn source_failed(&self, source: &str) {
        let labels = SourceLabels {
            source: source.to_owned(),
        };
        self.source_errors.get_or_create(&labels).inc();
    }

    /// The metrics as OpenMetrics text, with gauges from this document.
    ///
    /// # Errors
    /// A value cannot be formatted.
    pub fn render(&self, report: &Report) -> Result<String, std::fmt::Error> {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.proxies.set(gauge(report.proxies.len()));
        let current_proxies = report.proxies.iter().filter(|p| p.current).count();
        self.current_proxies.set(gauge(current_proxies));
        self.synced.set(i64::from(report.head.synced));
        let api = report.api.as_ref();
        let unreachable = api.is_some_and(|api| api.unreachable_since.is_some());
        self.unreachable.set(i64::from(unreachable));
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.set(report);
        for port in &self.ports {
            port.update();
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Current {
    fn set(&self, report: &Report) {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.problems.clear();
        for row in explanations() {
            for severity in row.severities {
                drop(self.problems.get_or_create(&ReasonLabels {
                    severity: (*severity).to_owned(),
                    reason: row.reason.to_owned(),
                }));
            }
        }
        for problem in &report.problems {
            let labels = ReasonLabels {
                severity: problem.severity.clone(),
                reason: problem.reason.clone(),
            };
            self.problems.get_or_create(&labels).inc();
        }
        self.unread.clear();
        for unread in report.api.iter().flat_map(|api| &api.unread) {
            let kind = unread.kind.clone();
            let since = self.unread.get_or_create(&KindLabels { kind });
            since.set(unread.since);
        }
        self.weights.clear();
        self.ready.clear();
        self.unreachable.clear();
        for model in &report.models {
            for version in &model.versions {
                let labels = VersionLabels {
                    model_namespace: model.namespace.clone(),
                    model: model.model.clone(),
                    version: version.version.clone(),
                };
                let weight = self.weights.get_or_create(&labels);
                weight.set(version.weight_wanted);
                let ready = self.ready.get_or_create(&labels);
                ready.set(gauge(version.endpoints.current));
                let unreachable = version.unreachable.as_ref();
                let proxies = unreachable.map_or(0, |u| u.proxies.current);
                self.unreachable.get_or_create(&labels).set(gauge(proxies));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{ApiReport, ModelReport, UnreadReport};

    #[test]
    fn every_exposed_family_is_in_the_catalog_with_its_type() {
        let metrics = Metrics::default();
        metrics.published(Duration::from_millis(3));
        for port in [Port::Xds, Port::Admin] {
            metrics.certificate_expires(port, "spiffe://a.test/x", 1);
        }
        metrics.listener_certificate_expires(1);
        let mut report = Report {
            models: vec![ModelReport::default()],
            api: Some(ApiReport {
                synced: true,
                unreachable_since: None,
                message: None,
                unread: vec![UnreadReport {
                    kind: "pods".to_owned(),
                    since: 1.0,
                    message: String::new(),
                    was_read: false,
                    effect: String::new(),
                }],
            }),
            ..Report::default()
        };
        report.models[0].versions = vec![crate::VersionReport {
            version: "v1".to_owned(),
            weight_wanted: 1.0,
            planned_since: None,
            weight_acked: std::collections::BTreeMap::new(),
            endpoints: crate::Count::default(),
            carriers: Vec::new(),
            unreachable: None,
            waits_for_routes: false,
        }];
        let text = metrics.render(&report).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let exposed: BTreeSet<(&str, &str)> =
            types.filter_map(|line| line.split_once(' ')).collect();
        let known: BTreeSet<(&str, &str)> = FAMILIES.iter().map(|f| (f.name, f.kind)).collect();
        assert_eq!(exposed, known, "{text}");
        assert!(!text.contains("# HELP  "), "{text}");
        for sample in [
            "headgate_xds_nacks_total{type=\"cds\"} 0",
            "headgate_source_errors_total{source=\"files\"} 0",
            "headgate_publications_total 1",
            "headgate_xds_refusals_total{reason=\"no_rule\"} 0",
            "headgate_admin_refusals_total{reason=\"certificate_expired\"} 0",
            "headgate_xds_push_duration_seconds_count{type=\"ecds\"} 0",
            "headgate_problems{severity=\"error\",reason=\"KubernetesApi\"} 0",
            "model_namespace=\"",
        ] {
            assert!(text.contains(sample), "{sample} in:\n{text}");
        }
    }
}
