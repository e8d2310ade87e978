//! Counters of one configuration, kept apart from it.
//!
//! [`Compiled`](crate::compiled::Compiled) never changes. What requests change is here, in lists that the numbers in the
//! configuration index. A new configuration starts with empty counters.
//!
//! Invariant: a stream keeps only the [`Series`] that its end needs, so a replaced configuration and its counters are freed.

use std::rc::Rc;

use crate::compiled::{Limit, Model};
use crate::labels::Labels;
use crate::metrics::{self, Metric, Series};
use crate::pick::{self, Version};
use crate::skew::HeavyHitters;

/// The counters of one worker for one configuration.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By [`Model::number`].
    models: List<Box<ModelCounters>>,
    /// By [`Version::number`].
    versions: List<Rc<Series>>,
    /// By [`Limit::number`]; then by version. Requests without a known version have the empty name.
    limits: List<Vec<(Rc<str>, Rc<Series>)>>,
}

/// Entries by number, each created when it is first used. The list grows up to the greatest number used.
type List<T> = Vec<Option<T>>;

#[derive(Debug, Default)]
struct ModelCounters {
    heavy_hitters: HeavyHitters,
    series: Series,
}

impl Counters {
    /// The metrics of a version.
    pub(crate) fn version(&mut self, version: &Version) -> &Rc<Series> {
        entry(&mut self.versions, version.number)
    }

    /// The metrics of what a version's requests spend of a bucket.
    pub(crate) fn limit(&mut self, limit: &Limit, version: Option<&Rc<Version>>) -> &Rc<Series> {
        let series = entry(&mut self.limits, limit.number);
        let name = pick::label(version);
        let place = series.iter().position(|(known, _)| **known == *name);
        let place = place.unwrap_or_else(|| {
            series.push((name.into(), Rc::default()));
            series.len() - 1
        });
        &series[place].1
    }

    /// The counter of a request whose session key is the fingerprint of its conversation.
    #[inline(never)]
    pub(crate) fn fingerprint(&mut self, model: &Model, labels: &Labels<'_>, key: u64) -> Metric {
        let counters = entry(&mut self.models, model.number);
        let outcome = match counters.heavy_hitters.count(key) {
            true => "shared",
            false => "own",
        };
        counters.series.get("fingerprints_total", outcome, || {
            metrics::fingerprints(labels.namespace, &model.id, outcome)
        })
    }
}

/// The entry of this number.
fn entry<T: Default>(list: &mut List<T>, number: usize) -> &mut T {
    if list.len() <= number {
        list.resize_with(number + 1, || None);
    }
    list[number].get_or_insert_default()
}
