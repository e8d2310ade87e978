//! The worker of the file source: receives file notifications, reads files and publishes observations.
//!
//! Invariant: it never blocks on a file. A file that cannot be read keeps its last valid content, is reported, and is read again at each
//! scan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind};
use tokio::sync::watch;

use super::directories::Directories;
use super::options::{FilesError, Options};
use super::read_schedule::{FileState, ReadSchedule};
use super::reducer::Reducer;
use super::scan::{self, Stamp, Tree, is_manifest, stamp};
use headgate_kubernetes::clock::unix_now;
use headgate_kubernetes::log_limit::LogLimit;
use headgate_model::Observed;

/// The shortest time between two log lines on lost notifications.
const LOST_EVENTS_LOG: Duration = Duration::from_secs(60);

/// A message to the worker.
pub(crate) enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// The state of the worker.
pub(crate) struct FileWorker {
    options: Options,
    reducer: Reducer,
    schedule: ReadSchedule,
    /// The stamps of the files that were read; `None` where reading failed, which is repeated at each scan.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    directories: Directories,
    /// Directories that cannot be read.
    unreadable: BTreeSet<PathBuf>,
    lost_events_log: LogLimit,
}

impl FileWorker {
    /// Starts the watches and then reads, so that no change is missed.
    pub(crate) fn open(
        options: Options,
        events: Option<&Sender<Message>>,
    ) -> Result<Self, FilesError> {
        let watcher = events.and_then(|events| {
            let events = events.clone();
            let send = move |event| {
                let _ = events.send(Message::Event(event));
            };
            notify::recommended_watcher(send)
                .inspect_err(|error| {
                    let poll_ms = u64::try_from(options.poll.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(%error, poll_ms, "file notifications are unavailable; polling");
                })
                .ok()
        });
        let mut options = options;
        let state = options.state.clone();
        options.directories.extend(state.clone());
        let shown = state.as_ref().map(|state| state.display().to_string());
        let reducer = Reducer::new(options.default_namespace.clone(), options.keys.clone());
        let mut worker = Self {
            reducer: reducer.with_state_directory(shown),
            schedule: ReadSchedule::new(options.quiet),
            stamps: BTreeMap::new(),
            directories: Directories::new(watcher),
            unreadable: BTreeSet::new(),
            lost_events_log: LogLimit::new(LOST_EVENTS_LOG),
            options,
        };
        for root in worker.options.directories.clone() {
            let tree = match worker.watched_tree(&root) {
                Ok(tree) => tree,
                // The writer of the state directory creates it and reports problems.
                Err(error) if Some(&root) == state.as_ref() => {
                    if events.is_none() {
                        let shown = root.display().to_string();
                        worker
                            .reducer
                            .directory_unreadable(&shown, &error.to_string(), unix_now());
                    }
                    continue;
                }
                Err(source) => {
                    let directory = root.clone();
                    return Err(FilesError::Directory { directory, source });
                }
            };
            worker.track(&root, &tree);
            for file in tree.files {
                worker.read(&file, FileState::Complete);
            }
        }
        worker.await_writers();
        Ok(worker)
    }

    /// Waits, at the start, for files that were being written while they were read: the first observation should include them.
    fn await_writers(&mut self) {
        for _ in 0..4 {
            let Some(due) = self.schedule.next() else {
                return;
            };
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            for (file, touch) in self.schedule.take_due(Instant::now()) {
                self.read(&file, touch);
            }
        }
    }

    pub(crate) fn first(&self) -> Observed {
        // Nothing was published before, so there is always an observation.
        self.reducer
            .observe(&Observed::default())
            .unwrap_or_default()
    }

    pub(crate) fn run(
        &mut self,
        messages: &Receiver<Message>,
        publish: &watch::Sender<Arc<Observed>>,
    ) {
        let mut next_scan = Instant::now() + self.options.poll;
        let mut published = self.reducer.revision();
        loop {
            let wake = self
                .schedule
                .next()
                .map_or(next_scan, |due| due.min(next_scan));
            let first = messages.recv_timeout(wake.saturating_duration_since(Instant::now()));
            if matches!(first, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            // All pending messages are handled together: even reading a file causes notifications.
            for message in first.into_iter().chain(messages.try_iter()) {
                match message {
                    Message::Event(event) => self.handle(event),
                    Message::Stop => return,
                }
            }
            if Instant::now() >= next_scan {
                self.rescan(FileState::Writing);
                next_scan = Instant::now() + self.options.poll;
            }
            for (file, touch) in self.schedule.take_due(Instant::now()) {
                self.read(&file, touch);
            }
            // The cost of an observation grows with its objects, so one is built only after a change.
            if published != self.reducer.revision() {
                published = self.reducer.revision();
                let next = self.reducer.observe(&publish.borrow());
                if let Some(next) = next {
                    publish.send_replace(Arc::new(next));
                }
            }
        }
    }

    fn handle(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) => self.handle_event(&event),
            Err(error) => {
                if let Some(suppressed) = self.lost_events_log.pass() {
                    tracing::warn!(%error, suppressed, "file notifications were lost; scanning all directories");
                }
                self.rescan(FileState::Writing);
            }
        }
    }

