//! Model versions that refused a request with `stream_options.include_usage`. Their requests are not amended until Envoy
//! restarts. Workers exchange the list once a second.

use crate::ports::Cells;
use crate::rates::Served;

/// Key of the list in shared data.
const KEY: &str = "headgate.usage-refusals/1";
/// Greatest number of versions in the list.
const MAX_VERSIONS: usize = 1024;
/// Compare-and-swap attempts in one tick. Changes that are not written go with the next tick.
const TRIES: usize = 8;

/// The list, as this worker knows it.
#[derive(Debug, Default)]
pub(crate) struct UsageRefusals {
    versions: Vec<String>,
    /// The list has versions that the other workers may not have.
    dirty: bool,
}

impl UsageRefusals {
    /// Whether this version is in the list.
    pub(crate) fn contains(&self, served: &Served) -> bool {
        !self.versions.is_empty() && self.versions.contains(&line(served))
    }

    /// Adds a version.
    pub(crate) fn insert(&mut self, served: &Served) {
        self.dirty |= self.add(line(served));
    }

    /// Adds a version. Returns whether it is new.
    fn add(&mut self, version: String) -> bool {
        let new = self.versions.len() < MAX_VERSIONS && !self.versions.contains(&version);
        if new {
            self.versions.push(version);
        }
        new
    }

    /// Exchanges the list with the other workers.
    pub(crate) fn tick<C: Cells + ?Sized>(&mut self, cells: &C) {
        for _ in 0..TRIES {
            let stored = cells.get(KEY);
            let bytes = stored.as_ref().map_or(&[][..], |(bytes, _)| bytes);
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            for version in text.lines() {
                self.add(version.to_owned());
            }
            if !self.dirty {
                return;
            }
            let all: String = self.versions.iter().map(|v| format!("{v}\n")).collect();
            if cells.swap(KEY, all.as_bytes(), stored.map(|s| s.1)).is_ok() {
                self.dirty = false;
                return;
            }
        }
    }
}

/// A version as a line of the list. Labels contain neither slashes nor line ends.
fn line((namespace, model, version): &Served) -> String {
    format!("{namespace}/{model}/{version}")
}
