//! Readiness of the API server, shared by all watches.
//!
//! While the API server is away, each attempt of each watch costs a connection, so the watches wait longer and longer. One task
//! ([`crate::prober`]) sends a small request instead. When the API server is ready again, all watches try at once, and give up
//! requests that they sent before.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use kube::Client;
use tokio::sync::{Notify, watch};

/// How long a watch still waits for the answer to a request that it sent before the API server was ready.
const GRACE: Duration = Duration::from_secs(1);

/// Signals between the watches and the prober. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct ApiServerProbe {
    outage: Arc<Notify>,
    /// Number of recoveries.
    recoveries: watch::Sender<u64>,
}

impl ApiServerProbe {
    /// Reports that the API server does not answer.
    pub fn report_outage(&self) {
        self.outage.notify_one();
    }

    /// Waits until a watch reports an outage.
    pub(crate) async fn outage(&self) {
        self.outage.notified().await;
    }

    /// Discards a report that was made before now.
    pub(crate) fn discard_report(&self) {
        let _ = self.outage.notified().now_or_never();
    }

    /// Announces to all watches that the API server is ready again.
    pub(crate) fn announce_recovery(&self) {
        self.recoveries.send_modify(|recoveries| *recoveries += 1);
    }

    /// The next recovery, counted from this call on.
    pub fn recovery(&self) -> impl Future<Output = ()> + Send + use<> {
        // Subscribes now, not when the future is first polled.
        let mut recoveries = self.recoveries.subscribe();
        async move {
            // Without a prober there is no recovery.
            if recoveries.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The moment when a request that is sent now is no longer worth waiting for.
    pub fn superseded(&self) -> impl Future<Output = ()> + Send + use<> {
        let recovery = self.recovery();
        async move {
            recovery.await;
            tokio::time::sleep(GRACE).await;
        }
    }
}

/// Whether the API server can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reachability {
    /// It was not probed: no watch reports an outage, or it recovered a moment ago.
    #[default]
    Unknown,
    /// It reports that it is ready.
    Ready,
    /// It reports that it is not ready.
    NotReady,
    /// It does not answer.
    Unreachable,
}

/// Whether the API server reports that it is ready. An answer that refuses the request counts as ready.
pub async fn is_ready(client: &Client, within: Duration) -> bool {
    reachability(client, within).await == Reachability::Ready
}

pub(crate) async fn reachability(client: &Client, within: Duration) -> Reachability {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return Reachability::Ready;
    };
    match tokio::time::timeout(within, client.request_text(request)).await {
        Ok(Ok(_)) => Reachability::Ready,
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            Reachability::Ready
        }
        Ok(Err(kube::Error::Api(_))) => Reachability::NotReady,
        Ok(Err(_)) | Err(_) => Reachability::Unreachable,
    }
}
