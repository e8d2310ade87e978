//! The objects and findings of the stored policies.

use headgate_kubernetes::policies::PolicyCache;
use headgate_model::reference::References;
use headgate_model::{Finding, Objects, Observed, PolicyId, PolicyOutcome, Severity, reason};

/// The world after `before` that has these policies and nothing else. Statuses are no part of it.
pub(super) fn observe(cache: &PolicyCache, before: &Observed) -> Observed {
    let mut objects = Objects::default();
    cache.add_to(&mut objects);
    let generation = before.generation + 1;
    let changed = before.generation == 0 || before.objects != objects;
    let at = |last: u64| if changed { generation } else { last };
    let unread = |(id, outcome): (&PolicyId, &PolicyOutcome)| Finding {
        object: id.clone().into(),
        reason: reason::UNREADABLE,
        severity: Severity::Error,
        origin: id.to_string(),
        message: format!("it is left out: {}", outcome.accepted.message),
    };
    Observed {
        objects,
        findings: cache.invalid.iter().map(unread).collect(),
        references: References::of(cache.references.clone()),
        generation,
        intent: at(before.intent),
        changed: at(before.changed),
        ..Observed::default()
    }
}
