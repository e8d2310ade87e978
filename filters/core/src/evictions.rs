//! Evictions: keys that lost their balance to another key, because more keys are active than `maxKeys`. Counted, and logged.

use crate::effects::Effect;
use crate::ledger::Rule;
use crate::metrics;

/// Time between two warnings of a rule, ns: a minute.
const QUIET_NS: u64 = 60 * 1_000_000_000;

/// When each rule last warned, ns.
#[derive(Debug, Default)]
pub(crate) struct Evictions(Vec<(String, u64)>);

impl Evictions {
    /// Counts an eviction, and logs a warning at most once a minute.
    #[cold]
    pub(crate) fn count(&mut self, rule: &Rule, now: u64) -> Vec<Effect> {
        let (rule, most) = (rule.id(), rule.max_keys());
        let mut effects = vec![Effect::Count(metrics::by_rule("evictions_total", rule), 1)];
        let known = self.0.iter_mut().find(|(known, _)| known == rule);
        if known
            .as_ref()
            .is_none_or(|(_, last)| now.saturating_sub(*last) >= QUIET_NS)
        {
            match known {
                Some((_, last)) => *last = now,
                None => self.0.push((rule.to_owned(), now)),
            }
            effects.push(Effect::Warn(format!(
                "headgate: bucket {rule}: more than {most} keys are active, so keys lose their balance to others: raise maxKeys"
            )));
        }
        effects
    }
}
