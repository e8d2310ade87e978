//! The stored form of a model's memory: in `status`, and the base also as an annotation.
//!
//! Invariant: a memory that was written is read back unchanged. Entries that cannot be parsed are skipped.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::Version;
use headgate_model::{Memory, StoredCarrier, StoredName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::resource::{Base, Name, ServedModelStatus};

/// The memory in a status.
#[must_use]
pub fn memory_of(status: &ServedModelStatus) -> Memory {
    let versions = |texts: &[String]| -> BTreeSet<Version> {
        let texts = texts.iter();
        texts
            .filter_map(|text| Version::try_from(text.as_str()).ok())
            .collect()
    };
    let carriers = |carriers: &[Base]| -> BTreeMap<String, StoredCarrier> {
        let carriers = carriers.iter().map(|carrier| {
            let stored = StoredCarrier {
                versions: versions(&carrier.versions),
                undeclared_since: carrier.undeclared_since.as_ref().map(seconds),
            };
            (carrier.carrier.clone(), stored)
        });
        carriers.collect()
    };
    let names = status.names.iter().map(|name| {
        let stored = StoredName {
            carriers: name.carriers.iter().cloned().collect(),
            gone_since: name.gone_since.as_ref().map(seconds),
        };
        (name.name.clone(), stored)
    });
    Memory {
        base: carriers(&status.base),
        previous: carriers(&status.previous),
        full_share: status.full_share.iter().cloned().collect(),
        names: names.collect(),
        provisional_since: status.provisional_since.as_ref().map(seconds),
    }
}

/// Stores a memory in a status.
pub fn store_memory(status: &mut ServedModelStatus, memory: &Memory) {
    let carriers = |carriers: &BTreeMap<String, StoredCarrier>| -> Vec<Base> {
        let carriers = carriers.iter().map(|(carrier, stored)| Base {
            carrier: carrier.clone(),
            versions: stored.versions.iter().map(ToString::to_string).collect(),
            undeclared_since: stored.undeclared_since.and_then(time),
        });
        carriers.collect()
    };
    status.base = carriers(&memory.base);
    status.previous = carriers(&memory.previous);
    status.full_share = memory.full_share.iter().cloned().collect();
    let names = memory.names.iter().map(|(name, stored)| Name {
        name: name.clone(),
        carriers: stored.carriers.iter().cloned().collect(),
        gone_since: stored.gone_since.and_then(time),
    });
    status.names = names.collect();
    status.provisional_since = memory.provisional_since.and_then(time);
}

/// Stores when the model lost its last carrier. Each carrier of its base gets the same time, so that `baseGrace` runs while the model is
/// not planned.
pub fn set_carriers_gone(status: &mut ServedModelStatus, since: Option<Time>) {
    for carrier in status.base.iter_mut().chain(&mut status.previous) {
        if carrier.undeclared_since.is_none() {
            carrier.undeclared_since.clone_from(&since);
        }
    }
    status.carriers_gone_since = since;
}

/// Parses an annotation that [`Memory::base_text`] wrote. Entries that are not carriers are skipped.
#[must_use]
pub fn base_of(text: &str) -> BTreeMap<String, StoredCarrier> {
    let carriers = text.split(',').filter_map(|part| {
        let (carrier, versions) = part.split_once('=')?;
        let carrier = carrier.trim();
        let (kind, name) = carrier.split_once('/')?;
        let versions = versions.trim().split('+');
        let stored = StoredCarrier {
            versions: versions.filter_map(|v| Version::try_from(v).ok()).collect(),
            undeclared_since: None,
        };
        (!kind.is_empty() && !name.is_empty()).then(|| (carrier.to_owned(), stored))
    });
    carriers.collect()
}

/// A timestamp → Unix seconds.
pub fn seconds(time: &Time) -> i64 {
    time.0.as_second()
}

/// Unix seconds → a timestamp; `None` if out of its range.
pub fn time(seconds: i64) -> Option<Time> {
    Timestamp::from_second(seconds).ok().map(Time)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::try_from(text).unwrap()
    }

    fn memory() -> Memory {
        let base = StoredCarrier {
            versions: [version("v1"), version("v1.1-cuda")].into(),
            undeclared_since: Some(1_700_000_000),
        };
        let name = StoredName {
            carriers: ["deployment/a".to_owned()].into(),
            gone_since: Some(1_700_000_100),
        };
        Memory {
            base: [
                ("deployment/a".to_owned(), base),
                ("service/b".to_owned(), StoredCarrier::default()),
            ]
            .into(),
            previous: [("deployment/0".to_owned(), StoredCarrier::default())].into(),
            full_share: ["deployment/a".to_owned()].into(),
            names: [("gpt-x".to_owned(), name)].into(),
            provisional_since: Some(1_700_000_200),
        }
    }

    #[test]
    fn a_memory_is_read_back_unchanged_also_through_json() {
        let mut status = ServedModelStatus::default();
        store_memory(&mut status, &memory());
        let json = serde_json::to_string(&status).unwrap();
        let read: ServedModelStatus = serde_json::from_str(&json).unwrap();
        assert_eq!(memory_of(&read), memory());
        assert_eq!(memory_of(&ServedModelStatus::default()), Memory::default());
    }

    #[test]
    fn the_base_is_read_from_its_annotation_and_invalid_entries_are_skipped() {
        let text = memory().base_text();
        assert_eq!(text, "deployment/a=v1+v1.1-cuda,service/b=");
        let mut base = memory().base;
        base.get_mut("deployment/a").unwrap().undeclared_since = None;
        assert_eq!(base_of(&text), base);
        base.remove("service/b");
        assert_eq!(base_of("x, /=v, deployment/a = v1+v1.1-cuda+?,=,"), base);
        assert!(base_of("").is_empty());
    }
}
