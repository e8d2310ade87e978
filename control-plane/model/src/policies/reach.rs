//! Which models a policy is for, as the registry has them now, and what of its target leads nowhere.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Selector, Target, TargetRef, Version};

use super::outcome::{PolicyId, PolicyKind};
use super::rank::{Level, Rank, Tier};
use crate::registry::Model;
use crate::{CarrierKey, Objects, Policy, Registry};

pub(crate) type Models = BTreeMap<ModelId, Model>;

/// What policies are resolved against.
pub(crate) struct Index<'a> {
    registry: &'a Registry,
    objects: &'a Objects,
    /// Made when the first policy names an object.
    by_carrier: OnceCell<BTreeMap<&'a CarrierKey, Vec<&'a ModelId>>>,
    none: Models,
}

/// What a policy claims in a namespace: models whole (`None`), or some versions of them.
pub(crate) type Claims = BTreeMap<ModelId, Option<BTreeSet<Version>>>;

/// Where a policy reaches.
pub(crate) struct Reach {
    pub(crate) id: PolicyId,
    pub(crate) generation: i64,
    pub(crate) origin: String,
    /// Names of its buckets in their order; a tagging has one nameless thing.
    pub(crate) gives: Vec<String>,
    /// Every model of each namespace it is for.
    pub(crate) all: bool,
    pub(crate) claims: BTreeMap<String, Claims>,
    /// Rank for whole models and for versions, by namespace.
    ranks: BTreeMap<String, [Rank; 2]>,
    pub(crate) unresolved: Vec<Unresolved>,
    /// `override` where it means nothing: the root namespace, if there is one.
    pub(crate) vain_override: Option<Option<String>>,
}

/// A part of a target that leads nowhere.
#[derive(Debug, Clone)]
pub(crate) struct Unresolved {
    /// Names the field, and stays while that leads nowhere: what is said of it is said once.
    pub(crate) what: String,
    /// What could have been meant, which is another list with each new model.
    pub(crate) known: Option<String>,
    /// Whether that is not known for certain: its kind cannot be read.
    pub(crate) unread: bool,
}

impl Unresolved {
    fn new(what: String) -> Self {
        Self {
            what,
            known: None,
            unread: false,
        }
    }

    /// Both, for who reads it now.
    pub(crate) fn in_full(&self) -> String {
        match &self.known {
            Some(known) => format!("{}. {known}", self.what),
            None => self.what.clone(),
        }
    }
}

impl Reach {
    pub(crate) fn rank(&self, namespace: &str, whole: bool) -> Option<&Rank> {
        let [model, version] = self.ranks.get(namespace)?;
        Some(if whole { model } else { version })
    }
}

/// What a policy gives, and to which models.
pub(crate) trait Gives {
    /// Its kind.
    const KIND: PolicyKind;
    /// The names of the things that it gives to a model.
    fn gives(&self) -> Vec<String>;
    /// The models that it is for.
    fn target(&self) -> &Target;
    /// Whether it says `override`: a ceiling, where it is in the root namespace.
    fn overrides(&self) -> bool;
}

impl Gives for headgate_contract::TokenBucketPolicySpec {
    const KIND: PolicyKind = PolicyKind::TokenBucket;

    fn gives(&self) -> Vec<String> {
        let names = self.buckets.iter().map(|b| b.name.as_str().to_owned());
        names.collect()
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn overrides(&self) -> bool {
        self.overrides
    }
}

impl Gives for headgate_contract::TrafficTagPolicySpec {
    const KIND: PolicyKind = PolicyKind::TrafficTag;

