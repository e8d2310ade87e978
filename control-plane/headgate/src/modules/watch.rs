//! Watches the module in `--wasm`, so that a new file replaces the module at run time.
//!
//! Invariant: an offered module was read completely. A change counts once two polls in a row find the same file, because a file
//! may still be written. An invalid module changes only the problem that `status` shows.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use headgate_publisher::{ModuleProblem, Offered};
use headgate_translate::Code;
use tokio::sync::watch;

use super::{ModuleError, offer, path_in};

/// The time between two polls of the file.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Size, time and inode, which distinguish two writes of a file; `None` for a missing file.
type Stamp = Option<(u64, SystemTime, u64)>;

/// The directory of the module, its stamps and the offered module.
#[derive(Debug)]
pub(crate) struct ModuleWatcher {
    dir: PathBuf,
    inline: bool,
    last_stamp: Stamp,
    read_stamp: Stamp,
    offered: watch::Sender<Offered>,
}

impl ModuleWatcher {
    /// Offers the module of `dir` for the first time.
    ///
    /// # Errors
    /// [`ModuleError`]: there is no last valid module to fall back to.
    pub(crate) fn new(dir: &Path, inline: bool) -> Result<Self, ModuleError> {
        // Before the content, so that the next poll finds a later write.
        let stamp = stamp(&path_in(dir));
        let module = offer(dir, inline)?;
        Ok(Self {
            dir: dir.to_owned(),
            inline,
            last_stamp: stamp,
            read_stamp: stamp,
            offered: watch::Sender::new(Offered {
                module,
                problem: None,
            }),
        })
    }

    /// The offered module and its changes.
    pub(crate) fn offered(&self) -> watch::Receiver<Offered> {
        self.offered.subscribe()
    }

    /// Polls the file until there are no subscribers.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.offered.closed() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => self.poll(),
            }
        }
    }

    fn poll(&mut self) {
        let stamp = stamp(&path_in(&self.dir));
        let unchanged = std::mem::replace(&mut self.last_stamp, stamp) == stamp;
        if !unchanged || stamp == self.read_stamp {
            return;
        }
        self.read_stamp = stamp;
        let read = offer(&self.dir, self.inline);
        self.offered.send_if_modified(|offered| {
            let next = after(offered, read);
            let changed = next != *offered;
            *offered = next;
            changed
        });
    }
}

/// The module to offer after a read of the file.
fn after(offered: &Offered, read: Result<Code, ModuleError>) -> Offered {
    match read {
        Ok(module) => {
            if module != offered.module {
                tracing::info!("the module was replaced");
            }
            Offered {
                module,
                problem: None,
            }
        }
        Err(error) => {
            tracing::error!(%error, "the module cannot be offered; proxies keep the last valid one");
            Offered {
                module: offered.module.clone(),
                problem: Some(ModuleProblem {
                    message: error.to_string(),
                    since: SystemTime::now(),
                }),
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;

    let found = std::fs::metadata(path).ok()?;
    Some((found.len(), found.modified().ok()?, found.ino()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::modules::completeness::module;

    struct Dir {
        dir: tempfile::TempDir,
        watched: ModuleWatcher,
    }

    impl Dir {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(path_in(dir.path()), module(b"one")).unwrap();
            let watched = ModuleWatcher::new(dir.path(), false).unwrap();
            Self { dir, watched }
        }

        fn write(&self, bytes: &[u8]) {
            std::fs::write(self.dir.path().join("headgate.wasm"), bytes).unwrap();
        }

        fn poll(&mut self) -> Offered {
            self.watched.poll();
            self.watched.offered.borrow().clone()
        }
    }

    #[test]
    fn a_replaced_module_is_offered_once_its_file_stops_changing() {
        let mut dir = Dir::new();
        let first = dir.poll();
        dir.write(&module(b"the second"));
        assert_eq!(dir.poll(), first, "the file may still be written");
        dir.write(&module(b"the second, longer"));
        assert_eq!(dir.poll(), first, "the file was still written");
        let second = dir.poll();
        assert_ne!(second.module, first.module);
        assert_eq!(dir.poll(), second);
    }

    #[test]
    fn a_broken_module_keeps_the_last_valid_one_and_is_reported_until_it_is_fixed() {
        let mut dir = Dir::new();
        let first = dir.poll();
        let second = module(b"the second");
        for broken in [&second[..second.len() - 5], b"<html>", b""] {
            dir.write(broken);
            dir.poll();
            let offered = dir.poll();
            assert_eq!(offered.module, first.module);
            let problem = offered.problem.unwrap();
            assert!(problem.message.contains("headgate.wasm"), "{problem:?}");
        }
        std::fs::remove_file(dir.dir.path().join("headgate.wasm")).unwrap();
        dir.poll();
        assert!(dir.poll().problem.unwrap().message.contains("make wasm"));
        dir.write(&second);
        dir.poll();
        let fixed = dir.poll();
        assert_eq!(fixed.problem, None);
        assert_ne!(fixed.module, first.module);
    }
}
