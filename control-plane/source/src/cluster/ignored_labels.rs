//! Labels of a carrier, and findings on Headgate's labels and annotations of other objects that have no effect.
//!
//! Invariant: the finding is on the object that has the label, and gives the command for the object whose label has an effect.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{CarrierKey, Severity, quote, reason};

use super::findings::CarrierFindings;
use super::identity::Key;
use super::objects::{Body, Object};
use super::roles;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

/// An object whose labels and annotations have an effect.
pub(super) struct Effective<'a> {
    pub(super) key: CarrierKey,
    pub(super) labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
}

/// A label or an annotation without an effect.
pub(super) struct Ignored<'a> {
    /// The object that has it.
    pub(super) owner: &'a Key,
    /// Its name in messages: `label … "30"`.
    what: String,
    /// The weight, if it is the weight label.
    pub(super) weight: Option<&'a str>,
    /// Whether it is on the pod template.
    pub(super) in_template: bool,
}

impl Store {
    /// The labels of a carrier: its own and, if they name no model, those of its pod template.
    pub(super) fn labels_of(
        &self,
        at: &Key,
        object: &Object,
        findings: &mut CarrierFindings<'_>,
    ) -> BTreeMap<String, String> {
        let mut labels = object.meta.labels.clone();
        let Body::Owner { template, .. } = &object.body else {
            return labels;
        };
        if self.names_model(at) {
            return labels;
        }
        let ours = [&self.keys.model, &self.keys.version, &self.keys.weight];
        let mut written = Vec::new();
        for key in ours {
            if let Some(value) = template.get(key).filter(|_| !labels.contains_key(key)) {
                written.push(format!("{key}={value}"));
                labels.insert(key.clone(), value.clone());
            }
        }
        findings.add(
            reason::LABELS_ON_TEMPLATE,
            Severity::Info,
            format!(
                "its labels are on the pod template only, where a change restarts the pods. Labels of the object itself do not restart them: kubectl \
                 label {} -n {} {}",
                findings.key.identity(),
                findings.key.namespace,
                written.join(" ")
            ),
        );
        labels
    }

    /// Adds findings on labels and annotations without an effect, of objects between a carrier and its pods. `labels` are the carrier's.
    pub(super) fn ignored(
        &self,
        at: &Key,
        key: &CarrierKey,
        labels: &BTreeMap<String, String>,
        findings: &mut CarrierFindings<'_>,
    ) {
        if at.0 == WatchedKind::Services {
            return self.ignored_behind_services(key, findings);
        }
        let Some((_, object)) = self.object_of(key) else {
            return;
        };
        let carrier = Effective {
            key: key.clone(),
            labels,
            annotations: &object.meta.annotations,
        };
        self.compare_template(at, object, std::slice::from_ref(&carrier), findings);
        self.compare_version(at, object, findings);
        for owner in self.written_below(at, object) {
            self.compare(&owner, std::slice::from_ref(&carrier), findings);
        }
    }

    fn ignored_behind_services(&self, key: &CarrierKey, findings: &mut CarrierFindings<'_>) {
        let members = self.members.get(key).into_iter().flatten();
        let outermost: BTreeSet<Key> = members
            .filter_map(|member| self.outermost(member))
            .filter(|owner| matches!(owner.0, WatchedKind::Owners(_)))
            .collect();
        for top in &outermost {
            let Some(object) = self.objects.get(top) else {
                continue;
            };
            let of_all = self.services_for(top, object);
            for owner in std::iter::once(top.clone()).chain(self.written_below(top, object)) {
                let Some(object) = self.objects.get(&owner) else {
                    continue;
                };
                let own = self.services_for(&owner, object);
                let services = if own.is_empty() { &of_all } else { &own };
                // Only the first of several Services reports it.
                if services.first().is_some_and(|first| first.key == *key) {
                    self.compare(&owner, services, findings);
                }
            }
        }
    }

    /// Owners below another owner whose labels a user wrote. Excluded are objects made from a pod template, objects that an operator
    /// makes through another object, and objects whose operator copied the owner's labels at creation.
    fn written_below(&self, top: &Key, object: &Object) -> Vec<Key> {
        let below = self.below(&object.meta.uid).into_iter();
        let owners = below.filter(|key| matches!(key.0, WatchedKind::Owners(_)) && key != top);
        let written = |key: &Key| {
            let mut above = self.above(key).into_iter();
            let object = self.objects.get(key);
            let copied = object.is_some_and(|o| {
                self.named_owner(o).is_some() || self.is_copied_from_owner(key, o)
            });
            !copied && !above.any(|owner| self.has_template(&owner))
        };
        owners.filter(written).collect()
    }

    fn is_copied_from_owner(&self, (what, _): &Key, object: &Object) -> bool {
        let kind = match what {
            WatchedKind::Owners(place) => self.kinds.get(*place),
            _ => None,
        };
        let controller = object.meta.controller.as_ref();
        kind.zip(controller)
            .is_some_and(|(kind, controller)| roles::is_copied_from_owner(kind, controller))
    }

