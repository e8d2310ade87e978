//! Which plan a filter configuration or a route table was made of, for the newest few hundred of them: so `status` can tell the
//! weights of a proxy that is behind, and what is new in what a proxy refuses.
//!
//! Invariant: what two plans have in common is held once. Of an older plan only what the next one changed is kept, so a
//! hundred edits of one weight among thousands of models cost a hundred models.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use headgate_contract::ModelId;
use headgate_model::{Plan, PlannedModel};
use headgate_xds::{Kind, Snapshot};

/// Plans remembered, and what was made of each (which differs where the models do not).
const LENGTH: usize = 256;
/// Changed models remembered over all plans: some 1–2 KB each.
const CHANGES: usize = 20_000;

type Models = BTreeMap<String, BTreeMap<ModelId, Arc<PlannedModel>>>;
/// What a plan had that the next one has otherwise, or not at all (`None`: the next one added it).
type Undo = BTreeMap<(String, ModelId), Option<Arc<PlannedModel>>>;

/// The models of a plan.
#[derive(Debug, Default)]
pub struct PlanModels {
    newest: Arc<Models>,
    /// From this plan to the newest.
    undo: Vec<Arc<Undo>>,
}

impl PlanModels {
    /// The model as that plan had it.
    pub fn model(&self, namespace: &str, id: &ModelId) -> Option<&PlannedModel> {
        if !self.undo.is_empty() {
            let key = (namespace.to_owned(), id.clone());
            if let Some(then) = self.undo.iter().find_map(|undo| undo.get(&key)) {
                return then.as_deref();
            }
        }
        self.newest.get(namespace)?.get(id).map(|model| &**model)
    }
}

/// A plan that is remembered.
#[derive(Debug, Default)]
struct Entry {
    /// The filter configurations and routes made of it.
    versions: VecDeque<String>,
    /// To get it from the plan after it.
    undo: Arc<Undo>,
}

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct History {
    newest: Arc<Models>,
    plans: VecDeque<Entry>,
}

impl History {
    /// What is remembered from now on holds this plan.
    pub(crate) fn begin(&mut self, plan: &Plan) {
        let undo = replace(Arc::make_mut(&mut self.newest), plan);
        if let Some(last) = self.plans.back_mut() {
            if undo.is_empty() {
                return;
            }
            last.undo = Arc::new(undo);
        }
        self.plans.push_back(Entry::default());
        let mut changes: usize = self.plans.iter().map(|entry| entry.undo.len()).sum();
        while self.plans.len() > LENGTH || (changes > CHANGES && self.plans.len() > 1) {
            changes -= self.plans.pop_front().map_or(0, |entry| entry.undo.len());
        }
    }

    /// The filter configurations and routes of a snapshot of the newest plan.
    pub(crate) fn remember(&mut self, snapshot: &Snapshot) {
        let Some(newest) = self.plans.back_mut() else {
            return;
        };
        let told = [Kind::Extension, Kind::Route];
        for resource in told.into_iter().flat_map(|kind| snapshot.of(kind)) {
            if !newest.versions.iter().any(|v| v == resource.version()) {
                newest.versions.push_back(resource.version().to_owned());
            }
        }
        while newest.versions.len() > LENGTH {
            newest.versions.pop_front();
        }
    }

    /// What the configuration or the routes with this version told, the last time they were made. `None` for one that is older than the memory.
    pub(crate) fn get(&self, version: &str) -> Option<PlanModels> {
        let holds = |entry: &Entry| entry.versions.iter().any(|v| v == version);
        let at = self.plans.iter().rposition(holds)?;
        let since = self.plans.iter().skip(at);
        Some(PlanModels {
            newest: self.newest.clone(),
            undo: since
                .map(|entry| entry.undo.clone())
                .filter(|undo| !undo.is_empty())
                .collect(),
        })
    }
}

/// Makes `models` those of `plan`; what they were is in the answer.
fn replace(models: &mut Models, plan: &Plan) -> Undo {
    let mut undo = Undo::new();
    for (name, view) in &plan.namespaces {
        let old = models.entry(name.clone()).or_default();
        for (id, model) in &view.models {
            if old.get(id).is_none_or(|old| **old != *model) {
                let before = old.insert(id.clone(), Arc::new(model.clone()));
                undo.insert((name.clone(), id.clone()), before);
            }
        }
    }
    for (name, old) in models.iter_mut() {
        let view = plan.namespaces.get(name);
        old.retain(|id, model| {
            let stays = view.is_some_and(|view| view.models.contains_key(id));
            if !stays {
                undo.insert((name.clone(), id.clone()), Some(model.clone()));
            }
            stays
        });
    }
    models.retain(|_, models| !models.is_empty());
    undo
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_xds::Resource;

    use super::*;

    fn plan(percents: [u16; 2]) -> Plan {
        let mut plan = Plan::default();
        let view = plan.namespaces.entry("default".to_owned()).or_default();
        for (id, share) in ["a", "b"].into_iter().zip(percents) {
            let mut model = PlannedModel::default();
            let version = headgate_contract::Version::try_from("v1").unwrap();
            model.variants.entry(version).or_default().share = share.into();
            view.models.insert(ModelId::try_from(id).unwrap(), model);
        }
        plan
    }

    fn snapshot(content: &str) -> Snapshot {
        let filter = Resource::new(Kind::Extension, "headgate", content.as_bytes().to_vec());
        Snapshot::new([filter]).unwrap()
    }

    fn version(snapshot: &Snapshot) -> &str {
        snapshot.of(Kind::Extension).next().unwrap().version()
    }

    #[test]
    fn an_older_configuration_is_told_apart_and_shares_what_did_not_change() {
        let mut history = History::default();
        let (old, new) = (snapshot("old"), snapshot("new"));
        history.begin(&plan([1, 2]));
        history.remember(&old);
        history.begin(&plan([1, 3]));
        history.remember(&new);
        let (old, new) = (history.get(version(&old)), history.get(version(&new)));
        let (old, new) = (old.unwrap(), new.unwrap());
        let share = |told: &PlanModels, id: &str| {
            let model = told.model("default", &ModelId::try_from(id).unwrap());
            model.unwrap().variants.values().next().unwrap().share
        };
        assert_eq!([share(&old, "a"), share(&old, "b")], [1, 2]);
        assert_eq!([share(&new, "a"), share(&new, "b")], [1, 3]);
        let kept: usize = history.plans.iter().map(|entry| entry.undo.len()).sum();
        assert_eq!(kept, 1, "only what was changed");
    }

    #[test]
    fn a_model_that_came_or_went_since_is_told_as_it_was() {
        let mut history = History::default();
        let (both, id) = (plan([1, 2]), ModelId::try_from("b").unwrap());
        let mut one = both.clone();
        one.namespaces
            .get_mut("default")
            .unwrap()
            .models
            .remove(&id);
        for (name, plan) in [
            ("1", &one),
            ("2", &both),
            ("3", &one),
            ("4", &Plan::default()),
        ] {
            history.begin(plan);
            history.remember(&snapshot(name));
        }
        let there = ["1", "2", "3", "4"].map(|name| {
            let told = history.get(version(&snapshot(name))).unwrap();
            told.model("default", &id).is_some()
        });
        assert_eq!(there, [false, true, false, false]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut history = History::default();
        for n in 0..LENGTH + 10 {
            history.begin(&plan([1, u16::try_from(n).unwrap()]));
            history.remember(&snapshot(&n.to_string()));
        }
        assert_eq!(history.plans.len(), LENGTH);
        assert!(history.get(version(&snapshot("0"))).is_none());
    }
}
