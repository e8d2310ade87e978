//! The cache of the stored `ServedModel`s: a synchronous reducer of watch events.
//!
//! Invariant: a function of the current objects, except that the memory of a deleted object counts until the object is recreated
//! or its model is given up. An object that cannot be read affects no other one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headgate_model::{Memory, ModelKey, ModelRecord};

use super::stored::StoredModel;

/// Namespace and name of an object.
type ObjectKey = (String, String);

/// The objects, and the memory of deleted ones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelCache {
    /// The name of this installation.
    controller: String,
    /// Objects that this installation manages.
    objects: BTreeMap<ObjectKey, Arc<StoredModel>>,
    /// Objects of other installations.
    foreign: BTreeSet<ObjectKey>,
    /// Memory of objects that were deleted, or recreated without a status.
    kept: BTreeMap<ModelKey, Arc<Memory>>,
    /// The reasons why objects cannot be read, by namespace; the empty namespace means all.
    pub unavailable: BTreeMap<String, String>,
}

impl ModelCache {
    /// An empty cache of the installation with this controller name.
    #[must_use]
    pub fn of(controller: &str) -> Self {
        Self {
            controller: controller.to_owned(),
            ..Self::default()
        }
    }

    /// An object was added or changed.
    pub fn apply(&mut self, object: StoredModel) {
        let key = (object.namespace.clone(), object.name.clone());
        if object.controller != self.controller {
            // Its memory stays, as that of a deleted object does.
            self.delete(&object.namespace, &object.name);
            self.foreign.insert(key);
            return;
        }
        self.foreign.remove(&key);
        let before = self.objects.remove(&key);
        if let Ok(id) = &object.model {
            let model = (object.namespace.clone(), id.clone());
            if object.status.is_some() {
                self.kept.remove(&model);
            } else if let Some(before) = before.filter(|before| before.status.is_some()) {
                self.keep_memory(&before);
            }
        }
        self.objects.insert(key, Arc::new(object));
    }

    /// An object was deleted. Its memory stays, unless no object declared its model.
    pub fn delete(&mut self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.foreign.remove(&key);
        if let Some(gone) = self.objects.remove(&key) {
            self.keep_memory(&gone);
        }
    }

    fn keep_memory(&mut self, object: &StoredModel) {
        let (Ok(id), Some(memory)) = (&object.model, object.memory()) else {
            return;
        };
        let model = (object.namespace.clone(), id.clone());
        let status = object.status.as_ref();
        if status.is_some_and(|status| status.carriers_gone_since.is_some()) {
            self.kept.remove(&model);
        } else if object.status.is_some() || !self.kept.contains_key(&model) {
            self.kept.insert(model, Arc::new(memory));
        }
    }

    /// Removes every object of a namespace (`None`: of all) that is not in this list.
    pub fn keep(&mut self, namespace: Option<&str>, listed: &BTreeSet<ObjectKey>) {
        let within = |key: &&ObjectKey| namespace.is_none_or(|namespace| namespace == key.0);
        let all = self.objects.keys().chain(&self.foreign).filter(within);
        let gone: Vec<ObjectKey> = all.filter(|key| !listed.contains(*key)).cloned().collect();
        for (namespace, name) in &gone {
            self.delete(namespace, name);
        }
    }

