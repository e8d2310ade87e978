//! A base that a user writes over the stored one, as a restore from a backup does.
//!
//! Invariant: a written base replaces the stored one only if it names a carrier or a version that exists or is stored.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{Version, names};

use super::{Memory, ModelRecord, StoredCarrier, entry};
use crate::{Finding, ModelKey, Severity, Unread, reason};

/// A base that a user wrote into the annotation `headgate.dev/base` while another one is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WrittenBase {
    /// The annotation as written.
    pub text: String,
    /// Its carriers, as `kind/name`; empty if the annotation cannot be read.
    pub base: BTreeMap<String, StoredCarrier>,
}

impl ModelRecord {
    /// The memory in effect: with the written base, unless it is refused.
    #[must_use]
    pub fn effective_memory(&self, refused: bool) -> Memory {
        let memory = self.memory.clone();
        match self.written.as_ref().filter(|_| !refused) {
            Some(written) => memory.with_base(written.base.clone()),
            None => memory,
        }
    }

    /// The reason to refuse the written base; `None` if it is valid or there is none. `declared` are the versions of each carrier.
    pub(crate) fn refusal(
        &self,
        (namespace, id): &ModelKey,
        declared: &BTreeMap<String, BTreeSet<Version>>,
        unread: &Unread,
    ) -> Option<String> {
        let written = self.written.as_ref()?;
        let stored = [&self.memory.base, &self.memory.previous];
        let is_known_version = |version: &Version| {
            let mut stored = stored.iter().flat_map(|base| base.values());
            declared.values().any(|versions| versions.contains(version))
                || stored.any(|carrier| carrier.versions.contains(version))
        };
        let is_known = written.base.iter().any(|(carrier, written)| {
            declared.contains_key(carrier)
                || stored.iter().any(|base| base.contains_key(carrier))
                || unread.may_hide(namespace, carrier)
                || written.versions.iter().any(is_known_version)
        });
        if is_known {
            return None;
        }
        let annotation = names::ANNOTATION_BASE;
        let problem = match written.base.is_empty() {
            true => {
                "is not of the form `kind/name=version`, with commas between several".to_owned()
            }
            false => format!("names no carrier and no version of model {id} that exists"),
        };
        let existing = declared
            .iter()
            .map(|(carrier, versions)| entry(carrier, versions));
        let existing: Vec<String> = existing.collect();
        let stored = self.memory.base_text();
        let object = self.object.as_deref().unwrap_or(id.as_str());
        Some(format!(
            "annotation `{annotation}: {:?}` {problem}. Headgate ignores it and keeps the stored base, {stored}. Versions that exist: {}. To write the stored base back: kubectl annotate servedmodel/{object} -n {namespace} {annotation}={stored} --overwrite",
            shortened(&written.text),
            existing.join(", ")
        ))
    }
}

/// The finding on a refused base.
pub(crate) fn finding(key: &ModelKey, object: Option<&str>, message: String) -> Finding {
    let (namespace, id) = key;
    let object = object.unwrap_or(id.as_str());
    Finding {
        origin: format!("ServedModel {namespace}/{object}"),
        ..Finding::on_model(
            namespace,
            id,
            Severity::Warning,
            reason::INVALID_BASE,
            message,
        )
    }
}

/// At most 100 characters of a text.
fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}
