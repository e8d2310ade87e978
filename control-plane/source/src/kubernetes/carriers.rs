//! Who carries the labels of a pod, and what a carrier is made of: the label rules' first sentence.
//!
//! The carrier is a Service that has both labels and selects the pod, else its outermost `controller: true` owner, else the
//! pod itself. Invariant: an owner that is not told yet may be the carrier, so its pods wait for it and belong to
//! nothing; an owner whose kind is not watched, or that the API server does not have, is as if it were not.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use headgate_contract::names;
use headgate_model::{Carrier, CarrierKey, Finding, Pod, Severity, reason};

use super::groups::labels_of_pods;
use super::objects::{Body, Name, Object};
use super::serving::port;
use super::store::{Key, Store, What};
use crate::reference::Reference;

/// Longest chain of owners that is followed. Nobody needs so many; a circle has no end.
pub(super) const LONGEST: usize = 16;

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
            What::Pods => "pod".to_owned(),
            What::Services => "service".to_owned(),
            What::Pools => "inferencepool".to_owned(),
            What::Owners(place) => self
                .kinds
                .get(*place)
                .map(super::Kind::lower)
                .unwrap_or_default(),
        };
        CarrierKey {
            namespace: name.namespace.clone(),
            kind,
            name: name.name.clone(),
        }
    }

    /// Where people find an object: `Deployment default/x`.
    fn origin(&self, (what, name): &Key) -> String {
        let kind = match what {
            What::Pods => "Pod",
            What::Services => "Service",
            What::Pools => "InferencePool",
            What::Owners(place) => self.kinds.get(*place).map_or("", |kind| &kind.kind),
        };
        format!("{kind} {}/{}", name.namespace, name.name)
    }

    /// What the API server calls a carrier's object.
    pub(super) fn reference(&self, key: &CarrierKey) -> Option<Reference> {
        let ((what, _), object) = self.object_of(key)?;
        let (api_version, kind) = match what {
            What::Pods => ("v1".to_owned(), "Pod".to_owned()),
            What::Services => ("v1".to_owned(), "Service".to_owned()),
            What::Owners(place) => {
                let kind = self.kinds.get(place)?;
                (kind.resource().api_version, kind.kind.clone())
            }
            _ => return None,
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
        let what = match key.kind.as_str() {
            "pod" => What::Pods,
            "service" => What::Services,
            "inferencepool" => What::Pools,
            kind => What::Owners(self.kinds.iter().position(|k| k.lower() == kind)?),
        };
        let name = Name {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        let (key, object) = self.objects.get_key_value(&(what, name))?;
        Some((key.clone(), object))
    }

    /// The owners of an object, from its own to the outermost, and whether the last of them has one that is not told yet.
    fn chain(&self, key: &Key) -> (Vec<Key>, bool) {
        let mut chain = Vec::new();
        let mut at = key;
        while chain.len() < LONGEST {
            let Some(controller) = self
                .objects
                .get(at)
                .and_then(|o| o.meta.controller.as_ref())
            else {
                return (chain, false);
            };
            match self.uids.get(&controller.uid) {
                Some(owner) => {
                    chain.push(owner.clone());
                    at = owner;
                }
                None => return (chain, self.sees(&controller.group, &controller.kind)),
            }
        }
        (chain, false)
    }

    /// All owners of an object that are known.
    pub(super) fn above(&self, key: &Key) -> Vec<Key> {
        self.chain(key).0
    }

    /// Everything that an object owns, and what that owns.
    pub(super) fn below(&self, uid: &str) -> BTreeSet<Key> {
        let mut found = BTreeSet::new();
        let mut uids = vec![uid.to_owned()];
        while let Some(uid) = uids.pop() {
            for child in self.children.get(&uid).into_iter().flatten() {
                if found.insert(child.clone())
                    && let Some(object) = self.objects.get(child)
                {
                    uids.push(object.meta.uid.clone());
                }
            }
        }
        found
    }

    /// The outermost owner, or the object itself; `None` while that is not known.
    pub(super) fn outermost(&self, key: &Key) -> Option<Key> {
        let (mut chain, waits) = self.chain(key);
        (!waits).then(|| chain.pop().unwrap_or_else(|| key.clone()))
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
        let services = self.selectors.matching(&key.1.namespace, labels);
        if !services.is_empty() || key.0 != What::Pods {
            return services
                .into_iter()
                .map(|name| self.carrier_key(&(What::Services, name)))
                .collect();
        }
        let Some(outermost) = self.outermost(key) else {
            return BTreeSet::new();
        };
        let carrier = [&outermost, key]
            .into_iter()
            .find(|candidate| self.names_model(candidate));
        carrier
            .map(|carrier| self.carrier_key(carrier))
            .into_iter()
            .collect()
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
            What::Services => self.declares(object),
            What::Pods => members.is_some(),
            What::Pools => false,
            What::Owners(_) => {
                self.names_model(&at)
                    && self.outermost(&at).as_ref() == Some(&at)
                    && !self.carried_by_a_service(&at, object)
            }
        };
        if !carries {
            return None;
        }
        let origin = self.origin(&at);
        let mut says = Says {
            key,
            origin: &origin,
            findings: Vec::new(),
        };
        let serving = self.serving(key, object);
        let pods = members
            .into_iter()
            .flatten()
            .filter(|(what, _)| *what == What::Pods);
        let pods = pods
            .filter_map(|member| self.endpoint(member, object, &serving, &mut says))
            .collect();
        if object
            .meta
            .annotations
            .contains_key(names::ANNOTATION_ENDPOINTS)
        {
            says.warn(
                reason::ENDPOINTS_IGNORED,
                format!(
                    "annotation `{}` counts in files only: the endpoints are the pods'. kubectl annotate {} -n {} {}-",
                    names::ANNOTATION_ENDPOINTS,
                    key.identity(),
                    key.namespace,
                    names::ANNOTATION_ENDPOINTS
                ),
            );
        }
        let mut findings = says.findings;
        findings.sort();
        findings.dedup();
        let desired = self.desired(&at, key, &serving);
        let carrier = Carrier {
            key: key.clone(),
            created: object.meta.created,
            labels: object.meta.labels.clone(),
            annotations: object.meta.annotations.clone(),
            desired,
            pods,
            origin,
        };
        Some(Built { carrier, findings })
    }

    /// The endpoint that a pod is; one that ends is none any more, one without an address none yet.
    fn endpoint(
        &self,
        member: &Key,
        carrier: &Object,
        serving: &BTreeSet<&Key>,
        says: &mut Says<'_>,
    ) -> Option<Pod> {
        let object = self.objects.get(member)?;
        let Body::Pod { address, ready, .. } = &object.body else {
            return None;
        };
        if object.meta.terminating {
            return None;
        }
        let port = port(object, carrier);
        if let Some(text) = port.refused {
            says.bad_port(text);
        }
        if port.number.is_none() && !self.helps(member, serving) {
            says.no_port();
        }
        Some(Pod {
            name: member.1.name.clone(),
            version: object.meta.labels.get(&self.keys.version).cloned(),
            address: SocketAddr::new((*address)?, port.number?),
            ready: *ready,
        })
    }

    /// What is to be said about an object that could not be read in full.
    pub(super) fn complaints(&self, key: &Key, object: &Object) -> Vec<Finding> {
        let carrier = self.carrier_key(key);
        let complaint = |(path, why): &(String, String)| Finding {
            object: carrier.clone().into(),
            reason: reason::UNREADABLE,
            severity: Severity::Error,
            origin: self.origin(key),
            message: format!(
                "{path} {why}. The rest of the object counts: kubectl edit {} -n {}",
                carrier.identity(),
                carrier.namespace
            ),
        };
        object.unreadable.iter().map(complaint).collect()
    }
}

/// Gathers what is to be said about a carrier; the same thing about many pods is said once.
struct Says<'a> {
    key: &'a CarrierKey,
    origin: &'a str,
    findings: Vec<Finding>,
}

impl Says<'_> {
    fn warn(&mut self, reason: &'static str, message: String) {
        if self
            .findings
            .iter()
            .any(|f| f.reason == reason && f.message == message)
        {
            return;
        }
        self.findings.push(Finding {
            object: self.key.clone().into(),
            reason,
            severity: Severity::Warning,
            origin: self.origin.to_owned(),
            message,
        });
    }

    fn no_port(&mut self) {
        self.warn(
            reason::NO_PORT,
            format!(
                "some of its pods have no TCP port named `http` or `grpc`, so they are no endpoints: name the port that serves, or kubectl annotate {} -n {} {}=PORT",
                self.key.identity(),
                self.key.namespace,
                names::ANNOTATION_PORT
            ),
        );
    }

    fn bad_port(&mut self, text: &str) {
        self.warn(
            reason::INVALID_PORT,
            format!(
                "annotation `{}`: {text:?} is neither a port number nor the name of a TCP port of the pod: the port named `http` or `grpc` is taken",
                names::ANNOTATION_PORT
            ),
        );
    }
}
