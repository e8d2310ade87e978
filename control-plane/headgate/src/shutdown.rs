//! How `serve` ends: told to terminate it drains, told again (or interrupted) it ends at once.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::settings::Failure;

/// How long connections may take to end once nothing keeps them, before the process ends anyway.
const GRACE: Duration = Duration::from_secs(5);

/// The end of the process, as its parts see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shutdown {
    begun: watch::Receiver<bool>,
    hurried: watch::Receiver<bool>,
}

impl Shutdown {
    /// Listens to SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// The system's, if it does not let us.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (begin, begun) = watch::channel(false);
        let (hurry, hurried) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {
                    tracing::info!("draining: proxies are sent elsewhere, and keep what they run");
                    begin.send_replace(true);
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                }
                _ = interrupt.recv() => {}
            }
            tracing::info!("ending: proxies keep what they run");
            hurry.send_replace(true);
            begin.send_replace(true);
            // Further signals change nothing any more.
            std::future::pending::<()>().await;
        });
        Ok(Self { begun, hurried })
    }

    /// Becomes true with the first signal.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.begun.clone()
    }

    /// Waits for the first signal.
    pub(crate) async fn begun(self) {
        became_true(self.begun).await;
    }

    /// Waits until all is to end at once.
    pub(crate) async fn hurried(self) {
        became_true(self.hurried).await;
    }

    /// Waits until the process should have ended by itself.
    pub(crate) async fn overdue(self, drain: Duration) {
        self.clone().begun().await;
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            () = self.hurried() => {}
        }
        tokio::time::sleep(GRACE).await;
    }
}

async fn became_true(mut flag: watch::Receiver<bool>) {
    // An error means the sender is gone, which is the end as well.
    let _ = flag.wait_for(|flag| *flag).await;
}
