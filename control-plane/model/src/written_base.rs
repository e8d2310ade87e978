//! A base that somebody writes over the stored one, as a restore does: when it counts, and what is said when it does not.
//!
//! Invariant: a base of which nothing exists and nothing was known never replaces the stored one.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version, names};

use crate::memory::{Memory, ModelRecord, StoredCarrier};
use crate::{Finding, ModelKey, Severity, Subject, Unread, reason};

/// A base in the annotation `headgate.dev/base` that somebody wrote, where another one is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WrittenBase {
    /// The annotation as written.
    pub text: String,
    /// What it names, by carrier as `kind/name`; empty if it cannot be read.
    pub base: BTreeMap<String, StoredCarrier>,
}

impl ModelRecord {
    /// The memory with the written base, or without it where it is refused.
    #[must_use]
    pub fn effective_memory(&self, refused: bool) -> Memory {
        let memory = self.memory.clone();
        match self.written.as_ref().filter(|_| !refused) {
            Some(written) => memory.with_base(written.base.clone()),
            None => memory,
        }
    }

    /// Why the written base does not count; `None` where it does, or there is none. `declared` are the versions of each
    /// carrier.
    pub(crate) fn refusal(
        &self,
        (namespace, id): &ModelKey,
        declared: &BTreeMap<String, BTreeSet<Version>>,
        unread: &Unread,
    ) -> Option<String> {
        let written = self.written.as_ref()?;
        let stored = [&self.memory.base, &self.memory.previous];
        let known_version = |version: &Version| {
            let mut stored = stored.iter().flat_map(|base| base.values());
            declared.values().any(|its| its.contains(version))
                || stored.any(|stored| stored.versions.contains(version))
        };
        let is_known = written.base.iter().any(|(carrier, named)| {
            declared.contains_key(carrier)
                || stored.iter().any(|base| base.contains_key(carrier))
                || unread.may_hide(namespace, carrier)
                || named.versions.iter().any(known_version)
        });
        if is_known {
            return None;
        }
        let annotation = names::ANNOTATION_BASE;
        let why = match written.base.is_empty() {
            true => {
                "is not of the form `kind/name=version`, with commas between several".to_owned()
            }
            false => format!("names no carrier and no version of model {id} that exists"),
        };
        let versions = declared.iter().map(|(carrier, its)| entry(carrier, its));
        let versions: Vec<String> = versions.collect();
        let stored = self.memory.base_text();
        let object = self.object.as_deref().unwrap_or(id.as_str());
        Some(format!(
            "annotation `{annotation}: {:?}` {why}. It is ignored until that changes, and the stored base, {stored}, stays. Versions that exist: {}. To write the stored base back: kubectl annotate servedmodel/{object} -n {namespace} {annotation}={stored} --overwrite",
            shortened(&written.text),
            versions.join(", ")
        ))
    }
}

/// The finding on a refused base.
pub(crate) fn refused(key: &ModelKey, object: Option<&str>, message: String) -> Finding {
    let (namespace, id): &(String, ModelId) = key;
    let object = object.unwrap_or(id.as_str());
    Finding {
        object: Subject::Model {
            namespace: namespace.clone(),
            id: id.clone(),
        },
        reason: reason::INVALID_BASE,
        severity: Severity::Warning,
        origin: format!("ServedModel {namespace}/{object}"),
        message,
    }
}

impl Memory {
    /// The base as its annotation stores it: `kind/name=version+version,…`.
    #[must_use]
    pub fn base_text(&self) -> String {
        text(&self.base)
    }

    /// The previous base as its annotation stores it, in the same form.
    #[must_use]
    pub fn previous_text(&self) -> String {
        text(&self.previous)
    }

    /// Replaces the base. A carrier of the new base is no longer one of the previous base.
    #[must_use]
    pub fn with_base(mut self, base: BTreeMap<String, StoredCarrier>) -> Self {
        self.previous
            .retain(|carrier, _| !base.contains_key(carrier));
        self.base = base;
        self
    }
}

fn text(base: &BTreeMap<String, StoredCarrier>) -> String {
    let carriers = base.iter();
    let carriers = carriers.map(|(carrier, base)| entry(carrier, &base.versions));
    carriers.collect::<Vec<_>>().join(",")
}

/// `kind/name=version+version`
fn entry(carrier: &str, versions: &BTreeSet<Version>) -> String {
    let versions: Vec<&str> = versions.iter().map(Version::as_str).collect();
    format!("{carrier}={}", versions.join("+"))
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}
