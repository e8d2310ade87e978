//! Model versions that refused a request with `stream_options.include_usage`. They are not asked again until Envoy restarts. Workers
//! exchange the list once a second.

use crate::ports::Cells;
use crate::rates::Served;

/// Key of the list in shared data.
const KEY: &str = "headgate.usage-refusals/1";
/// Most versions remembered.
const MAX_VERSIONS: usize = 1024;
/// Compare-and-swap attempts per tick; unsent changes go with the next tick.
const TRIES: usize = 8;

/// The versions, as this worker knows them.
#[derive(Debug, Default)]
pub(crate) struct UsageRefusals {
    versions: Vec<String>,
    /// This worker knows more than the others.
    dirty: bool,
}

impl UsageRefusals {
    /// Whether this version is observed instead.
    pub(crate) fn contains(&self, served: &Served) -> bool {
        !self.versions.is_empty() && self.versions.contains(&line(served))
    }

    /// This version refused.
    pub(crate) fn insert(&mut self, served: &Served) {
        self.dirty |= self.add(line(served));
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

/// Labels have neither slashes nor line ends.
fn line((namespace, model, version): &Served) -> String {
    format!("{namespace}/{model}/{version}")
}
