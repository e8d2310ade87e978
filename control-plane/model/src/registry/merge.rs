//! Merging of carriers that declare the same version: endpoints merge, and one of the carriers owns the version.
//!
//! The weight of the owner takes effect. The owner is a carrier of the stored base, so recreating an object takes nothing from the
//! base; otherwise it is the oldest carrier. Invariant: an endpoint and a desired replica count once, however many carriers bring
//! them. A pod that carriers bring on different ports is one endpoint, at the port of the version's owner.

mod finding;
mod same_pod;

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version};

use self::finding::Merged;
use self::same_pod::{other_ports, same_pods};
use super::draft::Draft;
use super::{Endpoints, Member, Weight, count};
use crate::age::by_age;
use crate::memory::Memory;
use crate::owner_replicas::join;
use crate::{Address, Carrier, Finding, LabelKeys};

/// The members of a model, oldest first, each version with exactly one of them. `drafts` come oldest first.
pub(super) fn members(
    model: &ModelId,
    mut drafts: Vec<Draft<'_>>,
    memory: &Memory,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> Vec<Member> {
    drafts.sort_by_key(|draft| precedence(draft, memory));
    let mut members: Vec<Member> = Vec::new();
    let mut precedences: Vec<Precedence> = Vec::new();
    let mut owners: BTreeMap<Version, usize> = BTreeMap::new();
    let mut before: Vec<&Carrier> = Vec::new();
    for mut draft in drafts {
        let precedence = precedence(&draft, memory);
        let mut merged_endpoints = MergedEndpoints::default();
        let same_pod = same_pods(&before, draft.carrier);
        let mut first_owner = None;
        for (version, index) in &owners {
            let Some(endpoints) = draft.versions.remove(version) else {
                continue;
            };
            let owner = &mut members[*index];
            let known = owner.versions.get(version).cloned().unwrap_or_default();
            let duplicates = other_ports(&before, draft.carrier, &known.all);
            merged_endpoints.count(&known.all, &endpoints.all, &duplicates);
            if !is_same(&draft, owner, &known, &endpoints) {
                let merged = Merged {
                    version,
                    draft: &draft,
                    owner,
                    by_base: precedences[*index] < precedence,
                    disjoint: known.all.is_disjoint(&endpoints.all) && duplicates.is_empty(),
                    same_pods: known.all == endpoints.all,
                };
                findings.push(merged.finding(model, keys));
            }
            merge_endpoints(owner, version, endpoints, &duplicates);
            merge_times(owner, draft.carrier);
            first_owner.get_or_insert(*index);
        }
        before.push(draft.carrier);
        if draft.versions.is_empty() {
            if let Some(index) = first_owner {
                merged_endpoints.add_desired(&mut members[index], draft.carrier);
            }
            continue;
        }
        let index = members.len();
        owners.extend(draft.versions.keys().map(|v| (v.clone(), index)));
        members.push(member(draft, same_pod));
        precedences.push(precedence);
    }
    members.sort_by(|a, b| by_age((a.created, &a.key), (b.created, &b.key)));
    members
}

/// The precedence of a carrier for a version that others declare too. The strongest comes first; of equal ones, the oldest
/// carrier's wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    /// It is a carrier of the stored base.
    Base,
    /// It is a carrier of the previous base.
    Previous,
    /// It has no weight, and one of its versions is of the stored base: it replaces a carrier of another name.
    Version,
    /// Its age alone.
    Age,
}

fn precedence(draft: &Draft<'_>, memory: &Memory) -> Precedence {
    let identity = draft.carrier.key.identity();
    let mut of_base = memory.base.values().flat_map(|carrier| &carrier.versions);
    if memory.base.contains_key(&identity) {
        Precedence::Base
    } else if memory.previous.contains_key(&identity) {
        Precedence::Previous
    } else if draft.weight == Weight::Absent && of_base.any(|v| draft.versions.contains_key(v)) {
        Precedence::Version
    } else {
        Precedence::Age
    }
}

/// The endpoints of a carrier that were merged into versions of other carriers.
#[derive(Default)]
struct MergedEndpoints {
    /// Endpoints that a carrier before it has too.
    known: u32,
    /// Endpoints that only it has.
    own: u32,
}

