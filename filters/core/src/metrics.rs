//! The names and labels of everything counted.
//!
//! A stat's rendered name is `headgate_<metric>|key=value|…`; the bootstrap's `stats_tags` cut the pairs out of
//! it and turn them into Prometheus labels. (No `|` at the end: what no label cuts out stays in the name.)
//! Labels only hold what configuration names (models, versions, policies, buckets, outcomes), never what a
//! client wrote: the number of series is bounded by the plan.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

/// Which kind of stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Values are recorded one by one.
    Histogram,
}

/// A stat: cheap to clone, so that what is counted often is rendered once.
#[derive(Debug, Clone)]
pub struct Metric(Rc<Stat>);

#[derive(Debug)]
struct Stat {
    kind: MetricKind,
    name: String,
    number: OnceCell<u32>,
    waiting: Cell<u64>,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        (self.0.kind, &self.0.name) == (other.0.kind, &other.0.name)
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
        let mut text = String::with_capacity("headgate_".len() + name.len() + texts);
        text.push_str("headgate_");
        text.push_str(name);
        for (key, value) in labels {
            text.push('|');
            text.push_str(key);
            text.push('=');
            // The separator is the one character a value must not bring.
            text.extend(value.chars().map(|c| if c == '|' { '_' } else { c }));
        }
        Self(Rc::new(Stat {
            kind,
            name: text,
            number: OnceCell::new(),
            waiting: Cell::new(0),
        }))
    }

    /// Counter or histogram.
    #[must_use]
    pub fn kind(&self) -> MetricKind {
        self.0.kind
    }

    /// The name under which the host knows it.
    #[must_use]
    pub fn rendered(&self) -> &str {
        &self.0.name
    }

    /// Where the shell keeps the host's number of it, which is good for as long as the VM lives.
    #[must_use]
    pub fn number(&self) -> &OnceCell<u32> {
        &self.0.number
    }

    /// Where the shell keeps what it has counted and not yet told the host.
    #[must_use]
    pub fn waiting(&self) -> &Cell<u64> {
        &self.0.waiting
    }
}

/// The stats of one thing (a version, a bucket), each rendered when it is first counted. There are a handful.
#[derive(Debug, Default)]
pub(crate) struct Series(RefCell<Vec<(&'static str, &'static str, Metric)>>);

impl Series {
    /// The stat called so, with this outcome if it has outcomes; `render` makes it.
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

/// Requests by what became of them: `admitted`, `listed`, `aborted` (the client left before a decision),
/// `unmetered` (let through by a hop that does not decide, on a host of no namespace), or the code of the
/// refusal.
#[must_use]
pub fn requests(namespace: &str, model: &str, version: &str, lane: &str, outcome: &str) -> Metric {
    let labels = [
        ("namespace", namespace),
        ("model", model),
        ("version", version),
        ("lane", lane),
        ("outcome", outcome),
    ];
    Metric::counter("requests", &labels)
}

/// Reserves by rule (`namespace/policy/bucket`) and outcome: `reserved`, `owed`, or the code of the refusal.
#[must_use]
pub fn reserves(rule: &str, model: &str, version: &str, outcome: &str) -> Metric {
    Metric::counter("reserves", &charges(rule, model, version, outcome))
}

/// Requests picked for by the fingerprint of their conversation: with one that a sixteenth of the model's recent ones
/// share (`shared`: they go to one version together, so shares are skewed), or not (`own`).
#[must_use]
pub fn fingerprints(namespace: &str, model: &str, outcome: &str) -> Metric {
    let labels = [
        ("namespace", namespace),
        ("model", model),
        ("outcome", outcome),
    ];
    Metric::counter("fingerprints", &labels)
}

/// Requests of a tenant by outcome, as [`requests`] has it. `other`: every tenant without statistics of its own; `none`: requests
/// that name no tenant.
#[must_use]
pub fn tenant_requests(namespace: &str, tenant: &str, outcome: &str) -> Metric {
    let labels = [
        ("namespace", namespace),
        ("tenant", tenant),
        ("outcome", outcome),
    ];
    Metric::counter("tenant_requests", &labels)
}

/// Tokens that a tenant used, as settled: `input` of prompts, `output` generated.
#[must_use]
pub fn tenant_tokens(namespace: &str, tenant: &str, kind: &str) -> Metric {
    let labels = [("namespace", namespace), ("tenant", tenant), ("kind", kind)];
    Metric::counter("tenant_tokens", &labels)
}

/// Settlements by rule and by what they were settled on: `usage` reported, text `observed`, `unreadable` bytes, `unobserved` (an
/// empty answer), `never_sent`; of requests that failed `client_error`, `rate_limited`, `server_error`, `reset`, `timeout`,
/// `abandoned`.
#[must_use]
pub fn settlements(rule: &str, model: &str, version: &str, outcome: &str) -> Metric {
    Metric::counter("settlements", &charges(rule, model, version, outcome))
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

/// What a request was finally charged, in thousandths of the bucket's unit.
#[must_use]
pub fn charged(rule: &str, model: &str, version: &str) -> Metric {
    Metric::histogram("charged_milli", &amounts(rule, model, version))
}

fn amounts<'a>(rule: &'a str, model: &'a str, version: &'a str) -> [(&'a str, &'a str); 3] {
    [("rule", rule), ("model", model), ("version", version)]
}

/// Tries of a compare-and-swap on a bucket that another worker won, and that were made again.
#[must_use]
pub fn lost_tries() -> Metric {
    Metric::counter("bucket_tries_lost", &[])
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