    fn gives(&self) -> Vec<String> {
        vec![String::new()]
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn overrides(&self) -> bool {
        self.overrides
    }
}

impl<'a> Index<'a> {
    pub(crate) fn of(registry: &'a Registry, objects: &'a Objects) -> Self {
        Self {
            registry,
            objects,
            by_carrier: OnceCell::new(),
            none: Models::new(),
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

    /// The models a namespace declares.
    pub(crate) fn declared(&self, namespace: &str) -> &Models {
        self.registry
            .namespaces
            .get(namespace)
            .unwrap_or(&self.none)
    }

    pub(crate) fn reach<S: Gives>(&self, policy: &Policy<S>) -> Reach {
        let (target, overrides) = (policy.spec.target(), policy.spec.overrides());
        let root = self.registry.root_namespace.as_deref();
        let rooted = root == Some(policy.namespace.as_str());
        let mut unresolved = Vec::new();
        let claims = self.claims(policy, target, rooted, &mut unresolved);
        let rank = |namespace: &String| {
            let tier = match (rooted, overrides) {
                (true, true) => Tier::Override,
                (true, false) if *namespace != policy.namespace => Tier::Default,
                _ => Tier::Own,
            };
            let at = |level| Rank::new(policy, tier, level);
            (
                namespace.clone(),
                [at(Level::of(target)), at(Level::Version)],
            )
        };
        Reach {
            id: PolicyId {
                kind: S::KIND,
                namespace: policy.namespace.clone(),
                name: policy.name.clone(),
            },
            generation: policy.generation,
            origin: policy.origin.clone(),
            gives: policy.spec.gives(),
            all: *target == Target::All,
            ranks: claims.keys().map(rank).collect(),
            claims,
            unresolved,
            vain_override: (overrides && !rooted).then(|| root.map(str::to_owned)),
        }
    }

    fn claims<S>(
        &self,
        policy: &Policy<S>,
        target: &Target,
        rooted: bool,
        unresolved: &mut Vec<Unresolved>,
    ) -> BTreeMap<String, Claims> {
        let own = || std::iter::once(&policy.namespace);
        let all = self.registry.namespaces.keys();
        let mut claims = BTreeMap::new();
        let namespaces: Vec<&String> = match (rooted, target) {
            // An object is named where the policy is.
            (true, Target::Refs(_)) | (false, _) => own().collect(),
            (true, _) => all.collect(),
        };
        for namespace in &namespaces {
            let found = match target {
                Target::All => whole(self.declared(namespace).keys()),
                Target::Models(ids) => {
                    let declared = self.declared(namespace);
                    whole(ids.iter().filter(|id| declared.contains_key(*id)))
                }
                Target::Selector(selector) => self.selected(namespace, selector),
                Target::Refs(refs) => self.referred(namespace, refs, unresolved),
            };
            if !found.is_empty() {
                claims.insert((*namespace).clone(), found);
            }
        }
        match target {
            Target::All if claims.is_empty() => {
                let whose = if rooted {
                    "no namespace"
                } else {
                    "its namespace"
                };
                let verb = if rooted {
                    "declares a model"
                } else {
                    "declares no model"
                };
                let what = format!("spec: {whose} {verb}. Label a workload, or move the policy");
                unresolved.push(Unresolved::new(what));
            }
            Target::Models(ids) => self.unknown(ids, &namespaces, unresolved),
            Target::Selector(_) if claims.is_empty() => {
                let what = "spec.selector: no carrier of a model has its labels";
                unresolved.push(Unresolved {
                    known: Some(self.known(&namespaces)),
                    ..Unresolved::new(what.to_owned())
                });
            }
            _ => {}
        }
        claims
    }

    fn selected(&self, namespace: &str, selector: &Selector) -> Claims {
        let has = |key: &CarrierKey| {
            let carrier = self.objects.carriers.get(key);
            carrier.is_some_and(|c| {
                selector
                    .match_labels
                    .iter()
                    .all(|(k, v)| c.labels.get(k) == Some(v))
            })
        };
        let models = self.declared(namespace).iter();
        whole(
            models
                .filter(|(_, model)| model.carriers.iter().any(has))
                .map(|(id, _)| id),
        )
    }

    fn referred(
        &self,
        namespace: &str,
        refs: &[TargetRef],
        unresolved: &mut Vec<Unresolved>,
    ) -> Claims {
        let mut claims = Claims::new();
        for (i, target) in refs.iter().enumerate() {
            let models = self.models_of(namespace, target);
            if models.is_empty() {
                let (kind, name) = (target.kind.as_str(), target.name.as_str());
                let lower = kind.to_ascii_lowercase();
                if self.objects.unread.has_kind(namespace, &lower) {
                    let what = format!(
                        "spec.targetRefs[{i}]: the {kind}s of namespace {namespace} cannot be read, so it is not known which models {name} \
                         leads to, and for those it has no effect: headgate status says why they cannot (KindUnread)"
                    );
                    unresolved.push(Unresolved {
                        unread: true,
                        ..Unresolved::new(what)
                    });
                    continue;
                }
                let what = format!(
                    "spec.targetRefs[{i}]: no {kind} {name} carries a model in namespace {namespace}"
                );
                let known = Some(self.known(&[&namespace.to_owned()]));
                unresolved.push(Unresolved {
                    known,
                    ..Unresolved::new(what)
                });
                continue;
            }
            let Some(version) = &target.version else {
                claims.extend(models.into_iter().map(|id| (id.clone(), None)));
                continue;
            };
            let declared = self.declared(namespace);
            let having: Vec<&ModelId> = models
                .into_iter()
                .filter(|id| {
                    declared
                        .get(*id)
                        .is_some_and(|m| versions(m).contains(version))
                })
                .collect();
            if having.is_empty() {
                unresolved.push(Unresolved::new(format!(
                    "spec.targetRefs[{i}].sectionName: no model of {} {} has version {version}",
                    target.kind.as_str(),
                    target.name
                )));
            }
            for id in having {
                // What is claimed whole stays whole.
                if let Some(some) = claims
                    .entry(id.clone())
                    .or_insert_with(|| Some(BTreeSet::new()))
                {
                    some.insert(version.clone());
                }
            }
        }
        claims
    }

    /// The models that an object carries, itself or through what it stands for.
    fn models_of(&self, namespace: &str, target: &TargetRef) -> BTreeSet<&'a ModelId> {
        let key = CarrierKey {
            namespace: namespace.to_owned(),
            kind: target.kind.as_str().to_ascii_lowercase(),
            name: target.name.as_str().to_owned(),
        };
        let behind = self.objects.groups.get(&key).into_iter().flatten();
        behind
            .chain(std::iter::once(&key))
            .filter_map(|key| self.by_carrier().get(key))
            .flatten()
            .copied()
            .collect()
    }

    fn unknown(&self, ids: &[ModelId], namespaces: &[&String], unresolved: &mut Vec<Unresolved>) {
        for (i, id) in ids.iter().enumerate() {
            let known = namespaces.iter().any(|n| self.declared(n).contains_key(id));
            if !known {
                unresolved.push(Unresolved {
                    known: Some(self.known(namespaces)),
                    ..Unresolved::new(format!("spec.models[{i}]: nothing declares {id}"))
                });
            }
        }
    }

    /// What could have been meant.
    fn known(&self, namespaces: &[&String]) -> String {
        let ids: BTreeSet<&str> = namespaces
            .iter()
            .flat_map(|n| self.declared(n).keys())
            .map(ModelId::as_str)
            .collect();
        if ids.is_empty() {
            return "Label a workload of the namespace, or move the policy".into();
        }
        format!("Declared are {}", listed(ids.into_iter()))
    }
}

/// Names, at most 20, or a message would grow with the fleet.
pub(super) fn listed<'n>(mut names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let some: Vec<&str> = names.by_ref().take(20).collect();
    match names.len() {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

fn whole<'m>(ids: impl Iterator<Item = &'m ModelId>) -> Claims {
    ids.map(|id| (id.clone(), None)).collect()
}

/// The versions that a model's carriers declare.
pub(crate) fn versions(model: &Model) -> BTreeSet<Version> {
    let members = model.members.iter();
    members
        .flat_map(|member| member.versions.keys().cloned())
        .collect()
}
