//! Directories that are watched for file notifications, and their configured names.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Directories that cannot be watched, and were reported. Each scan tries them again.
    unwatched: BTreeSet<PathBuf>,
}

impl Directories {
    pub(crate) fn new(watcher: Option<notify::RecommendedWatcher>) -> Self {
        Self {
            watcher,
            absolute: BTreeMap::new(),
            watched: BTreeMap::new(),
            unwatched: BTreeSet::new(),
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
                if self.recovered(directory) {
                    tracing::info!(file = %directory.display(), "file notifications are available again for a directory");
                }
                true
            }
            Err(error) => {
                if self.failed(directory) {
                    tracing::warn!(%error, file = %directory.display(), "file notifications are unavailable for a directory; polling it");
                }
                false
            }
        }
    }

    /// Whether this failure is to be logged: each scan tries the directory again.
    fn failed(&mut self, directory: &Path) -> bool {
        self.unwatched.insert(directory.to_owned())
    }

    /// Whether a failure was logged before.
    fn recovered(&mut self, directory: &Path) -> bool {
        self.unwatched.remove(directory)
    }

    /// Forgets reports of directories that no longer exist.
    pub(crate) fn prune(&mut self) {
        self.unwatched.retain(|directory| directory.exists());
    }

    /// Forgets a directory that is gone or cannot be read: if it returns, it is watched again.
    pub(crate) fn forget(&mut self, directory: &Path) {
        self.watched.remove(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_watched_is_logged_once_until_it_can() {
        let mut directories = Directories::new(None);
        let (a, b) = (Path::new("a"), Path::new("b"));
        assert!(directories.failed(a) && directories.failed(b));
        assert!(!directories.failed(a), "each scan fails again");
        assert!(directories.recovered(a) && !directories.recovered(a));
        assert!(directories.failed(a));
        directories.prune();
        assert!(directories.unwatched.is_empty(), "neither exists");
    }
}
