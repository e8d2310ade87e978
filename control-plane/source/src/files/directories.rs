//! Directories that are watched for file notifications, and their configured names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use notify::{RecursiveMode, Watcher as _};

use super::scan::stamp;

/// The watched directories: the configured ones and, if enabled, their subdirectories.
pub(crate) struct Directories {
    watcher: Option<notify::RecommendedWatcher>,
    /// Configured names by absolute path, which notifications contain.
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

    /// The configured name of the directory in a notification.
    pub(crate) fn named(&self, absolute: &Path) -> Option<&PathBuf> {
        self.absolute.get(absolute)
    }

    /// Watches a directory that is new, was recreated or replaced. Returns whether a watch began: an earlier listing is outdated then.
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
        // This fails if the directory was replaced, which ended the watch.
        let _ = watcher.unwatch(directory);
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(directory.to_owned(), inode);
                true
            }
            Err(error) => {
                tracing::warn!(%error, directory = %directory.display(), "file notifications are unavailable for a directory; polling it");
                false
            }
        }
    }

    /// Forgets a directory that is gone or cannot be read: if it returns, it is watched again.
    pub(crate) fn forget(&mut self, directory: &Path) {
        self.watched.remove(directory);
    }
}
