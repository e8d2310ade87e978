//! Progress of the lists of one watch, as its reducer sees it.

use std::collections::BTreeSet;

/// The lists of one watch. `K` identifies an object of the kind.
#[derive(Debug, Clone)]
pub struct Listing<K> {
    synced: bool,
    absent: bool,
    listed: Option<BTreeSet<K>>,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self {
            synced: false,
            absent: false,
            listed: None,
        }
    }
}

impl<K: Ord> Listing<K> {
    /// Whether the kind was listed at least once, or its absence or refusal is known.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Whether the API server does not serve the kind.
    pub fn is_absent(&self) -> bool {
        self.absent
    }

    /// A list begins.
    pub fn begin(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    /// The list contains this object.
    pub fn add(&mut self, key: K) {
        if let Some(listed) = &mut self.listed {
            listed.insert(key);
        }
    }

    /// The list is complete: returns its objects.
    pub fn complete(&mut self) -> BTreeSet<K> {
        (self.synced, self.absent) = (true, false);
        self.listed.take().unwrap_or_default()
    }

    /// The API server does not serve the kind.
    pub fn set_absent(&mut self) {
        (self.synced, self.absent) = (true, true);
        self.listed = None;
    }

    /// Nothing waits for the kind.
    pub fn waive(&mut self) {
        self.synced = true;
    }
}
