//! The reservation of a request, before it is forwarded.

use std::rc::Rc;

use super::{Decider, Subject};
use crate::effects::Effect;
use crate::labels::UNKNOWN;
use crate::limit::{self, Admitted, Denied, ReserveInput};
use crate::metrics::{self, Series};
use crate::pick;
use crate::vm::Vm;

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
        // The filter cannot read a compressed answer.
        if admitted.meters() && self.request.headers.get("accept-encoding").is_some() {
            remove_encodings((label, pick::label(input.version)), series, effects);
        }
        Ok((admitted, now))
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
