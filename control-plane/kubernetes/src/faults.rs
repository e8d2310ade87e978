//! Failures of one replica besides those of its source: the resource, since when, and why. `headgate status` and the log report
//! them.
//!
//! Invariant: receivers are notified when a fault begins, when its reason changes and when it ends, and not with every attempt.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::clock::unix_now;

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPlace {
    /// A write to the Kubernetes API.
    Kubernetes,
    /// A write to the directory of `--state`.
    StateDirectory,
    /// Certificate, key or bundles of the xDS port.
    XdsCertificate,
    /// Certificate, key or bundles of the admin port.
    AdminCertificate,
    /// Certificate, key or bundles of the listener of proxies.
    ListenerCertificate,
    /// The file of scope rules.
    ScopeFile,
}

/// A resource that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// What fails.
    pub place: FaultPlace,
    /// Since when, in Unix seconds.
    pub since: i64,
    /// The consequence, and the reason: a missing right by its verb and resource, or the message of the API server.
    pub message: String,
}

/// The failures of one replica, by resource. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Faults(watch::Sender<BTreeMap<String, Failing>>);

impl Faults {
    /// A receiver of the resources that fail.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<String, Failing>> {
        self.0.subscribe()
    }

    /// The resources that fail now.
    #[must_use]
    pub fn now(&self) -> BTreeMap<String, Failing> {
        self.0.borrow().clone()
    }

    /// Reports that a write of this resource of the Kubernetes API failed. `lost` is the consequence, for the message.
    pub fn failed(&self, resource: &str, lost: &str, why: &str) {
        self.failed_in(FaultPlace::Kubernetes, resource, lost, why);
    }

    /// Reports that a resource fails.
    pub fn failed_in(&self, place: FaultPlace, resource: &str, lost: &str, why: &str) {
        let message = format!("{lost}: {why}");
        self.0.send_if_modified(|faults| {
            let before = faults.get(resource);
            if before.is_some_and(|before| before.message == message) {
                return false;
            }
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

    /// Reports that this resource no longer fails.
    pub fn succeeded(&self, resource: &str) {
        self.0
            .send_if_modified(|faults| faults.remove(resource).is_some());
    }
}
