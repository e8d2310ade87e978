//! Consecutive plans → transitions of carriers: a canary started, was promoted or drained.
//!
//! Invariant: a function of the plans observed. A transition is about new sessions. The following are no transitions: a carrier is
//! created together with its model, is held, or stands in for a lost base (findings report these). A carrier that was reported unready
//! is reported recovered, and not as started again. A carrier of the stored base is not reported as promoted again.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_contract::ModelId;

use self::change::CarrierChange;
use crate::{
    CarrierKey, CarrierState, Finding, LabelKeys, Plan, PlannedCarrier, PlannedModel, reason,
};

/// The last plan, and the carriers that became unready.
#[derive(Debug, Default)]
pub struct Transitions {
    last: Option<Arc<Plan>>,
    /// Carriers of the last plan that were reported unready and have not served since.
    unready: BTreeSet<CarrierKey>,
}

impl Transitions {
    /// The transitions of carriers since the last plan, in order of the carriers; none for the first plan.
    pub fn follow(&mut self, plan: &Arc<Plan>, keys: &LabelKeys) -> Vec<Finding> {
        let last = self.last.replace(plan.clone());
        let Some(before) = last.filter(|last| !Arc::ptr_eq(last, plan)) else {
            return Vec::new();
        };
        let mut transitions = Vec::new();
        for (namespace, view) in &plan.namespaces {
            let old = before.namespaces.get(namespace);
            for (id, model) in &view.models {
                let old = old.and_then(|view| view.models.get(id));
                if old.is_some_and(|old| old.carriers == model.carriers) {
                    continue;
                }
                transitions.extend(self.of_model(id, old, model, keys));
            }
        }
        self.forget(plan);
        transitions
    }

    fn of_model(
        &mut self,
        id: &ModelId,
        before: Option<&PlannedModel>,
        after: &PlannedModel,
        keys: &LabelKeys,
    ) -> Vec<Finding> {
        let old: BTreeMap<&CarrierKey, &PlannedCarrier> = before
            .into_iter()
            .flat_map(|model| &model.carriers)
            .map(|carrier| (&carrier.key, carrier))
            .collect();
        let transition = |now: &PlannedCarrier| {
            let mut others = old.values().filter(|before| before.key != now.key);
            let change = CarrierChange {
                now,
                before: old.get(&now.key).copied(),
                model: id,
                model_is_new: before.is_none(),
                carriers: &after.carriers,
                other_served: others.any(|before| before.share > 0),
                base_moved: before.is_some_and(|before| base_moved(before, after, &now.key)),
                subject: format!(
                    "version {} of model {id}",
                    versions(after, &now.key).join(", ")
                ),
                keys,
                was_unready: self.unready.contains(&now.key),
            };
            let finding = change.finding();
            if finding
                .as_ref()
                .is_some_and(|f| f.reason == reason::UNREADY)
            {
                self.unready.insert(now.key.clone());
            }
            finding
        };
        after.carriers.iter().filter_map(transition).collect()
    }

    /// Forgets unready carriers that serve again, or that would not serve if they were ready.
    fn forget(&mut self, plan: &Plan) {
        if self.unready.is_empty() {
            return;
        }
        let namespaces = plan.namespaces.values();
        let models = namespaces.flat_map(|view| view.models.values());
        let is_unready = |carrier: &&PlannedCarrier| {
            let serves = matches!(carrier.state, CarrierState::Canary(_) | CarrierState::Base);
            serves && carrier.share == 0
        };
        let carriers = models.flat_map(|model| &model.carriers);
        let unready = carriers.filter(is_unready).map(|carrier| &carrier.key);
        let unready: BTreeSet<&CarrierKey> = unready.collect();
        self.unready.retain(|key| unready.contains(key));
    }
}

/// The versions that a carrier declares.
fn versions<'a>(model: &'a PlannedModel, key: &CarrierKey) -> Vec<&'a str> {
    let variants = model.variants.iter();
    variants
        .filter(|(_, variant)| variant.carriers.contains(key))
        .map(|(version, _)| version.as_str())
        .collect()
}

/// Whether a carrier with other versions than `now` was of the stored base in the plan before, and no longer is.
fn base_moved(before: &PlannedModel, after: &PlannedModel, now: &CarrierKey) -> bool {
    let new = versions(after, now);
    let is_still_base = |key: &CarrierKey| {
        let mut carriers = after.carriers.iter();
        carriers.any(|c| c.key == *key && c.is_stored_base)
    };
    let carriers = before.carriers.iter();
    let mut bases = carriers.filter(|c| c.is_stored_base && c.key != *now);
    bases.any(|base| {
        let mut old = versions(before, &base.key).into_iter();
        !is_still_base(&base.key) && !old.any(|version| new.contains(&version))
    })
}
