//! Looks whether the modules in `--wasm` were replaced, and offers the new ones: a hot swap is a file moved into place.
//!
//! Invariant: what is offered was read whole. A writer at work is waited for: a change counts once two looks in a
//! row found the files the same; broken modules change nothing but the problem that `status` shows.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use headgate_publisher::{ModuleProblem, Offered};
use headgate_translate::Modules;
use tokio::sync::watch;

use super::{ModuleError, NAMES, offer};

/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What tells one writing of a file from another: size, time and inode; `None` for a file that is not there.
type Stamp = Option<(u64, SystemTime, u64)>;
type Stamps = [Stamp; NAMES.len()];

/// A directory of modules, and what was taken from it.
#[derive(Debug)]
pub(crate) struct Watched {
    dir: PathBuf,
    inline: bool,
    seen: Stamps,
    taken: Stamps,
    offered: watch::Sender<Offered>,
}

impl Watched {
    /// Offers the modules of `dir` for the first time.
    ///
    /// # Errors
    /// [`ModuleError`]: there is no last good module to fall back to.
    pub(crate) fn new(dir: &Path, inline: bool) -> Result<Self, ModuleError> {
        // Before the content: what is written after this look is seen by the next.
        let stamps = stamps(dir);
        let modules = offer(dir, inline)?;
        Ok(Self {
            dir: dir.to_owned(),
            inline,
            seen: stamps,
            taken: stamps,
            offered: watch::Sender::new(Offered {
                modules,
                problem: None,
            }),
        })
    }

    /// What is offered, now and later.
    pub(crate) fn offered(&self) -> watch::Receiver<Offered> {
        self.offered.subscribe()
    }

    /// Looks round until nobody wants to know any more.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.offered.closed() => return,
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let stamps = stamps(&self.dir);
        let quiet = std::mem::replace(&mut self.seen, stamps) == stamps;
        if !quiet || stamps == self.taken {
            return;
        }
        self.taken = stamps;
        let read = offer(&self.dir, self.inline);
        self.offered.send_if_modified(|offered| {
            let next = after(offered, read);
            let changed = next != *offered;
            *offered = next;
            changed
        });
    }
}

/// The modules to offer after a read of the files.
fn after(offered: &Offered, read: Result<Modules, ModuleError>) -> Offered {
    {
        match read {
            Ok(modules) => {
                if modules != offered.modules {
                    tracing::info!("a module was replaced");
                }
                Offered {
                    modules,
                    problem: None,
                }
            }
            Err(error) => {
                tracing::error!(%error, "a module cannot be offered: the last good one stays");
                Offered {
                    modules: offered.modules.clone(),
                    problem: Some(ModuleProblem {
                        message: error.to_string(),
                        since: SystemTime::now(),
                    }),
                }
            }
        }
    }
}

fn stamps(dir: &Path) -> Stamps {
    NAMES.map(|name| stamp(&dir.join(format!("{name}.wasm"))))
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
    use crate::modules::whole::module;

    struct Dir {
        dir: tempfile::TempDir,
        watched: Watched,
    }

    impl Dir {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in NAMES {
                std::fs::write(dir.path().join(format!("{name}.wasm")), module(b"one")).unwrap();
            }
            let watched = Watched::new(dir.path(), false).unwrap();
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
        assert_ne!(second.modules.fused, first.modules.fused);
        assert_eq!(second.modules.traffic_tag, first.modules.traffic_tag);
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
            assert_eq!(offered.modules, first.modules);
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
        assert_ne!(mended.modules, first.modules);
    }
}
