//! Versions that a client refused: what it will not be offered again (server rule 2).
//!
//! Invariant: bounded per name and in names; what is beyond the bound is offered once more, which a client refuses
//! as it did before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Versions remembered per name; the oldest is forgotten beyond it.
const VERSIONS: usize = 64;

/// A condemned version.
#[derive(Clone, Debug)]
pub(super) struct Rejection {
    pub(super) version: Arc<str>,
    pub(super) message: Arc<str>,
    /// The number of the next retry, or of the one on its way.
    pub(super) retry: u32,
    /// When that retry is due; `None` if it is on its way or there is none.
    pub(super) retry_at: Option<Instant>,
}

/// What a client refused of one kind, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(BTreeMap<String, VecDeque<Rejection>>);

impl Refusals {
    pub(super) fn names(&self) -> usize {
        self.0.len()
    }

    /// The same, but for names beyond this many.
    pub(super) fn at_most(mut self, names: usize) -> Self {
        if let Some(beyond) = self.0.keys().nth(names).cloned() {
            self.0.split_off(&beyond);
        }
        self
    }

    pub(super) fn enter(&mut self, name: &str, rejection: Rejection) {
        let versions = self.0.entry(name.to_owned()).or_default();
        versions.retain(|r| r.version != rejection.version);
        versions.push_back(rejection);
        if versions.len() > VERSIONS {
            versions.pop_front();
        }
    }

    /// The client has this version after all.
    pub(super) fn withdraw(&mut self, name: &str, version: &str) {
        let Some(versions) = self.0.get_mut(name) else {
            return;
        };
        versions.retain(|r| *r.version != *version);
        if versions.is_empty() {
            self.0.remove(name);
        }
    }

    pub(super) fn get(&self, name: &str, version: &str) -> Option<&Rejection> {
        self.0.get(name)?.iter().find(|r| *r.version == *version)
    }

    pub(super) fn get_mut(&mut self, name: &str, version: &str) -> Option<&mut Rejection> {
        let versions = self.0.get_mut(name)?;
        versions.iter_mut().find(|r| *r.version == *version)
    }

    /// Every remembered refusal, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Rejection)> {
        let all = self.0.iter();
        all.flat_map(|(name, versions)| versions.iter().map(move |r| (name, r)))
    }

    /// When the next retry of a wanted version is due.
    pub(super) fn next_retry(&self, wanted: impl Fn(&str, &str) -> bool) -> Option<Instant> {
        self.iter()
            .filter(|(name, r)| wanted(name, &r.version))
            .filter_map(|(_, r)| r.retry_at)
            .min()
    }
}
