//! The statistics that the filters keep: families, labels, and one [`Metric`] for each series.
//!
//! A statistic has the name `headgate_<family>|key=value|…`. The bootstrap's `stats_tags` cut the pairs out of the name and turn
//! them into Prometheus labels. There is no `|` at the end, because what no label cuts out stays in the name.
//! Label values come from the configuration (models, versions, policies, buckets, outcomes), never from a client. So the plan
//! bounds the number of series.

mod families;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

pub use families::{FAMILIES, Family};

/// Kind of a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// A distribution of values.
    Histogram,
}

const PREFIX: &str = "headgate_";

/// One series: a family with its label values. Cheap to clone, so that the name of a frequent series is rendered once.
#[derive(Debug, Clone)]
pub struct Metric(Rc<Statistic>);

#[derive(Debug)]
struct Statistic {
    kind: MetricKind,
    rendered: String,
    id: OnceCell<u32>,
    pending: Cell<u64>,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        (self.0.kind, &self.0.rendered) == (other.0.kind, &other.0.rendered)
    }
}

impl Eq for Metric {}

impl Metric {
    /// A counter.
    #[must_use]
    pub fn counter(name: &str, labels: &[(&str, &str)]) -> Self {
        Self::new(MetricKind::Counter, name, labels)
    }

    /// A histogram.
    #[must_use]
    pub fn histogram(name: &str, labels: &[(&str, &str)]) -> Self {
        Self::new(MetricKind::Histogram, name, labels)
    }

    fn new(kind: MetricKind, name: &str, labels: &[(&str, &str)]) -> Self {
        let texts: usize = labels.iter().map(|(k, v)| k.len() + v.len() + 2).sum();
        let mut text = String::with_capacity(PREFIX.len() + name.len() + texts);
        text.push_str(PREFIX);
        text.push_str(name);
        for (key, value) in labels {
            text.push('|');
            text.push_str(key);
            text.push('=');
            // `|` separates labels, so no value may contain it.
            text.extend(value.chars().map(|c| if c == '|' { '_' } else { c }));
        }
        let metric = Self(Rc::new(Statistic {
            kind,
            rendered: text,
            id: OnceCell::new(),
            pending: Cell::new(0),
        }));
        debug_assert!(
            metric.family().is_some_and(|family| {
                let keys = labels.iter().map(|(key, _)| key);
                family.kind == kind && family.labels.iter().eq(keys)
            }),
            "{} is not in FAMILIES",
            metric.rendered()
        );
        metric
    }

    /// Counter or histogram.
    #[must_use]
    pub fn kind(&self) -> MetricKind {
        self.0.kind
    }

    /// The name with its labels, for a host whose statistics have no labels.
    #[must_use]
    pub fn rendered(&self) -> &str {
        &self.0.rendered
    }

    /// Its family, for a host whose statistics have labels.
    #[must_use]
    pub fn family(&self) -> Option<&'static Family> {
        let name = self.parts().next()?.strip_prefix(PREFIX)?;
        FAMILIES.iter().find(|family| family.name == name)
    }

    /// Its label values, in the order of the family's keys.
    pub fn label_values(&self) -> impl Iterator<Item = &str> {
        let pairs = self.parts().skip(1);
        pairs.map(|pair| pair.split_once('=').map_or("", |(_, value)| value))
    }

    fn parts(&self) -> std::str::Split<'_, char> {
        self.0.rendered.split('|')
    }

    /// The host's id of the series. The host sets it, and it is valid as long as the metric lives.
    #[must_use]
    pub fn id(&self) -> &OnceCell<u32> {
        &self.0.id
    }

    /// The part of a counter that the host does not know yet.
    #[must_use]
    pub fn pending(&self) -> &Cell<u64> {
        &self.0.pending
    }
}

/// The metrics of one thing (a version, a bucket), each rendered when it is first counted. There are a handful.
#[derive(Debug, Default)]
pub(crate) struct Series(RefCell<Vec<(&'static str, &'static str, Metric)>>);

impl Series {
    /// The metric with this name, and this outcome if it has outcomes; `render` makes it.
    pub(crate) fn get(
        &self,
        name: &'static str,
        outcome: &'static str,
        render: impl FnOnce() -> Metric,
    ) -> Metric {
        self.known(name, outcome)
            .unwrap_or_else(|| self.add(name, outcome, render()))
    }

