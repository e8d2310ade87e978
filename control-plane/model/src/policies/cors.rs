//! Whose `cors` counts for a namespace: that of the tagging that comes first for all its models.
//!
//! Invariant: a `cors` is never merged with that of another tagging. The status reports a hidden `cors`, because pages that it
//! allows are refused.

use std::collections::BTreeSet;

use headgate_contract::{TagRule, TrafficTagPolicySpec};

use super::outcome::{Won, in_rules};
use super::reach::{Reach, listed};
use crate::Policy;

/// What became of a policy's `cors` in a namespace.
#[derive(Debug)]
pub(crate) enum Cors {
    /// The virtual host has it.
    Counts,
    /// Another tagging comes first for the namespace.
    Hidden {
        /// The policy of that one, as rules name it.
        by: String,
        /// Whether that one lets pages call, too: then it is an exception that somebody made.
        replaced: bool,
    },
}

/// Enters what became of every `cors`. `rules` are the taggings of the namespace, in their order.
pub(super) fn enter(
    namespace: &str,
    policies: &[&Policy<TrafficTagPolicySpec>],
    reaches: &[Reach],
    rules: &[TagRule],
    won: &mut [Won],
) {
    let Some(first) = rules.iter().find(|rule| rule.models.is_none()) else {
        return;
    };
    for ((policy, reach), won) in policies.iter().zip(reaches).zip(won) {
        if policy.spec.tagging.cors.is_none() || !reach.claims.contains_key(namespace) {
            continue;
        }
        won.cors = Some(
            if in_rules(&policy.namespace, &policy.name) == first.policy {
                Cors::Counts
            } else {
                Cors::Hidden {
                    by: first.policy.clone(),
                    replaced: first.tagging.cors.is_some(),
                }
            },
        );
    }
}

/// Whether a policy's `cors` counts anywhere.
pub(super) fn counts(won: &[(String, Won)]) -> bool {
    won.iter()
        .any(|(_, won)| matches!(won.cors, Some(Cors::Counts)))
}

/// Whether it is missing somewhere: hidden by a tagging that lets no page call.
pub(super) fn is_missing(won: &[(String, Won)]) -> bool {
    won.iter().any(|(_, won)| {
        matches!(
            won.cors,
            Some(Cors::Hidden {
                replaced: false,
                ..
            })
        )
    })
}

/// The message that names the policies which hide it. The words change only when the policies do.
pub(super) fn hidden(won: &[(String, Won)]) -> Option<String> {
    let by: BTreeSet<&str> = won
        .iter()
        .filter_map(|(_, won)| match &won.cors {
            Some(Cors::Hidden { by, .. }) => Some(by.as_str()),
            Some(Cors::Counts) | None => None,
        })
        .collect();
    (!by.is_empty()).then(|| {
        format!(
            "spec.cors: does not count where TrafficTagPolicy {} comes first for the whole namespace. Move it there, or remove it",
            listed(by.into_iter())
        )
    })
}
