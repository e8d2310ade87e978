//! The carrier of a pod's labels, and the content of a carrier: the first sentence of the label rules.
//!
//! The carrier is a Service that has both labels and selects the pod, else its outermost `controller: true` owner that has the
//! label, else the outermost owner whose pod template has the pod's label, else the pod itself. Invariant: an owner that is not listed
//! yet may be the carrier, so its pods have no carrier until then. An owner whose kind is not watched, or that does not exist, is skipped.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use headgate_contract::names;
use headgate_model::ports::{ChosenPort, all_tls};
use headgate_model::{
    Carrier, CarrierKey, Finding, OwnerReplicas, Pod, Severity, annotation_findings,
    incomplete_labels, reason, template_findings,
};

use super::findings::CarrierFindings;
use super::groups::labels_of_pods;
use super::objects::{Body, Name, Object};
use super::serving::{ServingPods, lives, says_tls, written_protocol};
use super::store::{Key, Store};
use super::{external, unready};
use headgate_kubernetes::WatchedKind;
use headgate_model::reference::Reference;

const POOL: &str = "InferencePool";

/// A carrier, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Built {
    pub(crate) carrier: Carrier,
    pub(crate) findings: Vec<Finding>,
}

impl Store {
    /// The identity an object has, or would have, as a carrier.
    pub(super) fn carrier_key(&self, (what, name): &Key) -> CarrierKey {
        let kind = match what {
            WatchedKind::Pods => "pod".to_owned(),
            WatchedKind::Services => "service".to_owned(),
            WatchedKind::Pools | WatchedKind::ExperimentalPools => "inferencepool".to_owned(),
            WatchedKind::Owners(place) => self
                .kinds
                .get(*place)
                .map(headgate_kubernetes::kinds::Kind::lower)
                .unwrap_or_default(),
        };
        CarrierKey {
            namespace: name.namespace.clone(),
            kind,
            name: name.name.clone(),
        }
    }

    /// Where people find an object: `Deployment default/x`.
    pub(super) fn origin(&self, (what, name): &Key) -> String {
        let kind = match what {
            WatchedKind::Pods => "Pod",
            WatchedKind::Services => "Service",
            WatchedKind::Pools | WatchedKind::ExperimentalPools => POOL,
            WatchedKind::Owners(place) => self.kinds.get(*place).map_or("", |kind| &kind.kind),
        };
        format!("{kind} {}/{}", name.namespace, name.name)
    }

    /// What the API server calls a carrier's object.
    pub(super) fn reference(&self, key: &CarrierKey) -> Option<Reference> {
        let ((what, _), object) = self.object_of(key)?;
        let (api_version, kind) = match what {
            WatchedKind::Pods => ("v1".to_owned(), "Pod".to_owned()),
            WatchedKind::Services => ("v1".to_owned(), "Service".to_owned()),
            WatchedKind::Owners(place) => {
                let kind = self.kinds.get(place)?;
                (kind.resource().api_version, kind.kind.clone())
            }
            WatchedKind::Pools => ("inference.networking.k8s.io/v1".to_owned(), POOL.to_owned()),
            WatchedKind::ExperimentalPools => (
                "inference.networking.x-k8s.io/v1alpha2".to_owned(),
                POOL.to_owned(),
            ),
        };
        Some(Reference {
            api_version,
            kind,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: object.meta.uid.clone(),
        })
    }

