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
use super::state::{Reach, States};

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

    /// Asks while it is missed; one does so for all. `states` is how the watches fare, and hears whether it can be reached.
    pub(super) async fn feel(self, client: Client, states: States) {
        loop {
            self.missed.notified().await;
            if self.returned(&client, &states).await {
                self.returns.send_modify(|returns| *returns += 1);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Asks until it is ready, or all watches are answered, whatever it says of itself. Whether it was away and is ready: one
    /// that was ready all the time refuses for a reason of its own.
    async fn returned(&self, client: &Client, states: &States) -> bool {
        let spread = Backoff::new();
        let mut away = false;
        loop {
            // What was missed before it is asked is no news after its answer.
            let _ = self.missed.notified().now_or_never();
            let reach = reach(client, ANSWER).await;
            if reach == Reach::Ready {
                // The watches are about to try again: what they say then counts.
                states.reached(if away { Reach::Unasked } else { reach });
                return away;
            }
            states.reached(reach);
            away = true;
            tokio::time::sleep(EVERY + spread.jitter(EVERY)).await;
            if states.follow().borrow().lost().is_none() {
                return false;
            }
        }
    }
}

/// Whether the API server says that it is ready. Where it may not be asked, it answers, and that has to do.
pub(super) async fn is_ready(client: &Client, within: Duration) -> bool {
    reach(client, within).await == Reach::Ready
}

async fn reach(client: &Client, within: Duration) -> Reach {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::fault::{Cause, Loss};
    use super::super::state::KeepsBack;
    use super::super::watch::News;
    use super::*;

    const NEVER_READY: &[u8] =
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn who_never_says_that_it_is_ready_is_asked_no_more_once_it_answers_the_watches() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        let states = States::default();
        for watch in ["pods", "services"] {
            states.expect(watch.to_owned(), None, KeepsBack::Everything);
        }
        let loss = Loss {
            message: "gone".to_owned(),
            cause: Cause::Unanswered,
            code: 0,
        };
        states.hear("pods", &News::<()>::Lost(loss));
        let pulse = Pulse::default();
        let returned = pulse.returned(&client, &states);
        let asked_twice = async {
            for _ in 0..2 {
                let (mut asked, _) = listener.accept().await.unwrap();
                let _ = asked.read(&mut [0; 1024]).await.unwrap();
                asked.write_all(NEVER_READY).await.unwrap();
            }
            let state = states.follow().borrow().clone();
            assert_eq!(state.away(), None, "one of two is answered");
            assert_eq!(state.unread().count(), 1);
            states.hear("pods", &News::<()>::Found);
        };
        let both = async { tokio::join!(returned, asked_twice).0 };
        let limit = Duration::from_secs(30);
        assert!(!tokio::time::timeout(limit, both).await.unwrap());
        assert_eq!(states.follow().borrow().reach, Reach::Unasked);
    }
}
