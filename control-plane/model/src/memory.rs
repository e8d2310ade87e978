//! The memory of a model: its base, the carriers that had their full share, and the names of deleted carriers.
//!
//! The `ServedModel` object of the model stores it, so it is an input of the plan like any other object.

mod written_base;

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ServedModelSpec, Version};

use crate::{ModelKey, Unread};

pub use self::written_base::WrittenBase;
pub(crate) use self::written_base::finding;

/// A `ServedModel`: the `spec` that users write, and the memory that its `status` stores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelRecord {
    /// Settings that users write. Every field is optional.
    pub spec: ServedModelSpec,
    /// The memory that `status` stores.
    pub memory: Memory,
    /// The name of the object; `None` if the API server has none.
    pub object: Option<String>,
    /// A base that a user wrote over the stored one.
    pub written: Option<WrittenBase>,
    /// The versions that have a route in a service mesh.
    pub routed: BTreeSet<Version>,
}

/// The versions of each model that have their routes in a service mesh.
pub type RoutedVersions = BTreeMap<ModelKey, BTreeSet<Version>>;

/// The state of a model that is kept between plans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// The base, by carrier as `kind/name`.
    pub base: BTreeMap<String, StoredCarrier>,
    /// The previous base, by carrier as `kind/name`: it stands by beside the promoted one.
    pub previous: BTreeMap<String, StoredCarrier>,
    /// Carriers, as `kind/name`, that had their full share. They keep it until less than half of `minReadyPercent` is ready.
    pub full_share: BTreeSet<String>,
    /// Names that clients write for the model, including those that no carrier declares now.
    pub names: BTreeMap<String, StoredName>,
    /// Since when a carrier that is not the oldest acts as the base while no base is stored, in Unix seconds.
    pub provisional_since: Option<i64>,
}

/// A carrier of a stored base.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredCarrier {
    /// The versions that it had.
    pub versions: BTreeSet<Version>,
    /// Since when neither it nor one of its versions is declared, in Unix seconds.
    pub undeclared_since: Option<i64>,
}

/// A stored name that clients write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredName {
    /// The carriers, as `kind/name`, that declare it; if none does, those that declared it last.
    pub carriers: BTreeSet<String>,
    /// Since when none of these carriers exists, in Unix seconds.
    pub gone_since: Option<i64>,
}

impl Memory {
    /// The base in the form of its annotation: `kind/name=version+version,…`.
    #[must_use]
    pub fn base_text(&self) -> String {
        text(&self.base)
    }

    /// The previous base in the form of its annotation, which is the same.
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

impl Unread {
    /// Whether any carrier in a model's memory may exist although the source did not read it.
    #[must_use]
    pub fn may_hide_any(&self, namespace: &str, memory: &Memory) -> bool {
        let base = memory.base.keys().chain(memory.previous.keys());
        let names = memory.names.values().flat_map(|name| &name.carriers);
        let mut carriers = base.chain(&memory.full_share).chain(names);
        self.anything || carriers.any(|carrier| self.may_hide(namespace, carrier))
    }
}

fn text(base: &BTreeMap<String, StoredCarrier>) -> String {
    let carriers = base.iter();
    let carriers = carriers.map(|(carrier, stored)| entry(carrier, &stored.versions));
    carriers.collect::<Vec<_>>().join(",")
}

/// `kind/name=version+version`
fn entry(carrier: &str, versions: &BTreeSet<Version>) -> String {
    let versions: Vec<&str> = versions.iter().map(Version::as_str).collect();
    format!("{carrier}={}", versions.join("+"))
}