    /// The object that a carrier's key means.
    pub(super) fn object_of(&self, key: &CarrierKey) -> Option<(Key, &Object)> {
        let name = Name {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let what = match key.kind.as_str() {
            "pod" => WatchedKind::Pods,
            "service" => WatchedKind::Services,
            // One that moves to the newer group may be in both for a while, and is one pool.
            "inferencepool" => [WatchedKind::Pools, WatchedKind::ExperimentalPools]
                .into_iter()
                .find(|what| self.objects.contains_key(&(*what, name.clone())))?,
            kind => WatchedKind::Owners(self.kinds.iter().position(|k| k.lower() == kind)?),
        };
        let (key, object) = self.objects.get_key_value(&(what, name))?;
        Some((key.clone(), object))
    }

    pub(super) fn names_model(&self, key: &Key) -> bool {
        self.objects
            .get(key)
            .is_some_and(|object| object.meta.labels.contains_key(&self.keys.model))
    }

    /// The carriers that an object belongs to.
    pub(super) fn homes_of(&self, key: &Key) -> BTreeSet<CarrierKey> {
        let Some(object) = self.objects.get(key).filter(|object| !object.has_ended()) else {
            return BTreeSet::new();
        };
        let Some(labels) = labels_of_pods(object) else {
            return BTreeSet::new();
        };
        let services: BTreeSet<CarrierKey> = self
            .selectors
            .matching(&key.1.namespace, labels)
            .into_iter()
            .map(|name| (WatchedKind::Services, name))
            .filter(|service| !self.steps_aside(service, key))
            .map(|service| self.carrier_key(&service))
            .collect();
        if !services.is_empty() || key.0 != WatchedKind::Pods {
            return services;
        }
        let carrier = self.owner_that_carries(key);
        let itself = || (!self.waits(key) && self.names_model(key)).then(|| key.clone());
        carrier
            .or_else(itself)
            .map(|carrier| self.carrier_key(&carrier))
            .into_iter()
            .collect()
    }

    /// Whether a labelled Service leaves an object to the owner that carries for it.
    fn steps_aside(&self, service: &Key, of: &Key) -> bool {
        let yields = self.objects.get(service).is_some_and(|s| self.yields(s));
        yields && self.owner_that_carries(of).is_some()
    }

    /// Whether an object has an owner that is not told yet.
    fn waits(&self, key: &Key) -> bool {
        self.outermost(key).is_none()
    }

    /// The owner, or the object itself where it is one, that carries for an object where no Service does: the outermost one by its
    /// own label, else the outermost one whose pod template has the label of the object's pods.
    pub(super) fn owner_that_carries(&self, key: &Key) -> Option<Key> {
        let (mut owners, waits) = self.chain(key);
        if waits {
            return None;
        }
        if key.0 != WatchedKind::Pods {
            owners.insert(0, key.clone());
        }
        if let Some(labelled) = owners.iter().rev().find(|owner| self.is_labelled(owner)) {
            return Some(labelled.clone());
        }
        let own = self.model_of_pods(key)?;
        let mut owners = owners.into_iter().rev();
        owners.find(|owner| owner.0 != WatchedKind::Pods && self.model_of_pods(owner) == Some(own))
    }

    /// Whether an owner names a model by a label that somebody wrote on it. What an owner makes from its pod template has that
    /// one's label, and so have its pods: a ReplicaSet also that of an earlier revision.
    fn is_labelled(&self, owner: &Key) -> bool {
        let label = |key| self.objects.get(key)?.meta.labels.get(&self.keys.model);
        let own = label(owner);
        let copied = || {
            let mut above = self.above(owner).into_iter();
            self.model_of_pods(owner) == own && above.any(|owner| self.has_template(&owner))
        };
        own.is_some() && !copied()
    }

    /// The model that an object's pods name themselves.
    fn model_of_pods(&self, key: &Key) -> Option<&String> {
        labels_of_pods(self.objects.get(key)?)?.get(&self.keys.model)
    }

    /// Whether an owner carries: by its label, or by that of its pod template. The latter also without pods, unless it is
    /// itself made from a template, as the ReplicaSets of earlier revisions are.
    fn owner_carries(&self, at: &Key, object: &Object, pods: bool) -> bool {
        if self.owner_that_carries(at).as_ref() != Some(at) || self.carried_by_a_service(at, object)
        {
            return false;
        }
        pods || !self.above(at).iter().any(|owner| self.has_template(owner))
    }

    /// Whether a labelled Service carries for an owner: it selects pods of it, or those that it would make.
    fn carried_by_a_service(&self, key: &Key, object: &Object) -> bool {
        let to_service = |key: &Key| {
            let homes = self.homes.get(key);
            homes
                .into_iter()
                .flatten()
                .any(|home| home.kind == "service")
        };
        to_service(key) || self.below(&object.meta.uid).iter().any(to_service)
    }

    /// The carrier of this key as it is now; `None` where there is none.
    pub(super) fn build(&self, key: &CarrierKey) -> Option<Built> {
        let (at, object) = self.object_of(key)?;
        let members = self.members.get(key);
        let carries = match at.0 {
            WatchedKind::Services => {
                self.declares(object) && (members.is_some() || !self.yields(object))
            }
            WatchedKind::Pods => members.is_some(),
            WatchedKind::Pools | WatchedKind::ExperimentalPools => false,
            WatchedKind::Owners(_) => self.owner_carries(&at, object, members.is_some()),
        };
        if !carries {
            return None;
        }
        let origin = self.origin(&at);
        let mut findings = CarrierFindings {
            key,
            origin: &origin,
            labels: &self.keys,
            declared: &object.meta.labels,
            fronts: &|| self.fronts(key),
            findings: Vec::new(),
        };
        if let Some(owner) = self.unwatched_owner(&at, object) {
            findings.owner_not_watched(owner);
        }
        let written = self.written(&at, object, &mut findings);
        let serving_pods = self.serving_pods(&at, key, object, &mut findings);
        self.say_unread_pools(&serving_pods, &mut findings);
        let (pods, (desired, owner_replicas)) = match written {
            Some(pods) => {
                let desired = u32::try_from(pods.len()).unwrap_or(u32::MAX);
                (pods, (desired, OwnerReplicas::new()))
            }
            None => (
                self.endpoints(&serving_pods, &mut findings),
                match serving_pods.standby {
                    true => (0, OwnerReplicas::new()),
                    false => self.desired(&at, key, &serving_pods.serving),
                },
            ),
        };
        let labels = self.labels_of(&at, object, &mut findings);
        self.ignored(&at, key, &labels, &mut findings);
        let mut findings = findings.findings;
        findings.sort();
        findings.dedup();
        let carrier = Carrier {
            key: key.clone(),
            created: object.meta.created,
            labels,
            annotations: object.meta.annotations.clone(),
            desired,
            owner_replicas,
            min_ready_seconds: self.min_ready_seconds(&at, &serving_pods),
            unready_reasons: self.unready_reasons(&serving_pods),
            pods,
            origin,
        };
        Some(Built { carrier, findings })
    }

    /// The endpoints that an annotation of a Service names; `None` where it names none, and the pods are the endpoints.
    fn written(
        &self,
        (what, name): &Key,
        object: &Object,
        findings: &mut CarrierFindings<'_>,
    ) -> Option<Vec<Pod>> {
        let list = object.meta.annotations.get(names::ANNOTATION_ENDPOINTS);
        let Body::Service {
            selector,
            external_name,
            ports,
            ..
        } = &object.body
        else {
            if list.is_some() && *what != WatchedKind::Services {
                findings.endpoints_ignored();
            }
            return None;
        };
        let led = selector.is_empty() || external_name.is_some();
        let Some(list) = list else {
            if led {
                findings.no_selector(external_name.as_deref());
            }
            return None;
        };
        let protocol = written_protocol(&object.meta, &object.meta, findings);
        let protocol = protocol.unwrap_or_else(|| object.body.protocol());
        let mut pods = external::endpoints(&name.name, list, &self.allowed, protocol, findings);
        if !pods.is_empty() && all_tls(ports) && !says_tls(&[&object.meta]) {
            findings.tls_port(&format!(
                "the endpoints of `{}`",
                names::ANNOTATION_ENDPOINTS
            ));
        }
        // Nothing has to become ready: they serve since the Service is there.
        pods.iter_mut()
            .for_each(|pod| pod.ready_since = object.meta.created);
        // What cannot be used takes nothing away from pods that serve.
        (led || !pods.is_empty()).then_some(pods)
    }

    /// The pods that serve; one that ends is no endpoint any more, one without an address none yet.
    fn endpoints(
        &self,
        serving_pods: &ServingPods<'_>,
        findings: &mut CarrierFindings<'_>,
    ) -> Vec<Pod> {
        let owned = serving_pods
            .chosen
            .keys()
            .filter_map(|pod| self.objects.get(*pod));
        let owned = owned.filter(|pod| pod.meta.controller.is_some());
        for pod in owned {
            let slips = template_findings(findings.key, findings.origin, &pod.meta.annotations);
            findings.findings.extend(slips);
        }
        let endpoint = |(member, chosen): (&&Key, &ChosenPort)| {
            let object = self.objects.get(*member)?;
            let Body::Pod {
                address,
                ready,
                ready_since,
                ..
            } = &object.body
            else {
                return None;
            };
            Some(Pod {
                name: member.1.name.clone(),
                version: object.meta.labels.get(&self.keys.version).cloned(),
                address: SocketAddr::new((*address)?, chosen.number).into(),
                protocol: chosen.protocol,
                port_source: chosen.source.clone(),
                ready: *ready,
                ready_since: *ready_since,
            })
        };
        serving_pods.chosen.iter().filter_map(endpoint).collect()
    }

    /// Of a carrier and of all that owns its pods, the greatest.
    fn min_ready_seconds(&self, at: &Key, serving_pods: &ServingPods<'_>) -> u32 {
        let mut owners: BTreeSet<Key> = serving_pods
            .serving
            .iter()
            .flat_map(|pod| self.above(pod))
            .collect();
        owners.insert(at.clone());
        let seconds = owners
            .iter()
            .filter_map(|owner| match &self.objects.get(owner)?.body {
                Body::Owner {
                    min_ready_seconds, ..
                } => Some(*min_ready_seconds),
                _ => None,
            });
        seconds.max().unwrap_or(0)
    }

    /// Why pods that should serve do not, each reason once.
    fn unready_reasons(&self, serving_pods: &ServingPods<'_>) -> Vec<String> {
        let pods = serving_pods
            .serving
            .iter()
            .filter_map(|pod| self.objects.get(*pod));
        let of = |pod: &Object| match &pod.body {
            Body::Pod {
                unready_reasons, ..
            } if lives(pod) => unready_reasons.clone(),
            _ => Vec::new(),
        };
        let all: BTreeSet<String> = pods.flat_map(of).collect();
        all.into_iter().take(unready::MOST).collect()
    }

    /// What is to be said about an object by itself: what could not be read of it and, where its labels and annotations are a
    /// person's and not copied from an owner, what nothing reads of them.
    pub(super) fn complaints(&self, key: &Key, object: &Object) -> Vec<Finding> {
        let meta = &object.meta;
        let owned = meta.controller.is_some();
        let ours = [&self.keys.version, &self.keys.weight];
        let plain =
            meta.annotations.is_empty() && !ours.iter().any(|key| meta.labels.contains_key(*key));
        if object.unreadable.is_empty() && (owned || plain) {
            return Vec::new();
        }
        let (carrier, origin) = (self.carrier_key(key), self.origin(key));
        let complaint = |(path, why): &(String, String)| Finding {
            object: carrier.clone().into(),
            reason: reason::UNREADABLE,
            severity: Severity::Error,
            origin: origin.clone(),
            message: format!(
                "{path} {why}. The rest of the object counts: kubectl edit {} -n {}",
                carrier.identity(),
                carrier.namespace
            ),
        };
        let mut findings: Vec<Finding> = object.unreadable.iter().map(complaint).collect();
        if !owned {
            let labels = &meta.labels;
            findings.extend(annotation_findings(&carrier, &origin, &meta.annotations));
            let by_template =
                labels_of_pods(object).is_some_and(|l| l.contains_key(&self.keys.model));
            if !by_template {
                findings.extend(incomplete_labels(&carrier, &origin, labels, &self.keys));
            }
        }
        findings
    }
}
