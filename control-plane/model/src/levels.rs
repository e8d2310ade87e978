//! Standings of a model's carriers, and the carriers that take new sessions: the label rules 1–4 and 6.
//!
//! ```text
//! weights, ages, memory ──▶ states ──▶ who acts as the base now ──▶ who would stand in for it
//! ```
//!
//! Invariant: if any carrier of a model is ready, some ready carrier takes new sessions, unless the model's `onBaseLost` is `hold`.

mod findings;

use headgate_contract::OnBaseLost;

use crate::CarrierKey;
use crate::objects::older;
use crate::registry::{Member, Model, Weight};

pub(crate) use findings::findings;

/// Where a carrier stands among those of its model, ready or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarrierState {
    /// Takes exactly this percent (1–99) of new sessions.
    Canary(u8),
    /// Shares what the canaries leave.
    Base,
    /// The base of before, beside a ready promoted carrier: takes nothing while a promoted one is ready in full.
    Standby,
    /// Unlabelled beside this base: takes nothing until it is weighted, or stands in while the base is not ready.
    Held {
        /// The oldest carrier of the base; one that is only stored may be gone.
        beside: CarrierKey,
    },
    /// Weight 0, or an invalid weight that counts as 0: reachable by pin only.
    Dark,
}

/// The states of a model's members, in their order, and who takes new sessions.
pub(crate) struct Levels {
    pub(crate) states: Vec<CarrierState>,
    /// The percent that each weight label counts as; `None` is stable.
    pub(crate) weights: Vec<Option<u8>>,
    /// Ready members that share what the canaries leave.
    pub(crate) base: Vec<usize>,
    /// Ready canaries, with the percent wanted.
    pub(crate) canaries: Vec<(usize, u8)>,
    /// Who acts as the base in place of a lost one.
    pub(crate) stands_in: Option<StandIn>,
    /// Ready members that would act as the base if it were lost.
    pub(crate) reserve: Vec<usize>,
    /// A promoted member is ready but below the line, so the stable ones share with it.
    pub(crate) shared: bool,
}

/// What acts as the base in place of a lost one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandIn {
    /// Versions that are held, or stand by.
    Stable,
    /// Versions at weight 0.
    Dark,
}

impl Levels {
    pub(crate) fn of(model: &Model) -> Self {
        let members = &model.members;
        let weights = effective(model);
        let states = states(model, &weights);
        let ready = |index: usize| members[index].takes();
        let of_level = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..members.len()).filter(|i| wanted(*i)).collect()
        };
        let promoted = of_level(&|i| weights[i] == Some(100) && ready(i));
        let stable = of_level(&|i| weights[i].is_none() && in_reach(model, &states, i) && ready(i));
        let whole = promoted.iter().any(|i| model.whole(&members[*i]));
        let shared = !promoted.is_empty() && !whole && !stable.is_empty();
        let mut base = match () {
            () if promoted.is_empty() => of_level(&|i| states[i] == CarrierState::Base && ready(i)),
            () if shared => [promoted, stable].concat(),
            () => promoted,
        };
        let mut canaries: Vec<(usize, u8)> = states
            .iter()
            .enumerate()
            .filter_map(|(i, state)| match state {
                CarrierState::Canary(percent) if ready(i) => Some((i, *percent)),
                _ => None,
            })
            .collect();
        let reserve = reserve(model, &weights, &states, &base);
        let stable_reserve = reserve.iter().any(|i| states[*i] != CarrierState::Dark);
        let mut stands_in = None;
        if base.is_empty() && !base_is_canary(model, &canaries) {
            if model.on_base_lost == OnBaseLost::Hold && has_base(model, &weights, &states) {
                canaries.clear();
            } else if stable_reserve || canaries.is_empty() {
                stands_in = (!reserve.is_empty()).then_some(match stable_reserve {
                    true => StandIn::Stable,
                    false => StandIn::Dark,
                });
                base.clone_from(&reserve);
            }
        }
        let released = model.on_base_lost == OnBaseLost::Release;
        // Canaries come before versions at weight 0.
        let stands_by = released && (stable_reserve || canaries.is_empty());
        let reserve = reserve
            .into_iter()
            .filter(|i| stands_by && !base.contains(i));
        Self {
            reserve: reserve.collect(),
            states,
            weights,
            base,
            canaries,
            stands_in,
            shared,
        }
    }

    /// Whether the canaries take the share of the base: it is not ready, and nothing stands in for it.
    pub(crate) fn left_to_canaries(&self, model: &Model) -> bool {
        let only_canaries = self.base.is_empty() && !self.canaries.is_empty();
        only_canaries
            && !base_is_canary(model, &self.canaries)
            && has_base(model, &self.weights, &self.states)
    }

    /// The first carrier of the base, ready or not, for messages.
    pub(crate) fn base_key(&self, model: &Model) -> Option<CarrierKey> {
        let mut all = model.members.iter().zip(&self.states);
        let base = all.find(|(_, state)| **state == CarrierState::Base);
        match base {
            Some((member, _)) => Some(member.key.clone()),
            None => Some(model.stored_base_key(model.members.first()?)),
        }
    }

    /// Whether the carrier is meant to take new sessions (it does once it is ready).
    pub(crate) fn serves(&self, index: usize) -> bool {
        match self.states[index] {
            CarrierState::Canary(_) => true,
            CarrierState::Base => self.stands_in.is_none(),
            CarrierState::Standby | CarrierState::Held { .. } | CarrierState::Dark => {
                self.base.contains(&index)
            }
        }
    }
}

