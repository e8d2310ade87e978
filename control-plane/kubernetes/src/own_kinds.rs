//! The interface of the caches of Headgate's own kinds: one watch implementation serves them all.
//!
//! Invariant: a cache is a synchronous reducer. Its state is a function of the stored objects.

use std::collections::BTreeSet;
use std::fmt::Debug;

use headgate_contract::{POLICY_DEFINITIONS, PolicyKind};
use headgate_model::reference::References;
use headgate_model::{Finding, Objects, Observed, PolicyId, PolicyOutcome, Severity, reason};
use serde_json::Value;

use crate::access::{self, Watchable};
use crate::models::{ModelCache, ModelShape, StoredModel, findings};
use crate::policies::{Controller, PolicyCache, PolicyShape, StoredPolicy};
use crate::pruning::Shape;

/// A cache of the objects of Headgate's own kinds.
pub trait OwnKinds: Clone + Debug + Default + PartialEq + Send + Sync + 'static {
    /// A kind of the cache.
    type Kind: Clone + Debug + Ord + Send + Sync + 'static;
    /// Identity of an object among those of its kind.
    type Key: Clone + Debug + Ord + Send + 'static;
    /// A stored object.
    type Object: Send + 'static;
    /// The fields of an object that are kept.
    type Shape: Shape;

    /// Whether the control plane serves without kinds that it is forbidden to read.
    const OPTIONAL: bool;

    /// The kinds of the cache.
    fn kinds() -> Vec<(Self::Kind, Watchable)>;
    /// An empty cache of the installation with this controller name.
    fn empty(controller: &Controller) -> Self;
    /// Parses an object; `None` without a namespace or a name.
    fn parse(kind: &Self::Kind, controller: &Controller, object: &Value) -> Option<Self::Object>;
    /// Identity of an object.
    fn key(object: &Self::Object) -> Self::Key;
    /// An object was added or changed.
    fn apply(&mut self, object: Self::Object);
    /// An object was deleted.
    fn delete(&mut self, object: &Self::Object);
    /// Removes every object of a kind, in a namespace (`None`: in all), that is not in this list.
    fn keep(&mut self, kind: &Self::Kind, namespace: Option<&str>, listed: &BTreeSet<Self::Key>);
    /// Sets the reason why objects of a namespace (`None`: of all) cannot be read; `None` while they can.
    fn set_unavailable(&mut self, namespace: Option<&str>, reason: Option<String>);
    /// The objects as input of a plan, with findings and references. `write_failure`: the reason why objects cannot be written.
    fn observe(&self, write_failure: Option<&str>) -> Observed;
}

impl OwnKinds for ModelCache {
    type Kind = ();
    type Key = (String, String);
    type Object = StoredModel;
    type Shape = ModelShape;

    // The oldest carrier of a model is its base then, and a finding reports it.
    const OPTIONAL: bool = true;

    fn kinds() -> Vec<((), Watchable)> {
        vec![((), access::models())]
    }

    fn empty(controller: &Controller) -> Self {
        Self::of(&controller.to_string())
    }

    fn parse((): &(), _: &Controller, object: &Value) -> Option<StoredModel> {
        StoredModel::read(object)
    }

    fn key(object: &StoredModel) -> Self::Key {
        (object.namespace.clone(), object.name.clone())
    }

    fn apply(&mut self, object: StoredModel) {
        self.apply(object);
    }

    fn delete(&mut self, object: &StoredModel) {
        self.delete(&object.namespace, &object.name);
    }

    fn keep(&mut self, (): &(), namespace: Option<&str>, listed: &BTreeSet<Self::Key>) {
        self.keep(namespace, listed);
    }

    fn set_unavailable(&mut self, namespace: Option<&str>, reason: Option<String>) {
        let namespace = namespace.unwrap_or_default().to_owned();
        match reason {
            Some(reason) => _ = self.unavailable.insert(namespace, reason),
            None => _ = self.unavailable.remove(&namespace),
        }
    }

    /// Of a status, only the memory is an input of a plan.
    fn observe(&self, write_failure: Option<&str>) -> Observed {
        Observed {
            objects: Objects {
                served_models: self.served_models(),
                ..Objects::default()
            },
            findings: findings(self, write_failure),
            ..Observed::default()
        }
    }
}

impl OwnKinds for PolicyCache {
    type Kind = PolicyKind;
    type Key = PolicyId;
    type Object = StoredPolicy;
    type Shape = PolicyShape;

    // Without policies there would be no limits.
    const OPTIONAL: bool = false;

    fn kinds() -> Vec<(PolicyKind, Watchable)> {
        access::policies()
            .map(|(definition, watchable)| (definition.kind.clone(), watchable))
            .collect()
    }

    fn empty(_: &Controller) -> Self {
        Self::default()
    }

    fn parse(kind: &PolicyKind, controller: &Controller, object: &Value) -> Option<StoredPolicy> {
        let mut definitions = POLICY_DEFINITIONS.iter();
        let definition = definitions.find(|definition| definition.kind == *kind)?;
        StoredPolicy::read(definition, controller, object)
    }

    fn key(object: &StoredPolicy) -> PolicyId {
        object.id.clone()
    }

    fn apply(&mut self, object: StoredPolicy) {
        self.apply(object);
    }

    fn delete(&mut self, object: &StoredPolicy) {
        self.delete(&object.id);
    }

    fn keep(&mut self, kind: &PolicyKind, namespace: Option<&str>, listed: &BTreeSet<PolicyId>) {
        self.keep(kind, namespace, listed);
    }

    fn set_unavailable(&mut self, _: Option<&str>, _: Option<String>) {}

    /// A status is not an input of a plan.
    fn observe(&self, _: Option<&str>) -> Observed {
        let mut objects = Objects::default();
        self.add_to(&mut objects);
        let invalid = |(id, outcome): (&PolicyId, &PolicyOutcome)| Finding {
            object: id.clone().into(),
            reason: reason::UNREADABLE,
            severity: Severity::Error,
            origin: id.to_string(),
            message: format!(
                "{}: {}",
                self.effect_of_invalid(id),
                outcome.accepted.message
            ),
        };
        Observed {
            objects,
            findings: self.invalid.iter().map(invalid).collect(),
            references: References::of(self.references.clone()),
            ..Observed::default()
        }
    }
}
