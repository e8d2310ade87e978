//! The contribution of a plan to a model's next memory.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::Version;

use crate::CarrierKey;
use crate::levels::{CarrierState, Levels, is_handed_over, is_older};
use crate::registry::{Member, Model};

/// The contribution of a plan to a model's next memory. It does not depend on time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryUpdate {
    /// The base to store at once.
    pub base: Option<BTreeMap<String, BTreeSet<Version>>>,
    /// The base to store if it is still the base after `baseGrace`: older carriers are not ready.
    pub provisional: Option<BTreeMap<String, BTreeSet<Version>>>,
    /// Whether the base is promoted, so the previous base stands by.
    pub promoted: bool,
    /// The carriers that stand by beside a promoted base.
    pub standby: BTreeMap<String, BTreeSet<Version>>,
    /// Carriers, as `kind/name`, that take their full share.
    pub full_share: BTreeSet<String>,
    /// Every carrier of the model, as `kind/name`.
    pub carriers: BTreeSet<String>,
    /// Every version of the model.
    pub versions: BTreeSet<Version>,
    /// The carriers that declare each client name.
    pub names: BTreeMap<String, BTreeSet<String>>,
    /// The reason why the written base is refused.
    pub refused_base: Option<String>,
}

impl MemoryUpdate {
    pub(crate) fn of(model: &Model, levels: &Levels) -> Self {
        let members = &model.members;
        let promoted = promoted(model, levels);
        let (base, provisional) = match promoted.is_empty() {
            false => (Some(entries(members, &promoted)), None),
            true => stable_base(model, levels),
        };
        let takes_full_share =
            |i: &usize| levels.base.contains(i) && has_full_share(model, &members[*i]);
        let standby = indices(members, |i| levels.states[i] == CarrierState::Standby);
        Self {
            base,
            provisional,
            promoted: !promoted.is_empty(),
            standby: entries(members, &standby),
            full_share: (0..members.len())
                .filter(takes_full_share)
                .map(|i| members[i].key.identity())
                .collect(),
            carriers: model.carriers.iter().map(CarrierKey::identity).collect(),
            versions: members
                .iter()
                .flat_map(|member| member.versions.keys().cloned())
                .collect(),
            names: model.declared_names.clone(),
            refused_base: model.refused_base.clone(),
        }
    }
}

/// Carriers, as `kind/name`, with their versions.
type Entries = BTreeMap<String, BTreeSet<Version>>;

fn entries(members: &[Member], indices: &[usize]) -> Entries {
    let entry = |i: &usize| {
        let member = &members[*i];
        let versions = member.versions.keys().cloned().collect();
        (member.key.identity(), versions)
    };
    indices.iter().map(entry).collect()
}

fn indices(members: &[Member], wanted: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..members.len()).filter(|i| wanted(*i)).collect()
}

fn has_full_share(model: &Model, member: &Member) -> bool {
    member.accepts_sessions() && model.has_full_share(member)
}

/// The promoted members that are the base: none before one of them has its full share.
fn promoted(model: &Model, levels: &Levels) -> Vec<usize> {
    let members = &model.members;
    let is_promoted = |i: usize| levels.weights[i] == Some(100);
    let full = indices(members, |i| {
        is_promoted(i) && has_full_share(model, &members[i])
    });
    if full.is_empty() {
        return full;
    }
    // A short loss of readiness must not remove a carrier from the base.
    indices(members, |i| {
        let kept = has_full_share(model, &members[i]) || model.is_of_stored_base(&members[i]);
        is_promoted(i) && kept
    })
}

/// The base without promoted carriers: to store at once, or provisional.
fn stable_base(model: &Model, levels: &Levels) -> (Option<Entries>, Option<Entries>) {
    let members = &model.members;
    let stable = indices(members, |i| {
        levels.weights[i].is_none() && levels.states[i] == CarrierState::Base
    });
    let is_ready = stable.iter().any(|i| members[*i].accepts_sessions());
    if is_handed_over(model, &levels.weights) && is_ready {
        return (Some(entries(members, &stable)), None);
    }
    if !model.memory.base.is_empty() {
        return (kept_base(model, levels, &stable), None);
    }
    if !is_ready {
        return (None, None);
    }
    let serving: Vec<usize> = stable
        .iter()
        .copied()
        .filter(|i| members[*i].accepts_sessions())
        .collect();
    let mut unweighted = members.iter().zip(&levels.weights);
    let oldest = unweighted.find(|(_, weight)| weight.is_none());
    let is_oldest = |i: &usize| oldest.is_some_and(|(oldest, _)| !is_older(oldest, &members[*i]));
    if !serving.iter().any(is_oldest) {
        return (None, Some(entries(members, &serving)));
    }
    // Of versions of equal age, the first ready one is not the base alone.
    let base = indices(members, |i| {
        serving.contains(&i) || (stable.contains(&i) && !members[i].joins)
    });
    (Some(entries(members, &base)), None)
}

/// The stored base as it is declared now, with stable members that joined it. `None` keeps the stored base unchanged.
fn kept_base(model: &Model, levels: &Levels, stable: &[usize]) -> Option<Entries> {
    let members = &model.members;
    let is_named = |member: &Member| model.memory.base.contains_key(&member.key.identity());
    let is_weighted = |i: usize| levels.weights[i].is_some_and(|percent| percent < 100);
    // A canary that has a version of the base while the base is recreated does not become the base.
    let is_base = |i: &usize| is_named(&members[*i]) || !is_weighted(*i);
    let stored = indices(members, |i| model.is_of_stored_base(&members[i]));
    if !stored.is_empty() && !stored.iter().any(is_base) {
        return None;
    }
    let base = indices(members, |i| {
        let joined = stable.contains(&i) && members[i].joins && members[i].accepts_sessions();
        (stored.contains(&i) && is_base(&i)) || joined
    });
    (!base.is_empty()).then(|| entries(members, &base))
}
