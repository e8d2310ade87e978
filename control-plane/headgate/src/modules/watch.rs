//! Watch on the module in `--wasm`: a file that is moved into place is a hot swap.
//!
//! Invariant: what is offered was read as a whole. While a file is being written, the watch waits: a change counts once two looks in
//! a row found the same file. A broken module changes nothing but the problem that `status` shows.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use headgate_publisher::{ModuleProblem, Offered};
use headgate_translate::Code;
use tokio::sync::watch;

use super::{ModuleError, offer, path_in};

/// Time between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What tells one writing of a file from another: size, time and inode; `None` for a file that is not there.
type Stamp = Option<(u64, SystemTime, u64)>;

/// The directory of the module, and what was read from it.
#[derive(Debug)]
pub(crate) struct ModuleWatcher {
    dir: PathBuf,
    inline: bool,
    seen: Stamp,
    taken: Stamp,
    offered: watch::Sender<Offered>,
}

impl ModuleWatcher {
    /// Offers the module of `dir` for the first time.
    ///
    /// # Errors
    /// [`ModuleError`]: there is no last valid module to fall back to.
    pub(crate) fn new(dir: &Path, inline: bool) -> Result<Self, ModuleError> {
        // Before the content: the next look sees what is written after this one.
        let stamp = stamp(&path_in(dir));
        let module = offer(dir, inline)?;
        Ok(Self {
            dir: dir.to_owned(),
            inline,
            seen: stamp,
            taken: stamp,
            offered: watch::Sender::new(Offered {
                module,
                problem: None,
            }),
        })
    }

    /// The offered module, now and later.
    pub(crate) fn offered(&self) -> watch::Receiver<Offered> {
        self.offered.subscribe()
    }

    /// Looks at the file until nobody subscribes any more.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.offered.closed() => return,
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let stamp = stamp(&path_in(&self.dir));
        let quiet = std::mem::replace(&mut self.seen, stamp) == stamp;
        if !quiet || stamp == self.taken {
            return;
        }
        self.taken = stamp;
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
        Err(error) => Offered {
            module: offered.module.clone(),
            problem: Some(ModuleProblem {
                message: error.to_string(),
                since: SystemTime::now(),
            }),
        },
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

        fn look(&mut self) -> Offered {
            self.watched.look();
            self.watched.offered.borrow().clone()
        }
    }

    #[test]
    fn a_replaced_module_is_offered_once_it_is_quiet() {
        let mut dir = Dir::new();
        let first = dir.look();
        dir.write(&module(b"the second"));
        assert_eq!(dir.look(), first, "its writer may still be at work");
        dir.write(&module(b"the second, longer"));
        assert_eq!(dir.look(), first, "its writer was still at work");
        let second = dir.look();
        assert_ne!(second.module, first.module);
        assert_eq!(dir.look(), second);
    }

    #[test]
    fn a_broken_module_keeps_the_last_good_one_and_is_reported_until_it_is_mended() {
        let mut dir = Dir::new();
        let first = dir.look();
        let second = module(b"the second");
        for broken in [&second[..second.len() - 5], b"<html>", b""] {
            dir.write(broken);
            dir.look();
            let offered = dir.look();
            assert_eq!(offered.module, first.module);
            let problem = offered.problem.unwrap();
            assert!(problem.message.contains("headgate.wasm"), "{problem:?}");
        }
        std::fs::remove_file(dir.dir.path().join("headgate.wasm")).unwrap();
        dir.look();
        assert!(dir.look().problem.unwrap().message.contains("make wasm"));
        dir.write(&second);
        dir.look();
        let mended = dir.look();
        assert_eq!(mended.problem, None);
        assert_ne!(mended.module, first.module);
    }
}
