//! What clients write → model ids. A name means one model of a namespace: the oldest claim wins.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, names as wire};

use super::ServedIn;
use super::{Draft, about};
use crate::memory::StoredName;
use crate::objects::by_age;
use crate::{Finding, Severity, Subject, quote, reason};

/// Longest client name, in bytes.
const LONGEST: usize = 256;

/// The names of each model, sorted. A model's id is its own, whoever else claims it as a name.
pub(super) fn claimed(
    drafts: &BTreeMap<ModelId, Vec<Draft<'_>>>,
    served: ServedIn<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ModelId, Vec<String>> {
    let mut claims: Vec<(&ModelId, &Draft<'_>)> = drafts
        .iter()
        .flat_map(|(model, carriers)| carriers.iter().map(move |draft| (model, draft)))
        .collect();
    claims.sort_by(|a, b| by_age(a.1.age(), b.1.age()));
    let mut owner: BTreeMap<&str, &ModelId> = drafts.keys().map(|id| (id.as_str(), id)).collect();
    let mut names: BTreeMap<ModelId, Vec<String>> = BTreeMap::new();
    for (model, name) in spec_names(drafts, served) {
        if let Some(other) = claim(&mut owner, &mut names, model, name) {
            findings.push(taken_from_spec(served.namespace, model, name, other));
        }
    }
    for (model, draft) in claims {
        for name in written(draft) {
            if name.len() > LONGEST || name.chars().any(char::is_control) {
                findings.push(unusable(draft, name));
            } else if let Some(other) = claim(&mut owner, &mut names, model, name) {
                findings.push(taken(draft, model, name, other));
            }
        }
    }
    for (model, drafts) in drafts {
        let memory = served.get(model).map(|served| &served.memory.names);
        for (name, stored) in memory.into_iter().flatten() {
            let declares = |d: &Draft<'_>| stored.carriers.contains(&d.carrier.key.identity());
            // A carrier that is still there no longer declares it: somebody took it off.
            if owner.contains_key(name.as_str()) || drafts.iter().any(declares) {
                continue;
            }
            claim(&mut owner, &mut names, model, name);
            let oldest = drafts.first();
            findings.push(orphaned(served.namespace, model, name, stored, oldest));
        }
    }
    names.values_mut().for_each(|list| list.sort());
    names
}

/// Gives the name to the model, or says which other model has it.
fn claim<'a>(
    owner: &mut BTreeMap<&'a str, &'a ModelId>,
    names: &mut BTreeMap<ModelId, Vec<String>>,
    model: &'a ModelId,
    name: &'a str,
) -> Option<&'a ModelId> {
    let Some(other) = owner.get(name) else {
        owner.insert(name, model);
        names
            .entry(model.clone())
            .or_default()
            .push(name.to_owned());
        return None;
    };
    Some(*other).filter(|other| *other != model)
}

/// The names that specs of `ServedModel`s give, in order of the models.
fn spec_names<'d, 's: 'd>(
    drafts: &'d BTreeMap<ModelId, Vec<Draft<'_>>>,
    served: ServedIn<'s>,
) -> impl Iterator<Item = (&'d ModelId, &'s str)> {
    drafts.keys().flat_map(move |model| {
        let names = served
            .get(model)
            .into_iter()
            .flat_map(|served| &served.spec.names);
        names.map(move |name| (model, name.as_str()))
    })
}

/// The carriers, as `kind/name`, that declare each name.
pub(super) fn declared(drafts: &[Draft<'_>]) -> BTreeMap<String, BTreeSet<String>> {
    let mut declared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for draft in drafts {
        for name in written(draft) {
            let carriers = declared.entry(name.to_owned()).or_default();
            carriers.insert(draft.carrier.key.identity());
        }
    }
    declared
}

fn of_model(
    namespace: &str,
    model: &ModelId,
    severity: Severity,
    reason: &'static str,
    message: String,
) -> Finding {
    Finding {
        object: Subject::Model {
            namespace: namespace.to_owned(),
            id: model.clone(),
        },
        reason,
        severity,
        origin: String::new(),
        message,
    }
}

fn taken_from_spec(namespace: &str, model: &ModelId, name: &str, other: &ModelId) -> Finding {
    let message = format!(
        "`spec.names` of its ServedModel: {name:?} already means model {other}, so it does not mean {model}: remove it from one of the two"
    );
    of_model(
        namespace,
        model,
        Severity::Warning,
        reason::NAME_CLAIMED,
        message,
    )
}

fn orphaned(
    namespace: &str,
    model: &ModelId,
    name: &str,
    stored: &StoredName,
    oldest: Option<&Draft<'_>>,
) -> Finding {
    let gone: Vec<&str> = stored.carriers.iter().map(String::as_str).collect();
    let keep = oldest.map(|draft| {
        // The annotation is one list: the names that it has stay.
        let names: Vec<&str> = written(draft).chain([name]).collect();
        let names = quoted(&names.join(","));
        draft
            .carrier
            .key
            .annotate_command(wire::ANNOTATION_MODEL_NAMES, &names)
    });
    let message = format!(
        "the name {name:?} was declared by {}, which is gone. It still means model {model} for 24 h, or `spec.aliasGrace` of its ServedModel. To keep it: {}",
        gone.join(", "),
        keep.unwrap_or_default()
    );
    of_model(
        namespace,
        model,
        Severity::Warning,
        reason::NAME_ORPHANED,
        message,
    )
}

/// A value as a POSIX shell reads it: in quotes where it has characters that a shell takes for its own.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:,=@+".contains(c);
    match value.chars().all(plain) {
        true => value.to_owned(),
        false => quote(value),
    }
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
