//! The watch of the module in `--wasm`: a new file replaces the module of running proxies.
//!
//! Invariant: every module that is offered is complete. A changed file is read after two checks in a row find it unchanged, because it
//! may be incomplete. A broken module changes nothing but the problem that `status` shows.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use headgate_publisher::{ModuleProblem, Offered};
use headgate_source::files::{Stamp, stamp};
use headgate_translate::Code;
use tokio::sync::watch;

use super::{ModuleError, offer, path_in};
use crate::config::ModuleDelivery;

/// Time between two checks of the file.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// The directory of the module, and the module that was read from it.
#[derive(Debug)]
pub(crate) struct ModuleWatcher {
    dir: PathBuf,
    delivery: ModuleDelivery,
    /// The stamp at the last check; `None` if there was no file.
    checked: Option<Stamp>,
    /// The stamp at the last read.
    read: Option<Stamp>,
    offered: watch::Sender<Offered>,
}

impl ModuleWatcher {
    /// Offers the module of `dir` for the first time.
    ///
    /// # Errors
    /// [`ModuleError`]: there is no last valid module to fall back to.
    pub(crate) fn new(dir: &Path, delivery: &ModuleDelivery) -> Result<Self, ModuleError> {
        // Before the content: the next check finds what is written after this one.
        let stamp = stamp(&path_in(dir)).ok();
        let module = offer(dir, delivery)?;
        Ok(Self {
            dir: dir.to_owned(),
            delivery: delivery.clone(),
            checked: stamp,
            read: stamp,
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

    /// Checks the file until the last subscriber is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.offered.closed() => return,
                () = tokio::time::sleep(CHECK_EVERY) => self.check(),
            }
        }
    }

    fn check(&mut self) {
        let stamp = stamp(&path_in(&self.dir)).ok();
        let unchanged = std::mem::replace(&mut self.checked, stamp) == stamp;
        if !unchanged || stamp == self.read {
            return;
        }
        self.read = stamp;
        let read = offer(&self.dir, &self.delivery);
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
            let watched = ModuleWatcher::new(dir.path(), &ModuleDelivery::SharedDirectory).unwrap();
            Self { dir, watched }
        }

        fn write(&self, bytes: &[u8]) {
            std::fs::write(self.dir.path().join("headgate.wasm"), bytes).unwrap();
        }

        fn check(&mut self) -> Offered {
            self.watched.check();
            self.watched.offered.borrow().clone()
        }
    }

    #[test]
    fn a_replaced_module_is_offered_once_it_is_complete() {
        let mut dir = Dir::new();
        let first = dir.check();
        dir.write(&module(b"the second"));
        assert_eq!(
            dir.check(),
            first,
            "it may be incomplete, because the writer has not finished it"
        );
        dir.write(&module(b"the second, longer"));
        assert_eq!(dir.check(), first, "it was still being written");
        let second = dir.check();
        assert_ne!(second.module, first.module);
        assert_eq!(dir.check(), second);
    }

    #[test]
    fn a_broken_module_keeps_the_last_good_one_and_is_reported_until_it_is_repaired() {
        let mut dir = Dir::new();
        let first = dir.check();
        let second = module(b"the second");
        for broken in [&second[..second.len() - 5], b"<html>", b""] {
            dir.write(broken);
            dir.check();
            let offered = dir.check();
            assert_eq!(offered.module, first.module);
            let problem = offered.problem.unwrap();
            assert!(problem.message.contains("headgate.wasm"), "{problem:?}");
        }
        std::fs::remove_file(dir.dir.path().join("headgate.wasm")).unwrap();
        dir.check();
        assert!(dir.check().problem.unwrap().message.contains("make wasm"));
        dir.write(&second);
        dir.check();
        let repaired = dir.check();
        assert_eq!(repaired.problem, None);
        assert_ne!(repaired.module, first.module);
    }
}
