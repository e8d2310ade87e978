//! How the watches fare: what `status` says of the API server. It changes nothing of the world.

use std::collections::BTreeMap;

/// The watches, by what they watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiState {
    /// By `pods`, `deployments.apps`, `deployments.apps in NAMESPACE`.
    pub watches: BTreeMap<String, WatchState>,
}

/// How a watch fares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchState {
    /// Whether it has told all there is at least once.
    pub synced: bool,
    /// Whether the API server has no such kind; it is asked again from time to time.
    pub absent: bool,
    /// Why the API server does not answer it, if so.
    pub lost: Option<Lost>,
}

/// The API server does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Since when, in Unix seconds.
    pub since: i64,
    /// What it said last, or what was seen last.
    pub message: String,
}

impl ApiState {
    /// Whether every watch has told all there is at least once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.watches.values().all(|watch| watch.synced)
    }

    /// The watch that the API server does not answer for the longest time, if there is one: the world may be older than it looks.
    #[must_use]
    pub fn lost(&self) -> Option<(&str, &Lost)> {
        let lost = self
            .watches
            .iter()
            .filter_map(|(name, watch)| Some((name.as_str(), watch.lost.as_ref()?)));
        lost.min_by_key(|(_, lost)| lost.since)
    }
}
