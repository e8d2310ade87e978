//! Directories that are watched for file notifications, and the names under which they were given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use notify::{RecursiveMode, Watcher as _};

use super::scan::stamp;

/// The directories that are watched: those that were named and, if asked for, those below them.
pub(crate) struct Directories {
    watcher: Option<notify::RecommendedWatcher>,
    /// By absolute path, as notifications give it.
    absolute: BTreeMap<PathBuf, PathBuf>,
    /// Inode of each watched directory. Another inode means that the directory was replaced.
    watched: BTreeMap<PathBuf, u64>,
}

impl Directories {
    pub(crate) fn new(watcher: Option<notify::RecommendedWatcher>) -> Self {
        Self {
            watcher,
            absolute: BTreeMap::new(),
            watched: BTreeMap::new(),
        }
    }

    /// The directory of a notification, by the name that was given to the source.
    pub(crate) fn named(&self, absolute: &Path) -> Option<&PathBuf> {
        self.absolute.get(absolute)
    }

    /// Watches a directory that is new, came back or was replaced by another one. Returns whether a watch began: what was
    /// listed before is then out of date.
    pub(crate) fn watch(&mut self, directory: &Path) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let Ok((_, _, inode)) = stamp(directory) else {
            return false;
        };
        if self.watched.get(directory) == Some(&inode) {
            return false;
        }
        if let Ok(absolute) = std::path::absolute(directory) {
            self.absolute.insert(absolute, directory.to_owned());
        }
        // It fails where the directory was replaced, which ended the watch already.
        let _ = watcher.unwatch(directory);
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(directory.to_owned(), inode);
                true
            }
            Err(error) => {
                tracing::warn!(%error, directory = %directory.display(), "file notifications are unavailable for this directory; polling it");
                false
            }
        }
    }

    /// Forgets a directory that is gone or cannot be read: a later one of the same name is watched anew.
    pub(crate) fn forget(&mut self, directory: &Path) {
        self.watched.remove(directory);
    }
}
