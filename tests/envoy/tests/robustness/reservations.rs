//! Buckets that charge the reservation whatever was used: given back where nothing reached an upstream, kept for every answer;
//! what failed is charged as `onFailure` says.
//!
//! Each ending has a tenant, and so a full bucket, of its own; each also where nobody looks at the answer, which
//! is known by its end alone then.

use std::net::SocketAddr;
use std::time::Duration;

use headgate_test_support::client::{HttpRequest, OpenAiRequest};
use headgate_test_support::mock_model::MockAnswer;
use headgate_test_support::stage::{Manifest, Stage};
use http::Method;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::common::{INPUT, ask, budget, charged, counted, declare, empty_world, stop_server};

/// What a request reserves beyond its input: above what any answer here uses.
const OUTPUT: u64 = 200;

/// Whether answers are told the balance and what served, and so looked at.
#[derive(Clone, Copy)]
enum Answers {
    Tagged,
    Untouched,
}

/// Model `m` under a bucket that keeps its reservations.
async fn world(answers: Answers, idle_seconds: &str) -> Stage {
    world_with("", answers, idle_seconds).await
}

/// The same with these fields of the bucket besides.
async fn world_with(more: &str, answers: Answers, idle_seconds: &str) -> Stage {
    let told = matches!(answers, Answers::Tagged);
    let policies = budget("kept", &format!("settleOn: reservation\n    {more}"));
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

/// A status of the upstream's, no answer in time, and a connection that breaks, in this order.
async fn failures_charge(stage: &Stage, right: [u64; 3]) {
    let failed = ask("failed", OUTPUT).header("x-mock-status", "500");
    charges(stage, &failed, "failed", 500, right[0]).await;
    let slow = ask("slow", OUTPUT).header("x-mock-headers-delay-ms", "20000");
    charges(stage, &slow, "slow", 504, right[1]).await;
    let dropped = ask("dropped", OUTPUT).header("x-mock-abort-after", "headers");
    charges(stage, &dropped, "dropped", 503, right[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_reservation_is_for_answers_and_failures_have_a_policy_of_their_own() {
    let whole = INPUT + OUTPUT;
    let kept = "onFailure: {serverError: reservation, reset: reservation, timeout: prompt}";
    for answers in [Answers::Tagged, Answers::Untouched] {
        let stage = world(answers, "2").await;
        failures_charge(&stage, [0, whole, INPUT]).await;
        let stage = world_with(kept, answers, "2").await;
        failures_charge(&stage, [whole, INPUT, whole]).await;
    }
}

/// Of an answer that nobody looks at, that it comes in pieces says who gave it. This one has no body at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_upstreams_that_comes_whole_keeps_the_reservation_too() {
    let stage = world(Answers::Untouched, "30").await;
    let mock = stage.mock("m", "v1").unwrap();
    mock.handle().set_answer("nothing", MockAnswer::json(""));
    let head = HttpRequest::new(Method::HEAD, format!("{}/infer", stage.url()))
        .header("x-model", "m")
        .header("x-max-tokens", OUTPUT.to_string())
        .header("x-tenant-id", "whole")
        .header("x-mock-answer", "nothing");
    let reply = stage.client().send(head).await.unwrap();
    assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"));
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    let admin = stage.envoys()[0].envoy.admin();
    let settled = counted(admin, "settlements").await;
    let unobserved = |name: &String| name.ends_with("outcome=unobserved");
    assert!(settled.keys().all(unobserved), "{settled:?}");
    // A header raises the default of 512 tokens and does not lower it.
    charged(&stage, "whole", 512).await;
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
