//! The shell of the file source: a thread that hears of changes, reads files and publishes worlds.
//!
//! Invariant: the first world is whole before [`Files::watch`] returns; later ones appear only when something changed.
//! Where no event comes (network file systems, a queue that overflowed), a slow look round finds the change.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headgate_model::LabelKeys;
use tokio::sync::watch;

use super::world::{Message, World};
use headgate_model::Observed;

/// How long the thread may take to end; it may be reading from a file system that does not answer.
const END: Duration = Duration::from_secs(1);

/// What to watch and how to read it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directories, such as models and policies. Any kind of object may be in any of them.
    pub directories: Vec<PathBuf>,
    /// Whether the directories below them count, too.
    pub recursive: bool,
    /// The state directory, which need not exist.
    pub state: Option<PathBuf>,
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
            recursive: false,
            state: None,
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

/// A running file source; dropping it ends the thread, and waits for that no longer than a second.
#[derive(Debug)]
pub struct Files {
    observed: watch::Receiver<Arc<Observed>>,
    control: Sender<Message>,
    thread: Option<JoinHandle<()>>,
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
        let Some(thread) = self.thread.take() else {
            return;
        };
        let until = Instant::now() + END;
        while !thread.is_finished() {
            if Instant::now() >= until {
                tracing::warn!("the file reader did not stop in time; shutting down without it");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = thread.join();
    }
}
