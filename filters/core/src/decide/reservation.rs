//! The reservation of a request, before it is forwarded.

use std::rc::Rc;

use super::{Decider, Subject};
use crate::effects::{Effect, Text};
use crate::labels::UNKNOWN;
use crate::limit::{self, Admitted, Denied, ReserveInput};
use crate::metrics::{self, Series};
use crate::outcome::{STATE_REASON, STATE_RULE};
use crate::pick::{self, Version};
use crate::vm::Vm;

/// The outcome of a bucket in shadow mode that would have refused the request.
const WOULD_LIMIT: &str = "would_limit";

impl Decider<'_> {
    pub(super) fn reserve(
        &self,
        vm: &mut Vm,
        subject: Subject<'_>,
        input: ReserveInput<'_>,
        series: Option<&Rc<Series>>,
        effects: &mut Vec<Effect>,
    ) -> Result<(Admitted, u64), Box<Denied>> {
        let limits = &subject.rules.limits;
        if limits.is_empty() {
            return Ok((Admitted::nothing(), 0));
        }
        let now = self.host.now();
        let scale = subject.model.and_then(|m| m.scale);
        let input = ReserveInput {
            percent: scale.map_or(input.percent, |s| s.percent_at(now)),
            ..input
        };
        let admitted = limit::reserve(vm, limits, &input, now, self.host)?;
        let label = subject.model.map_or(UNKNOWN, |m| &*m.id);
        for (charge, reservation) in admitted.charges.iter().zip(admitted.held.as_slice()) {
            let balance = reservation.balance();
            let rule = charge.limit.rule.id();
            let outcome = if balance.owed { "owed" } else { "reserved" };
            let version = pick::label(input.version);
            let render = || metrics::reserves(rule, label, version, outcome);
            let metric = charge.series.get("reserves_total", outcome, render);
            effects.push(Effect::Count(metric, 1));
            if balance.evicted {
                effects.extend(vm.evictions.count(&charge.limit.rule, now));
            }
            if balance.clipped_ns > 0 {
                let clipped = charge.milli_of_ns(balance.clipped_ns);
                let metric = metrics::amount("debt_clipped_milli_total", rule, label, version);
                effects.push(Effect::Count(metric, clipped));
            }
        }
        if !admitted.would_limit.is_empty() {
            let state = subject.rules.tagging.filter_state;
            count_would_limit(&admitted, label, input.version, state, vm, effects);
        }
        // The filter cannot read a compressed answer.
        if admitted.meters() && self.request.headers.get("accept-encoding").is_some() {
            remove_encodings((label, pick::label(input.version)), series, effects);
        }
        Ok((admitted, now))
    }
}

/// Counts what buckets in shadow mode would have refused, and names them in the filter state, as for a refusal.
#[cold]
#[inline(never)]
fn count_would_limit(
    admitted: &Admitted,
    model: &str,
    version: Option<&Rc<Version>>,
    state: bool,
    vm: &mut Vm,
    effects: &mut Vec<Effect>,
) {
    let mut rules = Vec::with_capacity(admitted.would_limit.len());
    for limit in &admitted.would_limit {
        let rule = limit.rule.id();
        let series = vm.counters.limit(limit, version);
        let metric = series.get("reserves_total", WOULD_LIMIT, || {
            metrics::reserves(rule, model, pick::label(version), WOULD_LIMIT)
        });
        effects.push(Effect::Count(metric, 1));
        rules.push(rule);
    }
    if state {
        for (name, value) in [
            (STATE_RULE, Text::Own(rules.join(","))),
            (STATE_REASON, Text::Fixed(WOULD_LIMIT)),
        ] {
            effects.push(Effect::SetState(name.into(), value));
        }
    }
}

#[inline(never)]
fn remove_encodings(
    (model, version): (&str, &str),
    series: Option<&Rc<Series>>,
    effects: &mut Vec<Effect>,
) {
    const NAME: &str = "accept_encoding_removed_total";
    let render = || metrics::by_version(NAME, model, version);
    effects.push(Effect::RemoveRequestHeader("accept-encoding".into()));
    let metric = metrics::of_series(series, NAME, "", render);
    effects.push(Effect::Count(metric, 1));
}
