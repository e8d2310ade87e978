//! One version in two carriers: endpoints merge, and one of the two owns the version: its weight counts.
//!
//! The owner is a carrier of the stored base, so that recreating an object takes nothing from the base; else the oldest.
//! Invariant: an endpoint and a desired replica count once, however many carriers bring them. A pod that carriers bring on different
//! ports is one endpoint, at the port of the version's owner.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use headgate_contract::{ModelId, Version};

use super::{Draft, Endpoints, Member, Weight, about, count, joins};
use crate::capacity::join;
use crate::memory::Memory;
use crate::objects::by_age;
use crate::{Address, Carrier, Finding, LabelKeys, Pod, Severity, reason};

/// The members of a model, oldest first, each version with exactly one of them. `drafts` come oldest first.
pub(super) fn members(
    model: &ModelId,
    mut drafts: Vec<Draft<'_>>,
    memory: &Memory,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> Vec<Member> {
    drafts.sort_by_key(|draft| claim(draft, memory));
    let mut members: Vec<Member> = Vec::new();
    let mut claims: Vec<Claim> = Vec::new();
    let mut owner: BTreeMap<Version, usize> = BTreeMap::new();
    let mut before: Vec<&Carrier> = Vec::new();
    for mut draft in drafts {
        let claim = claim(&draft, memory);
        let mut shared = Shared::default();
        let same_pod = same_pod(&before, draft.carrier);
        let mut taken_by = None;
        for (version, index) in &owner {
            let Some(endpoints) = draft.versions.remove(version) else {
                continue;
            };
            let into = &mut members[*index];
            let known = into.versions.get(version).cloned().unwrap_or_default();
            let again = again(&before, draft.carrier, &known.all);
            shared.count(&known.all, &endpoints.all, &again);
            if !same(&draft, into, &known, &endpoints) {
                let merged = Merged {
                    version,
                    draft: &draft,
                    owner: into,
                    by_base: claims[*index] < claim,
                    apart: known.all.is_disjoint(&endpoints.all) && again.is_empty(),
                    same_pods: known.all == endpoints.all,
                };
                findings.push(merged.finding(model, keys));
            }
            if let Some(into) = into.versions.get_mut(version) {
                let new = |address: &Address| !again.contains(address);
                into.ready.extend(endpoints.ready.into_iter().filter(new));
                into.all.extend(endpoints.all.into_iter().filter(new));
                into.carriers.extend(endpoints.carriers);
                for (address, protocol) in endpoints.protocols {
                    if new(&address) {
                        into.protocols.entry(address).or_insert(protocol);
                    }
                }
                into.said.complete(endpoints.said);
            }
            let into = &mut members[*index];
            // A version is as old as the first object that declares it.
            into.created = into.created.min(draft.carrier.created);
            into.available_at.extend(available_at(draft.carrier));
            into.ready_since = into
                .ready_since
                .into_iter()
                .chain(ready_since(draft.carrier))
                .min();
            taken_by.get_or_insert(*index);
        }
        before.push(draft.carrier);
        if draft.versions.is_empty() {
            if let Some(index) = taken_by {
                shared.join(&mut members[index], draft.carrier);
            }
            continue;
        }
        let index = members.len();
        owner.extend(draft.versions.keys().map(|v| (v.clone(), index)));
        members.push(member(draft, same_pod));
        claims.push(claim);
    }
    members.sort_by(|a, b| by_age((a.created, &a.key), (b.created, &b.key)));
    members
}

/// What a carrier's claim to a version is based on that others declare, too. The strongest comes first; of equal ones the oldest
/// carrier's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// It is a carrier of the stored base.
    Base,
    /// It is a carrier of the base before.
    Previous,
    /// It is no canary, and a version of it is of the stored base: it replaces a carrier of another name.
    Version,
    /// Its age alone.
    Age,
}

