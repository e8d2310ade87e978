//! Lifetime of a live capacity (`scale`).
//!
//! A scale other than 100 % expires 15 minutes after its reception. A new epoch in the content, every 7.5 minutes, renews it; an
//! unrelated configuration update does not. So a scale stops limiting the buckets 15 minutes after the control
//! plane stops.

use std::collections::BTreeMap;

use headgate_contract::Scale;

/// How long a scale other than 100 % lasts after its reception, ns.
pub const LIFETIME_NS: u64 = 15 * 60 * 1_000_000_000;

/// When each model's scale was received. Keyed by (namespace, model).
#[derive(Debug, Clone, Default)]
pub struct ReceivedScales(BTreeMap<(String, String), ReceivedScale>);

#[derive(Debug, Clone, Copy)]
struct ReceivedScale {
    scale: Scale,
    at: u64,
}

impl ReceivedScales {
    /// The receptions after a configuration that arrived at `now` with these scales. An unchanged scale keeps its time.
    #[must_use]
    pub fn after(
        &self,
        scales: impl IntoIterator<Item = ((String, String), Scale)>,
        now: u64,
    ) -> Self {
        let next = scales.into_iter().map(|(key, scale)| {
            let kept = self.0.get(&key).filter(|r| r.scale == scale);
            let at = kept.map_or(now, |r| r.at);
            (key, ReceivedScale { scale, at })
        });
        Self(next.collect())
    }

    /// When the scale of a model was received, ns.
    #[must_use]
    pub fn received(&self, namespace: &str, model: &str) -> Option<u64> {
        let key = (namespace.to_owned(), model.to_owned());
        self.0.get(&key).map(|r| r.at)
    }
}

/// A model's scale with the time of its reception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiringScale {
    /// Percent of the configured capacity.
    pub percent: u16,
    /// When it was received, ns.
    pub received: u64,
}

impl ExpiringScale {
    /// The percent at `now`.
    #[must_use]
    pub fn percent_at(&self, now: u64) -> u16 {
        if now.saturating_sub(self.received) < LIFETIME_NS {
            self.percent
        } else {
            100
        }
    }
}
