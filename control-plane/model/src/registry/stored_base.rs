//! Comparison of a model's carriers with its stored base, and the replicas with which a carrier counts in the base.

use std::collections::BTreeMap;

use super::{Member, Model};
use crate::CarrierKey;
use crate::memory::StoredCarrier;

impl Model {
    /// Whether a member is of the stored base: by its name, or by a version of a carrier of the base that is not declared.
    pub(crate) fn is_of_stored_base(&self, member: &Member) -> bool {
        self.is_in(&self.memory.base, member)
    }

    /// Whether a member is of the base before the promoted one.
    pub(crate) fn is_of_previous_base(&self, member: &Member) -> bool {
        self.is_in(&self.memory.previous, member)
    }

    fn is_in(&self, base: &BTreeMap<String, StoredCarrier>, member: &Member) -> bool {
        if base.is_empty() {
            return false;
        }
        let is_declared = |carrier: &String| self.carriers.iter().any(|c| c.identity() == *carrier);
        let has_version = |stored: &StoredCarrier| {
            let mut versions = stored.versions.iter();
            versions.any(|version| member.versions.contains_key(version))
        };
        let mut replaced = base
            .iter()
            .filter(|(carrier, stored)| has_version(stored) && !is_declared(carrier));
        base.contains_key(&member.key.identity()) || replaced.next().is_some()
    }

    /// The first carrier of the stored base, for messages; `default` if no base is stored.
    pub(crate) fn stored_base_key(&self, default: &Member) -> CarrierKey {
        let first = self.memory.base.keys().next();
        let parts = first.and_then(|identity| identity.split_once('/'));
        parts.map_or_else(
            || default.key.clone(),
            |(kind, name)| CarrierKey {
                namespace: default.key.namespace.clone(),
                kind: kind.to_owned(),
                name: name.to_owned(),
            },
        )
    }

    /// Whether enough replicas of a carrier are ready for its full share: `minReadyPercent` of the desired ones. A carrier that had its
    /// full share keeps it until less than half of that is ready, so a pod that flaps at the threshold moves no session.
    pub(crate) fn has_full_share(&self, member: &Member) -> bool {
        let ready = u64::from(member.ready_endpoints()) * 100;
        let threshold = u64::from(member.desired) * u64::from(self.min_ready_percent);
        let had = self.memory.full_share.contains(&member.key.identity());
        ready >= threshold || (had && ready * 2 >= threshold)
    }

    /// The replicas with which a carrier counts when the base is split: the desired ones, or the ready ones while too few are ready.
    /// At least 1.
    pub(crate) fn base_replicas(&self, member: &Member) -> u32 {
        match self.has_full_share(member) {
            true => member.desired.max(1),
            false => member.ready_endpoints().max(1),
        }
    }
}