fn claim(draft: &Draft<'_>, memory: &Memory) -> Claim {
    let identity = draft.carrier.key.identity();
    let mut of_base = memory.base.values().flat_map(|carrier| &carrier.versions);
    if memory.base.contains_key(&identity) {
        Claim::Base
    } else if memory.previous.contains_key(&identity) {
        Claim::Previous
    } else if draft.weight == Weight::Absent && of_base.any(|v| draft.versions.contains_key(v)) {
        Claim::Version
    } else {
        Claim::Age
    }
}

/// Endpoints of a carrier whose versions went to others.
#[derive(Default)]
struct Shared {
    /// Those that a carrier before it has too.
    known: u32,
    /// Those that only it has.
    own: u32,
}

impl Shared {
    fn count(
        &mut self,
        known: &BTreeSet<Address>,
        brought: &BTreeSet<Address>,
        again: &BTreeSet<&Address>,
    ) {
        let new = brought.difference(known).filter(|a| !again.contains(a));
        let new = u32::try_from(new.count()).unwrap_or(u32::MAX);
        self.own = self.own.saturating_add(new);
        self.known = self.known.saturating_add(count(brought) - new);
    }

    /// The desired replicas that it adds to those of the carriers before it: none if it brought no endpoint of its own, like a
    /// headless Service beside a ClusterIP Service; otherwise those that are not counted yet.
    fn added(&self, desired: u32) -> u32 {
        if self.own == 0 {
            return 0;
        }
        desired.saturating_sub(self.known)
    }

    /// Adds the carrier's desired replicas to those of the older ones. Replicas of an owner that both share count once.
    fn join(&self, into: &mut Member, carrier: &Carrier) {
        let more = self.added(carrier.desired);
        let known = carrier.desired.saturating_sub(more);
        let cut = join(&mut into.owner_replicas, &carrier.owner_replicas, known);
        into.desired = into.desired.saturating_add(more).saturating_sub(cut);
    }
}

/// Of pods of owners for which older carriers stand too: the endpoint there, by the endpoint here, where they differ.
fn same_pod(older: &[&Carrier], carrier: &Carrier) -> BTreeMap<Address, Address> {
    let shares = |older: &&&Carrier| {
        let mut owners = older.owner_replicas.keys();
        owners.any(|owner| carrier.owner_replicas.contains_key(owner))
    };
    let mut known: BTreeMap<(&str, IpAddr), &Address> = BTreeMap::new();
    for pod in older.iter().filter(shares).flat_map(|older| &older.pods) {
        if let Some(identity) = identity(pod) {
            known.entry(identity).or_insert(&pod.address);
        }
    }
    let there = carrier.pods.iter().filter_map(|pod| {
        let there = *known.get(&identity(pod)?)?;
        (*there != pod.address).then(|| (pod.address.clone(), there.clone()))
    });
    there.collect()
}

/// The endpoints of a carrier that are other ports of pods of which carriers before it bring an endpoint that is known.
fn again<'a>(
    before: &[&Carrier],
    carrier: &'a Carrier,
    known: &BTreeSet<Address>,
) -> BTreeSet<&'a Address> {
    let pods = before.iter().flat_map(|carrier| &carrier.pods);
    let pods = pods.filter(|pod| known.contains(&pod.address));
    let pods: BTreeSet<_> = pods.filter_map(identity).collect();
    let again = carrier.pods.iter().filter(|pod| {
        let there = identity(pod).is_some_and(|identity| pods.contains(&identity));
        there && !known.contains(&pod.address)
    });
    again.map(|pod| &pod.address).collect()
}

/// What tells a pod from others of its namespace; what has no address of its own is no pod.
fn identity(pod: &Pod) -> Option<(&str, IpAddr)> {
    match &pod.address {
        Address::Ip(address) => Some((&pod.name, address.ip())),
        Address::Name { .. } => None,
    }
}

/// Whether a carrier stands for the very pods that its version's owner stands for, and says nothing else of them: a headless Service
/// needs no weight beside one that has it.
fn same(draft: &Draft<'_>, owner: &Member, known: &Endpoints, brought: &Endpoints) -> bool {
    let services = owner.key.kind == "service" && draft.carrier.key.kind == "service";
    let agrees = draft.weight == Weight::Absent || draft.weight == owner.weight;
    known.all == brought.all && agrees && (services || !known.all.is_empty())
}

