//! Which labels of a carrier count, and which of others do not although somebody wrote them.
//!
//! Invariant: a label or an annotation of ours that has no effect is said on the object that has it, with the command for the one
//! that is heard.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{CarrierKey, Severity, quote, reason};

use super::findings::CarrierFindings;
use super::groups::labels_of_pods;
use super::objects::{Body, Object};
use super::roles;
use super::store::{Key, Store};
use headgate_kubernetes::WatchedKind;

/// An object whose labels and annotations count.
pub(super) struct Heard<'a> {
    pub(super) key: CarrierKey,
    pub(super) labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
}

/// What has no effect.
pub(super) struct Ignored<'a> {
    /// The object that has it.
    pub(super) owner: &'a Key,
    /// `label … "30"`, for messages.
    what: String,
    /// The weight, if it is the label of one.
    pub(super) weight: Option<&'a str>,
    /// It is of the pod template.
    pub(super) in_template: bool,
}

impl Store {
    /// The labels of a carrier: its own, and what it names no model by, its pod template's.
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
        findings.say(
            reason::LABELS_ON_TEMPLATE,
            Severity::Info,
            format!(
                "its labels are on the pod template only, where a change restarts the pods. Labels of the object itself do not: kubectl \
                 label {} -n {} {}",
                findings.key.identity(),
                findings.key.namespace,
                written.join(" ")
            ),
        );
        labels
    }

    /// Says which labels and annotations of what stands between a carrier and its pods have no effect. `labels` are the carrier's.
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
        let carrier = Heard {
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
                // One of several says it.
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

    /// The labelled Services that carry for an owner.
    fn services_for(&self, owner: &Key, object: &Object) -> Vec<Heard<'_>> {
        let mut all = self.below(&object.meta.uid);
        all.insert(owner.clone());
        let homes = all.iter().filter_map(|key| self.homes.get(key)).flatten();
        let services: BTreeSet<&CarrierKey> = homes.filter(|h| h.kind == "service").collect();
        let heard = |key: &CarrierKey| {
            let meta = &self.object_of(key)?.1.meta;
            Some(Heard {
                key: key.clone(),
                labels: &meta.labels,
                annotations: &meta.annotations,
            })
        };
        services.into_iter().filter_map(heard).collect()
    }

    /// Labels and annotations of an object that those that are heard do not have.
    fn compare(&self, owner: &Key, heard: &[Heard<'_>], findings: &mut CarrierFindings<'_>) {
        let Some(object) = self.objects.get(owner) else {
            return;
        };
        for key in [&self.keys.model, &self.keys.version, &self.keys.weight] {
            let Some(value) = object.meta.labels.get(key) else {
                continue;
            };
            // A pod's own version comes before its carrier's.
            let of_pods = labels_of_pods(object).and_then(|labels| labels.get(key));
            if *key == self.keys.version && of_pods == Some(value) {
                continue;
            }
            self.compare_label(owner, (key, value), false, heard, findings);
        }
        for (key, value) in &object.meta.annotations {
            let others = |heard: &Heard<'_>| heard.annotations.get(key) != Some(value);
            if heard.iter().all(others) {
                let what = format!("annotation `{key}`");
                let ignored = Ignored {
                    owner,
                    what,
                    weight: None,
                    in_template: false,
                };
                self.say_ignored(&ignored, heard, findings, |heard| {
                    heard.annotate_command(key, &quote(value))
                });
            }
        }
        self.compare_template(owner, object, heard, findings);
    }

    /// Labels of an object's pod template that are read from those that are heard. The version is read from pods.
    fn compare_template(
        &self,
        owner: &Key,
        object: &Object,
        heard: &[Heard<'_>],
        findings: &mut CarrierFindings<'_>,
    ) {
        let Body::Owner { template, .. } = &object.body else {
            return;
        };
        for key in [&self.keys.model, &self.keys.weight] {
            let Some(value) = template.get(key) else {
                continue;
            };
            // Its own, which says the same, is spoken of.
            let own = object.meta.labels.get(key) == Some(value);
            if !own {
                self.compare_label(owner, (key, value), true, heard, findings);
            }
        }
    }

    /// Reports a label of an object, or of its pod template, that no label of `heard` repeats.
    fn compare_label(
        &self,
        owner: &Key,
        (key, value): (&str, &str),
        in_template: bool,
        heard: &[Heard<'_>],
        findings: &mut CarrierFindings<'_>,
    ) {
        let mut labels = heard.iter().filter_map(|heard| heard.labels.get(key));
        if labels.any(|heard| heard == value) {
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
        self.say_ignored(&ignored, heard, findings, |heard| {
            heard.label_command(key, value)
        });
    }

    /// A version of the carrier that none of the pods that it makes has, as their own comes first.
    fn compare_version(&self, at: &Key, object: &Object, findings: &mut CarrierFindings<'_>) {
        let label = &self.keys.version;
        let of_pods = labels_of_pods(object).and_then(|labels| labels.get(label));
        let (Some(own), Some(of_pods)) = (object.meta.labels.get(label), of_pods) else {
            return;
        };
        if own != of_pods && matches!(at.0, WatchedKind::Owners(_)) {
            let command = findings.key.label_command(label, of_pods);
            let message = format!(
                "label `{label}` {own:?} has no effect: its pod template says {of_pods:?}, and the version of pods comes first. {command}, \
                 or change the template: kubectl edit {} -n {}",
                findings.key.identity(),
                findings.key.namespace
            );
            findings.say(reason::LABEL_IGNORED, Severity::Warning, message);
        }
    }

    fn say_ignored(
        &self,
        ignored: &Ignored<'_>,
        heard: &[Heard<'_>],
        findings: &mut CarrierFindings<'_>,
        command: impl Fn(&CarrierKey) -> String,
    ) {
        let Some(Heard { key: first, .. }) = heard.first() else {
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
            let yields = self.advise_owner(ignored, heard);
            let yields = yields.map_or_else(String::new, |commands| {
                let identity = object.identity();
                format!(", or let {identity} be heard in place of the Service: {commands}")
            });
            let advice = match self.advise_own_service(ignored, heard) {
                Some(advice) => advice,
                None => format!(
                    "which selects the pods and has the labels. {}",
                    self.on_services(heard, command)
                ),
            };
            format!("{what} has no effect: it is read from {carrier}, {advice}{yields}")
        } else {
            let command = command(first);
            format!(
                "{what} has no effect: it is read from {carrier}, which owns it and has the labels. {command}"
            )
        };
        let said = (reason::LABEL_IGNORED, Severity::Warning, message);
        findings.about(object.into(), self.origin(owner), said);
    }
}
