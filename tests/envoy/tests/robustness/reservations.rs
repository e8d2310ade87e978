//! Buckets that charge the reservation whatever was used: given back where nothing reached an upstream, kept wherever
//! something may have.
//!
//! Each ending has its own tenant, and therefore a full bucket. Each is also tried with an answer that is not read, of which
//! only the end is known.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_testkit::client::{HttpRequest, OpenAiRequest};
use headgate_testkit::stage::{Manifest, Stage};
use http::Method;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::common::{INPUT, ask, budget, charged, counted, declare, empty_world, stop_server};

/// What a request reserves beyond its input: above what any answer here uses.
const OUTPUT: u64 = 200;

/// Buckets with the reservation as the charge, also of failures.
const KEPT: &str = "settleOn: reservation\n    onFailure: { clientError: reservation, serverError: reservation, \
                    reset: reservation, timeout: reservation }";

/// What a request without a body reserves: the default.
const DEFAULT: u64 = 512;

/// Whether answers are told the balance and what served, and so looked at.
#[derive(Clone, Copy)]
enum Answers {
    Tagged,
    Untouched,
}

/// Model `m` under a bucket that keeps its reservations.
async fn world(answers: Answers, idle_seconds: &str) -> Stage {
    let told = matches!(answers, Answers::Tagged);
    let policies = budget("kept", KEPT);
    let policies = format!(
        "{policies}---\napiVersion: headgate.dev/v1alpha1\nkind: TrafficTagPolicy\nmetadata:\n  name: told\nspec:\n  \
         responseHeaders: {told}\n"
    );
    let mut stage = empty_world(1, 1, &policies, &["--idle-timeout", idle_seconds]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    stage.settled().await.unwrap();
    stage
}

/// A server whose queue of connections is full: the next one is neither accepted nor refused.
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
        // A connection to loopback is made at once or, the queue being full, not until its first packet is repeated.
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

    /// Puts it in the place of the model's server.
    async fn serve_instead(&self, stage: &Stage) {
        let manifest = Manifest::new("m", "v1").endpoints(&[self.address]);
        let manifest = manifest.render();
        stage.files().write_model("m-v1.yaml", &manifest).unwrap();
        stage.settled().await.unwrap();
    }
}

/// Sends a request that is answered with this status and says so, and awaits what its tenant is charged in the end.
async fn charges(stage: &Stage, request: &OpenAiRequest, tenant: &str, status: u16, used: u64) {
    let reply = stage.send(request).await.unwrap();
    assert_eq!(reply.status, status, "{tenant}: {}", reply.text());
    charged(stage, tenant, used).await;
}

/// So that the bucket is never full, and the balance can be asked.
async fn spent(stage: &Stage, tenant: &str) -> u64 {
    charges(stage, &ask(tenant, OUTPUT), tenant, 200, INPUT + OUTPUT).await;
    INPUT + OUTPUT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_reservation_outlives_errors_and_timeouts_after_sending() {
    for answers in [Answers::Tagged, Answers::Untouched] {
        let stage = world(answers, "2").await;
        let whole = INPUT + OUTPUT;
        let failed = ask("failed", OUTPUT).header("x-mock-status", "500");
        charges(&stage, &failed, "failed", 500, whole).await;
        let slow = ask("slow", OUTPUT).header("x-mock-headers-delay-ms", "20000");
        charges(&stage, &slow, "slow", 504, whole).await;
        let dropped = ask("dropped", OUTPUT).header("x-mock-abort-after", "headers");
        charges(&stage, &dropped, "dropped", 503, whole).await;
    }
}

/// The parts of an answer that is not read show who gave it. This one has no body at all: a 404 of the mock's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_upstreams_that_comes_whole_keeps_the_reservation_too() {
    let stage = world(Answers::Untouched, "30").await;
    let head = HttpRequest::new(Method::HEAD, format!("{}/infer", stage.url()))
        .header("x-model", "m")
        .header("x-tenant-id", "whole");
    let reply = stage.client().send(head).await.unwrap();
    assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"));
    assert_eq!(reply.text(), "");
    let admin = stage.envoys()[0].envoy.admin();
    let settled = counted(admin, "settlements").await;
    let answered = |name: &String| name.ends_with("outcome=client_error");
    assert!(settled.keys().all(answered), "{settled:?}");
    charged(&stage, "whole", DEFAULT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connect_gives_a_kept_reservation_back() {
    for answers in [Answers::Tagged, Answers::Untouched] {
        let mut stage = world(answers, "30").await;
        let before = spent(&stage, "unlucky").await;
        stop_server(&mut stage).await;
        charges(&stage, &ask("unlucky", OUTPUT), "unlucky", 503, before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_that_times_out_gives_a_kept_reservation_back() {
    let hole = BlackHole::dig().await;
    for answers in [Answers::Tagged, Answers::Untouched] {
        let stage = world(answers, "30").await;
        let before = spent(&stage, "lost").await;
        hole.serve_instead(&stage).await;
        charges(&stage, &ask("lost", OUTPUT), "lost", 503, before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_504_while_still_connecting_keeps_the_reservation() {
    let hole = BlackHole::dig().await;
    for answers in [Answers::Tagged, Answers::Untouched] {
        // Shorter than Envoy's own patience with a connect.
        let stage = world(answers, "1").await;
        let before = spent(&stage, "waiting").await;
        hole.serve_instead(&stage).await;
        let used = before + INPUT + OUTPUT;
        charges(&stage, &ask("waiting", OUTPUT), "waiting", 504, used).await;
    }
}
