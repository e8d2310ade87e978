//! The handle of the file source: starts and stops the thread that reads files and publishes observations.
//!
//! Invariant: the first observation is complete before [`Files::watch`] returns; later ones are published only after a change. Where
//! notifications are lost or unavailable (network file systems, a queue that overflowed), a periodic scan finds changes.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headgate_model::Observed;
use tokio::sync::watch;

use super::options::{FilesError, Options};
use super::worker::{FileWorker, Message};

/// Longest wait for the thread to end: it may be blocked by a file system that does not answer.
const END: Duration = Duration::from_secs(1);

/// A running file source. Dropping it ends the thread, and waits for that at most 1 s.
#[derive(Debug)]
pub struct Files {
    observed: watch::Receiver<Arc<Observed>>,
    control: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Files {
    /// Reads the directories and keeps watching them.
    ///
    /// # Errors
    /// [`FilesError`] if a directory cannot be read now. A directory that becomes unreadable later is reported.
    pub fn watch(options: Options) -> Result<Self, FilesError> {
        let (control, messages) = channel();
        let mut worker = FileWorker::open(options, Some(&control))?;
        let (publish, observed) = watch::channel(Arc::new(worker.first()));
        let thread = std::thread::Builder::new()
            .name("files".into())
            .spawn(move || worker.run(&messages, &publish))
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
        Ok(FileWorker::open(options, None)?.first())
    }

    /// A receiver of observations.
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
                tracing::warn!("the file reader did not stop in time");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = thread.join();
    }
}
