//! Resolution of a policy's target: the models that it names, and the parts of the target that match nothing.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Selector, Target, TargetRef, Version};

use super::effective_items::Models;
use super::kind::RulePolicy;
use super::list::list;
use super::rank::{Level, Rank, Tier};
use super::resolved::{ResolvedPolicy, Unresolved};
use super::typed::TypedPolicy;
use crate::registry::Model;
use crate::{CarrierKey, Objects, Registry};

/// The models against which targets are resolved.
pub(crate) struct Index<'a> {
    registry: &'a Registry,
    objects: &'a Objects,
    /// Built when the first policy targets an object.
    by_carrier: OnceCell<BTreeMap<&'a CarrierKey, Vec<&'a ModelId>>>,
    no_models: BTreeMap<ModelId, Model>,
}

impl<'a> Index<'a> {
    pub(crate) fn of(registry: &'a Registry, objects: &'a Objects) -> Self {
        Self {
            registry,
            objects,
            by_carrier: OnceCell::new(),
            no_models: BTreeMap::new(),
        }
    }

    fn by_carrier(&self) -> &BTreeMap<&'a CarrierKey, Vec<&'a ModelId>> {
        self.by_carrier.get_or_init(|| {
            let mut by_carrier: BTreeMap<&CarrierKey, Vec<&ModelId>> = BTreeMap::new();
            for (id, model) in self.registry.namespaces.values().flatten() {
                for carrier in &model.carriers {
                    by_carrier.entry(carrier).or_default().push(id);
                }
            }
            by_carrier
        })
    }

    /// The models that a namespace declares.
    pub(crate) fn declared(&self, namespace: &str) -> &BTreeMap<ModelId, Model> {
        self.registry
            .namespaces
            .get(namespace)
            .unwrap_or(&self.no_models)
    }

    pub(crate) fn resolve<S: RulePolicy>(&self, policy: &TypedPolicy<'_, S>) -> ResolvedPolicy {
        let TypedPolicy { policy, spec } = *policy;
        let (target, overrides) = (spec.target(), spec.overrides());
        let root = self.registry.root_namespace.as_deref();
        let in_root = root == Some(policy.namespace.as_str());
        let mut unresolved = Vec::new();
        let targeted = self.targeted(&policy.namespace, target, in_root, &mut unresolved);
        let ranks = |namespace: &String| {
            let tier = match (in_root, overrides) {
                (true, true) => Tier::Override,
                (true, false) if *namespace != policy.namespace => Tier::Default,
                _ => Tier::Own,
            };
            let rank = |level| Rank::new(policy, tier, level);
            let ranks = [rank(Level::of(target)), rank(Level::Version)];
            (namespace.clone(), ranks)
        };
        ResolvedPolicy {
            id: policy.id(),
            generation: policy.generation,
            origin: policy.origin.clone(),
            at: spec.charge_at(),
            items: spec.items(),
            all: *target == Target::All,
            ranks: targeted.keys().map(ranks).collect(),
            targeted,
            unresolved,
            ignored_override: (overrides && !in_root).then(|| root.map(str::to_owned)),
        }
    }

    /// The models that a policy of namespace `own` targets. `in_root`: it is the root namespace.
    fn targeted(
        &self,
        own: &str,
        target: &Target,
        in_root: bool,
        unresolved: &mut Vec<Unresolved>,
    ) -> BTreeMap<String, Models> {
        let all = self.registry.namespaces.keys().map(String::as_str);
        let namespaces: Vec<&str> = match (in_root, target) {
            // `targetRefs` name objects of the policy's own namespace.
            (true, Target::Refs(_)) | (false, _) => vec![own],
            (true, _) => all.collect(),
        };
        let mut targeted = BTreeMap::new();
        for namespace in &namespaces {
            let found = match target {
                Target::All => whole(self.declared(namespace).keys()),
                Target::Models(ids) => {
                    let declared = self.declared(namespace);
                    whole(ids.iter().filter(|id| declared.contains_key(*id)))
                }
                Target::Selector(selector) => self.selected(namespace, selector),
                Target::Refs(refs) => self.referenced(namespace, refs, unresolved),
            };
            if !found.is_empty() {
                targeted.insert((*namespace).to_owned(), found);
            }
        }
        match target {
            Target::All if targeted.is_empty() => {
                let problem = match in_root {
                    true => "no namespace declares a model",
                    false => "its namespace declares no model",
                };
                let message = format!("spec: {problem}. Label a workload, or move the policy");
                unresolved.push(Unresolved::new(message));
            }
            Target::Models(ids) => self.unknown(ids, &namespaces, unresolved),
            Target::Selector(_) if targeted.is_empty() => {
                let message = "spec.selector: no carrier of a model has these labels: correct the labels, or label a carrier";
                unresolved.push(Unresolved {
                    hint: Some(self.hint(&namespaces)),
                    ..Unresolved::new(message.to_owned())
                });
            }
            _ => {}
        }
        targeted
    }

