//! Whether the API server is ready again: one asks for all watches, so that none of them has to ask often.
//!
//! An API server that is away costs a connection for each try of each watch, so the watches wait longer and longer; one that is
//! being started takes requests that it answers late, or never. What is asked here is small and is asked seldom, and when
//! it is answered every watch tries at once, and leaves what it was still owed from before.
//!

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use kube::Client;
use tokio::sync::{Notify, watch};

/// How long a watch still waits for what it asked of an API server that was not ready.
const OWED: Duration = Duration::from_secs(1);

/// Whether the API server is back: where watches say that they miss it, and hear of its return. Clones say and hear the same.
#[derive(Debug, Clone, Default)]
pub struct ApiServerProbe {
    missed: Arc<Notify>,
    /// How often it was ready again.
    returns: watch::Sender<u64>,
}

impl ApiServerProbe {
    /// Says that it does not answer.
    pub fn missed(&self) {
        self.missed.notify_one();
    }

    /// Waits until a watch misses the API server.
    pub(crate) async fn wanted(&self) {
        self.missed.notified().await;
    }

    /// Forgets that a watch missed the API server before now.
    pub(crate) fn forget(&self) {
        let _ = self.missed.notified().now_or_never();
    }

    /// Tells all watches that the API server is ready again.
    pub(crate) fn announce(&self) {
        self.returns.send_modify(|returns| *returns += 1);
    }

    /// The next time that it is ready again.
    pub fn back(&self) -> impl Future<Output = ()> + Send + use<> {
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
    pub fn outlived(&self) -> impl Future<Output = ()> + Send + use<> {
        let back = self.back();
        async move {
            back.await;
            tokio::time::sleep(OWED).await;
        }
    }
}

/// Whether the API server can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// It was not asked: no watch misses it, or it was back a moment ago.
    #[default]
    Unasked,
    /// It says that it is ready.
    Ready,
    /// It says that it is not ready.
    Unready,
    /// It says nothing.
    Unreachable,
}

/// Whether the API server says that it is ready. Where it may not be asked, it answers, and that has to do.
pub async fn is_ready(client: &Client, within: Duration) -> bool {
    reach(client, within).await == Reach::Ready
}

pub(crate) async fn reach(client: &Client, within: Duration) -> Reach {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return Reach::Ready;
    };
    match tokio::time::timeout(within, client.request_text(request)).await {
        Ok(Ok(_)) => Reach::Ready,
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => Reach::Ready,
        Ok(Err(kube::Error::Api(_))) => Reach::Unready,
        Ok(Err(_)) | Err(_) => Reach::Unreachable,
    }
}
