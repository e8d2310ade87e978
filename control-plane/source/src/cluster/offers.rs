//! Services and InferencePools that select a pod: they decide its port.

use std::collections::BTreeSet;

use headgate_contract::names;
use headgate_model::ports::{Offer, http_before_grpc};
use headgate_model::{CarrierKey, PortSource};

use super::findings::CarrierFindings;
use super::identity::{Key, Name};
use super::objects::{Body, Object};
use super::pod_use::PodClassifier;
use super::selectors::selects;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

impl Store {
    /// The Services that a finding may advise to label: they do not declare a variant, they select a pod of the carrier, and their labels
    /// would not count as copies. Sorted by name.
    pub(super) fn selecting_services(&self, carrier: &CarrierKey) -> Vec<String> {
        let members = self.members.get(carrier).into_iter().flatten();
        let pods = members.filter(|member| member.0 == WatchedKind::Pods);
        let labels = pods.filter_map(|pod| Some(&self.objects.get(pod)?.meta.labels));
        let of = |labels| self.groups.selecting(&carrier.namespace, labels).0;
        let names: BTreeSet<Name> = labels.flat_map(of).collect();
        let free = |name: &Name| {
            let service = self.objects.get(&(WatchedKind::Services, name.clone()));
            service.is_some_and(|service| !self.has_copies(service))
        };
        let free = names.into_iter().filter(free);
        free.map(|name| name.name).collect()
    }

    /// The Services and pools that select a pod, by precedence; `None` if an annotation names a Service that selects only other pods.
    pub(super) fn levels<'a>(
        &'a self,
        classifier: &PodClassifier<'_>,
        pod: &Object,
        findings: &mut CarrierFindings<'_>,
    ) -> Option<Vec<Vec<Offer<'a>>>> {
        let namespace = &pod.meta.name.namespace;
        let of = |what: WatchedKind, name: &Name, explicit: bool| {
            let object = self.objects.get(&(what, name.clone()))?;
            let name = name.name.clone();
            Some(match &object.body {
                Body::Service {
                    ports, headless, ..
                } => Offer {
                    by: PortSource::Service(name),
                    ports,
                    explicit,
                    headless: *headless,
                },
                Body::Pool { ports, .. } => Offer {
                    by: PortSource::Pool(name),
                    ports,
                    explicit: true,
                    headless: false,
                },
                _ => return None,
            })
        };
        let labels = &pod.meta.labels;
        let labelled = self.selectors.matching(namespace, labels);
        let (services, pools) = self.groups.selecting(namespace, labels);
        let annotations = [&pod.meta.annotations, &classifier.carrier.meta.annotations];
        let mut named = annotations
            .iter()
            .filter_map(|a| a.get(names::ANNOTATION_SERVICE));
        if let Some(named) = named.next() {
            let all = labelled.iter().chain(&services);
            if let Some(name) = all.into_iter().find(|name| name.name == named.trim()) {
                return Some(vec![
                    of(WatchedKind::Services, name, true).into_iter().collect(),
                ]);
            }
            let selects = |(_, pod): &(&Key, &Object)| self.selects(namespace, named, pod);
            if classifier.pods.iter().any(selects) {
                return None;
            }
            findings.bad_service(named);
        }
        let same = self.of_one_variant(classifier.carrier, &labelled);
        let same = same
            .into_iter()
            .filter_map(|name| of(WatchedKind::Services, name, true));
        let same = http_before_grpc(pod.ports(), same.collect());
        let labelled = labelled.iter();
        let labelled = labelled.filter_map(|name| of(WatchedKind::Services, name, true));
        let services = services.iter();
        let services = services.filter_map(|name| of(WatchedKind::Services, name, false));
        let pools = pools
            .iter()
            .filter_map(|(what, name)| of(*what, name, true));
        Some(vec![
            same,
            labelled.collect(),
            services.chain(pools).collect(),
        ])
    }

    /// Whether the Service of this name selects a pod.
    fn selects(&self, namespace: &str, service: &str, pod: &Object) -> bool {
        let name = Name {
            namespace: namespace.to_owned(),
            name: service.trim().to_owned(),
        };
        let service = self.objects.get(&(WatchedKind::Services, name));
        matches!(
            service.map(|service| &service.body),
            Some(Body::Service { selector, .. }) if selects(selector, &pod.meta.labels)
        )
    }
}
