//! States of a model's carriers, and the carriers that take new sessions: label rules 1–4 and 6.
//!
//! ```text
//! weights, ages, memory ──▶ states ──▶ carriers that act as the base now ──▶ stand-ins if the base is lost
//! ```
//!
//! Invariant: if any carrier of a model is ready, some ready carrier takes new sessions, unless the model's `onBaseLost` is `hold`.

mod findings;

use headgate_contract::OnBaseLost;

use crate::CarrierKey;
use crate::age;
use crate::registry::{Member, Model, Weight};

pub(crate) use findings::findings;

/// The state of a carrier among those of its model, whether or not it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarrierState {
    /// Takes exactly this percent (1–99) of new sessions.
    Canary(u8),
    /// Shares the rest after the canaries.
    Base,
    /// The previous base, after a promotion: takes no new sessions while a promoted carrier has its full share.
    Standby,
    /// No weight, while there is a base: takes no new sessions until it gets a weight, or stands in while the base is not ready.
    Held {
        /// The oldest carrier of the base. It may no longer exist if the base is only stored.
        beside: CarrierKey,
    },
    /// Weight 0, or an invalid weight that counts as 0: reachable by pin only.
    Dark,
}

/// The states of a model's members, in their order, and the members that take new sessions.
pub(crate) struct Levels {
    pub(crate) states: Vec<CarrierState>,
    /// The percent that each weight label counts as; `None` is stable.
    pub(crate) weights: Vec<Option<u8>>,
    /// Ready members that share the rest after the canaries.
    pub(crate) base: Vec<usize>,
    /// Ready canaries, with the wanted percent.
    pub(crate) canaries: Vec<(usize, u8)>,
    /// The members that act as the base after it was lost, if any do.
    pub(crate) stand_in: Option<StandIn>,
    /// Ready members that would act as the base if it were lost.
    pub(crate) reserve: Vec<usize>,
    /// A promoted member is ready but below its threshold, so the stable ones share with it.
    pub(crate) shared: bool,
}

/// The members that act as the base after it was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandIn {
    /// Held or standby versions.
    Stable,
    /// Versions of weight 0.
    Dark,
}