/// The percent each weight label counts as; `None` is stable. Rule 6: an invalid one counts as 0 only while a
/// promoted or older stable carrier is ready, otherwise as absent. On the stored base it counts as absent: a typing error
/// moves nobody.
fn effective(model: &Model) -> Vec<Option<u8>> {
    let members = &model.members;
    let promoted = members
        .iter()
        .any(|m| m.weight == Weight::Percent(100) && m.ready());
    let mut weights: Vec<Option<u8>> = Vec::with_capacity(members.len());
    for member in members {
        let older_stable = members
            .iter()
            .zip(&weights)
            .any(|(other, weight)| weight.is_none() && other.ready() && is_older(other, member));
        weights.push(match member.weight {
            Weight::Absent => None,
            Weight::Percent(percent) => Some(percent),
            Weight::Invalid(_) if model.is_of_stored_base(member) => None,
            Weight::Invalid(_) => (promoted || older_stable).then_some(0),
        });
    }
    weights
}

fn states(model: &Model, weights: &[Option<u8>]) -> Vec<CarrierState> {
    let members = &model.members;
    let first = |wanted: Option<u8>, of: &dyn Fn(&Member) -> bool| {
        let mut level = members.iter().zip(weights);
        level
            .find(|(m, weight)| **weight == wanted && m.ready() && of(m))
            .map(|(m, _)| m)
    };
    let promoted = first(Some(100), &|_| true);
    let handed_over = handed_over(model, weights);
    let stable = |member: &Member| {
        if member.joins {
            return if promoted.is_some() {
                CarrierState::Standby
            } else {
                CarrierState::Base
            };
        }
        if let Some(promoted) = promoted {
            let known = !model.memory.base.is_empty() || !model.memory.previous.is_empty();
            let stood = match known {
                true => model.is_of_previous_base(member) || model.is_of_stored_base(member),
                false => !is_older(promoted, member),
            };
            return if stood {
                CarrierState::Standby
            } else {
                held(promoted.key.clone())
            };
        }
        if !model.memory.base.is_empty() {
            if handed_over && model.is_of_previous_base(member) {
                return CarrierState::Base;
            }
            return match model.is_of_stored_base(member) {
                true => CarrierState::Base,
                false if weights.contains(&Some(100)) && model.is_of_previous_base(member) => {
                    CarrierState::Standby
                }
                false => held(model.stored_base_key(member)),
            };
        }
        match first(None, &|other| is_older(other, member)) {
            Some(older) => held(older.key.clone()),
            None => CarrierState::Base,
        }
    };
    let of = |(member, weight): (&Member, &Option<u8>)| match weight {
        Some(0) => CarrierState::Dark,
        Some(100) => CarrierState::Base,
        Some(percent) => CarrierState::Canary(*percent),
        None => stable(member),
    };
    members.iter().zip(weights).map(of).collect()
}

