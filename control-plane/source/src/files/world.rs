//! The thread of the file source: receives file notifications, reads files and publishes worlds.
//!
//! Invariant: it never blocks on a file. A file that cannot be read keeps its last good content, is reported, and is tried again
//! at each scan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind};
use tokio::sync::watch;

use super::directories::Directories;
use super::reducer::Reducer;
use super::scan::{self, Stamp, Tree, is_manifest, stamp};
use super::settle::{Settle, Touch};
use super::watcher::{FilesError, Options};
use headgate_kubernetes::clock::unix_now;
use headgate_model::Observed;

/// What the thread is told.
pub(crate) enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// Everything the thread owns.
pub(crate) struct World {
    options: Options,
    reducer: Reducer,
    settle: Settle,
    /// The files that were read; `None` where reading failed, which is tried again in each round.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    directories: Directories,
    /// Directories that cannot be read.
    lost: BTreeSet<PathBuf>,
}

impl World {
    /// Watches first and reads then, so that no change falls between the two.
    pub(crate) fn open(
        options: Options,
        events: Option<&Sender<Message>>,
    ) -> Result<Self, FilesError> {
        let watcher = events.and_then(|events| {
            let events = events.clone();
            let hear = move |event| {
                let _ = events.send(Message::Event(event));
            };
            notify::recommended_watcher(hear)
                .inspect_err(
                    |error| tracing::warn!(%error, "file notifications are unavailable; polling instead"),
                )
                .ok()
        });
        let mut options = options;
        let state = options.state.clone();
        options.directories.extend(state.clone());
        let shown = state.as_ref().map(|state| state.display().to_string());
        let reducer = Reducer::new(options.default_namespace.clone(), options.keys.clone());
        let mut world = Self {
            reducer: reducer.remembering(shown),
            settle: Settle::new(options.quiet),
            stamps: BTreeMap::new(),
            directories: Directories::new(watcher),
            lost: BTreeSet::new(),
            options,
        };
        for root in world.options.directories.clone() {
            let tree = match world.watched_tree(&root) {
                Ok(tree) => tree,
                // Without the directory nothing is stored; its writer reports the problem.
                Err(error) if Some(&root) == state.as_ref() => {
                    if events.is_none() {
                        let shown = root.display().to_string();
                        world.reducer.lost(&shown, &error.to_string(), unix_now());
                    }
                    continue;
                }
                Err(source) => {
                    let directory = root.clone();
                    return Err(FilesError::Directory { directory, source });
                }
            };
            world.enter(&root, &tree);
            for file in tree.files {
                world.read(&file, Touch::Whole);
            }
        }
        world.await_writers();
        Ok(world)
    }

    /// Waits, at the start, for files that were being written while they were read: the first world should include them.
    fn await_writers(&mut self) {
        for _ in 0..4 {
            let Some(due) = self.settle.next() else {
                return;
            };
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            for (file, touch) in self.settle.take_due(Instant::now()) {
                self.read(&file, touch);
            }
        }
    }

    pub(crate) fn first(&self) -> Observed {
        // No world was published before, so the first one is always news.
        self.reducer
            .observe(&Observed::default())
            .unwrap_or_default()
    }

