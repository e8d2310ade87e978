//! Selection of a carrier's pods that serve.
//!
//! A carrier may also own helpers: the workers of a leader, a transformer or a router beside a predictor. Invariant: a pod that can never
//! be an endpoint does not count as desired, or capacity (ready ÷ desired) would stay too low.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::names;
use headgate_model::ports::{ChosenPort, PodPort, PortError, annotated, choose, protocol_of};
use headgate_model::{CarrierKey, PortSource, Protocol};

use super::findings::CarrierFindings;
use super::identity::Key;
use super::objects::{Body, Metadata, Object};
use super::pod_use::{AmbiguousPort, Member, PodClassifier, PodUse, ServingPods};
use super::roles::Role;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

/// The effect of a port annotation on a pod.
enum Annotated {
    /// The pod serves on this port.
    Port(u16),
    /// The port belongs to other pods.
    OtherPods,
    /// No effect: there is no annotation, or it is invalid.
    None,
}

impl Store {
    /// Selects the pods of a carrier that serve, and adds findings on them.
    pub(super) fn serving_pods<'a>(
        &'a self,
        at: &'a Key,
        key: &CarrierKey,
        carrier: &'a Object,
        findings: &mut CarrierFindings<'_>,
    ) -> ServingPods<'a> {
        let members = self.members.get(key).into_iter().flatten();
        let pods = members.filter(|member| member.0 == WatchedKind::Pods);
        let pods = pods.filter_map(|member| Some((member, self.objects.get(member)?)));
        let classifier =
            self.classifier(at, carrier, pods.filter(|(_, pod)| pod.is_live()).collect());
        let active_pods = self.active_pods(at, carrier, &classifier.pods, findings);
        let mut members: Vec<Member<'_>> = Vec::new();
        // Equal pods have the same use, so it is decided once for a run of them.
        let mut last: Option<(&Object, PodUse)> = None;
        for (pod, object) in &classifier.pods {
            let role = classifier.role(object);
            let idle = active_pods
                .as_ref()
                .is_some_and(|active_pods| !active_pods.contains(*pod));
            let pod_use = if idle || role == Role::Helper {
                PodUse::Helper
            } else if let Some((_, pod_use)) =
                last.as_ref().filter(|(like, _)| same_ports(like, object))
            {
                pod_use.clone()
            } else {
                let pod_use = self.pod_use(&classifier, object, role, findings);
                last = Some((object, pod_use.clone()));
                pod_use
            };
            let key = *pod;
            members.push(Member { key, role, pod_use });
        }
        if classifier.parts {
            self.choose_serving_parts(at, &mut members, findings);
        }
        let mut serving_pods = ServingPods {
            standby: self.generations(at).is_none()
                && !members.is_empty()
                && active_pods.as_ref().is_some_and(BTreeSet::is_empty),
            ..ServingPods::default()
        };
        for member in &members {
            if let PodUse::Serves(chosen) = &member.pod_use {
                serving_pods.serving.insert(member.key);
                serving_pods.chosen.insert(member.key, chosen.clone());
            }
        }
        self.report_ports(&classifier, &members, &serving_pods, findings);
        let helpers = members
            .iter()
            .all(|member| member.pod_use == PodUse::Helper);
        // Before a first generation takes traffic, there is nothing to report.
        let starts = active_pods.is_some_and(|active_pods| active_pods.is_empty());
        if helpers && !starts && !members.is_empty() && findings.findings.is_empty() {
            findings.unclear_roles(
                "none of its pods serves, according to the labels of their operator",
            );
        }
        serving_pods
    }

    /// Adds findings on the ports of a carrier's pods.
    fn report_ports(
        &self,
        classifier: &PodClassifier<'_>,
        members: &[Member<'_>],
        serving_pods: &ServingPods<'_>,
        findings: &mut CarrierFindings<'_>,
    ) {
        for member in members {
            match &member.pod_use {
                PodUse::Ambiguous(ambiguous) => findings.ambiguous(ambiguous),
                PodUse::Portless if !self.helps(member.key, &serving_pods.serving) => {
                    let helper = |member: &Member<'_>| member.role == Role::Helper;
                    let unlike = classifier.parts
                        && (members.iter().any(helper)
                            || !self.unlike_parts(classifier).is_empty());
                    findings.no_port(unlike);
                }
                PodUse::Serves(chosen) if chosen.class.is_tls() => {
                    let pod = self.objects.get(member.key);
                    let pod = pod.map_or(&classifier.carrier.meta, |pod| &pod.meta);
                    if !declares_tls(&[pod, &classifier.carrier.meta]) {
                        findings.tls_port(&format!("port {} of its pods", chosen.number));
                    }
                }
                _ => {}
            }
        }
    }

    fn classifier<'a>(
        &'a self,
        at: &'a Key,
        carrier: &'a Object,
        pods: Vec<(&'a Key, &'a Object)>,
    ) -> PodClassifier<'a> {
        let kind = match at.0 {
            WatchedKind::Owners(place) => self.kinds.get(place),
            _ => None,
        };
        let mut classifier = PodClassifier {
            at,
            carrier,
            pods,
            kind,
            parts: matches!(carrier.body, Body::Owner { replicas: None, .. }),
            rank: None,
        };
        if kind.is_some() {
            let below = self.below(&carrier.meta.uid);
            let all = below.iter().filter_map(|key| self.objects.get(key));
            let ranks = all.filter_map(|object| match classifier.role(object) {
                Role::Serves(rank) => Some(rank),
                _ => None,
            });
            classifier.rank = ranks.min();
        }
        classifier
    }

    /// The use of a pod that may serve.
    fn pod_use(
        &self,
        classifier: &PodClassifier<'_>,
        pod: &Object,
        role: Role,
        findings: &mut CarrierFindings<'_>,
    ) -> PodUse {
        let Body::Pod { ports, .. } = &pod.body else {
            return PodUse::Helper;
        };
        let levels = match self.levels(classifier, pod, findings) {
            Some(levels) => levels,
            None => return PodUse::Helper,
        };
        let protocol = written_protocol(&pod.meta, &classifier.carrier.meta, findings);
        let serves = |mut chosen: ChosenPort| {
            chosen.protocol = protocol.unwrap_or(chosen.protocol);
            PodUse::Serves(chosen)
        };
        match self.annotated_port(classifier, pod, role, findings) {
            Annotated::Port(number) => {
                let (class, protocol) = protocol_of(ports, &levels, number);
                return serves(ChosenPort {
                    number,
                    protocol,
                    source: PortSource::Annotation,
                    class,
                });
            }
            Annotated::OtherPods => return PodUse::Helper,
            Annotated::None => {}
        }
        match choose(ports, &levels) {
            Ok(chosen) if role == Role::Unspecified && classifier.refuses(&chosen) => {
                PodUse::Helper
            }
            Ok(chosen) => serves(chosen),
            Err(PortError::Ambiguous {
                candidates,
                deciding_services,
            }) => PodUse::Ambiguous(AmbiguousPort {
                candidates,
                deciding_services,
            }),
            Err(PortError::NoPort) => PodUse::Portless,
        }
    }

    /// The effect of the port annotation of a pod, else of its carrier.
    fn annotated_port(
        &self,
        classifier: &PodClassifier<'_>,
        pod: &Object,
        role: Role,
        findings: &mut CarrierFindings<'_>,
    ) -> Annotated {
        let (own, of_carrier) = (pod.meta.port(), classifier.carrier.meta.port());
        let Some(text) = own.or(of_carrier) else {
            return Annotated::None;
        };
        let by_carrier = of_carrier == Some(text) || classifier.at.0 == WatchedKind::Pods;
        let ports = pod.ports();
        // If parts differ, the annotation applies to those that declare the port; equal pods need not declare it.
        let declared = |pod: &Object| annotated(pod.ports(), text, false).is_some();
        let others = classifier.parts && !declared(pod);
        if others && classifier.pods.iter().any(|(_, pod)| declared(pod)) {
            return Annotated::OtherPods;
        }
        let Some(number) = annotated(ports, text, by_carrier) else {
            findings.bad_port(text);
            return Annotated::None;
        };
        if others && own.is_none() && role == Role::Unspecified {
            let unlike = self.unlike_parts(classifier);
            if !unlike.is_empty() {
                findings.unclear_roles(&format!(
                    "annotation `{}`: no pod declares port {text}, and it is not known which of its parts {} serve, so none of them is an \
                     endpoint",
                    names::ANNOTATION_PORT,
                    unlike.join(", ")
                ));
                return Annotated::OtherPods;
            }
        }
        Annotated::Port(number)
    }

    /// The names of the carrier's parts, if there are several: the objects that it owns directly and that have or desire pods. Pods that it
    /// owns directly are one part if they declare the same ports.
    fn unlike_parts<'a>(&'a self, classifier: &PodClassifier<'a>) -> Vec<&'a str> {
        let children = self.children(&classifier.carrier.meta.uid);
        let mut parts: BTreeMap<(Option<&Key>, &[PodPort]), &str> = BTreeMap::new();
        for child in children.filter(|child| self.has_or_desires_pods(child)) {
            let Some(object) = self.objects.get(child) else {
                continue;
            };
            if classifier.role(object) != Role::Unspecified {
                continue;
            }
            let part = match child.0 {
                WatchedKind::Pods => (None, object.ports()),
                _ => (Some(child), &[][..]),
            };
            parts.entry(part).or_insert(&child.1.name);
        }
        match parts.len() {
            0 | 1 => Vec::new(),
            _ => parts.into_values().collect(),
        }
    }

    /// Whether a pod helps other pods that serve: it belongs to a leader, or to a part of an owner whose other part serves.
    /// An owner with a number of replicas has no parts: its pods are equal.
    pub(super) fn helps(&self, pod: &Key, serving: &BTreeSet<&Key>) -> bool {
        let whole = |owner: &Key| {
            let body = self.objects.get(owner).map(|object| &object.body);
            let whole = matches!(
                body,
                Some(Body::Owner { replicas: None, .. } | Body::Pod { .. })
            );
            whole && !self.idle(owner, serving)
        };
        self.above(pod).iter().any(whole)
    }
}

/// Whether two pods are equal in everything that decides their port.
fn same_ports(one: &Object, other: &Object) -> bool {
    one.meta.labels == other.meta.labels
        && one.meta.annotations == other.meta.annotations
        && one.ports() == other.ports()
}

/// The protocol in an annotation of the pod, else of the carrier.
pub(super) fn written_protocol(
    pod: &Metadata,
    carrier: &Metadata,
    findings: &mut CarrierFindings<'_>,
) -> Option<Protocol> {
    let of = |meta: &Metadata| meta.annotations.get(names::ANNOTATION_PROTOCOL).cloned();
    let text = of(pod).or_else(|| of(carrier))?;
    let protocol = text.parse().ok();
    if protocol.is_none() {
        findings.bad_protocol(text.trim());
    }
    protocol
}

/// Whether an annotation of one of these declares whether TLS is used.
pub(super) fn declares_tls(metas: &[&Metadata]) -> bool {
    let mut metas = metas.iter();
    metas.any(|meta| meta.annotations.contains_key(names::ANNOTATION_TLS))
}
