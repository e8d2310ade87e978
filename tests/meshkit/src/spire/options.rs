//! The options of a trust domain and of its identities.

use std::time::Duration;

/// Options of a trust domain.
#[derive(Debug, Clone)]
pub struct SpireOptions {
    /// Its name, such as `cluster.example`.
    pub trust_domain: String,
    /// Lifetime of an X.509-SVID, at least 1 s. Agents renew one when half of it is over.
    pub svid_lifetime: Duration,
    /// Start deadline of the server and of the agent.
    pub within: Duration,
}

impl SpireOptions {
    /// A trust domain with SVIDs that live for an hour, and 60 s until ready (2 s on two idle cores).
    #[must_use]
    pub fn new(trust_domain: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            svid_lifetime: Duration::from_secs(3600),
            within: Duration::from_secs(60),
        }
    }

    /// Sets the lifetime of an X.509-SVID.
    #[must_use]
    pub fn with_svid_lifetime(mut self, lifetime: Duration) -> Self {
        self.svid_lifetime = lifetime;
        self
    }
}

/// An identity, and the foreign trust domains whose bundles its programs get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub(super) path: String,
    pub(super) federates_with: Vec<String>,
}

impl Workload {
    /// The identity with a path such as `/ns/models/sa/server`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            federates_with: Vec::new(),
        }
    }

    /// Adds a foreign trust domain.
    #[must_use]
    pub fn federates_with(mut self, trust_domain: &str) -> Self {
        self.federates_with.push(trust_domain.to_owned());
        self
    }
}