impl Levels {
    pub(crate) fn of(model: &Model) -> Self {
        let members = &model.members;
        let weights = effective_weights(model);
        let states = states(model, &weights);
        let ready = |index: usize| members[index].accepts_sessions();
        let filter = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..members.len()).filter(|i| wanted(*i)).collect()
        };
        let promoted = filter(&|i| weights[i] == Some(100) && ready(i));
        let stable = filter(&|i| weights[i].is_none() && may_share(model, &states, i) && ready(i));
        let full_share = promoted.iter().any(|i| model.has_full_share(&members[*i]));
        let shared = !promoted.is_empty() && !full_share && !stable.is_empty();
        let mut base = match () {
            () if promoted.is_empty() => filter(&|i| states[i] == CarrierState::Base && ready(i)),
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
        let has_stable_reserve = reserve.iter().any(|i| states[*i] != CarrierState::Dark);
        let mut stand_in = None;
        if base.is_empty() && !base_is_canary(model, &canaries) {
            if model.on_base_lost == OnBaseLost::Hold && has_base(model, &weights, &states) {
                canaries.clear();
            } else if has_stable_reserve || canaries.is_empty() {
                stand_in = (!reserve.is_empty()).then_some(match has_stable_reserve {
                    true => StandIn::Stable,
                    false => StandIn::Dark,
                });
                base.clone_from(&reserve);
            }
        }
        let release = model.on_base_lost == OnBaseLost::Release;
        // Canaries come before versions of weight 0.
        let may_stand_in = release && (has_stable_reserve || canaries.is_empty());
        let reserve = reserve
            .into_iter()
            .filter(|i| may_stand_in && !base.contains(i));
        Self {
            reserve: reserve.collect(),
            states,
            weights,
            base,
            canaries,
            stand_in,
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

    /// Whether the member takes new sessions, or will once it is ready.
    pub(crate) fn serves(&self, index: usize) -> bool {
        match self.states[index] {
            CarrierState::Canary(_) => true,
            CarrierState::Base => self.stand_in.is_none(),
            CarrierState::Standby | CarrierState::Held { .. } | CarrierState::Dark => {
                self.base.contains(&index)
            }
        }
    }
}

/// The percent that each weight label counts as; `None` is stable.
///
/// Rule 6: an invalid weight counts as 0 only while a promoted or older stable carrier is ready, otherwise as absent. On the stored
/// base it always counts as absent, so a typing error moves no session.
fn effective_weights(model: &Model) -> Vec<Option<u8>> {
    let members = &model.members;
    let promoted = members
        .iter()
        .any(|m| m.weight == Weight::Percent(100) && m.is_ready());
    let mut weights: Vec<Option<u8>> = Vec::with_capacity(members.len());
    for member in members {
        let older_stable = members
            .iter()
            .zip(&weights)
            .any(|(other, weight)| weight.is_none() && other.is_ready() && is_older(other, member));
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
    let first = |weight: Option<u8>, wanted: &dyn Fn(&Member) -> bool| {
        let mut all = members.iter().zip(weights);
        all.find(|(m, w)| **w == weight && m.is_ready() && wanted(m))
            .map(|(m, _)| m)
    };
    let promoted = first(Some(100), &|_| true);
    let handed_over = is_handed_over(model, weights);
    let stable = |member: &Member| {
        if member.joins {
            return match promoted.is_some() {
                true => CarrierState::Standby,
                false => CarrierState::Base,
            };
        }
        if let Some(promoted) = promoted {
            let has_memory = !model.memory.base.is_empty() || !model.memory.previous.is_empty();
            let was_base = match has_memory {
                true => model.is_of_previous_base(member) || model.is_of_stored_base(member),
                false => !is_older(promoted, member),
            };
            return match was_base {
                true => CarrierState::Standby,
                false => held(promoted.key.clone()),
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
    let state = |(member, weight): (&Member, &Option<u8>)| match weight {
        Some(0) => CarrierState::Dark,
        Some(100) => CarrierState::Base,
        Some(percent) => CarrierState::Canary(*percent),
        None => stable(member),
    };
    members.iter().zip(weights).map(state).collect()
}

fn held(beside: CarrierKey) -> CarrierState {
    CarrierState::Held { beside }
}

/// Whether a stable member may share with the promoted ones. A held one never does.
fn may_share(model: &Model, states: &[CarrierState], index: usize) -> bool {
    matches!(states[index], CarrierState::Base | CarrierState::Standby)
        || model.is_of_stored_base(&model.members[index])
}

/// Whether the model has a base, ready or not. A base whose carriers all have weight 0 was taken out by a user, so it is not lost.
fn has_base(model: &Model, weights: &[Option<u8>], states: &[CarrierState]) -> bool {
    let stored = !model.memory.base.is_empty() && !is_handed_over(model, weights);
    stored || states.contains(&CarrierState::Base)
}

/// Whether a carrier of the stored base is a ready canary (weight 1–99). Then the base is not lost: the weights determine the shares.
/// A canary that only has a version of the base does not count.
fn base_is_canary(model: &Model, canaries: &[(usize, u8)]) -> bool {
    let mut canaries = canaries.iter().map(|(i, _)| &model.members[*i]);
    canaries.any(|member| model.memory.base.contains_key(&member.key.identity()))
}

/// Whether the stored base is declared, and all of it has weight 0.
pub(crate) fn is_handed_over(model: &Model, weights: &[Option<u8>]) -> bool {
    let members = model.members.iter().zip(weights);
    let mut base = members
        .filter(|(m, _)| model.is_of_stored_base(m))
        .peekable();
    base.peek().is_some() && base.all(|(_, weight)| *weight == Some(0))
}

/// The members that act as the base when it is lost.
///
/// First comes a stored base that was handed over (weight 0) and has no successor yet. Then come the stable members: those of the
/// previous base, else the oldest. Without stable members come the dark ones: those of the stored base, else the oldest.
fn reserve(
    model: &Model,
    weights: &[Option<u8>],
    states: &[CarrierState],
    base: &[usize],
) -> Vec<usize> {
    let members = &model.members;
    let filter = |wanted: &dyn Fn(&CarrierState) -> bool| -> Vec<usize> {
        let wanted = (0..members.len()).filter(|i| wanted(&states[*i]));
        wanted
            .filter(|i| members[*i].accepts_sessions() && !base.contains(i))
            .collect()
    };
    let stable = filter(&|s| matches!(s, CarrierState::Standby | CarrierState::Held { .. }));
    let dark = filter(&|s| *s == CarrierState::Dark);
    let handed_over = is_handed_over(model, weights)
        && dark.iter().any(|i| model.is_of_stored_base(&members[*i]));
    let (level, is_preferred): (_, &dyn Fn(&Member) -> bool) =
        match stable.is_empty() || handed_over {
            true => (dark, &|member| model.is_of_stored_base(member)),
            false => (stable, &|member| model.is_of_previous_base(member)),
        };
    let preferred: Vec<usize> = level
        .iter()
        .copied()
        .filter(|i| is_preferred(&members[*i]))
        .collect();
    if !preferred.is_empty() {
        return preferred;
    }
    let Some(oldest) = level.first().copied() else {
        return level;
    };
    level
        .into_iter()
        .filter(|i| !is_older(&members[oldest], &members[*i]))
        .collect()
}

/// Whether `a` came before `b`: it is older by the age rule, or it was created first and served when `b` was created. Only objects
/// decide this, so replicas agree also before a base is stored.
pub(crate) fn is_older(a: &Member, b: &Member) -> bool {
    let served_before =
        a.created < b.created && a.ready_since.is_some_and(|at| Some(at) <= b.created);
    age::is_older(a.created, b.created) || served_before
}
