//! Which model versions are not asked to report usage, because they refused a request that was made to ask.
//!
//! Shared by all workers once a second, and kept for the life of the process.

use crate::ports::Cells;
use crate::rates::Served;

/// Key of the list in shared data.
const KEY: &str = "headgate.unasked/1";
/// Most versions remembered.
const MAX_VERSIONS: usize = 1024;
/// Tries of a write; what is lost goes with the next.
const TRIES: usize = 8;

/// The versions, as this worker knows them.
#[derive(Debug, Default)]
pub(crate) struct Unasked {
    versions: Vec<String>,
    /// This worker knows more than the others.
    news: bool,
}

impl Unasked {
    /// Whether this version is observed instead.
    pub(crate) fn contains(&self, served: &Served) -> bool {
        !self.versions.is_empty() && self.versions.contains(&line(served))
    }

    /// This version refused.
    pub(crate) fn insert(&mut self, served: &Served) {
        self.news |= self.add(line(served));
    }

    /// Whether it was not known yet.
    fn add(&mut self, version: String) -> bool {
        let new = self.versions.len() < MAX_VERSIONS && !self.versions.contains(&version);
        if new {
            self.versions.push(version);
        }
        new
    }

    /// Tells the other workers, and learns from them.
    pub(crate) fn tick<C: Cells + ?Sized>(&mut self, cells: &C) {
        for _ in 0..TRIES {
            let stored = cells.get(KEY);
            let bytes = stored.as_ref().map_or(&[][..], |(bytes, _)| bytes);
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            for version in text.lines() {
                self.add(version.to_owned());
            }
            if !self.news {
                return;
            }
            let all: String = self.versions.iter().map(|v| format!("{v}\n")).collect();
            if cells.swap(KEY, all.as_bytes(), stored.map(|s| s.1)).is_ok() {
                self.news = false;
                return;
            }
        }
    }
}

/// Labels have neither slashes nor line ends.
fn line((namespace, model, version): &Served) -> String {
    format!("{namespace}/{model}/{version}")
}
