//! The shell of the file source: a thread that hears of changes, reads files and publishes worlds.
//!
//! Invariant: the first world is whole before [`Files::watch`] returns; later ones appear only when something changed.
//! Where no event comes (network file systems, a queue that overflowed), a slow look round finds the change.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headgate_model::LabelKeys;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::watch;

use super::observed::Observed;
use super::reducer::Reducer;
use super::scan::{Stamp, is_manifest, manifests, stamp};
use super::settle::{Settle, Touch};
use crate::clock::unix_now;

/// What to watch and how to read it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directories, such as models and policies. Any kind of object may be in any of them.
    pub directories: Vec<PathBuf>,
    /// Namespace of objects that name none.
    pub default_namespace: String,
    /// Keys of the three labels.
    pub keys: LabelKeys,
    /// How often to look round where no event came.
    pub poll: Duration,
    /// How long a file that was written to and not closed must be quiet until it is taken for whole, and one that
    /// vanished must stay away until it is taken for removed.
    pub quiet: Duration,
}

impl Options {
    /// These directories, in namespace `default`, with the usual labels, looking round every 2 s; half a
    /// second of quiet.
    pub fn new(directories: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        let mut list: Vec<PathBuf> = Vec::new();
        for directory in directories.into_iter().map(Into::into) {
            if !list.contains(&directory) {
                list.push(directory);
            }
        }
        Self {
            directories: list,
            default_namespace: "default".into(),
            keys: LabelKeys::default(),
            poll: Duration::from_secs(2),
            quiet: Duration::from_millis(500),
        }
    }
}

/// Why the source could not start.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A directory cannot be read.
    #[error("{directory}: cannot be read: {source}. Create the directory, or name another one", directory = .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread could not be started.
    #[error("the watching thread could not be started: {0}")]
    Thread(io::Error),
}

/// A running file source; dropping it ends the thread.
#[derive(Debug)]
pub struct Files {
    observed: watch::Receiver<Arc<Observed>>,
    control: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Event(notify::Result<Event>),
    Stop,
}

impl Files {
    /// Reads the directories once and keeps watching them.
    ///
    /// # Errors
    /// [`FilesError`] if a directory cannot be read now. Later it may go and come: that is reported, not fatal.
    pub fn watch(options: Options) -> Result<Self, FilesError> {
        let (control, messages) = channel();
        let mut world = World::open(options, Some(&control))?;
        let (publish, observed) = watch::channel(Arc::new(world.first()));
        let thread = std::thread::Builder::new()
            .name("files".into())
            .spawn(move || world.run(&messages, &publish))
            .map_err(FilesError::Thread)?;
        Ok(Self {
            observed,
            control,
            thread: Some(thread),
        })
    }

    /// Reads the directories once: for `validate` and `translate`.
    ///
    /// # Errors
    /// [`FilesError`] if a directory cannot be read.
    pub fn read(options: Options) -> Result<Observed, FilesError> {
        Ok(World::open(options, None)?.first())
    }

