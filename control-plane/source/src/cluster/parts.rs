//! Owners of pods that differ: the generation that takes traffic, and the parts that serve where no label decides.
//!
//! Invariant: no guess. A part that may be a helper is not an endpoint, and a finding asks for a labelled Service.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::ports::PortClass;
use headgate_model::{CarrierKey, PortSource};

use super::findings::CarrierFindings;
use super::identity::{Key, Name};
use super::objects::{Body, Object};
use super::pod_use::{Member, PodUse};
use super::roles::{Generations, Role};
use super::store::Store;
use headgate_kubernetes::WatchedKind;

/// How a pod of a part could serve: the class and the number of its port.
type Signature = (PortClass, Option<u16>);

impl Store {
    /// The generations of an owner's pods.
    pub(super) fn generations(&self, owner: &Key) -> Option<&Generations> {
        self.objects.get(owner)?.generations()
    }

    /// The pods of a carrier whose generation takes traffic; `None`: all pods. Without generations of its own, the carrier uses those of
    /// the nearest owner above each pod, for example of the Rollout above a ReplicaSet.
    pub(super) fn active_pods(
        &self,
        at: &Key,
        carrier: &Object,
        pods: &[(&Key, &Object)],
        findings: &mut CarrierFindings<'_>,
    ) -> Option<BTreeSet<Key>> {
        if let Some(generations) = self.generations(at) {
            return self.active_pods_of(at, generations, findings);
        }
        // A pod that is its own carrier was labelled on its own; the generations of its owner do not apply.
        if at.0 == WatchedKind::Pods {
            return None;
        }
        let mut active_pods = BTreeSet::new();
        let mut governed: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
        for (pod, _) in pods {
            let mut above = self.above(pod).into_iter();
            let nearest = above.find(|owner| self.generations(owner).is_some());
            let nearest = nearest.filter(|owner| {
                at.0 != WatchedKind::Services || self.is_variant_of_active(owner, carrier)
            });
            match nearest {
                Some(owner) => _ = governed.entry(owner).or_default().insert((*pod).clone()),
                None => _ = active_pods.insert((*pod).clone()),
            }
        }
        if governed.is_empty() {
            return None;
        }
        for (owner, pods) in governed {
            let generations = self.generations(&owner);
            match generations.and_then(|g| self.active_pods_of(&owner, g, findings)) {
                Some(active) => active_pods.extend(pods.intersection(&active).cloned()),
                None => active_pods.extend(pods),
            }
        }
        Some(active_pods)
    }

    /// Whether the Service that selects the active generation declares the same model and version as this Service. If not, the user
    /// weights the generations by their Services.
    fn is_variant_of_active(&self, owner: &Key, service: &Object) -> bool {
        let generations = self.generations(owner);
        let active = generations.and_then(|generations| self.active_service(owner, generations));
        active.is_some_and(|(_, active)| {
            self.declares(active) && self.is_same_variant(active, service)
        })
    }

    /// The Service whose selector names the active generation of an owner.
    fn active_service(&self, owner: &Key, generations: &Generations) -> Option<(Key, &Object)> {
        let name = Name {
            namespace: owner.1.namespace.clone(),
            name: generations.service.clone()?,
        };
        let key = (WatchedKind::Services, name);
        let service = self.objects.get(&key)?;
        Some((key, service))
    }

    /// The pods of the generation that takes traffic; `None` if all generations do.
    fn active_pods_of(
        &self,
        at: &Key,
        generations: &Generations,
        findings: &mut CarrierFindings<'_>,
    ) -> Option<BTreeSet<Key>> {
        let children = self.children(&self.objects.get(at)?.meta.uid);
        let pods_of = |child: &Key| {
            let uid = self.objects.get(child).map(|object| &object.meta.uid);
            let mut all = uid.map(|uid| self.below(uid)).unwrap_or_default();
            all.insert(child.clone());
            let live = |key: &Key| self.objects.get(key).is_some_and(Object::is_live);
            all.retain(|key| key.0 == WatchedKind::Pods && live(key));
            all
        };
        let mut all: Vec<(&Key, BTreeSet<Key>)> =
            children.map(|child| (child, pods_of(child))).collect();
        all.retain(|(_, pods)| !pods.is_empty());
        if let Some((active, by)) = self.active(at, generations) {
            let others: Vec<&str> = all.iter().map(|(child, _)| child.1.name.as_str()).collect();
            let others = others.join(", ");
            let of = |(child, pods): (&Key, BTreeSet<Key>)| {
                let ours = |pod: &Key| self.is_of(generations.label, pod, child, &active);
                pods.into_iter().filter(ours).collect::<Vec<_>>()
            };
            let ours: BTreeSet<Key> = all.into_iter().flat_map(of).collect();
            if ours.is_empty() && !others.is_empty() {
                findings.no_generation(generations.label, &active, &by, &others);
            }
            return Some(ours);
        }
        if let Some(pending) = &generations.pending {
            let of = |(child, pods): (&Key, BTreeSet<Key>)| {
                let others = |pod: &Key| !self.is_of(generations.label, pod, child, pending);
                pods.into_iter().filter(others).collect::<Vec<_>>()
            };
            return Some(all.into_iter().flat_map(of).collect());
        }
        if all.len() < 2 {
            return None;
        }
        let age = |child: &Key| {
            let created = self.objects.get(child).and_then(|o| o.meta.created);
            (created, child.clone())
        };
        let (oldest, pods) = all.into_iter().min_by_key(|(child, _)| age(child))?;
        let status = findings.status_of(&self.carrier_key(at));
        findings.unclear_roles(&format!(
            "neither {status} nor a Service names the generation that takes traffic: the oldest, {}, does, because labels cannot \
             tell them apart",
            oldest.1.name
        ));
        Some(pods)
    }