    fn known(&self, name: &str, outcome: &str) -> Option<Metric> {
        let known = self.0.borrow();
        let found = known.iter().find(|k| k.0 == name && k.1 == outcome);
        found.map(|(_, _, metric)| metric.clone())
    }

    #[cold]
    fn add(&self, name: &'static str, outcome: &'static str, metric: Metric) -> Metric {
        self.0.borrow_mut().push((name, outcome, metric.clone()));
        metric
    }
}

/// The metric with this name of a series; rendered again if there is no series.
pub(crate) fn of_series(
    series: Option<&Rc<Series>>,
    name: &'static str,
    outcome: &'static str,
    render: impl FnOnce() -> Metric,
) -> Metric {
    match series {
        Some(series) => series.get(name, outcome, render),
        None => render(),
    }
}

/// Requests by outcome.
#[must_use]
pub fn requests(namespace: &str, model: &str, version: &str, lane: &str, outcome: &str) -> Metric {
    let labels = [
        ("model_namespace", namespace),
        ("model", model),
        ("version", version),
        ("lane", lane),
        ("outcome", outcome),
    ];
    Metric::counter("requests_total", &labels)
}

/// Reserves by rule (`namespace/policy/bucket`) and outcome.
#[must_use]
pub fn reserves(rule: &str, model: &str, version: &str, outcome: &str) -> Metric {
    Metric::counter("reserves_total", &charges(rule, model, version, outcome))
}

/// Requests whose session key is the fingerprint of the conversation, by whether many requests share it.
#[must_use]
pub fn fingerprints(namespace: &str, model: &str, outcome: &str) -> Metric {
    let labels = [
        ("model_namespace", namespace),
        ("model", model),
        ("outcome", outcome),
    ];
    Metric::counter("fingerprints_total", &labels)
}

/// Requests of a tenant by outcome, with the outcomes of [`requests`].
#[must_use]
pub fn tenant_requests(namespace: &str, tenant: &str, outcome: &str) -> Metric {
    let labels = [
        ("model_namespace", namespace),
        ("tenant", tenant),
        ("outcome", outcome),
    ];
    Metric::counter("tenant_requests_total", &labels)
}

/// Tokens that a tenant used, as settled; `kind` is `input` or `output`.
#[must_use]
pub fn tenant_tokens(namespace: &str, tenant: &str, kind: &str) -> Metric {
    let labels = [
        ("model_namespace", namespace),
        ("tenant", tenant),
        ("kind", kind),
    ];
    Metric::counter("tenant_tokens_total", &labels)
}

/// Settlements by rule and by what they were based on.
#[must_use]
pub fn settlements(rule: &str, model: &str, version: &str, outcome: &str) -> Metric {
    Metric::counter("settlements_total", &charges(rule, model, version, outcome))
}

fn charges<'a>(
    rule: &'a str,
    model: &'a str,
    version: &'a str,
    outcome: &'a str,
) -> [(&'a str, &'a str); 4] {
    [
        ("rule", rule),
        ("model", model),
        ("version", version),
        ("outcome", outcome),
    ]
}

/// A counter of a rule, model and version, in thousandths of the bucket's unit.
#[must_use]
pub fn amount(name: &'static str, rule: &str, model: &str, version: &str) -> Metric {
    Metric::counter(name, &amounts(rule, model, version))
}

/// The final charge of a request, in thousandths of the bucket's unit.
#[must_use]
pub fn charged(rule: &str, model: &str, version: &str) -> Metric {
    Metric::histogram("charged_milli", &amounts(rule, model, version))
}

fn amounts<'a>(rule: &'a str, model: &'a str, version: &'a str) -> [(&'a str, &'a str); 3] {
    [("rule", rule), ("model", model), ("version", version)]
}

/// Compare-and-swap attempts on a bucket that another worker won, and that were repeated.
#[must_use]
pub fn lost_attempts() -> Metric {
    Metric::counter("bucket_tries_lost_total", &[])
}

/// A counter of a rule alone.
#[must_use]
pub fn by_rule(name: &'static str, rule: &str) -> Metric {
    Metric::counter(name, &[("rule", rule)])
}

/// A counter of a model and version.
#[must_use]
pub fn by_version(name: &'static str, model: &str, version: &str) -> Metric {
    Metric::counter(name, &[("model", model), ("version", version)])
}

/// A histogram of a model and version.
#[must_use]
pub fn tokens(name: &'static str, model: &str, version: &str) -> Metric {
    Metric::histogram(name, &[("model", model), ("version", version)])
}