impl MergedEndpoints {
    fn count(
        &mut self,
        known: &BTreeSet<Address>,
        brought: &BTreeSet<Address>,
        duplicates: &BTreeSet<&Address>,
    ) {
        let new = brought.difference(known);
        let new = new.filter(|address| !duplicates.contains(address));
        let new = u32::try_from(new.count()).unwrap_or(u32::MAX);
        self.own = self.own.saturating_add(new);
        self.known = self.known.saturating_add(count(brought) - new);
    }

    /// The desired replicas that the carrier adds to those of the carriers before it: none if it brought no endpoint of its own, like a
    /// headless Service beside a ClusterIP Service; otherwise those that are not counted yet.
    fn added(&self, desired: u32) -> u32 {
        if self.own == 0 {
            return 0;
        }
        desired.saturating_sub(self.known)
    }

    /// Adds the carrier's desired replicas to those of the owner. Replicas of a workload that both share count once.
    fn add_desired(&self, owner: &mut Member, carrier: &Carrier) {
        let added = self.added(carrier.desired);
        let known = carrier.desired.saturating_sub(added);
        let excess = join(&mut owner.owner_replicas, &carrier.owner_replicas, known);
        owner.desired = owner.desired.saturating_add(added).saturating_sub(excess);
    }
}

/// Merges endpoints of another carrier into a version. `duplicates` are other ports of known pods and are left out.
fn merge_endpoints(
    owner: &mut Member,
    version: &Version,
    endpoints: Endpoints,
    duplicates: &BTreeSet<&Address>,
) {
    let Some(into) = owner.versions.get_mut(version) else {
        return;
    };
    let is_new = |address: &Address| !duplicates.contains(address);
    into.ready
        .extend(endpoints.ready.into_iter().filter(is_new));
    into.all.extend(endpoints.all.into_iter().filter(is_new));
    into.carriers.extend(endpoints.carriers);
    for (address, protocol) in endpoints.protocols {
        if is_new(&address) {
            into.protocols.entry(address).or_insert(protocol);
        }
    }
    into.annotations.complete(endpoints.annotations);
}

/// Merges the times of another carrier. A version is as old as the first object that declares it.
fn merge_times(owner: &mut Member, carrier: &Carrier) {
    owner.created = owner.created.min(carrier.created);
    owner.available_at.extend(available_at(carrier));
    let times = owner.ready_since.into_iter().chain(ready_since(carrier));
    owner.ready_since = times.min();
}

/// Whether a carrier selects exactly the pods of the version's owner and has no other weight. A headless Service needs no weight beside
/// a Service that has one.
fn is_same(draft: &Draft<'_>, owner: &Member, known: &Endpoints, brought: &Endpoints) -> bool {
    let services = owner.key.kind == "service" && draft.carrier.key.kind == "service";
    let same_weight = draft.weight == Weight::Absent || draft.weight == owner.weight;
    known.all == brought.all && same_weight && (services || !known.all.is_empty())
}

fn member(draft: Draft<'_>, same_pod: BTreeMap<Address, Address>) -> Member {
    Member {
        key: draft.carrier.key.clone(),
        created: draft.carrier.created,
        origin: draft.carrier.origin.clone(),
        joins: draft.joins(),
        desired: draft.carrier.desired,
        owner_replicas: draft.carrier.owner_replicas.clone(),
        same_pod,
        weight: draft.weight,
        ready_since: ready_since(draft.carrier),
        available_at: available_at(draft.carrier),
        unready_reasons: draft.carrier.unready_reasons.clone(),
        flapping: false,
        not_started: false,
        versions: draft.versions,
    }
}

/// When the first of its ready endpoints became ready.
fn ready_since(carrier: &Carrier) -> Option<i64> {
    let ready = carrier.pods.iter().filter(|pod| pod.ready);
    ready.filter_map(|pod| pod.ready_since).min()
}

/// When each endpoint becomes available; empty without `minReadySeconds`.
fn available_at(carrier: &Carrier) -> BTreeMap<Address, i64> {
    let wait = i64::from(carrier.min_ready_seconds);
    let pods = carrier.pods.iter().filter(|pod| pod.ready && wait > 0);
    pods.filter_map(|pod| Some((pod.address.clone(), pod.ready_since?.saturating_add(wait))))
        .collect()
}
