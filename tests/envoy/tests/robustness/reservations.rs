//! Buckets that charge the reservation whatever was used: refunded where nothing reached an upstream, kept where a request may have.
//!
//! Each case has its own tenant, and therefore a full bucket. Each case also runs with responses that the filter does not inspect, of
//! which it sees only the end.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_testkit::client::{HttpRequest, OpenAiRequest};
use headgate_testkit::testbed::{Manifest, Testbed};
use http::Method;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::common::{INPUT, ask, budget, charged, counted, declare, empty_testbed, stop_server};

/// Tokens that a request reserves beyond its input: more than any response here uses.
const OUTPUT: u64 = 200;

/// Buckets that charge the reservation, also for failures.
const KEPT: &str = "settleOn: reservation\n    onFailure: { clientError: reservation, serverError: reservation, \
                    reset: reservation, timeout: reservation }";

/// The default reservation of a request without a body.
const DEFAULT: u64 = 512;

/// Whether responses carry balance and version, and are therefore inspected.
#[derive(Clone, Copy)]
enum Answers {
    Tagged,
    Untouched,
}

/// Model `m` with a bucket that keeps its reservations.
async fn start_testbed(answers: Answers, idle_seconds: &str) -> Testbed {
    let tagged = matches!(answers, Answers::Tagged);
    let policies = budget("kept", KEPT);
    let policies = format!(
        "{policies}---\napiVersion: headgate.dev/v1alpha1\nkind: TrafficTagPolicy\nmetadata:\n  name: tagged\nspec:\n  \
         responseHeaders: {tagged}\n"
    );
    let mut testbed = empty_testbed(1, 1, &policies, &["--idle-timeout", idle_seconds]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    testbed.wait_until_settled().await.unwrap();
    testbed
}

/// A server whose accept queue is full: the next connection is neither accepted nor refused.
struct BlackHole {
    address: SocketAddr,
    _queue: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    async fn dig() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let queue = socket.listen(1).unwrap();
        let address = queue.local_addr().unwrap();
        let mut waiting = Vec::new();
        // A loopback connection succeeds at once, or, with a full queue, not before its first packet is repeated.
        let patience = Duration::from_millis(500);
        while let Ok(connected) = tokio::time::timeout(patience, TcpStream::connect(address)).await
        {
            waiting.push(connected.unwrap());
            assert!(waiting.len() < 64, "the queue never fills");
        }
        Self {
            address,
            _queue: queue,
            _waiting: waiting,
        }
    }

    /// Replaces the model's server by this one.
    async fn serve_instead(&self, testbed: &Testbed) {
        let manifest = Manifest::new("m", "v1").endpoints(&[self.address]);
        let manifest = manifest.render();
        testbed.files().write_model("m-v1.yaml", &manifest).unwrap();
        testbed.wait_until_settled().await.unwrap();
    }
}

/// Sends a request, checks the status of the response, and waits for the final charge of its tenant.
async fn charges(testbed: &Testbed, request: &OpenAiRequest, tenant: &str, status: u16, used: u64) {
    let reply = testbed.send(request).await.unwrap();
    assert_eq!(reply.status, status, "{tenant}: {}", reply.text());
    charged(testbed, tenant, used).await;
}

/// Spends some tokens, so that the bucket is not full and the balance can be measured.
async fn spent(testbed: &Testbed, tenant: &str) -> u64 {
    charges(testbed, &ask(tenant, OUTPUT), tenant, 200, INPUT + OUTPUT).await;
    INPUT + OUTPUT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_is_kept_on_errors_and_timeouts_after_sending() {
    for answers in [Answers::Tagged, Answers::Untouched] {
        let testbed = start_testbed(answers, "2").await;
        let whole = INPUT + OUTPUT;
        let failed = ask("failed", OUTPUT).header("x-mock-status", "500");
        charges(&testbed, &failed, "failed", 500, whole).await;
        let slow = ask("slow", OUTPUT).header("x-mock-headers-delay-ms", "20000");
        charges(&testbed, &slow, "slow", 504, whole).await;
        let dropped = ask("dropped", OUTPUT).header("x-mock-abort-after", "headers");
        charges(&testbed, &dropped, "dropped", 503, whole).await;
    }
}

/// The parts of an uninspected response show its origin. This one has no body: a 404 of the mock model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_response_of_the_upstream_keeps_the_reservation_too() {
    let testbed = start_testbed(Answers::Untouched, "30").await;
    let head = HttpRequest::new(Method::HEAD, format!("{}/infer", testbed.url()))
        .header("x-model", "m")
        .header("x-tenant-id", "whole");
    let reply = testbed.client().send(head).await.unwrap();
    assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"));
    assert_eq!(reply.text(), "");
    let admin = testbed.envoys()[0].envoy.admin();
    let settled = counted(admin, "settlements_total").await;
    let answered = |name: &String| name.contains(";.;outcome=.=client_error;.;");
    assert!(settled.keys().all(answered), "{settled:?}");
    charged(&testbed, "whole", DEFAULT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_refunds_the_reservation() {
    for answers in [Answers::Tagged, Answers::Untouched] {
        let mut testbed = start_testbed(answers, "30").await;
        let before = spent(&testbed, "unlucky").await;
        stop_server(&mut testbed).await;
        charges(&testbed, &ask("unlucky", OUTPUT), "unlucky", 503, before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_timeout_refunds_the_reservation() {
    let hole = BlackHole::dig().await;
    for answers in [Answers::Tagged, Answers::Untouched] {
        let testbed = start_testbed(answers, "30").await;
        let before = spent(&testbed, "lost").await;
        hole.serve_instead(&testbed).await;
        charges(&testbed, &ask("lost", OUTPUT), "lost", 503, before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_504_before_the_connection_is_established_keeps_the_reservation() {
    let hole = BlackHole::dig().await;
    for answers in [Answers::Tagged, Answers::Untouched] {
        // Shorter than Envoy's own connect timeout.
        let testbed = start_testbed(answers, "1").await;
        let before = spent(&testbed, "waiting").await;
        hole.serve_instead(&testbed).await;
        let used = before + INPUT + OUTPUT;
        charges(&testbed, &ask("waiting", OUTPUT), "waiting", 504, used).await;
    }
}