    /// The labelled Services that are carriers of an owner's pods.
    fn services_for(&self, owner: &Key, object: &Object) -> Vec<Effective<'_>> {
        let mut all = self.below(&object.meta.uid);
        all.insert(owner.clone());
        let memberships = all
            .iter()
            .filter_map(|key| self.memberships.get(key))
            .flatten();
        let services: BTreeSet<&CarrierKey> = memberships.filter(|h| h.kind == "service").collect();
        let effective = |key: &CarrierKey| {
            let meta = &self.object_of(key)?.1.meta;
            Some(Effective {
                key: key.clone(),
                labels: &meta.labels,
                annotations: &meta.annotations,
            })
        };
        services.into_iter().filter_map(effective).collect()
    }

    /// Reports labels and annotations of an object that no effective object has.
    fn compare(
        &self,
        owner: &Key,
        effective: &[Effective<'_>],
        findings: &mut CarrierFindings<'_>,
    ) {
        let Some(object) = self.objects.get(owner) else {
            return;
        };
        for key in [&self.keys.model, &self.keys.version, &self.keys.weight] {
            let Some(value) = object.meta.labels.get(key) else {
                continue;
            };
            // The version of a pod takes precedence over that of its carrier.
            let of_pods = object.pod_labels().and_then(|labels| labels.get(key));
            if *key == self.keys.version && of_pods == Some(value) {
                continue;
            }
            self.compare_label(owner, (key, value), false, effective, findings);
        }
        for (key, value) in &object.meta.annotations {
            let others = |effective: &Effective<'_>| effective.annotations.get(key) != Some(value);
            if effective.iter().all(others) {
                let what = format!("annotation `{key}`");
                let ignored = Ignored {
                    owner,
                    what,
                    weight: None,
                    in_template: false,
                };
                self.report_ignored(&ignored, effective, findings, |effective| {
                    effective.annotate_command(key, &quote(value))
                });
            }
        }
        self.compare_template(owner, object, effective, findings);
    }

    /// Reports labels of an object's pod template that no effective object has. The version is read from pods.
    fn compare_template(
        &self,
        owner: &Key,
        object: &Object,
        effective: &[Effective<'_>],
        findings: &mut CarrierFindings<'_>,
    ) {
        let Body::Owner { template, .. } = &object.body else {
            return;
        };
        for key in [&self.keys.model, &self.keys.weight] {
            let Some(value) = template.get(key) else {
                continue;
            };
            // An equal label of the object itself is reported already.
            let own = object.meta.labels.get(key) == Some(value);
            if !own {
                self.compare_label(owner, (key, value), true, effective, findings);
            }
        }
    }

    /// Reports a label of an object, or of its pod template, that no label of `effective` repeats.
    fn compare_label(
        &self,
        owner: &Key,
        (key, value): (&str, &str),
        in_template: bool,
        effective: &[Effective<'_>],
        findings: &mut CarrierFindings<'_>,
    ) {
        let mut labels = effective
            .iter()
            .filter_map(|effective| effective.labels.get(key));
        if labels.any(|effective| effective == value) {
            return;
        }
        let place = match in_template {
            true => " of its pod template",
            false => "",
        };
        let ignored = Ignored {
            owner,
            what: format!("label `{key}` {value:?}{place}"),
            weight: (key == self.keys.weight).then_some(value),
            in_template,
        };
        self.report_ignored(&ignored, effective, findings, |effective| {
            effective.label_command(key, value)
        });
    }

    /// Reports a version of the carrier that differs from that of its pod template, which takes precedence.
    fn compare_version(&self, at: &Key, object: &Object, findings: &mut CarrierFindings<'_>) {
        let label = &self.keys.version;
        let of_pods = object.pod_labels().and_then(|labels| labels.get(label));
        let (Some(own), Some(of_pods)) = (object.meta.labels.get(label), of_pods) else {
            return;
        };
        if own != of_pods && matches!(at.0, WatchedKind::Owners(_)) {
            let command = findings.key.label_command(label, of_pods);
            let message = format!(
                "label `{label}` {own:?} has no effect: its pod template has {of_pods:?}, and the version of pods takes precedence. {command}, \
                 or change the template: kubectl edit {} -n {}",
                findings.key.identity(),
                findings.key.namespace
            );
            findings.add(reason::LABEL_IGNORED, Severity::Warning, message);
        }
    }

    fn report_ignored(
        &self,
        ignored: &Ignored<'_>,
        effective: &[Effective<'_>],
        findings: &mut CarrierFindings<'_>,
        command: impl Fn(&CarrierKey) -> String,
    ) {
        let Some(Effective { key: first, .. }) = effective.first() else {
            return;
        };
        let owner = ignored.owner;
        let object = self.carrier_key(owner);
        let what = &ignored.what;
        let carrier = first.identity();
        let message = if object == *first {
            let command = command(first);
            format!(
                "{what} has no effect: it is read from the labels of the object itself. {command}"
            )
        } else if first.kind == "service" {
            let yields = self.advise_owner(ignored, effective);
            let yields = yields.map_or_else(String::new, |commands| {
                let identity = object.identity();
                format!(", or use the labels of {identity} in place of the Service: {commands}")
            });
            let advice = match self.advise_own_service(ignored, effective) {
                Some(advice) => advice,
                None => format!(
                    "which selects the pods and has the labels. {}",
                    self.on_services(effective, command)
                ),
            };
            format!("{what} has no effect: it is read from {carrier}, {advice}{yields}")
        } else {
            let command = command(first);
            format!(
                "{what} has no effect: it is read from {carrier}, which owns it and has the labels. {command}"
            )
        };
        let finding = (reason::LABEL_IGNORED, Severity::Warning, message);
        findings.add_about(object.into(), self.origin(owner), finding);
    }
}