fn held(beside: CarrierKey) -> CarrierState {
    CarrierState::Held { beside }
}

/// Whether a stable member may share with the promoted ones. A held one never does.
fn in_reach(model: &Model, states: &[CarrierState], index: usize) -> bool {
    matches!(states[index], CarrierState::Base | CarrierState::Standby)
        || model.is_of_stored_base(&model.members[index])
}

/// Whether the model has a base, ready or not. One at weight 0 was taken out by a person, so it is not lost.
fn has_base(model: &Model, weights: &[Option<u8>], states: &[CarrierState]) -> bool {
    let stored = !model.memory.base.is_empty() && !handed_over(model, weights);
    stored || states.contains(&CarrierState::Base)
}

/// Whether a carrier of the stored base is ready and has a weight of 1 to 99: the base is not lost, and the weights say who takes what.
/// A canary that only has the base's version does not count.
fn base_is_canary(model: &Model, canaries: &[(usize, u8)]) -> bool {
    let mut canaries = canaries.iter().map(|(i, _)| &model.members[*i]);
    canaries.any(|member| model.memory.base.contains_key(&member.key.identity()))
}

/// Whether the stored base is declared, and all of it has weight 0.
pub(crate) fn handed_over(model: &Model, weights: &[Option<u8>]) -> bool {
    let members = model.members.iter().zip(weights);
    let mut stored = members
        .filter(|(m, _)| model.is_of_stored_base(m))
        .peekable();
    stored.peek().is_some() && stored.all(|(_, weight)| *weight == Some(0))
}

/// Who acts as the base when it is lost: a stored base that was handed over and has no successor yet; of the stable carriers
/// those that were the base before, else the oldest; without any, of the dark ones the stored base, else the oldest.
fn reserve(
    model: &Model,
    weights: &[Option<u8>],
    states: &[CarrierState],
    base: &[usize],
) -> Vec<usize> {
    let members = &model.members;
    let of_level = |wanted: &dyn Fn(&CarrierState) -> bool| -> Vec<usize> {
        let level = (0..members.len()).filter(|i| wanted(&states[*i]));
        level
            .filter(|i| members[*i].takes() && !base.contains(i))
            .collect()
    };
    let stable = of_level(&|s| matches!(s, CarrierState::Standby | CarrierState::Held { .. }));
    let dark = of_level(&|s| *s == CarrierState::Dark);
    let handed_over =
        handed_over(model, weights) && dark.iter().any(|i| model.is_of_stored_base(&members[*i]));
    let (level, preferred): (_, &dyn Fn(&Member) -> bool) = match stable.is_empty() || handed_over {
        true => (dark, &|member| model.is_of_stored_base(member)),
        false => (stable, &|member| model.is_of_previous_base(member)),
    };
    let known: Vec<usize> = level
        .iter()
        .copied()
        .filter(|i| preferred(&members[*i]))
        .collect();
    if !known.is_empty() {
        return known;
    }
    let Some(oldest) = level.first().copied() else {
        return level;
    };
    let as_old = level.into_iter();
    as_old
        .filter(|i| !is_older(&members[oldest], &members[*i]))
        .collect()
}

/// Whether `a` came before `b`: it is older by the age rule, or it was created first and served when `b` was created. Objects
/// alone say so, so that replicas agree also before anything is stored.
pub(crate) fn is_older(a: &Member, b: &Member) -> bool {
    let served_before =
        a.created < b.created && a.ready_since.is_some_and(|at| Some(at) <= b.created);
    older(a.created, b.created) || served_before
}
