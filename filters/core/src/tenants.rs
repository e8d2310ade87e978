//! Metrics by tenant: the first tenants with 100 requests have metrics of their own, for the life of the process.
//!
//! Envoy never removes a statistic, so the configuration bounds how many tenants have their own; all others count as `other`.
//! All workers together count the requests of each tenant in shared data, once a second. A tenant keeps its own metrics.
//! Candidates are bounded too: if there are more tenants, those with the fewest requests are dropped.

use std::rc::Rc;

use crate::metrics::{self, Metric, Series};
use crate::ports::Cells;

/// Requests after which a tenant gets statistics of its own.
const ENOUGH: u32 = 100;
/// Most tenants that are candidates.
const MAX_CANDIDATES: usize = 1024;
/// Compare-and-swap attempts per tick; unsent changes go with the next tick.
const TRIES: usize = 8;

/// Prefix of the shared-data key of the counts; the namespace follows.
const KEY: &str = "headgate.tenants/1/";
/// The label of a tenant without statistics of its own.
const OTHER: &str = "other";
/// The label of requests that name no tenant.
const NONE: &str = "none";

/// The tenants of one worker.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Vec<(Rc<str>, Namespace)>);

/// The tenants of one namespace.
#[derive(Debug, Default)]
struct Namespace {
    most: usize,
    /// Tenants with metrics of their own, sorted.
    own: Vec<(Box<str>, Series)>,
    other: Series,
    none: Series,
    /// Requests of other tenants since the last tick.
    recent: Counts,
}

/// A metric of a tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counted {
    /// A request, by its outcome.
    Request(&'static str),
    /// Tokens of prompts.
    Input,
    /// Tokens generated.
    Output,
}

impl Tenants {
    /// The metric of a tenant, or that of all others. A request also counts towards metrics of the tenant's own.
    pub(crate) fn metric(
        &mut self,
        namespace: &Rc<str>,
        most: u32,
        tenant: Option<&str>,
        counted: Counted,
    ) -> Metric {
        let known = self.namespace(namespace);
        known.most = usize::try_from(most).unwrap_or(usize::MAX);
        let (label, series) = match tenant {
            None | Some("") => (NONE, &known.none),
            Some(tenant) => match known.place(tenant) {
                Ok(place) => (tenant, &known.own[place].1),
                Err(_) => {
                    if matches!(counted, Counted::Request(_)) {
                        known.recent.add(tenant, 1);
                    }
                    (OTHER, &known.other)
                }
            },
        };
        let (name, of) = match counted {
            Counted::Request(outcome) => ("tenant_requests_total", outcome),
            Counted::Input => ("tenant_tokens_total", "input"),
            Counted::Output => ("tenant_tokens_total", "output"),
        };
        series.get(name, of, || match counted {
            Counted::Request(outcome) => metrics::tenant_requests(namespace, label, outcome),
            Counted::Input | Counted::Output => metrics::tenant_tokens(namespace, label, of),
        })
    }

    fn namespace(&mut self, name: &Rc<str>) -> &mut Namespace {
        let place = self.0.iter().position(|(known, _)| known == name);
        let place = place.unwrap_or_else(|| {
            self.0.push((Rc::clone(name), Namespace::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// Adds the counts of this worker to the shared ones, and reads which tenants have metrics of their own.
    pub(crate) fn tick<C: Cells + ?Sized>(&mut self, cells: &C) {
        for (name, namespace) in &mut self.0 {
            namespace.share(&format!("{KEY}{name}"), cells);
        }
    }
}

impl Namespace {
    fn place(&self, tenant: &str) -> Result<usize, usize> {
        self.own
            .binary_search_by(|(known, _)| (**known).cmp(tenant))
    }

    fn share<C: Cells + ?Sized>(&mut self, key: &str, cells: &C) {
        if self.own.len() >= self.most {
            self.recent = Counts::default();
            return;
        }
        for _ in 0..TRIES {
            let stored = cells.get(key);
            let mut all = Counts::parse(stored.as_ref().map_or(&[], |(bytes, _)| bytes));
            if !self.recent.0.is_empty() {
                all.merge(&self.recent, self.most);
                let cas = stored.map(|(_, cas)| cas);
                if cells.swap(key, &all.bytes(), cas).is_err() {
                    continue;
                }
            }
            self.recent = Counts::default();
            for (tenant, _) in all.0.into_iter().filter(|(_, count)| *count == OWN) {
                if let (Err(place), true) = (self.place(&tenant), self.own.len() < self.most) {
                    self.own.insert(place, (tenant, Series::default()));
                }
            }
            return;
        }
    }
}

/// The count of a tenant that has metrics of its own.
const OWN: u32 = u32::MAX;

/// Requests by tenant, sorted by name. In shared data, one line each: the requests, a space, and the name, which is visible ASCII
/// without spaces.
#[derive(Debug, Default)]
struct Counts(Vec<(Box<str>, u32)>);

impl Counts {
    fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let lines = text.lines().filter_map(|line| {
            let (count, tenant) = line.split_once(' ')?;
            Some((tenant.into(), count.parse().ok()?))
        });
        Self(lines.collect())
    }

    /// Adds to the count of a tenant. New tenants beyond the limit are not counted.
    fn add(&mut self, tenant: &str, requests: u32) {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(tenant)) {
            Ok(place) => {
                let count = &mut self.0[place].1;
                *count = count.saturating_add(requests);
            }
            Err(place) if self.0.len() < MAX_CANDIDATES => {
                self.0.insert(place, (tenant.into(), requests));
            }
            Err(_) => {}
        }
    }

    /// Adds the counts of a worker. A tenant with enough requests gets metrics of its own, while fewer than `most` have. If there are
    /// too many candidates, those with the fewest requests are dropped.
    fn merge(&mut self, recent: &Self, most: usize) {
        if self.0.len() + recent.0.len() > MAX_CANDIDATES {
            let mut counts: Vec<u32> = self.0.iter().map(|(_, count)| *count).collect();
            counts.sort_unstable();
            let least = counts.get(recent.0.len()).copied().unwrap_or(OWN);
            self.0.retain(|(_, count)| *count > least || *count == OWN);
        }
        for (tenant, count) in &recent.0 {
            self.add(tenant, *count);
        }
        let mut own = self.0.iter().filter(|(_, count)| *count == OWN).count();
        for (_, count) in &mut self.0 {
            if own < most && *count >= ENOUGH && *count != OWN {
                *count = OWN;
                own += 1;
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let lines = self.0.iter().map(|(tenant, n)| format!("{n} {tenant}\n"));
        lines.collect::<String>().into_bytes()
    }
}
