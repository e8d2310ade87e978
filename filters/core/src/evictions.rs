//! Keys that lost their bucket to another key, because more keys are active than `maxKeys` says: counted, and logged.

use std::collections::BTreeMap;

use crate::effects::Effect;
use crate::limit::Charge;
use crate::metrics;

/// A rule's warning is repeated after so long, ns: a minute.
const QUIET_NS: u64 = 60 * 1_000_000_000;

/// When each rule last warned, ns.
#[derive(Debug, Default)]
pub(crate) struct Evictions(BTreeMap<String, u64>);

impl Evictions {
    /// Counts an eviction, and warns of it at most once a minute.
    #[cold]
    pub(crate) fn count(&mut self, charge: &Charge, now: u64) -> Vec<Effect> {
        let rule = charge.limit.rule.id();
        let mut effects = vec![Effect::Count(metrics::by_rule("evictions", rule), 1)];
        let last = self.0.get(rule).copied();
        if last.is_none_or(|last| now.saturating_sub(last) >= QUIET_NS) {
            self.0.insert(rule.to_owned(), now);
            let most = charge.limit.rule.max_keys();
            effects.push(Effect::Warn(format!(
                "headgate: bucket {rule}: more than {most} keys are active, so keys lose their balance to others: raise maxKeys"
            )));
        }
        effects
    }
}
