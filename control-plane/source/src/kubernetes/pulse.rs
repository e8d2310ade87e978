//! Whether the API server is ready again: one asks for all watches, so that none of them has to ask often.
//!
//! An API server that is away costs a connection for each try of each watch, so the watches wait longer and longer; one that is
//! being started takes requests that it answers late, or never. What is asked here is small and is asked seldom, and when
//! it is answered every watch tries at once, and leaves what it was still owed from before.
//!
//! Invariant: at most one question in [`EVERY`], however many watches wait, and none while all are answered.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use kube::Client;
use tokio::sync::{Notify, watch};

use super::fault::Backoff;

/// The shortest time between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take: it is a word.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a watch still waits for what it asked of an API server that was not ready.
const OWED: Duration = Duration::from_secs(1);

/// Whether the API server is back: where watches say that they miss it, and hear of its return. Clones say and hear the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse {
    missed: Arc<Notify>,
    /// How often it was ready again.
    returns: watch::Sender<u64>,
}

impl Pulse {
    /// Says that it does not answer.
    pub(crate) fn missed(&self) {
        self.missed.notify_one();
    }

    /// The next time that it is ready again.
    pub(crate) fn back(&self) -> impl Future<Output = ()> + Send + use<> {
        // Here, so that a return counts from now on, and not only once this is awaited.
        let mut returns = self.returns.subscribe();
        async move {
            // Nobody can tell any more: it never returns.
            if returns.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// When what is asked now need not be waited for any more, as it was asked too early.
    pub(crate) fn outlived(&self) -> impl Future<Output = ()> + Send + use<> {
        let back = self.back();
        async move {
            back.await;
            tokio::time::sleep(OWED).await;
        }
    }

    /// Asks while it is missed; one does so for all.
    pub(super) async fn feel(self, client: Client) {
        let spread = Backoff::new();
        loop {
            self.missed.notified().await;
            let mut away = false;
            loop {
                // What was missed before it is asked is no news after its answer.
                let _ = self.missed.notified().now_or_never();
                if is_ready(&client, ANSWER).await {
                    break;
                }
                away = true;
                tokio::time::sleep(EVERY + spread.jitter(EVERY)).await;
            }
            // One that was ready all the time refuses for a reason of its own.
            if away {
                self.returns.send_modify(|returns| *returns += 1);
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Whether the API server says that it is ready. Where it may not be asked, it answers, and that has to do.
pub(super) async fn is_ready(client: &Client, within: Duration) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return true;
    };
    match tokio::time::timeout(within, client.request_text(request)).await {
        Ok(Ok(_)) => true,
        Ok(Err(kube::Error::Api(status))) => matches!(status.code, 401 | 403),
        Ok(Err(_)) | Err(_) => false,
    }
}
