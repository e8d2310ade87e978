//! What a request reserves before it goes on.

use std::rc::Rc;

use super::{Decider, Subject};
use crate::effects::Effect;
use crate::endpoint::Class;
use crate::limit::{self, Admitted, Asking, Denied};
use crate::metrics;
use crate::outcome::UNKNOWN;
use crate::pick::{self, Version};
use crate::vm::Vm;

impl Decider<'_> {
    pub(super) fn reserve(
        &self,
        vm: &mut Vm,
        subject: Subject<'_>,
        asking: Asking<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(Admitted, u64), Box<Denied>> {
        let limits = &subject.rules.limits;
        if limits.is_empty() || self.request.class == Class::Health {
            return Ok((Admitted::nothing(), 0));
        }
        let now = self.host.now();
        let scale = subject.model.and_then(|m| m.scale);
        let asking = Asking {
            percent: scale.map_or(asking.percent, |s| s.percent_at(now)),
            ..asking
        };
        let admitted = limit::reserve(&mut vm.ledger, limits, &asking, now, self.host)?;
        let label = subject.model.map_or(UNKNOWN, |m| &*m.id);
        for (charge, spend) in admitted.charges.iter().zip(admitted.held.spends()) {
            let balance = spend.balance();
            let rule = charge.limit.rule.id();
            let outcome = if balance.owed { "owed" } else { "reserved" };
            let version = pick::label(asking.version);
            let render = || metrics::reserves(rule, label, version, outcome);
            let metric = charge.series.get("reserves", outcome, render);
            effects.push(Effect::Count(metric, 1));
            if balance.evicted {
                effects.extend(vm.evictions.count(charge, now));
            }
            if balance.clipped_ns > 0 {
                let clipped = charge.milli_of_ns(balance.clipped_ns);
                let metric = metrics::amount("debt_clipped_milli", rule, label, version);
                effects.push(Effect::Count(metric, clipped));
            }
        }
        // The answer must not be compressed if the filter is to read it.
        if admitted.meters() && self.request.headers.get("accept-encoding").is_some() {
            remove_encodings(label, asking.version, effects);
        }
        Ok((admitted, now))
    }
}

#[inline(never)]
fn remove_encodings(model: &str, version: Option<&Rc<Version>>, effects: &mut Vec<Effect>) {
    const NAME: &str = "accept_encoding_removed";
    let render = || metrics::by_version(NAME, model, pick::label(version));
    effects.push(Effect::RemoveRequestHeader("accept-encoding".into()));
    effects.push(Effect::Count(pick::stat(version, NAME, "", render), 1));
}