fn member(draft: Draft<'_>, same_pod: BTreeMap<Address, Address>) -> Member {
    Member {
        key: draft.carrier.key.clone(),
        created: draft.carrier.created,
        origin: draft.carrier.origin.clone(),
        joins: joins(draft.carrier),
        desired: draft.carrier.desired,
        owner_replicas: draft.carrier.owner_replicas.clone(),
        same_pod,
        weight: draft.weight,
        ready_since: ready_since(draft.carrier),
        available_at: available_at(draft.carrier),
        unready_reasons: draft.carrier.unready_reasons.clone(),
        flapping: false,
        late: false,
        versions: draft.versions,
    }
}

/// When the first of its ready endpoints became ready.
fn ready_since(carrier: &Carrier) -> Option<i64> {
    let ready = carrier.pods.iter().filter(|pod| pod.ready);
    ready.filter_map(|pod| pod.ready_since).min()
}

/// When each endpoint counts as ready.
fn available_at(carrier: &Carrier) -> BTreeMap<Address, i64> {
    let wait = i64::from(carrier.min_ready_seconds);
    let pods = carrier.pods.iter().filter(|pod| pod.ready && wait > 0);
    pods.filter_map(|pod| Some((pod.address.clone(), pod.ready_since?.saturating_add(wait))))
        .collect()
}

/// A version that a carrier declares and another one owns.
struct Merged<'a> {
    version: &'a Version,
    draft: &'a Draft<'a>,
    owner: &'a Member,
    /// The stored base decides who owns it, not the age.
    by_base: bool,
    /// They have no pod in common.
    apart: bool,
    /// They have the same endpoints.
    same_pods: bool,
}

impl Merged<'_> {
    fn finding(&self, model: &ModelId, keys: &LabelKeys) -> Finding {
        let (version, owner) = (self.version, self.owner);
        let why = match self.by_base {
            true => "which belongs to the stored base, or to the one before it",
            false => "which is older",
        };
        let message = format!(
            "version {version} of model {model} is also declared by {} ({}), {why}: the endpoints are merged and its weight counts. {}",
            owner.key,
            owner.origin,
            self.remedy(keys)
        );
        about(
            self.draft.carrier,
            Severity::Warning,
            reason::VERSION_MERGED,
            message,
        )
    }

    /// What ends it. Another version would not weigh pods apart that both have.
    fn remedy(&self, keys: &LabelKeys) -> String {
        let (key, label) = (&self.draft.carrier.key, &keys.weight);
        let (identity, namespace) = (key.identity(), &key.namespace);
        if self.same_pods && !self.draft.carrier.pods.is_empty() {
            let remove = format!("kubectl label {identity} -n {namespace} {label}-");
            return match self.draft.weight {
                Weight::Percent(percent) => {
                    let there = self.owner.key.label_command(label, &percent.to_string());
                    format!(
                        "Both have the same pods, so its label `{label}` has no effect. Write the weight there: {there}, or remove it here: \
                         {remove}"
                    )
                }
                _ => format!(
                    "Both have the same pods, so its label `{label}` has no effect: {remove}"
                ),
            };
        }
        let selectors = match self.apart {
            true => "",
            false => "let each pod belong to one of the two only, and ",
        };
        let of_pods = self.draft.carrier.pods.iter();
        let mut of_pods = of_pods.filter_map(|pod| pod.version.as_deref());
        let label = &keys.version;
        let change = if of_pods.all(|theirs| theirs != self.version.as_str()) {
            key.label_command(label, "VERSION")
        } else if key.kind == "service" {
            format!(
                "change the label `{label}` in the pod template of the workload behind {identity}, and on {identity}: {}",
                key.label_command(label, "VERSION")
            )
        } else {
            format!(
                "change the label `{label}` of its pod template: kubectl edit {identity} -n {namespace}"
            )
        };
        format!("To weigh them apart, {selectors}give one of the two another version: {change}")
    }
}