    /// The generation that takes traffic, and the object that names it: the Service, which routes, else the owner's status.
    fn active(&self, at: &Key, generations: &Generations) -> Option<(String, CarrierKey)> {
        let of_service = self.active_service(at, generations);
        let of_service = of_service.and_then(|(key, service)| match &service.body {
            Body::Service { selector, .. } => {
                let named = selector.get(generations.label)?;
                Some((named.clone(), self.carrier_key(&key)))
            }
            _ => None,
        });
        let of_status = || Some((generations.active.clone()?, self.carrier_key(at)));
        of_service.or_else(of_status)
    }

    /// Whether a pod belongs to a generation: by its label, else by the name of its owner.
    fn is_of(&self, label: &str, pod: &Key, child: &Key, generation: &str) -> bool {
        let labels = self.objects.get(pod).map(|pod| &pod.meta.labels);
        if let Some(own) = labels.and_then(|labels| labels.get(label)) {
            return own == generation;
        }
        let rest = child.1.name.strip_suffix(generation);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('-'))
    }

    /// Decides which parts serve if no label does: those that certainly serve. The others are helpers, and a finding reports a doubt.
    pub(super) fn choose_serving_parts(
        &self,
        at: &Key,
        members: &mut [Member<'_>],
        findings: &mut CarrierFindings<'_>,
    ) {
        let signature = |member: &Member<'_>| match &member.pod_use {
            PodUse::Serves(chosen) if chosen.source == PortSource::Annotation => None,
            PodUse::Serves(chosen) => Some((chosen.class, Some(chosen.number))),
            PodUse::Ambiguous(_) => Some((PortClass::Unknown, None)),
            PodUse::Helper | PodUse::Portless => None,
        };
        let mut parts: BTreeMap<Key, BTreeSet<Signature>> = BTreeMap::new();
        for member in members
            .iter()
            .filter(|member| member.role == Role::Unspecified)
        {
            if let Some(signature) = signature(member) {
                let part = parts.entry(self.part(at, member.key)).or_default();
                part.insert(signature);
            }
        }
        let certain =
            |signatures: &BTreeSet<Signature>| signatures.iter().all(|(class, _)| class.is_http());
        let alike = |mut all: Vec<&BTreeSet<Signature>>| {
            all.dedup();
            all.len() <= 1
        };
        if alike(parts.values().collect()) {
            return;
        }
        let best: Vec<_> = parts.values().filter(|s| certain(s)).collect();
        let agreed = !best.is_empty() && alike(best);
        for member in members.iter_mut().filter(|m| m.role == Role::Unspecified) {
            let part = parts.get(&self.part(at, member.key));
            if part.is_some_and(|part| !agreed || !certain(part)) && signature(member).is_some() {
                member.pod_use = PodUse::Helper;
            }
        }
        let names: Vec<&str> = parts.keys().map(|key| key.1.name.as_str()).collect();
        findings.unclear_roles(&format!(
            "its parts {} have different ports, and it is not known which of them serve: {}",
            names.join(", "),
            if agreed {
                "only those with an HTTP port are endpoints"
            } else {
                "none of them is an endpoint"
            }
        ));
    }

    /// The object that an owner owns directly and that a pod belongs to.
    fn part(&self, owner: &Key, pod: &Key) -> Key {
        let above = self.above(pod);
        let below = above.iter().take_while(|key| *key != owner).last();
        below.unwrap_or(pod).clone()
    }
}