    /// Every object that this installation manages.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<StoredModel>> {
        self.objects.values()
    }

    /// The object of each model. If a model has several objects, the oldest counts.
    #[must_use]
    pub fn by_model(&self) -> BTreeMap<ModelKey, &Arc<StoredModel>> {
        let mut all: BTreeMap<ModelKey, &Arc<StoredModel>> = BTreeMap::new();
        for object in self.objects.values() {
            let Ok(id) = &object.model else {
                continue;
            };
            let place = all.entry((object.namespace.clone(), id.clone()));
            let counts = place.or_insert(object);
            if (object.created, &object.name) < (counts.created, &counts.name) {
                *counts = object;
            }
        }
        all
    }

    /// Whether another installation, or another model, has this name.
    pub fn is_taken(&self, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        self.foreign.contains(&key) || self.objects.contains_key(&key)
    }

    /// Whether the objects of this namespace can be read.
    pub fn readable(&self, namespace: &str) -> bool {
        !self.unavailable.contains_key("") && !self.unavailable.contains_key(namespace)
    }

    /// The memory of a model. Sources in order: annotations of a restored object, status of the object, memory of the deleted object.
    pub fn memory(&self, model: &ModelKey, object: Option<&StoredModel>) -> Memory {
        let kept = self.kept.get(model);
        match object {
            Some(object) if object.is_restored() => {
                let kept = kept.map(|kept| Memory::clone(kept));
                object.in_annotations(kept.unwrap_or_default())
            }
            Some(object) if object.status.is_some() || kept.is_none() => {
                object.memory().unwrap_or_default()
            }
            _ => kept.map(|kept| Memory::clone(kept)).unwrap_or_default(),
        }
    }

    /// The record of a model: its spec, its memory, and a base that a person wrote.
    pub fn record(&self, model: &ModelKey, object: Option<&StoredModel>) -> ModelRecord {
        let spec = object.and_then(|object| object.spec.clone().ok());
        ModelRecord {
            spec: spec.unwrap_or_default(),
            memory: self.memory(model, object),
            object: object.map(|object| object.name.clone()),
            written: object.and_then(StoredModel::written_base),
            routed: object.map(StoredModel::routed).unwrap_or_default(),
        }
    }

    /// The record of each model.
    #[must_use]
    pub fn served_models(&self) -> BTreeMap<ModelKey, ModelRecord> {
        let kept = self
            .kept
            .keys()
            .map(|model| (model.clone(), self.record(model, None)));
        let mut all: BTreeMap<ModelKey, ModelRecord> = kept.collect();
        for (model, object) in self.by_model() {
            let record = self.record(&model, Some(object));
            all.insert(model, record);
        }
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_contract::{ModelId, names};
    use headgate_model::{Subject, reason};
    use serde_json::{Value, json};

    use super::super::findings;
    use super::*;

    fn stored(name: &str, second: u8, more: &Value) -> StoredModel {
        let mut object = json!({
            "metadata": {
                "name": name, "namespace": "default", "uid": name, "generation": 1,
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
            },
            "spec": {},
        });
        for (field, value) in more.as_object().unwrap() {
            object[field] = value.clone();
        }
        StoredModel::read(&object).unwrap()
    }

    fn base(carrier: &str) -> Value {
        json!({"status": {"base": [{"carrier": carrier, "versions": ["v1"]}]}})
    }

    fn cache() -> ModelCache {
        ModelCache::of(names::DEFAULT_CONTROLLER_NAME)
    }

    fn bases(cache: &ModelCache, id: &str) -> Vec<String> {
        let key = ("default".to_owned(), ModelId::try_from(id).unwrap());
        let served = cache.served_models().remove(&key);
        let memory = served.map(|served| served.memory).unwrap_or_default();
        memory.base.into_keys().collect()
    }

    #[test]
    fn the_memory_of_a_deleted_object_counts_until_the_object_has_a_status_again() {
        let mut cache = cache();
        cache.apply(stored("m", 0, &base("deployment/a")));
        cache.delete("default", "m");
        assert_eq!(bases(&cache, "m"), ["deployment/a"]);
        cache.apply(stored("m", 5, &json!({})));
        assert_eq!(
            bases(&cache, "m"),
            ["deployment/a"],
            "it is there, without a status"
        );
        cache.apply(stored("m", 5, &base("deployment/b")));
        assert_eq!(bases(&cache, "m"), ["deployment/b"]);
        cache.apply(stored("m", 5, &json!({})));
        assert_eq!(
            bases(&cache, "m"),
            ["deployment/b"],
            "its status was taken off"
        );
        cache.keep(None, &BTreeSet::new());
        assert_eq!(bases(&cache, "m"), ["deployment/b"]);
    }

    #[test]
    fn a_model_without_carriers_is_forgotten_with_its_object() {
        let mut cache = cache();
        let mut gone = base("deployment/a");
        gone["status"]["carriersGoneSince"] = json!("2026-01-01T00:00:00Z");
        cache.apply(stored("m", 0, &gone));
        assert_eq!(bases(&cache, "m"), ["deployment/a"]);
        cache.delete("default", "m");
        assert!(cache.served_models().is_empty());
    }

    #[test]
    fn a_backup_without_a_status_is_read_by_its_annotation() {
        let mut cache = cache();
        let mut object = stored("m", 0, &json!({}));
        object.annotation = Some("deployment/a=v1".to_owned());
        cache.apply(object);
        assert_eq!(bases(&cache, "m"), ["deployment/a"]);
    }

    #[test]
    fn a_restored_object_takes_precedence_over_the_memory_of_the_deleted_one() {
        for (restored, expected) in [(true, "deployment/a"), (false, "deployment/b")] {
            let mut cache = cache();
            let mut gone = base("deployment/b");
            gone["status"]["names"] = json!([{"name": "gpt-x", "carriers": ["deployment/b"]}]);
            cache.apply(stored("m", 0, &gone));
            cache.delete("default", "m");
            let mut object = stored("m", 5, &json!({}));
            object.annotation = Some("deployment/a=v1".to_owned());
            object.previous_annotation = Some("deployment/0=v0,deployment/a=v1".to_owned());
            object.restored = restored;
            cache.apply(object);
            assert_eq!(bases(&cache, "m"), [expected]);
            let memory = cache.served_models().into_values().next().unwrap().memory;
            assert!(memory.names.contains_key("gpt-x"), "{memory:?}");
            let previous: Vec<_> = memory.previous.into_keys().collect();
            let expected: &[&str] = if restored { &["deployment/0"] } else { &[] };
            assert_eq!(previous, expected);
        }
    }

    #[test]
    fn of_two_objects_of_one_model_the_older_counts_and_a_finding_names_the_other() {
        let mut cache = cache();
        let mut second = base("deployment/b");
        second["spec"] = json!({"modelName": "m"});
        cache.apply(stored("a-copy", 5, &second));
        cache.apply(stored("m", 0, &base("deployment/a")));
        assert_eq!(bases(&cache, "m"), ["deployment/a"]);
        let findings = findings(&cache, None);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].reason, reason::MODEL_GIVEN_TWICE);
        assert!(
            findings[0]
                .message
                .contains("servedmodel/a-copy -n default")
        );
        cache.delete("default", "m");
        assert_eq!(
            bases(&cache, "m"),
            ["deployment/b"],
            "the other one is left"
        );
    }

    #[test]
    fn objects_of_other_installations_are_left_alone_and_an_unreadable_spec_keeps_the_memory() {
        let mut cache = cache();
        let mut foreign = base("deployment/a");
        foreign["spec"] = json!({"controllerName": "example.com/other"});
        cache.apply(stored("m", 0, &foreign));
        assert!(cache.served_models().is_empty() && findings(&cache, None).is_empty());
        // One that is given to another installation leaves its memory here.
        cache.apply(stored("given", 0, &base("deployment/a")));
        let given = foreign.clone();
        cache.apply(stored("given", 0, &given));
        assert_eq!(bases(&cache, "given"), ["deployment/a"]);
        assert!(cache.is_taken("default", "m"));
        let mut bad = base("deployment/b");
        bad["spec"] = json!({"minReadyPercent": 101});
        cache.apply(stored("n", 0, &bad));
        assert_eq!(bases(&cache, "n"), ["deployment/b"]);
        let findings = findings(&cache, None);
        assert!(
            findings[0].message.contains("minReadyPercent"),
            "{findings:?}"
        );
    }

    #[test]
    fn objects_that_cannot_be_read_or_written_are_one_finding() {
        let mut cache = cache();
        assert!(findings(&cache, None).is_empty());
        for namespace in ["a", "b"] {
            let why = "no such kind".to_owned();
            cache.unavailable.insert(namespace.to_owned(), why);
        }
        let findings = findings(&cache, Some("may not create"));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].object, Subject::ControlPlane);
        assert_eq!((cache.readable("a"), cache.readable("c")), (false, true));
    }
}
