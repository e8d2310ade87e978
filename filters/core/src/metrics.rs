//! The statistics that the filters keep: families, labels, and one [`Metric`] for each series.
//!
//! A statistic has the name `key=.=value;.;…;.;headgate_<family>`, the form of Istio's own statistics: its `extraStatTags`, and the
//! `stats_tags` of the shipped bootstrap, cut each `key=.=value;.;` out of the name and turn it into a Prometheus label.
//!
//! In values, `;` and `=` are percent-encoded. So a value contains neither the end of a pair nor the start of another one, and no
//! tenant can forge a label. Values come from the configuration (models, versions, policies, buckets, outcomes) or are one of a
//! bounded number of tenants, so the number of series is bounded.

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
/// Between a key and its value.
const IS: &str = "=.=";
/// After a value.
const END: &str = ";.;";

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
        let texts: usize = labels.iter().map(|(k, v)| k.len() + v.len() + 6).sum();
        let mut text = String::with_capacity(PREFIX.len() + name.len() + texts);
        for (key, value) in labels {
            text.push_str(key);
            text.push_str(IS);
            push_escaped(&mut text, value);
            text.push_str(END);
        }
        text.push_str(PREFIX);
        text.push_str(name);
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
        let name = self.parts().next_back()?.strip_prefix(PREFIX)?;
        FAMILIES.iter().find(|family| family.name == name)
    }

    /// Its label values as in [`Self::rendered`], in the order of the family's keys.
    pub fn label_values(&self) -> impl Iterator<Item = &str> {
        let pairs = self.parts();
        pairs.filter_map(|pair| Some(pair.split_once(IS)?.1))
    }

    fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        // `;` is only in `END`.
        self.0.rendered.split(';').filter(|part| *part != ".")
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

fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            ';' => text.push_str("%3B"),
            '=' => text.push_str("%3D"),
            c => text.push(c),
        }
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

/// Tokens of one kind that are part of a prompt or of an output, as settled.
#[must_use]
pub fn token_parts(model: &str, version: &str, kind: &str) -> Metric {
    let labels = [("model", model), ("version", version), ("kind", kind)];
    Metric::counter("token_parts_total", &labels)
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
