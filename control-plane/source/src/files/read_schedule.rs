//! The read schedule: decides when a file is complete. Pure: times come in, due files come out.
//!
//! A writer signals completion with `close` (inotify), or stops writing. A file that vanishes has a moment to return: editors remove and
//! recreate files. Invariant: a file is due at most its wait after the last event.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The last event of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    /// It was closed after a write, or moved into place.
    Complete,
    /// It was written to and not closed yet.
    Writing,
    /// It did not exist when it was due.
    Missing,
}

/// Files that wait to be read.
#[derive(Debug)]
pub(crate) struct ReadSchedule {
    /// Wait for a file that is not closed or does not exist.
    quiet: Duration,
    waiting: BTreeMap<PathBuf, (Instant, FileState)>,
}

impl ReadSchedule {
    pub(crate) fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            waiting: BTreeMap::new(),
        }
    }

    fn wait(&self, state: FileState) -> Duration {
        match state {
            FileState::Complete => Duration::from_millis(5),
            FileState::Writing | FileState::Missing => self.quiet,
        }
    }

    pub(crate) fn touch(&mut self, file: &Path, state: FileState, now: Instant) {
        let due = now + self.wait(state);
        self.waiting.insert(file.to_owned(), (due, state));
    }

    /// Schedules a file that is not scheduled yet: a scan must not shorten the wait for a writer.
    pub(crate) fn touch_idle(&mut self, file: &Path, state: FileState, now: Instant) {
        if !self.waiting.contains_key(file) {
            self.touch(file, state, now);
        }
    }

    /// When the next file is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|(due, _)| *due).min()
    }

    /// Removes and returns the files that are due, with their last event.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(PathBuf, FileState)> {
        let due: Vec<PathBuf> = self
            .waiting
            .iter()
            .filter(|(_, (due, _))| *due <= now)
            .map(|(file, _)| file.clone())
            .collect();
        due.into_iter()
            .filter_map(|file| self.waiting.remove(&file).map(|(_, state)| (file, state)))
            .collect()
    }
}
