//! What clients write → model ids. A name means one model of a namespace: the oldest claim wins.

use std::collections::BTreeMap;

use headgate_contract::{ModelId, names as wire};

use super::{Draft, about};
use crate::objects::by_age;
use crate::{Finding, Severity, reason};

/// Longest client name, in bytes.
const LONGEST: usize = 256;

/// The names of each model, sorted. A model's id is its own, whoever else claims it as a name.
pub(super) fn claimed(
    drafts: &BTreeMap<ModelId, Vec<Draft<'_>>>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ModelId, Vec<String>> {
    let mut claims: Vec<(&ModelId, &Draft<'_>)> = drafts
        .iter()
        .flat_map(|(model, carriers)| carriers.iter().map(move |draft| (model, draft)))
        .collect();
    claims.sort_by(|a, b| by_age(a.1.age(), b.1.age()));
    let mut owner: BTreeMap<&str, &ModelId> = drafts.keys().map(|id| (id.as_str(), id)).collect();
    let mut names: BTreeMap<ModelId, Vec<String>> = BTreeMap::new();
    for (model, draft) in claims {
        for name in written(draft) {
            if name.len() > LONGEST || name.chars().any(char::is_control) {
                findings.push(unusable(draft, name));
                continue;
            }
            match owner.get(name) {
                None => {
                    owner.insert(name, model);
                    names
                        .entry(model.clone())
                        .or_default()
                        .push(name.to_owned());
                }
                Some(other) if *other != model => findings.push(taken(draft, model, name, other)),
                Some(_) => {}
            }
        }
    }
    names.values_mut().for_each(|list| list.sort());
    names
}

fn written<'a>(draft: &Draft<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let list = draft.carrier.annotations.get(wire::ANNOTATION_MODEL_NAMES);
    list.into_iter()
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

fn unusable(draft: &Draft<'_>, name: &str) -> Finding {
    let shown: String = name.chars().take(40).collect();
    let message = format!(
        "annotation `{}`: {shown:?} cannot be a name: write at most {LONGEST} bytes without control characters",
        wire::ANNOTATION_MODEL_NAMES
    );
    about(
        draft.carrier,
        Severity::Error,
        reason::INVALID_NAME,
        message,
    )
}

fn taken(draft: &Draft<'_>, model: &ModelId, name: &str, other: &ModelId) -> Finding {
    let whose = if other.as_str() == name {
        format!("is the id of model {other}")
    } else {
        format!("already means model {other}, whose carrier is older")
    };
    let message = format!(
        "annotation `{}`: {name:?} {whose}, so it does not mean {model}: remove it from one of the two",
        wire::ANNOTATION_MODEL_NAMES
    );
    about(
        draft.carrier,
        Severity::Warning,
        reason::NAME_CLAIMED,
        message,
    )
}
