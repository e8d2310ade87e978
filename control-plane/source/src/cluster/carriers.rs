//! The carrier of a pod, and the content of a carrier: the first label rule.
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

use super::carrier_change::BuiltCarrier;
use super::findings::CarrierFindings;
use super::identity::{Key, Name};
use super::objects::{Body, Object};
use super::pod_use::ServingPods;
use super::serving::{declares_tls, written_protocol};
use super::store::Store;
use super::{external, unready};
use headgate_kubernetes::WatchedKind;
use headgate_model::reference::Reference;

const POOL: &str = "InferencePool";

impl Store {
    /// The identity of an object as a carrier.
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

    /// The name of an object in messages: `Deployment default/x`.
    pub(super) fn origin(&self, (what, name): &Key) -> String {
        let kind = match what {
            WatchedKind::Pods => "Pod",
            WatchedKind::Services => "Service",
            WatchedKind::Pools | WatchedKind::ExperimentalPools => POOL,
            WatchedKind::Owners(place) => self.kinds.get(*place).map_or("", |kind| &kind.kind),
        };
        format!("{kind} {}/{}", name.namespace, name.name)
    }

    /// The reference to a carrier's object.
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

    /// The object of a carrier's key.
    pub(super) fn object_of(&self, key: &CarrierKey) -> Option<(Key, &Object)> {
        let name = Name {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let what = match key.kind.as_str() {
            "pod" => WatchedKind::Pods,
            "service" => WatchedKind::Services,
            // A pool that moves to the newer group may be in both for a while.
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

    /// The carriers of an object.
    pub(super) fn memberships_of(&self, key: &Key) -> BTreeSet<CarrierKey> {
        let Some(object) = self.objects.get(key).filter(|object| !object.has_ended()) else {
            return BTreeSet::new();
        };
        let Some(labels) = object.pod_labels() else {
            return BTreeSet::new();
        };
        let services: BTreeSet<CarrierKey> = self
            .selectors
            .matching(&key.1.namespace, labels)
            .into_iter()
            .map(|name| (WatchedKind::Services, name))
            .filter(|service| !self.yields_to_owner(service, key))
            .map(|service| self.carrier_key(&service))
            .collect();
        if !services.is_empty() || key.0 != WatchedKind::Pods {
            return services;
        }
        let carrier = self.owner_that_carries(key);
        let itself = || (!self.awaits_owner(key) && self.names_model(key)).then(|| key.clone());
        carrier
            .or_else(itself)
            .map(|carrier| self.carrier_key(&carrier))
            .into_iter()
            .collect()
    }

    /// Whether a labelled Service yields an object to the owner that is its carrier.
    fn yields_to_owner(&self, service: &Key, of: &Key) -> bool {
        let yields = self.objects.get(service).is_some_and(|s| self.yields(s));
        yields && self.owner_that_carries(of).is_some()
    }

    /// Whether an object has an owner that may be listed later.
    fn awaits_owner(&self, key: &Key) -> bool {
        self.outermost(key).is_none()
    }

    /// The owner (or the object itself, if it is an owner) that is the carrier of an object without a Service: the outermost one with
    /// its own label, else the outermost one whose pod template has the label of the object's pods.
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

    /// Whether an owner has a model label of its own. Objects made from a pod template have a copy of its label: a ReplicaSet also that
    /// of an earlier revision.
    fn is_labelled(&self, owner: &Key) -> bool {
        let label = |key| self.objects.get(key)?.meta.labels.get(&self.keys.model);
        let own = label(owner);
        let copied = || {
            let mut above = self.above(owner).into_iter();
            self.model_of_pods(owner) == own && above.any(|owner| self.has_template(&owner))
        };
        own.is_some() && !copied()
    }

    /// The model in the labels of an object's pods.
    fn model_of_pods(&self, key: &Key) -> Option<&String> {
        self.objects.get(key)?.pod_labels()?.get(&self.keys.model)
    }

    /// Whether an owner is a carrier: by its label, or by that of its pod template. The latter does not need pods, unless the owner is
    /// itself made from a template, as the ReplicaSets of earlier revisions are.
    fn owner_carries(&self, at: &Key, object: &Object, pods: bool) -> bool {
        if self.owner_that_carries(at).as_ref() != Some(at) || self.carried_by_a_service(at, object)
        {
            return false;
        }
        pods || !self.above(at).iter().any(|owner| self.has_template(owner))
    }

    /// Whether a labelled Service selects pods of an owner, or those that it would make.
    fn carried_by_a_service(&self, key: &Key, object: &Object) -> bool {
        let to_service = |key: &Key| {
            let memberships = self.memberships.get(key);
            memberships
                .into_iter()
                .flatten()
                .any(|carrier| carrier.kind == "service")
        };
        to_service(key) || self.below(&object.meta.uid).iter().any(to_service)
    }

    /// Builds the carrier of this key; `None` if the object is not a carrier.
    pub(super) fn build(&self, key: &CarrierKey) -> Option<BuiltCarrier> {
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
            selecting_services: &|| self.selecting_services(key),
            findings: Vec::new(),
        };
        if let Some(owner) = self.unwatched_owner(&at, object) {
            findings.owner_not_watched(owner);
        }
        let written = self.written(&at, object, &mut findings);
        let serving_pods = self.serving_pods(&at, key, object, &mut findings);
        self.report_unread_pools(&serving_pods, &mut findings);
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
        let mesh = self.mesh_of(key, object, &serving_pods);
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
            mesh,
            origin,
        };
        Some(BuiltCarrier { carrier, findings })
    }

    /// The endpoints that an annotation of a Service lists; `None` if there are none, so that the pods are the endpoints.
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
        if !pods.is_empty() && all_tls(ports) && !declares_tls(&[&object.meta]) {
            findings.tls_port(&format!(
                "the endpoints of `{}`",
                names::ANNOTATION_ENDPOINTS
            ));
        }
        // Listed endpoints count as ready since the Service exists.
        pods.iter_mut()
            .for_each(|pod| pod.ready_since = object.meta.created);
        // An unusable list does not replace pods that serve.
        (led || !pods.is_empty()).then_some(pods)
    }

