//! What a policy lost, and to whom: the part of its `Accepted` that names the winners.
//!
//! Invariant: every winner is named with what is its own, a version where only that was lost; beyond [`MOST`] they are
//! counted, or a message would grow with the fleet.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version};

use super::outcome::{PolicyKind, Won};
use super::reach::{Reach, listed};

/// Winners named of each thing.
const MOST: usize = 20;

/// A thing of a model that another policy gives.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    pub(crate) thing: usize,
    pub(crate) model: ModelId,
    /// These versions of it; `None`: all of it.
    pub(crate) versions: Option<BTreeSet<Version>>,
    pub(crate) winner: String,
    pub(crate) because: &'static str,
    pub(crate) equal: bool,
}

/// One winner's share of a loss: what of the models is its own, and why.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Share<'a> {
    winner: &'a str,
    because: &'static str,
    versions: Option<&'a BTreeSet<Version>>,
}

/// The models of a share, each with its namespace.
type Shares<'a> = BTreeMap<Share<'a>, BTreeSet<(&'a str, &'a ModelId)>>;

/// Each thing of which something is lost, with those who have it.
pub(super) fn losses(reach: &Reach, won: &[(String, Won)]) -> Option<String> {
    let claimed: usize = won.iter().map(|(_, won)| won.claimed).sum();
    let told = told(reach, won, |shares| {
        let some = shares.iter().take(MOST).map(|(share, models)| {
            let first = models.first().map_or("", |(_, model)| model.as_str());
            let what = match share.versions {
                None => format!(
                    "of model {first} ({} of its {claimed} models)",
                    models.len()
                ),
                Some(versions) => format!(
                    "of {} of model {first} (a part of {} of its {claimed} models)",
                    named(versions),
                    models.len()
                ),
            };
            format!("{what} {}", is_that_of(reach, share))
        });
        let mut parts: Vec<String> = some.collect();
        if let Some(more) = shares.len().checked_sub(MOST).filter(|more| *more > 0) {
            parts.push(format!("and {more} more are those of others"));
        }
        parts.join("; ")
    });
    (!told.is_empty()).then(|| told.join("; "))
}

/// The same in words that stay while the winners do, however many models come and go: for whom it is said once.
pub(super) fn winners(reach: &Reach, won: &[(String, Won)]) -> Option<String> {
    let told = told(reach, won, |shares| {
        let all: BTreeSet<String> = shares
            .keys()
            .map(|share| is_that_of(reach, share))
            .collect();
        let mut some: Vec<String> = all.iter().take(MOST).cloned().collect();
        if all.len() > MOST {
            some.push("and more".to_owned());
        }
        format!("of its models {}", some.join(", "))
    });
    (!told.is_empty()).then(|| told.join("; "))
}

/// Each thing of which something is lost, with what to do about it.
fn told(reach: &Reach, won: &[(String, Won)], tell: impl Fn(&Shares<'_>) -> String) -> Vec<String> {
    let things = reach.gives.iter().enumerate();
    things
        .filter_map(|(i, name)| {
            let shares = shares(i, won);
            let (what, fix) = match reach.id.kind {
                PolicyKind::TokenBucket => (
                    format!("spec.buckets[{i}]: bucket {name:?}"),
                    "To have both, rename one",
                ),
                PolicyKind::TrafficTag => (
                    "spec: the tagging".to_owned(),
                    "One tagging per model counts",
                ),
            };
            (!shares.is_empty()).then(|| format!("{what} {}. {fix}", tell(&shares)))
        })
        .collect()
}

fn shares(thing: usize, won: &[(String, Won)]) -> Shares<'_> {
    let mut shares = Shares::new();
    for (namespace, won) in won {
        for loss in won.losses.iter().filter(|loss| loss.thing == thing) {
            let share = Share {
                winner: &loss.winner,
                because: loss.because,
                versions: loss.versions.as_ref(),
            };
            let models = shares.entry(share).or_default();
            models.insert((namespace.as_str(), &loss.model));
        }
    }
    shares
}

fn is_that_of(reach: &Reach, share: &Share<'_>) -> String {
    format!(
        "is that of {} {}, because {}",
        reach.id.kind.as_str(),
        share.winner,
        share.because
    )
}

fn named(versions: &BTreeSet<Version>) -> String {
    let plural = if versions.len() == 1 { "" } else { "s" };
    format!(
        "version{plural} {}",
        listed(versions.iter().map(Version::as_str))
    )
}
