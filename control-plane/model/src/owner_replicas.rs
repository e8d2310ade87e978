//! Shares of carriers in the desired replicas of the owners of their pods.

use std::collections::BTreeMap;

/// The share of a carrier in the desired replicas of one owner of its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerShare {
    /// Replicas of the owner that this carrier desires. [`Carrier::desired`](crate::Carrier::desired) includes them.
    pub desired: u32,
    /// Replicas that the owner desires in total, for all carriers.
    pub total: u32,
}

/// The shares of a carrier, by owner as `kind/name`.
pub type OwnerReplicas = BTreeMap<String, OwnerShare>;

/// Adds the shares of another carrier. `known` of its replicas are already included. The sum for an owner is limited to the owner's
/// total; returns the number of replicas above that limit.
pub(crate) fn join(shares: &mut OwnerReplicas, more: &OwnerReplicas, known: u32) -> u32 {
    for (owner, share) in more {
        let none = OwnerShare {
            desired: 0,
            ..*share
        };
        let sum = shares.entry(owner.clone()).or_insert(none);
        sum.desired = sum
            .desired
            .saturating_add(share.desired.saturating_sub(known));
    }
    let mut excess = 0_u32;
    for share in shares.values_mut() {
        excess = excess.saturating_add(share.desired.saturating_sub(share.total));
        share.desired = share.desired.min(share.total);
    }
    excess
}
