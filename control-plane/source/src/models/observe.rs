//! The objects and findings of the stored `ServedModel`s.

use headgate_kubernetes::models::{ModelCache, findings};
use headgate_model::{Objects, Observed};

/// The world after `before` with these objects and nothing else. Of a status, only the memory is in it.
pub(super) fn observe(cache: &ModelCache, unwritable: Option<&str>, before: &Observed) -> Observed {
    let objects = Objects {
        served_models: cache.served_models(),
        ..Objects::default()
    };
    let generation = before.generation + 1;
    let changed = before.generation == 0 || before.objects != objects;
    let at = |last: u64| if changed { generation } else { last };
    Observed {
        objects,
        findings: findings(cache, unwritable),
        generation,
        intent: at(before.intent),
        changed: at(before.changed),
        ..Observed::default()
    }
}
