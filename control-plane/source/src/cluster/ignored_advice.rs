//! Advice on labels without an effect on objects whose pods labelled Services select.
//!
//! Invariant: following an advice resolves the finding, however many Services select the pods and however many versions these have.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::names;
use headgate_model::CarrierKey;

use super::identity::Key;
use super::ignored_labels::{Effective, Ignored};
use super::store::Store;
use headgate_kubernetes::WatchedKind;

impl Store {
    /// The command for each Service. Services of one version, such as a headless and a ClusterIP one, need the same label; Services of
    /// different versions are alternatives.
    pub(super) fn on_services(
        &self,
        effective: &[Effective<'_>],
        command: impl Fn(&CarrierKey) -> String,
    ) -> String {
        let mut by_version: BTreeMap<Option<&String>, Vec<String>> = BTreeMap::new();
        for service in effective {
            let commands = by_version.entry(service.labels.get(&self.keys.version));
            commands.or_default().push(command(&service.key));
        }
        let alternatives: Vec<String> = by_version.into_values().map(|c| c.join(" && ")).collect();
        alternatives.join(", or ")
    }

    /// The commands that make an owner the carrier in place of the Services; `None` if its label would still have no effect.
    pub(super) fn advise_owner(
        &self,
        ignored: &Ignored<'_>,
        effective: &[Effective<'_>],
    ) -> Option<String> {
        let (owner, first) = (ignored.owner, effective.first()?);
        let object = self.objects.get(owner)?;
        let carries = match self.owner_that_carries(owner) {
            Some(carrier) if carrier == *owner => true,
            Some(_) => return None,
            None => false,
        };
        // Labels of a template have an effect only if the owner has none.
        if ignored.in_template && (!carries || self.names_model(owner)) {
            return None;
        }
        let identity = self.carrier_key(owner);
        let label = |key: &String| Some(identity.label_command(key, first.labels.get(key)?));
        let mut commands: Vec<String> = Vec::new();
        if !carries {
            commands.extend(label(&self.keys.model));
        }
        let of_pods = object.pod_labels();
        let versions = [Some(&object.meta.labels), of_pods];
        let version = &self.keys.version;
        if !versions
            .into_iter()
            .flatten()
            .any(|labels| labels.contains_key(version))
        {
            commands.extend(label(version));
        }
        let yields = effective.iter().map(|service| {
            let key = &service.key;
            key.annotate_command(names::ANNOTATION_CARRIER, "owner")
        });
        commands.extend(yields);
        Some(commands.join(" && "))
    }

    /// Advice on the weight of one of several versions that a single Service selects: the Service has one weight for all of them.
    pub(super) fn advise_own_service(
        &self,
        ignored: &Ignored<'_>,
        effective: &[Effective<'_>],
    ) -> Option<String> {
        let weight = ignored.weight?;
        let shared =
            |service: &&Effective<'_>| !self.versions_beside(ignored.owner, service).is_empty();
        let front = effective.iter().find(shared)?;
        let own = self.versions_of(ignored.owner, front);
        let others = self.versions_beside(ignored.owner, front);
        let [own] = own.iter().collect::<Vec<_>>()[..] else {
            return None;
        };
        let model = front.labels.get(&self.keys.model)?;
        let all: Vec<&str> = others.iter().chain([own]).map(String::as_str).collect();
        let (label, front) = (&self.keys.version, &front.key);
        let rest = match others.iter().collect::<Vec<_>>()[..] {
            [one] => format!(
                "add `{label}: {one}` to the selector of {}",
                front.identity()
            ),
            _ => format!(
                "create one for each other version in place of {}",
                front.identity()
            ),
        };
        Some(format!(
            "which selects the pods of several versions ({}) and has one weight for all of them. Give each version a Service: create one with \
             `{label}: {own}` in its selector and the labels {}={model} {label}={own} {}={weight}, and {rest}: kubectl edit {} -n {}",
            all.join(", "),
            self.keys.model,
            self.keys.weight,
            front.identity(),
            front.namespace
        ))
    }

    /// The versions of an owner's pods that a Service selects.
    fn versions_of(&self, owner: &Key, service: &Effective<'_>) -> BTreeSet<String> {
        self.versions_where(service, |member| self.belongs_to(owner, member))
    }

    /// The versions that a Service selects and an owner's pods do not have.
    fn versions_beside(&self, owner: &Key, service: &Effective<'_>) -> BTreeSet<String> {
        let own = self.versions_of(owner, service);
        let mut beside = self.versions_where(service, |member| !self.belongs_to(owner, member));
        beside.retain(|version| !own.contains(version));
        beside
    }

    fn belongs_to(&self, owner: &Key, member: &Key) -> bool {
        member == owner || self.above(member).contains(owner)
    }

    /// The versions of the pods among a Service's members, and of those that its outermost owners would make.
    fn versions_where(
        &self,
        service: &Effective<'_>,
        wanted: impl Fn(&Key) -> bool,
    ) -> BTreeSet<String> {
        let members = self.members.get(&service.key).into_iter().flatten();
        let made = |key: &Key| self.above(key).iter().any(|owner| self.has_template(owner));
        // Objects made from the template of an earlier revision may have another version.
        let current = |key: &&Key| key.0 == WatchedKind::Pods || !made(key);
        let version = |key: &Key| {
            let of_pods = self.objects.get(key)?.pod_labels()?;
            let label = &self.keys.version;
            of_pods.get(label).or(service.labels.get(label)).cloned()
        };
        let members = members.filter(current).filter(|key| wanted(key));
        members.filter_map(version).collect()
    }
}
