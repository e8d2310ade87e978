//! The task that asks the API server whether it is ready, for all watches that miss it.
//!
//! Invariant: at most one request in [`EVERY`], however many watches wait, and none while all are answered.

use std::time::Duration;

use kube::Client;

use crate::fault::Backoff;
use crate::health::WatchHealth;
use crate::probe::{ApiServerProbe, Reach, reach};

/// The shortest time between two requests.
const EVERY: Duration = Duration::from_secs(1);
/// Timeout of a request.
const ANSWER: Duration = Duration::from_secs(2);

/// Asks while a watch misses the API server, and reports to `states` whether it can be reached.
pub async fn probe(client: Client, states: WatchHealth) {
    let probe = states.pulse().clone();
    loop {
        probe.wanted().await;
        if returned(&probe, &client, &states).await {
            probe.announce();
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Asks until it is ready, or all watches are answered, whatever it says of itself. Whether it was away and is ready: one
/// that was ready all the time refuses for a reason of its own.
async fn returned(probe: &ApiServerProbe, client: &Client, states: &WatchHealth) -> bool {
    let spread = Backoff::new();
    let mut away = false;
    loop {
        // What was missed before it is asked is no news after its answer.
        probe.forget();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::fault::{Cause, Loss};
    use crate::health::KeepsBack;
    use crate::update::News;

    const NEVER_READY: &[u8] =
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn who_never_says_that_it_is_ready_is_asked_no_more_once_it_answers_the_watches() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        let states = WatchHealth::default();
        for watch in ["pods", "services"] {
            states.expect(watch.to_owned(), None, KeepsBack::Everything);
        }
        let loss = Loss {
            message: "gone".to_owned(),
            cause: Cause::Unanswered,
            code: 0,
        };
        states.hear("pods", &News::<()>::Lost(loss));
        let pulse = ApiServerProbe::default();
        let returned = returned(&pulse, &client, &states);
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
