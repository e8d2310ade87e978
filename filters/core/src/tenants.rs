//! Which tenants have statistics of their own: the first ones that sent 100 requests, for the life of the process.
//!
//! Envoy never forgets a statistic, so their number is bounded by configuration and all other tenants are counted as `other`.
//! The requests of a tenant are counted in shared data, by all workers together, once a second; a tenant that has its own
//! statistics keeps them. Candidates are bounded too: where more tenants appear, those with the fewest requests are forgotten.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::metrics::{self, Metric, Series};
use crate::ports::Cells;

/// Requests after which a tenant gets statistics of its own.
const ENOUGH: u32 = 100;
/// Most tenants whose requests are counted towards that.
const MAX_CANDIDATES: usize = 1024;
/// Tries of a write; what is lost goes with the next.
const TRIES: usize = 8;

/// Key of the counts in shared data, before the namespace.
const KEY: &str = "headgate.tenants/1/";
/// The label of a tenant without statistics of its own.
const OTHER: &str = "other";
/// The label of requests that name no tenant.
const NONE: &str = "none";

/// The tenants of one worker.
#[derive(Debug, Default)]
pub(crate) struct Tenants(BTreeMap<Rc<str>, Namespace>);

/// The tenants of one namespace.
#[derive(Debug, Default)]
struct Namespace {
    most: usize,
    /// Those with statistics of their own.
    own: BTreeMap<Box<str>, Series>,
    other: Series,
    none: Series,
    /// Requests of the others since the last tick.
    recent: BTreeMap<Box<str>, u32>,
}

/// Which statistic.
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
    /// The statistic of a tenant, or that of all others. A request counts towards a statistic of its own.
    pub(crate) fn metric(
        &mut self,
        namespace: &Rc<str>,
        most: u32,
        tenant: Option<&str>,
        counted: Counted,
    ) -> Metric {
        let known = self.0.entry(Rc::clone(namespace)).or_default();
        known.most = usize::try_from(most).unwrap_or(usize::MAX);
        let (label, series) = match tenant {
            None | Some("") => (NONE, &known.none),
            Some(tenant) => match known.own.get(tenant) {
                Some(series) => (tenant, series),
                None => {
                    if matches!(counted, Counted::Request(_)) {
                        candidate(&mut known.recent, tenant);
                    }
                    (OTHER, &known.other)
                }
            },
        };
        let (name, of) = match counted {
            Counted::Request(outcome) => ("tenant_requests", outcome),
            Counted::Input => ("tenant_tokens", "input"),
            Counted::Output => ("tenant_tokens", "output"),
        };
        series.get(name, of, || match counted {
            Counted::Request(outcome) => metrics::tenant_requests(namespace, label, outcome),
            Counted::Input | Counted::Output => metrics::tenant_tokens(namespace, label, of),
        })
    }

    /// Adds what this worker counted to what all workers did, and learns which tenants have statistics of their own.
    pub(crate) fn tick<C: Cells + ?Sized>(&mut self, cells: &C) {
        for (name, namespace) in &mut self.0 {
            let key = format!("{KEY}{name}");
            namespace.share(&key, cells);
        }
    }
}

fn candidate(recent: &mut BTreeMap<Box<str>, u32>, tenant: &str) {
    if let Some(count) = recent.get_mut(tenant) {
        *count = count.saturating_add(1);
    } else if recent.len() < MAX_CANDIDATES {
        recent.insert(tenant.into(), 1);
    }
}

impl Namespace {
    fn share<C: Cells + ?Sized>(&mut self, key: &str, cells: &C) {
        if self.own.len() >= self.most {
            self.recent.clear();
            return;
        }
        for _ in 0..TRIES {
            let stored = cells.get(key);
            let mut all = Counts::parse(stored.as_ref().map_or(&[], |(bytes, _)| bytes));
            if !self.recent.is_empty() {
                all.add(&self.recent, self.most);
                let cas = stored.map(|(_, cas)| cas);
                if cells.swap(key, &all.bytes(), cas).is_err() {
                    continue;
                }
            }
            self.recent.clear();
            for tenant in all.own.into_iter().take(self.most) {
                self.own.entry(tenant).or_default();
            }
            return;
        }
    }
}

/// What is in shared data: a line for each tenant, its requests, a space and its name; those with statistics of their own
/// first, with `*` in place of the number. Names are visible ASCII without spaces.
#[derive(Debug, Default)]
struct Counts {
    own: Vec<Box<str>>,
    candidates: BTreeMap<Box<str>, u32>,
}

impl Counts {
    fn parse(bytes: &[u8]) -> Self {
        let mut counts = Self::default();
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        for (count, tenant) in text.lines().filter_map(|line| line.split_once(' ')) {
            match count.parse() {
                Ok(count) => {
                    counts.candidates.insert(tenant.into(), count);
                }
                Err(_) => counts.own.push(tenant.into()),
            }
        }
        counts
    }

    fn add(&mut self, recent: &BTreeMap<Box<str>, u32>, most: usize) {
        for (tenant, count) in recent {
            if self.own.contains(tenant) {
                continue;
            }
            let sum = self
                .candidates
                .remove(tenant)
                .unwrap_or(0)
                .saturating_add(*count);
            if sum >= ENOUGH && self.own.len() < most {
                self.own.push(tenant.clone());
            } else {
                self.candidates.insert(tenant.clone(), sum);
            }
        }
        let excess = self.candidates.len().saturating_sub(MAX_CANDIDATES);
        if excess > 0 {
            let mut by_count: Vec<_> = self
                .candidates
                .iter()
                .map(|(t, n)| (*n, t.clone()))
                .collect();
            by_count.sort_unstable();
            for (_, tenant) in by_count.into_iter().take(excess) {
                self.candidates.remove(&tenant);
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let own = self.own.iter().map(|tenant| format!("* {tenant}\n"));
        let others = self
            .candidates
            .iter()
            .map(|(tenant, n)| format!("{n} {tenant}\n"));
        own.chain(others).collect::<String>().into_bytes()
    }
}
