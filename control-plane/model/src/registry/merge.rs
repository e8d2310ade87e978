//! One version in two carriers: endpoints merge, the oldest carrier's weight counts.

use std::collections::BTreeMap;

use headgate_contract::{ModelId, Version};

use super::{Draft, Member, about, joins};
use crate::{Finding, Severity, reason};

/// The members of a model, oldest first, each version with exactly one of them. `drafts` come oldest first.
pub(super) fn members(
    model: &ModelId,
    drafts: Vec<Draft<'_>>,
    findings: &mut Vec<Finding>,
) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    let mut owner: BTreeMap<Version, usize> = BTreeMap::new();
    for mut draft in drafts {
        let brought = draft.versions.values().any(|e| !e.all.is_empty());
        let mut taken_by = None;
        for (version, index) in &owner {
            let Some(endpoints) = draft.versions.remove(version) else {
                continue;
            };
            findings.push(merged(model, version, &draft, &members[*index]));
            if let Some(into) = members[*index].versions.get_mut(version) {
                into.ready.extend(endpoints.ready);
                into.all.extend(endpoints.all);
                into.carriers.extend(endpoints.carriers);
            }
            taken_by.get_or_insert(*index);
        }
        if draft.versions.is_empty() {
            // Its endpoints went to older carriers, and the replicas it wants with them.
            if let Some(index) = taken_by.filter(|_| brought) {
                members[index].desired =
                    members[index].desired.saturating_add(draft.carrier.desired);
            }
            continue;
        }
        let index = members.len();
        owner.extend(draft.versions.keys().map(|v| (v.clone(), index)));
        members.push(member(draft));
    }
    members
}

fn member(draft: Draft<'_>) -> Member {
    Member {
        key: draft.carrier.key.clone(),
        created: draft.carrier.created,
        origin: draft.carrier.origin.clone(),
        joins: joins(draft.carrier),
        desired: draft.carrier.desired,
        weight: draft.weight,
        versions: draft.versions,
    }
}

fn merged(model: &ModelId, version: &Version, draft: &Draft<'_>, owner: &Member) -> Finding {
    let message = format!(
        "version {version} of model {model} is also declared by {} ({}), which is older: the endpoints are merged and its weight counts. \
         To weigh them apart, give one of the two another version",
        owner.key, owner.origin
    );
    about(
        draft.carrier,
        Severity::Warning,
        reason::VERSION_MERGED,
        message,
    )
}
