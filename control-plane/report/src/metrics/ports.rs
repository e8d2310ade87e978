//! Metrics of the two ports of a control plane: refused clients, and the certificate.

use headgate_xds::Refusals;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{CertificateLabels, RefusalLabels};
use super::register;

/// A port of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The port of proxies.
    Xds,
    /// The port of people, probes and Prometheus.
    Admin,
}

/// The metrics of one port.
pub(super) struct PortMetrics {
    port: Port,
    /// The counters follow them at each scrape.
    refusals: Refusals,
    refused: Family<RefusalLabels, Counter>,
    certificate_expiry: Family<CertificateLabels, Gauge>,
}

impl PortMetrics {
    pub(super) fn new(port: Port) -> Self {
        Self {
            port,
            refusals: Refusals::default(),
            refused: Family::default(),
            certificate_expiry: Family::default(),
        }
    }

    pub(super) fn port(&self) -> Port {
        self.port
    }

    /// Shows these refusals.
    pub(super) fn count(&mut self, refusals: Refusals) {
        self.refusals = refusals;
    }

    pub(super) fn certificate_expires(&self, spiffe_id: &str, at: i64) {
        self.certificate_expiry.clear();
        let spiffe_id = spiffe_id.to_owned();
        let labels = CertificateLabels { spiffe_id };
        self.certificate_expiry.get_or_create(&labels).set(at);
    }

    pub(super) fn register(&self, to: &mut Registry) {
        let (refusals, expiry) = match self.port {
            Port::Xds => (
                "headgate_xds_refusals",
                "headgate_xds_certificate_expiry_timestamp_seconds",
            ),
            Port::Admin => (
                "headgate_admin_refusals",
                "headgate_admin_certificate_expiry_timestamp_seconds",
            ),
        };
        register(to, refusals, &self.refused);
        register(to, expiry, &self.certificate_expiry);
    }

    /// Takes the refusals since the last scrape. The admin port refuses connections only during their handshake.
    pub(super) fn update(&self) {
        let counts = self.refusals.counts().into_iter();
        let counts = counts.filter(|(r, _)| self.port == Port::Xds || r.is_of_handshake());
        for (refusal, count) in counts {
            let reason = refusal.as_str();
            let counter = self.refused.get_or_create(&RefusalLabels { reason });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
}