    fn handle_event(&mut self, event: &Event) {
        if event.need_rescan() {
            return self.rescan(FileState::Writing);
        }
        let state = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
            | EventKind::Remove(_) => FileState::Complete,
            EventKind::Access(_) => return,
            _ => FileState::Writing,
        };
        // A change of mode or owner does not mean that a write is complete.
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
                    self.rescan(FileState::Complete);
                }
                (Some(directory), Some(name)) if is_manifest(path) => {
                    let (file, now) = (directory.join(name), Instant::now());
                    if idle_only {
                        self.schedule.touch_idle(&file, state, now);
                    } else {
                        self.schedule.touch(&file, state, now);
                    }
                }
                // The kubelet updates a mounted ConfigMap by this rename.
                (Some(_), Some(name)) if name == "..data" => self.rescan(FileState::Complete),
                (Some(_), _) => {}
                (None, _) => self.rescan(FileState::Writing),
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

    /// Whether a file belongs to this configured directory.
    fn belongs(&self, file: &Path, root: &Path) -> bool {
        if self.options.recursive {
            file.starts_with(root)
        } else {
            file.parent() == Some(root)
        }
    }

    /// Scans for changes without notifications: files with another stamp, deleted files and directories, and files that could not be read
    /// before.
    fn rescan(&mut self, state: FileState) {
        for root in self.options.directories.clone() {
            let tree = match self.watched_tree(&root) {
                Ok(tree) => tree,
                Err(e) => {
                    self.mark_unreadable(&root, &e);
                    continue;
                }
            };
            self.track(&root, &tree);
            let now = Instant::now();
            for file in &tree.files {
                let stamp = stamp(file).ok();
                if stamp.is_none() || self.stamps.get(file) != Some(&stamp) {
                    self.schedule.touch_idle(file, state, now);
                }
            }
            let gone = |file: &&PathBuf| {
                let away = tree
                    .unreadable
                    .iter()
                    .any(|(lost, _)| file.starts_with(lost));
                self.belongs(file, &root) && !tree.files.contains(*file) && !away
            };
            let gone: Vec<PathBuf> = self.stamps.keys().filter(gone).cloned().collect();
            for file in gone {
                self.schedule.touch_idle(&file, FileState::Missing, now);
            }
        }
        self.directories.prune();
    }

    /// Updates which directories of a tree cannot be read.
    fn track(&mut self, root: &Path, tree: &Tree) {
        for (directory, error) in &tree.unreadable {
            self.mark_unreadable(directory, error);
        }
        let still = |lost: &PathBuf| {
            tree.unreadable
                .iter()
                .any(|(directory, _)| directory == lost)
        };
        let inside = |lost: &PathBuf| lost.starts_with(root);
        let back: Vec<PathBuf> = self.unreadable.iter().cloned().collect();
        for directory in back.into_iter().filter(|d| inside(d) && !still(d)) {
            self.reducer
                .directory_readable(&directory.display().to_string());
            self.unreadable.remove(&directory);
        }
    }

    fn mark_unreadable(&mut self, directory: &Path, error: &std::io::Error) {
        self.directories.forget(directory);
        // The writer of the state directory reports that one.
        if self.options.state.as_deref() == Some(directory) {
            return;
        }
        self.unreadable.insert(directory.to_owned());
        let shown = directory.display().to_string();
        self.reducer
            .directory_unreadable(&shown, &error.to_string(), unix_now());
    }

    fn read(&mut self, file: &Path, state: FileState) {
        let shown = file.display().to_string();
        let before = stamp(file).ok();
        match scan::read(file) {
            Ok(bytes) => {
                if before.is_none() || stamp(file).ok() != before {
                    // The file changed during the read.
                    return self
                        .schedule
                        .touch(file, FileState::Writing, Instant::now());
                }
                let before_objects = self.reducer.unrelated(&shown).map(str::to_owned);
                self.reducer.apply(&shown, &bytes, unix_now());
                let now = self.reducer.unrelated(&shown);
                if let Some(objects) = now.filter(|now| before_objects.as_deref() != Some(*now)) {
                    tracing::info!(file = %shown, detail = objects, "objects skipped: neither policies nor workloads");
                }
                self.stamps.insert(file.to_owned(), before);
            }
            Err(error) if error.is_missing() => self.missing(file, &shown, state),
            Err(error) => {
                let why = error.to_string();
                self.reducer.unreadable(&shown, &why, unix_now());
                self.stamps.insert(file.to_owned(), None);
            }
        }
    }

    /// A file counts as deleted if it is still missing after a moment and its directory can be read.
    fn missing(&mut self, file: &Path, shown: &str, state: FileState) {
        if state != FileState::Missing {
            return self
                .schedule
                .touch(file, FileState::Missing, Instant::now());
        }
        let directory = file.parent().unwrap_or(Path::new("."));
        match std::fs::read_dir(directory) {
            Ok(_) => self.forget(file, shown),
            Err(e) if self.removed(directory, &e) => self.forget(file, shown),
            Err(e) => self.mark_unreadable(directory, &e),
        }
    }

    fn forget(&mut self, file: &Path, shown: &str) {
        self.reducer.remove(shown);
        self.stamps.remove(file);
    }

    /// Whether a subdirectory was removed while the configured directory still exists.
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
