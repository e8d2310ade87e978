//! What becomes of a pod's requests when it ends, or is not ready for a while.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headgate_test_support::client::{HttpClient, OpenAiRequest, Streamed};
use headgate_test_support::deadline::eventually;
use headgate_test_support::kube::deployment;
use headgate_test_support::measured;
use headgate_tests_cluster::sessions::{Sessions, told};
use headgate_tests_cluster::world::{SOON, World, WorldOptions};

const MODEL: &str = "llama";
const CLUSTER: &str = "model/default/llama/one";
/// Tokens of the streamed answer, and the time between two: longer than any change takes to reach an Envoy.
const TOKENS: u64 = 100;
const BETWEEN_MS: u64 = 200;
/// Within this a pod that turns unready is to be out: what changes of endpoints wait for company (1 s), and what a busy
/// machine adds.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A world with two pods, and an answer that one of them streams.
struct Streaming {
    world: World,
    client: HttpClient,
    pod: String,
    address: SocketAddr,
    answer: Streamed,
}

impl Streaming {
    async fn start() -> Self {
        let world = World::start(WorldOptions::default()).await.unwrap();
        world
            .roll_out(&deployment(MODEL, "v1", "one", 2))
            .await
            .unwrap();
        world.serving(MODEL, "one", 2).await.unwrap();
        let client = HttpClient::new();
        let request = OpenAiRequest::chat(MODEL)
            .stream()
            .max_tokens(TOKENS)
            .header("x-mock-tokens", TOKENS.to_string())
            .header("x-mock-delay-ms", BETWEEN_MS.to_string());
        let mut answer = client.open(request.to(world.edges[0].url())).await.unwrap();
        assert_eq!(answer.status, 200);
        answer.event().await.unwrap().expect("a first token");
        let pods = world.pods("v1");
        let serves = |(_, server): &(&String, &(SocketAddr, _))| in_flight(server) == 1;
        let (pod, (address, _)) = pods.iter().find(serves).expect("a pod that serves");
        Self {
            client,
            pod: pod.clone(),
            address: *address,
            answer,
            world,
        }
    }

    /// When the pod is not a host of the cluster any more.
    async fn leaves(&self, host: bool) -> Duration {
        let began = Instant::now();
        let what = format!("{} to be a host: {host}", self.address);
        eventually(SOON, &what, async || {
            let hosts = self.world.edges[0].hosts(CLUSTER).await;
            let hosts = hosts
                .map_err(|error| error.to_string())?
                .unwrap_or_default();
            if hosts.contains(&self.address) == host {
                return Ok(());
            }
            Err(format!("{hosts:?}"))
        })
        .await
        .unwrap();
        began.elapsed()
    }

    async fn ask(&self) {
        let request = OpenAiRequest::chat(MODEL).max_tokens(1);
        let url = self.world.edges[0].url();
        let reply = self.client.send(request.to(url)).await;
        assert_eq!(reply.unwrap().status, 200);
    }

    /// New requests, none of which the pod gets.
    async fn others_answer(&self) {
        let pods = self.world.pods("v1");
        let (_, server) = &pods[&self.pod];
        // Envoy tells of a change before its workers take it up: the first request is theirs.
        self.ask().await;
        let before = server.stats().requests;
        for _ in 0..20 {
            self.ask().await;
        }
        assert_eq!(server.stats().requests, before);
        assert_eq!(server.stats().in_flight, 1, "the answer is still under way");
    }
}

fn in_flight(server: &(SocketAddr, headgate_test_support::mock_model::MockHandle)) -> u64 {
    server.1.stats().in_flight
}

/// The first event, which has no token yet, was taken; all others are there, up to the end.
async fn ends_whole(answer: Streamed) {
    let events = answer.events().await.unwrap();
    let tokens = events.iter().filter(|event| event.contains("tok "));
    assert_eq!(tokens.count() as u64, TOKENS, "{events:?}");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminating_pod_leaves_before_its_server_stops_and_its_stream_finishes() {
    let streaming = Streaming::start().await;
    let delete = format!("delete pod {} --wait=false", streaming.pod);
    streaming.world.run(&delete).await.unwrap();
    let left = streaming.leaves(false).await;
    measured!("a terminating pod left Envoy {left:?} after kubectl delete");
    assert!(
        streaming.world.pods("v1").contains_key(&streaming.pod),
        "its server serves on"
    );
    streaming.others_answer().await;
    let Streaming {
        world, pod, answer, ..
    } = streaming;
    ends_whole(answer).await;
    world
        .until_pods("v1", "the server to stop", |pods| !pods.contains_key(&pod))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_turns_unready_leaves_at_once_and_comes_back() {
    let streaming = Streaming::start().await;
    let sessions = Sessions {
        model: MODEL.into(),
        count: 200,
    };
    let load = sessions.load(&streaming.world.edges);
    sessions.pass(&load, 1).await.unwrap();
    streaming
        .world
        .set_ready(&streaming.pod, false)
        .await
        .unwrap();
    let left = streaming.leaves(false).await;
    measured!("a pod that turned unready left Envoy after {left:?}");
    assert!(left < AT_ONCE, "{left:?}");
    streaming.others_answer().await;
    streaming
        .world
        .set_ready(&streaming.pod, true)
        .await
        .unwrap();
    streaming.leaves(true).await;
    sessions.pass(&load, 1).await.unwrap();
    let report = load.stop().await;
    assert!(report.other_than(&[200]).is_empty(), "{}", told(&report));
    ends_whole(streaming.answer).await;
}
