//! Which plan a filter configuration holds, for the newest few hundred of them: so `status` can tell the weights of a
//! proxy that is behind.
//!
//! Invariant: what two plans have in common is held once, so a hundred edits of one weight among thousands of models
//! cost a hundred models.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use headgate_contract::ModelId;
use headgate_model::{Plan, PlannedModel};
use headgate_xds::{Kind, Snapshot};

/// Filter configurations remembered.
const LENGTH: usize = 256;

/// The models of a plan.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<String, BTreeMap<ModelId, Arc<PlannedModel>>>);

impl Told {
    /// The model as that plan had it.
    pub(crate) fn model(&self, namespace: &str, id: &str) -> Option<&PlannedModel> {
        self.0.get(namespace)?.get(id).map(|model| &**model)
    }

    /// The models of `plan`, those that are as `before` shared with it.
    fn of(plan: &Plan, before: &Self) -> Self {
        let namespaces = plan.namespaces.iter().map(|(name, view)| {
            let old = before.0.get(name);
            let models = view.models.iter().map(|(id, model)| {
                let same = old.and_then(|o| o.get(id)).filter(|o| ***o == *model);
                let shared = same.map_or_else(|| Arc::new(model.clone()), Arc::clone);
                (id.clone(), shared)
            });
            (name.clone(), models.collect())
        });
        Self(namespaces.collect())
    }
}

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct History {
    newest: Arc<Told>,
    by_version: VecDeque<(String, Arc<Told>)>,
}

impl History {
    /// What is remembered from now on holds this plan.
    pub(crate) fn begin(&mut self, plan: &Plan) {
        self.newest = Arc::new(Told::of(plan, &self.newest));
    }

    /// The filter configurations of a snapshot of the newest plan.
    pub(crate) fn remember(&mut self, snapshot: &Snapshot) {
        for resource in snapshot.of(Kind::Extension) {
            let version = resource.version();
            self.by_version.retain(|(known, _)| known != version);
            self.by_version
                .push_back((version.to_owned(), self.newest.clone()));
        }
        while self.by_version.len() > LENGTH {
            self.by_version.pop_front();
        }
    }

    /// What the configuration with this version told. `None` for one that is older than the memory.
    pub(crate) fn get(&self, version: &str) -> Option<Arc<Told>> {
        let found = self
            .by_version
            .iter()
            .rev()
            .find(|(known, _)| known == version);
        found.map(|(_, told)| told.clone())
    }
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
        assert_ne!(old.model("default", "b"), new.model("default", "b"));
        let shared = |told: &Told| Arc::as_ptr(&told.0["default"]["a"]);
        assert_eq!(shared(&old), shared(&new));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut history = History::default();
        for n in 0..LENGTH + 10 {
            history.begin(&plan([1, 2]));
            history.remember(&snapshot(&n.to_string()));
        }
        assert_eq!(history.by_version.len(), LENGTH);
        assert!(history.get(version(&snapshot("0"))).is_none());
    }
}