    /// The world as it is, and as it changes.
    #[must_use]
    pub fn observed(&self) -> watch::Receiver<Arc<Observed>> {
        self.observed.clone()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A thread that is gone already needs no message.
        let _ = self.control.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Everything the thread owns.
struct World {
    options: Options,
    reducer: Reducer,
    settle: Settle,
    stamps: BTreeMap<PathBuf, Stamp>,
    /// The directories by the absolute path events name them with.
    absolute: BTreeMap<PathBuf, PathBuf>,
    watcher: Option<notify::RecommendedWatcher>,
    /// Inode of each directory that is watched: another one means that it was replaced.
    watched: BTreeMap<PathBuf, u64>,
}

impl World {
    /// Watches first and reads then, so that no change falls between the two.
    fn open(options: Options, events: Option<&Sender<Message>>) -> Result<Self, FilesError> {
        let watcher = events.and_then(|events| {
            let events = events.clone();
            let hear = move |event| {
                let _ = events.send(Message::Event(event));
            };
            notify::recommended_watcher(hear)
                .inspect_err(
                    |error| tracing::warn!(%error, "no file events; looking round instead"),
                )
                .ok()
        });
        let absolute = options
            .directories
            .iter()
            .filter_map(|d| std::path::absolute(d).ok().map(|a| (a, d.clone())))
            .collect();
        let mut world = Self {
            reducer: Reducer::new(options.default_namespace.clone(), options.keys.clone()),
            settle: Settle::new(options.quiet),
            stamps: BTreeMap::new(),
            absolute,
            watcher,
            watched: BTreeMap::new(),
            options,
        };
        for directory in world.options.directories.clone() {
            world.rewatch(&directory);
            let files = manifests(&directory)
                .map_err(|source| FilesError::Directory { directory, source })?;
            for file in files {
                world.read(&file, Touch::Whole);
            }
        }
        world.await_writers();
        Ok(world)
    }

    /// Files somebody wrote to while they were read, at the start: the first world should have them, if it can.
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

    fn first(&self) -> Observed {
        // Before there was a world, every world is another one.
        self.reducer
            .observe(&Observed::default())
            .unwrap_or_default()
    }

    fn run(&mut self, messages: &Receiver<Message>, publish: &watch::Sender<Arc<Observed>>) {
        let mut round = Instant::now() + self.options.poll;
        let mut published = self.reducer.revision();
        loop {
            let wake = self.settle.next().map_or(round, |due| due.min(round));
            let first = messages.recv_timeout(wake.saturating_duration_since(Instant::now()));
            if matches!(first, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            // All that came in at once: a file that is merely read brings events, too.
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
            // Making a world costs as much as there are objects, so only one that may be another is made.
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
                tracing::warn!(%error, "file events were lost; looking round");
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
        // A mode or an owner says nothing about a writer who may be at work.
        let idle_only = matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_)));
        for path in &event.paths {
            let known = path.parent().and_then(|parent| self.absolute.get(parent));
            match (known, path.file_name()) {
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

    /// Finds what events did not tell: files whose stamp is another one, files and directories that are gone.
    fn look_round(&mut self, touch: Touch) {
        for directory in self.options.directories.clone() {
            let shown = directory.display().to_string();
            let files = match manifests(&directory) {
                Ok(files) => files,
                Err(e) => {
                    self.watched.remove(&directory);
                    self.reducer.lost(&shown, &e.to_string(), unix_now());
                    continue;
                }
            };
            self.reducer.found(&shown);
            self.rewatch(&directory);
            let now = Instant::now();
            for file in &files {
                if stamp(file).ok().as_ref() != self.stamps.get(file) {
                    self.settle.touch_idle(file, touch, now);
                }
            }
            let gone = self
                .stamps
                .keys()
                .filter(|f| f.parent() == Some(&*directory) && !files.contains(*f));
            for file in gone {
                self.settle.touch_idle(file, Touch::Missing, now);
            }
        }
    }

    /// Watches a directory that is new, came back or was replaced by another one.
    fn rewatch(&mut self, directory: &Path) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let Ok((_, _, inode)) = stamp(directory) else {
            return;
        };
        if self.watched.get(directory) == Some(&inode) {
            return;
        }
        // Not watched any more, where it was replaced; then there is nothing to end.
        let _ = watcher.unwatch(directory);
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(directory.to_owned(), inode);
            }
            Err(error) => {
                tracing::warn!(%error, directory = %directory.display(), "no events for this directory")
            }
        }
    }

    fn read(&mut self, file: &Path, touch: Touch) {
        let shown = file.display().to_string();
        let before = stamp(file);
        match std::fs::read(file) {
            Ok(bytes) => {
                let before = before.ok();
                if before.is_none() || stamp(file).ok() != before {
                    // Somebody writes to it this moment.
                    return self.settle.touch(file, Touch::Writing, Instant::now());
                }
                self.reducer.apply(&shown, &bytes, unix_now());
                self.stamps
                    .extend(before.map(|stamp| (file.to_owned(), stamp)));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.missing(file, &shown, touch),
            Err(e) => {
                self.reducer.unreadable(&shown, &e.to_string(), unix_now());
                self.stamps
                    .extend(before.ok().map(|stamp| (file.to_owned(), stamp)));
            }
        }
    }

    /// A file is gone for good when it still is after a moment, and its directory is there to tell.
    fn missing(&mut self, file: &Path, shown: &str, touch: Touch) {
        if touch != Touch::Missing {
            return self.settle.touch(file, Touch::Missing, Instant::now());
        }
        let directory = file.parent().unwrap_or(Path::new("."));
        match std::fs::read_dir(directory) {
            Ok(_) => {
                self.reducer.remove(shown);
                self.stamps.remove(file);
            }
            Err(e) => {
                self.watched.remove(directory);
                self.reducer
                    .lost(&directory.display().to_string(), &e.to_string(), unix_now());
            }
        }
    }
}