    /// The endpoints: pods that serve and have an address.
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

    /// The greatest `minReadySeconds` of a carrier and of all owners of its pods.
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

    /// The reasons why pods that should serve are not ready, without duplicates.
    fn unready_reasons(&self, serving_pods: &ServingPods<'_>) -> Vec<String> {
        let pods = serving_pods
            .serving
            .iter()
            .filter_map(|pod| self.objects.get(*pod));
        let of = |pod: &Object| match &pod.body {
            Body::Pod {
                unready_reasons, ..
            } if pod.is_live() => unready_reasons.clone(),
            _ => Vec::new(),
        };
        let all: BTreeSet<String> = pods.flat_map(of).collect();
        all.into_iter().take(unready::MAX_REASONS).collect()
    }

    /// Findings on an object that do not depend on a carrier: values that cannot be read and, unless its labels and annotations are
    /// copies from an owner, labels and annotations without an effect.
    pub(super) fn object_findings(&self, key: &Key, object: &Object) -> Vec<Finding> {
        let meta = &object.meta;
        let owned = meta.controller.is_some();
        let ours = [&self.keys.version, &self.keys.weight];
        let plain =
            meta.annotations.is_empty() && !ours.iter().any(|key| meta.labels.contains_key(*key));
        if object.unreadable.is_empty() && (owned || plain) {
            return Vec::new();
        }
        let (carrier, origin) = (self.carrier_key(key), self.origin(key));
        let finding = |(path, why): &(String, String)| Finding {
            object: carrier.clone().into(),
            reason: reason::UNREADABLE,
            severity: Severity::Error,
            origin: origin.clone(),
            message: format!(
                "{path} {why}. The rest of the object is used. Correct the value: kubectl edit {} -n {}",
                carrier.identity(),
                carrier.namespace
            ),
        };
        let mut findings: Vec<Finding> = object.unreadable.iter().map(finding).collect();
        if !owned {
            let labels = &meta.labels;
            findings.extend(annotation_findings(&carrier, &origin, &meta.annotations));
            let by_template = object
                .pod_labels()
                .is_some_and(|l| l.contains_key(&self.keys.model));
            if !by_template {
                findings.extend(incomplete_labels(&carrier, &origin, labels, &self.keys));
            }
        }
        findings
    }
}
