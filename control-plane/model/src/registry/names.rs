//! Client names → model ids. A name means one model of a namespace: the oldest claim wins.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, names as wire};

use super::Records;
use super::draft::Draft;
use crate::age::by_age;
use crate::memory::StoredName;
use crate::{Finding, Severity, quote, reason};

/// Longest client name, in bytes.
const LONGEST: usize = 256;

/// The names of each model, sorted. A model's id always means that model, whoever claims it as a name.
pub(super) fn resolve(
    drafts: &BTreeMap<ModelId, Vec<Draft<'_>>>,
    records: Records<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ModelId, Vec<String>> {
    let mut claims: Vec<(&ModelId, &Draft<'_>)> = drafts
        .iter()
        .flat_map(|(model, carriers)| carriers.iter().map(move |draft| (model, draft)))
        .collect();
    claims.sort_by(|a, b| by_age(a.1.age(), b.1.age()));
    let mut names = Names {
        owners: drafts.keys().map(|id| (id.as_str(), id)).collect(),
        of_models: BTreeMap::new(),
    };
    for (model, name) in spec_names(drafts, records) {
        if let Some(other) = names.claim(model, name) {
            findings.push(claimed_in_spec(records.namespace, model, name, other));
        }
    }
    for (model, draft) in claims {
        for name in annotated(draft) {
            if name.len() > LONGEST || name.chars().any(char::is_control) {
                findings.push(invalid(draft, name));
            } else if let Some(other) = names.claim(model, name) {
                findings.push(claimed(draft, model, name, other));
            }
        }
    }
    for (model, drafts) in drafts {
        let memory = records.get(model).map(|record| &record.memory.names);
        for (name, stored) in memory.into_iter().flatten() {
            // If a carrier of the name still exists, someone removed the name from it.
            let exists = |d: &Draft<'_>| stored.carriers.contains(&d.carrier.key.identity());
            if names.owners.contains_key(name.as_str()) || drafts.iter().any(exists) {
                continue;
            }
            names.claim(model, name);
            let oldest = drafts.first();
            findings.push(orphaned(records.namespace, model, name, stored, oldest));
        }
    }
    names.of_models.values_mut().for_each(|list| list.sort());
    names.of_models
}

/// The names that are claimed so far.
struct Names<'a> {
    owners: BTreeMap<&'a str, &'a ModelId>,
    of_models: BTreeMap<ModelId, Vec<String>>,
}

impl<'a> Names<'a> {
    /// Gives a name to a model. If another model has the name already, returns that model.
    fn claim(&mut self, model: &'a ModelId, name: &'a str) -> Option<&'a ModelId> {
        let Some(owner) = self.owners.get(name) else {
            self.owners.insert(name, model);
            let names = self.of_models.entry(model.clone()).or_default();
            names.push(name.to_owned());
            return None;
        };
        Some(*owner).filter(|owner| *owner != model)
    }
}

/// The names in the specs of `ServedModel`s, in order of the models.
fn spec_names<'d, 's: 'd>(
    drafts: &'d BTreeMap<ModelId, Vec<Draft<'_>>>,
    records: Records<'s>,
) -> impl Iterator<Item = (&'d ModelId, &'s str)> {
    drafts.keys().flat_map(move |model| {
        let record = records.get(model).into_iter();
        let names = record.flat_map(|record| &record.spec.names);
        names.map(move |name| (model, name.as_str()))
    })
}

/// The carriers, as `kind/name`, that declare each name.
pub(super) fn declared(drafts: &[Draft<'_>]) -> BTreeMap<String, BTreeSet<String>> {
    let mut declared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for draft in drafts {
        for name in annotated(draft) {
            let carriers = declared.entry(name.to_owned()).or_default();
            carriers.insert(draft.carrier.key.identity());
        }
    }
    declared
}

/// The names in the annotation of a carrier.
fn annotated<'a>(draft: &Draft<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let list = draft.carrier.annotations.get(wire::ANNOTATION_MODEL_NAMES);
    list.into_iter()
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

fn claimed_in_spec(namespace: &str, model: &ModelId, name: &str, other: &ModelId) -> Finding {
    let message = format!(
        "`spec.names` of its ServedModel: {name:?} already means model {other}, so it does not mean {model}: remove it from one of the two"
    );
    Finding::on_model(
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
    let carriers: Vec<&str> = stored.carriers.iter().map(String::as_str).collect();
    let keep = oldest.map(|draft| {
        // The annotation is one list, so the command repeats the names that the carrier has.
        let names: Vec<&str> = annotated(draft).chain([name]).collect();
        let names = shell_word(&names.join(","));
        let key = &draft.carrier.key;
        key.annotate_command(wire::ANNOTATION_MODEL_NAMES, &names)
    });
    let message = format!(
        "{} declared the name {name:?} and no longer exists. The name still means model {model} for 24 h, or for `spec.aliasGrace` of its ServedModel. To keep it: {}",
        carriers.join(", "),
        keep.unwrap_or_default()
    );
    Finding::on_model(
        namespace,
        model,
        Severity::Warning,
        reason::NAME_ORPHANED,
        message,
    )
}

/// A value as one word of a POSIX shell, in quotes only if it has characters with a meaning to the shell.
fn shell_word(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:,=@+".contains(c);
    match value.chars().all(plain) {
        true => value.to_owned(),
        false => quote(value),
    }
}

fn invalid(draft: &Draft<'_>, name: &str) -> Finding {
    let shown: String = name.chars().take(40).collect();
    let message = format!(
        "annotation `{}`: {shown:?} is not a valid name: write at most {LONGEST} bytes without control characters",
        wire::ANNOTATION_MODEL_NAMES
    );
    let carrier = draft.carrier;
    carrier.finding(Severity::Error, reason::INVALID_NAME, message)
}

fn claimed(draft: &Draft<'_>, model: &ModelId, name: &str, other: &ModelId) -> Finding {
    let owner = if other.as_str() == name {
        format!("is the id of model {other}")
    } else {
        format!("already means model {other}, whose carrier is older")
    };
    let message = format!(
        "annotation `{}`: {name:?} {owner}, so it does not mean {model}: remove it from one of the two",
        wire::ANNOTATION_MODEL_NAMES
    );
    let carrier = draft.carrier;
    carrier.finding(Severity::Warning, reason::NAME_CLAIMED, message)
}
