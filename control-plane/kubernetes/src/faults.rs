//! What cannot be written, since when and why: for `status` and the log.
//!
//! Invariant: each fault is logged when it begins, when its reason changes and when it ends, not with every try.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::clock::unix_now;

/// The target of a write that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPlace {
    /// The Kubernetes API.
    Kubernetes,
    /// The directory of `--state`.
    StateDirectory,
}

/// Something that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// The target.
    pub place: FaultPlace,
    /// Since when, in Unix seconds.
    pub since: i64,
    /// What is lost by it, and what the API server says: a missing right by its verb and resource.
    pub message: String,
}

/// The faults of one replica, by the resource that cannot be written. All clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Faults(watch::Sender<BTreeMap<String, Failing>>);

impl Faults {
    /// What cannot be written now, and later.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<String, Failing>> {
        self.0.subscribe()
    }

    /// What cannot be written now.
    #[must_use]
    pub fn now(&self) -> BTreeMap<String, Failing> {
        self.0.borrow().clone()
    }

    /// A write of this resource of the Kubernetes API failed; `lost` is the consequence, for the message.
    pub fn failed(&self, resource: &str, lost: &str, why: &str) {
        self.failed_in(FaultPlace::Kubernetes, resource, lost, why);
    }

    /// A write failed.
    pub fn failed_in(&self, place: FaultPlace, resource: &str, lost: &str, why: &str) {
        let message = format!("{lost}: {why}");
        self.0.send_if_modified(|faults| {
            let before = faults.get(resource);
            if before.is_some_and(|before| before.message == message) {
                return false;
            }
            tracing::warn!(resource, why, "{lost}");
            let since = before.map_or_else(unix_now, |before| before.since);
            let failing = Failing {
                place,
                since,
                message,
            };
            faults.insert(resource.to_owned(), failing);
            true
        });
    }

    /// A write of this resource went well.
    pub fn well(&self, resource: &str) {
        self.0.send_if_modified(|faults| {
            let failed = faults.remove(resource).is_some();
            if failed {
                tracing::info!(resource, "written again");
            }
            failed
        });
    }
}