    pub(crate) fn run(
        &mut self,
        messages: &Receiver<Message>,
        publish: &watch::Sender<Arc<Observed>>,
    ) {
        let mut round = Instant::now() + self.options.poll;
        let mut published = self.reducer.revision();
        loop {
            let wake = self.settle.next().map_or(round, |due| due.min(round));
            let first = messages.recv_timeout(wake.saturating_duration_since(Instant::now()));
            if matches!(first, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            // Drained in one go: even reading a file causes notifications.
            for message in first.into_iter().chain(messages.try_iter()) {
                match message {
                    Message::Event(event) => self.hear_of(event),
                    Message::Stop => return,
                }
            }
            if Instant::now() >= round {
                self.look_round(Touch::Writing);
                round = Instant::now() + self.options.poll;
            }
            for (file, touch) in self.settle.take_due(Instant::now()) {
                self.read(&file, touch);
            }
            // The cost of a world grows with its objects, so one is built only if it may differ.
            if published != self.reducer.revision() {
                published = self.reducer.revision();
                let next = self.reducer.observe(&publish.borrow());
                if let Some(next) = next {
                    publish.send_replace(Arc::new(next));
                }
            }
        }
    }

    fn hear_of(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) => self.hear(&event),
            Err(error) => {
                tracing::warn!(%error, "file notifications were lost; scanning all directories");
                self.look_round(Touch::Writing);
            }
        }
    }

    fn hear(&mut self, event: &Event) {
        if event.need_rescan() {
            return self.look_round(Touch::Writing);
        }
        let touch = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
            | EventKind::Remove(_) => Touch::Whole,
            EventKind::Access(_) => return,
            _ => Touch::Writing,
        };
        // A change of mode or owner does not tell that a writer is done.
        let idle_only = matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_)));
        let moved = matches!(
            event.kind,
            EventKind::Create(CreateKind::Folder) | EventKind::Modify(ModifyKind::Name(_))
        );
        for path in &event.paths {
            let known = path
                .parent()
                .and_then(|parent| self.directories.named(parent));
            match (known, path.file_name()) {
                (Some(_), Some(_)) if self.options.recursive && moved && path.is_dir() => {
                    self.look_round(Touch::Whole);
                }
                (Some(directory), Some(name)) if is_manifest(path) => {
                    let (file, now) = (directory.join(name), Instant::now());
                    if idle_only {
                        self.settle.touch_idle(&file, touch, now);
                    } else {
                        self.settle.touch(&file, touch, now);
                    }
                }
                // A mounted ConfigMap changes by this one rename.
                (Some(_), Some(name)) if name == "..data" => self.look_round(Touch::Whole),
                (Some(_), _) => {}
                (None, _) => self.look_round(Touch::Writing),
            }
        }
    }

    /// Lists a directory whose subdirectories are all watched. A file that appears between the listing of its directory and the
    /// start of the watch sends no notification, so a listing that started a watch is repeated.
    fn watched_tree(&mut self, root: &Path) -> std::io::Result<Tree> {
        self.directories.watch(root);
        loop {
            let tree = Tree::of(root, self.options.recursive)?;
            let mut began = false;
            for directory in &tree.directories {
                began |= self.directories.watch(directory);
            }
            if !began {
                return Ok(tree);
            }
        }
    }

    /// Whether a file belongs to this directory that was given.
    fn belongs(&self, file: &Path, root: &Path) -> bool {
        if self.options.recursive {
            file.starts_with(root)
        } else {
            file.parent() == Some(root)
        }
    }

    /// Scans for changes that no notification told: files with another stamp, deleted files and directories, and what could not be
    /// read before.
    fn look_round(&mut self, touch: Touch) {
        for root in self.options.directories.clone() {
            let tree = match self.watched_tree(&root) {
                Ok(tree) => tree,
                Err(e) => {
                    self.lose(&root, &e);
                    continue;
                }
            };
            self.enter(&root, &tree);
            let now = Instant::now();
            for file in &tree.files {
                let stamp = stamp(file).ok();
                if stamp.is_none() || self.stamps.get(file) != Some(&stamp) {
                    self.settle.touch_idle(file, touch, now);
                }
            }
            let gone = |file: &&PathBuf| {
                let away = tree.lost.iter().any(|(lost, _)| file.starts_with(lost));
                self.belongs(file, &root) && !tree.files.contains(*file) && !away
            };
            let gone: Vec<PathBuf> = self.stamps.keys().filter(gone).cloned().collect();
            for file in gone {
                self.settle.touch_idle(&file, Touch::Missing, now);
            }
        }
    }

    /// Notes which directories of a tree cannot be read, and which can be read again.
    fn enter(&mut self, root: &Path, tree: &Tree) {
        for (directory, error) in &tree.lost {
            self.lose(directory, error);
        }
        let still = |lost: &PathBuf| tree.lost.iter().any(|(directory, _)| directory == lost);
        let inside = |lost: &PathBuf| lost.starts_with(root);
        let back: Vec<PathBuf> = self.lost.iter().cloned().collect();
        for directory in back.into_iter().filter(|d| inside(d) && !still(d)) {
            self.reducer.found(&directory.display().to_string());
            self.lost.remove(&directory);
        }
    }

    fn lose(&mut self, directory: &Path, error: &std::io::Error) {
        self.directories.forget(directory);
        // The writer of the state directory reports that one.
        if self.options.state.as_deref() == Some(directory) {
            return;
        }
        self.lost.insert(directory.to_owned());
        let shown = directory.display().to_string();
        self.reducer.lost(&shown, &error.to_string(), unix_now());
    }

    fn read(&mut self, file: &Path, touch: Touch) {
        let shown = file.display().to_string();
        let before = stamp(file).ok();
        match scan::read(file) {
            Ok(bytes) => {
                if before.is_none() || stamp(file).ok() != before {
                    // It is being written right now.
                    return self.settle.touch(file, Touch::Writing, Instant::now());
                }
                let passed = self.reducer.passed(&shown).map(str::to_owned);
                self.reducer.apply(&shown, &bytes, unix_now());
                let now = self.reducer.passed(&shown);
                if let Some(objects) = now.filter(|now| passed.as_deref() != Some(*now)) {
                    tracing::info!(file = %shown, objects, "skipped: neither policies nor workloads");
                }
                self.stamps.insert(file.to_owned(), before);
            }
            Err(refused) if refused.is_missing() => self.missing(file, &shown, touch),
            Err(refused) => {
                let why = refused.to_string();
                if self.reducer.unreadable(&shown, &why, unix_now()) {
                    tracing::warn!(file = %shown, reason = %why, "the file cannot be read");
                }
                self.stamps.insert(file.to_owned(), None);
            }
        }
    }

    /// A file counts as deleted if it is still missing after a moment and its directory can be read.
    fn missing(&mut self, file: &Path, shown: &str, touch: Touch) {
        if touch != Touch::Missing {
            return self.settle.touch(file, Touch::Missing, Instant::now());
        }
        let directory = file.parent().unwrap_or(Path::new("."));
        match std::fs::read_dir(directory) {
            Ok(_) => self.forget(file, shown),
            Err(e) if self.removed(directory, &e) => self.forget(file, shown),
            Err(e) => self.lose(directory, &e),
        }
    }

    fn forget(&mut self, file: &Path, shown: &str) {
        self.reducer.remove(shown);
        self.stamps.remove(file);
    }

    /// Whether a subdirectory was removed while the directory that was given still exists.
    fn removed(&mut self, directory: &Path, error: &std::io::Error) -> bool {
        let mut roots = self.options.directories.iter();
        let below = roots.find(|root| directory.starts_with(root) && *root != directory);
        let gone = error.kind() == std::io::ErrorKind::NotFound
            && below.is_some_and(|root| std::fs::read_dir(root).is_ok());
        if gone {
            self.directories.forget(directory);
        }
        gone
    }
}