    fn selected(&self, namespace: &str, selector: &Selector) -> Models {
        let is_selected = |key: &CarrierKey| {
            let carrier = self.objects.carriers.get(key);
            carrier.is_some_and(|carrier| {
                let mut labels = selector.match_labels.iter();
                labels.all(|(label, value)| carrier.labels.get(label) == Some(value))
            })
        };
        let models = self.declared(namespace).iter();
        let models = models.filter(|(_, model)| model.carriers.iter().any(is_selected));
        whole(models.map(|(id, _)| id))
    }

    fn referenced(
        &self,
        namespace: &str,
        refs: &[TargetRef],
        unresolved: &mut Vec<Unresolved>,
    ) -> Models {
        let mut targeted = Models::new();
        for (i, target) in refs.iter().enumerate() {
            let models = self.models_of(namespace, target);
            if models.is_empty() {
                unresolved.push(self.unresolved_ref(i, namespace, target));
                continue;
            }
            let Some(version) = &target.version else {
                targeted.extend(models.into_iter().map(|id| (id.clone(), None)));
                continue;
            };
            let declared = self.declared(namespace);
            let has_version = |id: &&ModelId| {
                let model = declared.get(*id);
                model.is_some_and(|model| versions(model).contains(version))
            };
            let having: Vec<&ModelId> = models.into_iter().filter(has_version).collect();
            if having.is_empty() {
                unresolved.push(Unresolved::new(format!(
                    "spec.targetRefs[{i}].sectionName: no model of {} {} has version {version}: write a declared version, or remove `sectionName`",
                    target.kind.as_str(),
                    target.name
                )));
            }
            for id in having {
                // A model that is targeted as a whole stays so.
                let entry = targeted.entry(id.clone());
                if let Some(versions) = entry.or_insert_with(|| Some(BTreeSet::new())) {
                    versions.insert(version.clone());
                }
            }
        }
        targeted
    }

    /// Entry `i` of `targetRefs`, which leads to no model.
    fn unresolved_ref(&self, i: usize, namespace: &str, target: &TargetRef) -> Unresolved {
        let (kind, name) = (target.kind.as_str(), target.name.as_str());
        let lower = kind.to_ascii_lowercase();
        if self.objects.unread.has_kind(namespace, &lower) {
            let message = format!(
                "spec.targetRefs[{i}]: {kind}s of namespace {namespace} cannot be read, so the models of {name} are unknown and the policy \
                 has no effect on them. To see why they cannot be read: headgate status (KindUnread)"
            );
            return Unresolved {
                unread: true,
                ..Unresolved::new(message)
            };
        }
        let message = format!(
            "spec.targetRefs[{i}]: no {kind} {name} carries a model in namespace {namespace}: correct the name, or label the object with its model"
        );
        Unresolved {
            hint: Some(self.hint(&[namespace])),
            ..Unresolved::new(message)
        }
    }

    /// The models that an object carries, itself or through the carriers for which it stands.
    fn models_of(&self, namespace: &str, target: &TargetRef) -> BTreeSet<&'a ModelId> {
        let key = CarrierKey {
            namespace: namespace.to_owned(),
            kind: target.kind.as_str().to_ascii_lowercase(),
            name: target.name.as_str().to_owned(),
        };
        let group = self.objects.groups.get(&key).into_iter().flatten();
        group
            .chain(std::iter::once(&key))
            .filter_map(|key| self.by_carrier().get(key))
            .flatten()
            .copied()
            .collect()
    }

    fn unknown(&self, ids: &[ModelId], namespaces: &[&str], unresolved: &mut Vec<Unresolved>) {
        for (i, id) in ids.iter().enumerate() {
            let is_known = namespaces.iter().any(|n| self.declared(n).contains_key(id));
            if !is_known {
                unresolved.push(Unresolved {
                    hint: Some(self.hint(namespaces)),
                    ..Unresolved::new(format!("spec.models[{i}]: no carrier declares model {id}: correct the id, or label a workload with it"))
                });
            }
        }
    }

    /// The models that could be meant.
    fn hint(&self, namespaces: &[&str]) -> String {
        let ids: BTreeSet<&str> = namespaces
            .iter()
            .flat_map(|n| self.declared(n).keys())
            .map(ModelId::as_str)
            .collect();
        if ids.is_empty() {
            return "Label a workload of the namespace, or move the policy".into();
        }
        format!("Declared models: {}", list(ids.into_iter()))
    }
}

fn whole<'m>(ids: impl Iterator<Item = &'m ModelId>) -> Models {
    ids.map(|id| (id.clone(), None)).collect()
}

/// The versions that a model's carriers declare.
pub(crate) fn versions(model: &Model) -> BTreeSet<Version> {
    let members = model.members.iter();
    members
        .flat_map(|member| member.versions.keys().cloned())
        .collect()
}
