//! Messages on overridden items: the part of a policy's `Accepted` condition that names the winners.
//!
//! Invariant: every winner is named with its models, or with a version if only that was overridden. More than [`MAX_WINNERS`] winners are
//! counted, so a message does not grow with the fleet.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version};

use super::effective_items::EffectiveItems;
use super::kind::RulePolicy;
use super::list::list;
use super::resolved::ResolvedPolicy;

/// Winners that a message names for each item.
const MAX_WINNERS: usize = 20;

/// The overrides of one item by one policy.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Group<'a> {
    winner: &'a str,
    because: &'static str,
    versions: Option<&'a BTreeSet<Version>>,
}

/// The models of each group, with their namespaces.
type Groups<'a> = BTreeMap<Group<'a>, BTreeSet<(&'a str, &'a ModelId)>>;

/// The overridden items, with their winners and models. `effective` is by namespace.
pub(super) fn overridden_items<S: RulePolicy>(
    policy: &ResolvedPolicy,
    effective: &[(String, EffectiveItems)],
) -> Option<String> {
    let targeted: usize = effective
        .iter()
        .map(|(_, effective)| effective.targeted)
        .sum();
    by_item::<S>(policy, effective, |groups| {
        let shown = groups.iter().take(MAX_WINNERS).map(|(group, models)| {
            let first = models.first().map_or("", |(_, model)| model.as_str());
            let models = match group.versions {
                None => format!(
                    "for model {first} ({} of its {targeted} models)",
                    models.len()
                ),
                Some(versions) => format!(
                    "for {} of model {first} (a part of {} of its {targeted} models)",
                    version_list(versions),
                    models.len()
                ),
            };
            format!("{models}, {}", precedence::<S>(group))
        });
        let mut parts: Vec<String> = shown.collect();
        if let Some(more) = groups.len().checked_sub(MAX_WINNERS).filter(|n| *n > 0) {
            parts.push(format!("and {more} more policies take precedence"));
        }
        parts.join("; ")
    })
}

/// The overridden items, with their winners only. The text changes only when the winners do, so it is one Event however many models
/// come and go.
pub(super) fn winners<S: RulePolicy>(
    policy: &ResolvedPolicy,
    effective: &[(String, EffectiveItems)],
) -> Option<String> {
    by_item::<S>(policy, effective, |groups| {
        let all: BTreeSet<String> = groups.keys().map(precedence::<S>).collect();
        let mut shown: Vec<String> = all.iter().take(MAX_WINNERS).cloned().collect();
        if all.len() > MAX_WINNERS {
            shown.push("and others".to_owned());
        }
        shown.join(", ")
    })
}

/// A sentence for each overridden item, with the fix. `winners` describes the groups of an item.
fn by_item<S: RulePolicy>(
    policy: &ResolvedPolicy,
    effective: &[(String, EffectiveItems)],
    winners: impl Fn(&Groups<'_>) -> String,
) -> Option<String> {
    let items = policy.items.iter().enumerate();
    let sentences: Vec<String> = items
        .filter_map(|(i, name)| {
            let groups = groups(i, effective);
            let sentence = || {
                let item = S::describe(i, name);
                format!("{item}: {}. {}", winners(&groups), S::CONFLICT_FIX)
            };
            (!groups.is_empty()).then(sentence)
        })
        .collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn groups(item: usize, effective: &[(String, EffectiveItems)]) -> Groups<'_> {
    let mut groups = Groups::new();
    for (namespace, effective) in effective {
        for overridden in effective.overridden.iter().filter(|o| o.item == item) {
            let group = Group {
                winner: &overridden.winner,
                because: overridden.because,
                versions: overridden.versions.as_ref(),
            };
            let models = groups.entry(group).or_default();
            models.insert((namespace.as_str(), &overridden.model));
        }
    }
    groups
}

fn precedence<S: RulePolicy>(group: &Group<'_>) -> String {
    format!(
        "{} {} takes precedence, because {}",
        S::KIND,
        group.winner,
        group.because
    )
}

fn version_list(versions: &BTreeSet<Version>) -> String {
    let plural = if versions.len() == 1 { "" } else { "s" };
    format!(
        "version{plural} {}",
        list(versions.iter().map(Version::as_str))
    )
}
