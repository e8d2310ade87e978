//! Selection of the carrier's pods that serve.
//!
//! A carrier may own more than servers: the workers of a leader, a transformer or a router beside a predictor. Invariant: a pod
//! that can never be an endpoint does not count as desired, or capacity (ready ÷ desired) would stay too low.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::names;
use headgate_model::ports::{ChosenPort, PodPort, PortError, annotated, choose, protocol_of};
use headgate_model::{CarrierKey, PortSource, Protocol};

use super::findings::CarrierFindings;
use super::objects::{Body, Metadata, Object};
use super::parts::{AmbiguousPort, PodUse};
use super::roles::{self, Role};
use super::store::{Key, Store};
use headgate_kubernetes::WatchedKind;

/// The pods of a carrier that serve now or will: they have a port that serves, and do not end.
#[derive(Debug, Default)]
pub(super) struct ServingPods<'a> {
    pub(super) serving: BTreeSet<&'a Key>,
    pub(super) chosen: BTreeMap<&'a Key, ChosenPort>,
    /// Every pod belongs to a generation without traffic, according to an owner above the carrier. The carrier then wants 0 replicas.
    pub(super) standby: bool,
}

/// A pod of a carrier, on its way to be an endpoint.
pub(super) struct Member<'a> {
    pub(super) key: &'a Key,
    pub(super) role: Role,
    pub(super) pod_use: PodUse,
}

/// What a port annotation means for a pod.
enum Annotated {
    /// It serves there.
    Port(u16),
    /// Others have it.
    OfOthers,
    /// There is none, or it says nothing.
    Nothing,
}

/// What the pods of a carrier are judged by.
pub(super) struct PodClassifier<'a> {
    pub(super) at: &'a Key,
    pub(super) carrier: &'a Object,
    /// Its pods that live.
    pub(super) pods: Vec<(&'a Key, &'a Object)>,
    /// Of an owner.
    kind: Option<&'a headgate_kubernetes::kinds::Kind>,
    /// Whether its pods may be unlike: its kind has no replica count.
    parts: bool,
    /// The best rank among its serving parts; pods of other ranks are helpers.
    rank: Option<u8>,
}

