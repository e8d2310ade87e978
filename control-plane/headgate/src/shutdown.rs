//! Shutdown of `serve`: the first SIGTERM starts a drain; a second SIGTERM, or SIGINT, ends the process at once.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Failure;

/// How long connections may take to close after the drain. Then the process ends anyway.
const GRACE: Duration = Duration::from_secs(5);

/// State of the shutdown. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct Shutdown {
    started: watch::Receiver<bool>,
    immediate: watch::Receiver<bool>,
}

impl Shutdown {
    /// Installs handlers for SIGTERM and SIGINT.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (start, started) = watch::channel(false);
        let (end_now, immediate) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {
                    tracing::info!("draining: proxies move to other replicas and keep their configuration");
                    start.send_replace(true);
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                }
                _ = interrupt.recv() => {}
            }
            tracing::info!("shutting down: proxies keep their configuration");
            end_now.send_replace(true);
            start.send_replace(true);
            // Further signals are ignored.
            std::future::pending::<()>().await;
        });
        Ok(Self { started, immediate })
    }

    /// A flag that becomes true with the first signal.
    pub(crate) fn started(&self) -> watch::Receiver<bool> {
        self.started.clone()
    }

    /// Waits for the first signal.
    pub(crate) async fn wait_started(self) {
        became_true(self.started).await;
    }

    /// Waits until the process must end at once.
    pub(crate) async fn wait_immediate(self) {
        became_true(self.immediate).await;
    }

    /// Waits until the process should have ended: the drain and the grace period are over.
    pub(crate) async fn wait_overdue(self, drain: Duration) {
        self.clone().wait_started().await;
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            () = self.wait_immediate() => {}
        }
        tokio::time::sleep(GRACE).await;
    }
}

async fn became_true(mut flag: watch::Receiver<bool>) {
    // An error means that the sender was dropped, which ends the process as well.
    let _ = flag.wait_for(|flag| *flag).await;
}
