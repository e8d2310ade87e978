//! Versions that a client has rejected and is not offered again (server rule 2).
//!
//! Invariant: the number of names, and of versions per name, is bounded. A version that was dropped for the bound is offered once
//! more, and the client rejects it as before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Versions that are kept per name; beyond it the oldest is dropped.
const MAX_VERSIONS: usize = 64;

/// A rejected version.
#[derive(Clone, Debug)]
pub(in crate::session) struct Rejection {
    pub(in crate::session) version: Arc<str>,
    /// The client's error message.
    pub(in crate::session) message: Arc<str>,
    /// The number of the next retry, or of the one in flight.
    pub(in crate::session) retry: u32,
    /// When that retry is due; `None` if it is in flight or there is none.
    pub(in crate::session) retry_at: Option<Instant>,
}

/// The rejected versions of one kind, by name.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct Rejections(BTreeMap<Arc<str>, VecDeque<Rejection>>);

impl Rejections {
    /// The number of names.
    pub(in crate::session) fn len(&self) -> usize {
        self.0.len()
    }

    /// At most `names` of the names.
    pub(in crate::session) fn truncated(mut self, names: usize) -> Self {
        if let Some(beyond) = self.0.keys().nth(names).cloned() {
            self.0.split_off(&beyond);
        }
        self
    }

    pub(in crate::session) fn insert(&mut self, name: &Arc<str>, rejection: Rejection) {
        let versions = self.0.entry(name.clone()).or_default();
        versions.retain(|r| r.version != rejection.version);
        versions.push_back(rejection);
        if versions.len() > MAX_VERSIONS {
            versions.pop_front();
        }
    }

    /// Removes a version: the client has accepted it after all.
    pub(in crate::session) fn remove(&mut self, name: &str, version: &str) {
        let Some(versions) = self.0.get_mut(name) else {
            return;
        };
        versions.retain(|r| *r.version != *version);
        if versions.is_empty() {
            self.0.remove(name);
        }
    }

    pub(in crate::session) fn get(&self, name: &str, version: &str) -> Option<&Rejection> {
        self.0.get(name)?.iter().find(|r| *r.version == *version)
    }

    pub(in crate::session) fn get_mut(
        &mut self,
        name: &str,
        version: &str,
    ) -> Option<&mut Rejection> {
        let versions = self.0.get_mut(name)?;
        versions.iter_mut().find(|r| *r.version == *version)
    }

    /// Every rejection, by name.
    pub(in crate::session) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Rejection)> {
        let all = self.0.iter();
        all.flat_map(|(name, versions)| versions.iter().map(move |r| (name, r)))
    }

    /// When the next retry after `now` is due, of a version for which `wanted` holds. A retry that is due already waits for an
    /// answer, or for a cluster; either is an input of its own.
    pub(in crate::session) fn next_retry(
        &self,
        wanted: impl Fn(&str, &str) -> bool,
        now: Instant,
    ) -> Option<Instant> {
        self.iter()
            .filter(|(name, r)| wanted(name, &r.version))
            .filter_map(|(_, r)| r.retry_at)
            .filter(|at| *at > now)
            .min()
    }
}
