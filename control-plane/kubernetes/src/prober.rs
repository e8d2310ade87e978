//! The task that probes the readiness of the API server for all watches.
//!
//! Invariant: at most one request per second, however many watches wait, and none while all watches are answered.

use std::time::Duration;

use kube::Client;

use crate::fault::Backoff;
use crate::health::WatchHealth;
use crate::probe::{ApiServerProbe, Reachability, reachability};

/// The shortest time between two requests.
const EVERY: Duration = Duration::from_secs(1);
/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Probes while a watch reports an outage, and reports the result to `health`.
pub async fn probe(client: Client, health: WatchHealth) {
    let probe = health.probe().clone();
    loop {
        probe.outage().await;
        if recovered(&probe, &client, &health).await {
            probe.announce_recovery();
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Probes until the API server is ready or all watches are answered. Returns whether it was away and is ready: a server that was
/// ready all the time refuses for a reason of its own.
async fn recovered(probe: &ApiServerProbe, client: &Client, health: &WatchHealth) -> bool {
    let spread = Backoff::new();
    let mut away = false;
    loop {
        // A report that was made before the request is answered by it.
        probe.discard_report();
        let reach = reachability(client, REQUEST_TIMEOUT).await;
        if reach == Reachability::Ready {
            // The watches try again now, and their results replace this one.
            health.report_reachability(if away { Reachability::Unknown } else { reach });
            return away;
        }
        health.report_reachability(reach);
        away = true;
        tokio::time::sleep(EVERY + spread.jitter(EVERY)).await;
        if health.subscribe().borrow().lost().is_none() {
            return false;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::blocks::Blocks;
    use crate::fault::{Cause, Failure};
    use crate::update::WatchUpdate;

    const NEVER_READY: &[u8] =
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn a_server_that_is_never_ready_is_no_longer_probed_once_it_answers_watches() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        let health = WatchHealth::default();
        for watch in ["pods", "services"] {
            health.register(watch.to_owned(), None, Blocks::Everything);
        }
        let failure = Failure {
            message: "gone".to_owned(),
            cause: Cause::Unanswered,
            code: 0,
        };
        health.report("pods", &WatchUpdate::<()>::Lost(failure));
        let probe = ApiServerProbe::default();
        let recovered = recovered(&probe, &client, &health);
        let probed_twice = async {
            for _ in 0..2 {
                let (mut request, _) = listener.accept().await.unwrap();
                let _ = request.read(&mut [0; 1024]).await.unwrap();
                request.write_all(NEVER_READY).await.unwrap();
            }
            let state = health.subscribe().borrow().clone();
            assert_eq!(state.unreachable(), None, "one of two is answered");
            assert_eq!(state.unread().count(), 1);
            health.report("pods", &WatchUpdate::<()>::Answered);
        };
        let both = async { tokio::join!(recovered, probed_twice).0 };
        let limit = Duration::from_secs(30);
        assert!(!tokio::time::timeout(limit, both).await.unwrap());
        assert_eq!(health.subscribe().borrow().reach, Reachability::Unknown);
    }
}