impl Store {
    /// Judges the pods of a carrier, and says what is to be said of them.
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
        let classifier = self.classifier(at, carrier, pods.filter(|(_, pod)| lives(pod)).collect());
        let running = self.running(at, carrier, &classifier.pods, findings);
        let mut members: Vec<Member<'_>> = Vec::new();
        // Pods of one template are judged alike, so the judgement is made once for a row of them.
        let mut last: Option<(&Object, PodUse)> = None;
        for (pod, object) in &classifier.pods {
            let role = classifier.role(object);
            let idle = running
                .as_ref()
                .is_some_and(|running| !running.contains(*pod));
            let pod_use = if idle || role == Role::Helps {
                PodUse::Helps
            } else if let Some((_, pod_use)) = last.as_ref().filter(|(like, _)| alike(like, object))
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
            self.weigh_parts(at, &mut members, findings);
        }
        let mut serving_pods = ServingPods {
            standby: self.generations(at).is_none()
                && !members.is_empty()
                && running.as_ref().is_some_and(BTreeSet::is_empty),
            ..ServingPods::default()
        };
        for member in &members {
            if let PodUse::Serves(chosen) = &member.pod_use {
                serving_pods.serving.insert(member.key);
                serving_pods.chosen.insert(member.key, chosen.clone());
            }
        }
        self.say_of_ports(&classifier, &members, &serving_pods, findings);
        let helpers = members.iter().all(|member| member.pod_use == PodUse::Helps);
        // Before a first generation takes traffic nothing has to be said.
        let starts = running.is_some_and(|running| running.is_empty());
        if helpers && !starts && !members.is_empty() && findings.findings.is_empty() {
            findings.unclear_roles("none of its pods serves, by what their operator says of them");
        }
        serving_pods
    }

    /// What is to be said of the ports of a carrier's pods.
    fn say_of_ports(
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
                    let helper = |member: &Member<'_>| member.role == Role::Helps;
                    let unlike = classifier.parts
                        && (members.iter().any(helper)
                            || !self.unlike_parts(classifier).is_empty());
                    findings.no_port(unlike);
                }
                PodUse::Serves(chosen) if chosen.class.is_tls() => {
                    let pod = self.objects.get(member.key);
                    let pod = pod.map_or(&classifier.carrier.meta, |pod| &pod.meta);
                    if !says_tls(&[pod, &classifier.carrier.meta]) {
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

    /// What a pod is that may serve.
    fn pod_use(
        &self,
        classifier: &PodClassifier<'_>,
        pod: &Object,
        role: Role,
        findings: &mut CarrierFindings<'_>,
    ) -> PodUse {
        let Body::Pod { ports, .. } = &pod.body else {
            return PodUse::Helps;
        };
        let levels = match self.levels(classifier, pod, findings) {
            Some(levels) => levels,
            None => return PodUse::Helps,
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
            Annotated::OfOthers => return PodUse::Helps,
            Annotated::Nothing => {}
        }
        match choose(ports, &levels) {
            Ok(chosen) if role == Role::Untold && classifier.refuses(&chosen) => PodUse::Helps,
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

    /// What the port annotation of a pod, else of its carrier, means for it.
    fn annotated_port(
        &self,
        classifier: &PodClassifier<'_>,
        pod: &Object,
        role: Role,
        findings: &mut CarrierFindings<'_>,
    ) -> Annotated {
        let (own, of_carrier) = (pod.meta.port(), classifier.carrier.meta.port());
        let Some(text) = own.or(of_carrier) else {
            return Annotated::Nothing;
        };
        let by_carrier = of_carrier == Some(text) || classifier.at.0 == WatchedKind::Pods;
        let ports = declares(pod);
        // Of unlike parts only those have it that declare it; pods that are alike may leave it out.
        let declared = |pod: &Object| annotated(declares(pod), text, false).is_some();
        let others = classifier.parts && !declared(pod);
        if others && classifier.pods.iter().any(|(_, pod)| declared(pod)) {
            return Annotated::OfOthers;
        }
        let Some(number) = annotated(ports, text, by_carrier) else {
            findings.bad_port(text);
            return Annotated::Nothing;
        };
        if others && own.is_none() && role == Role::Untold {
            let unlike = self.unlike_parts(classifier);
            if !unlike.is_empty() {
                findings.unclear_roles(&format!(
                    "annotation `{}`: no pod declares port {text}, and nothing says which of its parts {} serve, so none of them is an \
                     endpoint",
                    names::ANNOTATION_PORT,
                    unlike.join(", ")
                ));
                return Annotated::OfOthers;
            }
        }
        Annotated::Port(number)
    }

    /// The parts of a whole, by name, where there are several: what it owns directly that has pods or wants some. Pods that it owns
    /// directly are parts of one kind where they declare the same ports.
    fn unlike_parts<'a>(&'a self, classifier: &PodClassifier<'a>) -> Vec<&'a str> {
        let children = self.children(&classifier.carrier.meta.uid);
        let mut parts: BTreeMap<(Option<&Key>, &[PodPort]), &str> = BTreeMap::new();
        for child in children.filter(|child| self.has_or_wants_pods(child)) {
            let Some(object) = self.objects.get(child) else {
                continue;
            };
            if classifier.role(object) != Role::Untold {
                continue;
            }
            let part = match child.0 {
                WatchedKind::Pods => (None, declares(object)),
                _ => (Some(child), &[][..]),
            };
            parts.entry(part).or_insert(&child.1.name);
        }
        match parts.len() {
            0 | 1 => Vec::new(),
            _ => parts.into_values().collect(),
        }
    }

    /// Whether a pod is there for others that serve: it belongs to a leader, or to a part of a whole whose other part serves.
    /// What has a number of replicas is no whole of parts: its pods are meant to be alike.
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

impl PodClassifier<'_> {
    fn role(&self, object: &Object) -> Role {
        let labels = super::groups::labels_of_pods(object);
        let carries_by_selector = self.at.0 == WatchedKind::Services;
        let role = labels
            .filter(|_| !carries_by_selector)
            .map_or(Role::Untold, |labels| roles::role(self.kind, labels));
        match (role, self.rank) {
            (Role::Serves(rank), Some(best)) if rank > best => Role::Helps,
            // The operator labels those that serve, and this one is none of them.
            (Role::Untold, Some(_)) if self.parts => Role::Helps,
            _ => role,
        }
    }

    fn refuses(&self, chosen: &ChosenPort) -> bool {
        chosen.class.is_grpc() && roles::serves_http_only(self.kind)
    }
}

/// Whether two pods differ in nothing that says where they serve.
fn alike(one: &Object, other: &Object) -> bool {
    one.meta.labels == other.meta.labels
        && one.meta.annotations == other.meta.annotations
        && declares(one) == declares(other)
}

pub(super) fn declares(pod: &Object) -> &[PodPort] {
    match &pod.body {
        Body::Pod { ports, .. } => ports,
        _ => &[],
    }
}

/// The protocol that an annotation says.
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

/// Whether an annotation of one of these says whether TLS is spoken.
pub(super) fn says_tls(metas: &[&Metadata]) -> bool {
    let mut metas = metas.iter();
    metas.any(|meta| meta.annotations.contains_key(names::ANNOTATION_TLS))
}

/// Whether an object is not about to go: a pod that ended for good only waits to be removed.
pub(super) fn lives(object: &Object) -> bool {
    !object.meta.terminating && !object.has_ended()
}
