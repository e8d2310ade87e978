//! When a file is whole. Pure: moments come in, due files come out.
//!
//! A writer tells with `close` (inotify), or by falling quiet. A file that vanishes is given a moment to come back:
//! editors remove and recreate. Invariant: a file that was touched is due after at most its wait from the last touch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What was seen of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Closed after writing, or moved into place: whole.
    Whole,
    /// Written to, and not closed yet.
    Writing,
    /// Not there when it was to be read.
    Missing,
}

/// Files that wait to be read.
#[derive(Debug)]
pub(crate) struct Settle {
    /// How long a file that is not closed, or not there, must stay so.
    quiet: Duration,
    waiting: BTreeMap<PathBuf, (Instant, Touch)>,
}

impl Settle {
    pub(crate) fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            waiting: BTreeMap::new(),
        }
    }

    fn wait(&self, touch: Touch) -> Duration {
        match touch {
            Touch::Whole => Duration::from_millis(5),
            Touch::Writing | Touch::Missing => self.quiet,
        }
    }

    pub(crate) fn touch(&mut self, file: &Path, touch: Touch, now: Instant) {
        let due = now + self.wait(touch);
        self.waiting.insert(file.to_owned(), (due, touch));
    }

    /// Touches only what nobody waits for: a look round must not cut a writer short.
    pub(crate) fn touch_idle(&mut self, file: &Path, touch: Touch, now: Instant) {
        if !self.waiting.contains_key(file) {
            self.touch(file, touch, now);
        }
    }

    /// When the next file is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|(due, _)| *due).min()
    }

    /// The files that are due, and what was last seen of them.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(PathBuf, Touch)> {
        let due: Vec<PathBuf> = self
            .waiting
            .iter()
            .filter(|(_, (due, _))| *due <= now)
            .map(|(file, _)| file.clone())
            .collect();
        due.into_iter()
            .filter_map(|file| self.waiting.remove(&file).map(|(_, touch)| (file, touch)))
            .collect()
    }
}
