//! What becomes of a pod's requests when it ends, or is not ready for a while.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, OpenAiRequest, Streamed};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::deployment;
use headgate_testkit::measured;
use headgate_tests_cluster::sessions::{Sessions, told};
use headgate_tests_cluster::world::{SOON, World, WorldOptions};
use tokio::task::AbortHandle;

const MODEL: &str = "llama";
const CLUSTER: &str = "model/default/llama/one";
/// Tokens of the streamed answer, and the time between two: longer than any change takes to reach an Envoy.
const TOKENS: u64 = 100;
const BETWEEN_MS: u64 = 200;
/// Within this a pod that ends or turns unready is to be out, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(1500);
/// Within this it is most of the times: other changes of endpoints may wait for a second, half of one on average.
const MOSTLY: Duration = Duration::from_millis(450);
/// How often a pod turns unready.
const TIMES: usize = 9;

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

/// When an address is a host of the cluster, or is none any more.
async fn is_host(world: &World, address: SocketAddr, host: bool) -> Duration {
    let began = Instant::now();
    let what = format!("{address} to be a host: {host}");
    eventually(SOON, &what, async || {
        let hosts = world.edges[0].hosts(CLUSTER).await;
        let hosts = hosts
            .map_err(|error| error.to_string())?
            .unwrap_or_default();
        if hosts.contains(&address) == host {
            return Ok(());
        }
        Err(format!("{hosts:?}"))
    })
    .await
    .unwrap();
    began.elapsed()
}

/// The kubelet's word on a pod, and how long Envoy took to follow it.
async fn turn(world: &World, pod: &str, address: SocketAddr, ready: bool) -> Duration {
    world.set_ready(pod, ready).await.unwrap();
    is_host(world, address, ready).await
}

/// A pod of another model that is never ready and has always another address: changes of endpoints that may wait for company find
/// no quiet moment. Until dropped.
struct Restless(AbortHandle);

impl Restless {
    async fn start(world: &World) -> Self {
        let other = deployment("other", "other", "one", 1);
        world.roll_out(&other).await.unwrap();
        let node = world.node().clone();
        let pods = node.pods_in(Some("default")).await.unwrap();
        let mut pods = pods.into_iter();
        let pod = pods.find(|pod| {
            pod.metadata
                .name
                .as_deref()
                .unwrap_or("")
                .starts_with("other")
        });
        let pod = pod.expect("the other model's pod");
        let moves = async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(40));
            for last in (1..=250_u8).cycle() {
                ticks.tick().await;
                let address = Ipv4Addr::new(127, 9, 9, last).into();
                node.report(&pod, address, false).await.unwrap();
            }
        };
        Self(tokio::spawn(moves).abort_handle())
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn in_flight(server: &(SocketAddr, headgate_testkit::mock_model::MockHandle)) -> u64 {
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
    let left = is_host(&streaming.world, streaming.address, false).await;
    measured!("a terminating pod left Envoy {left:?} after kubectl delete");
    assert!(left < AT_ONCE, "{left:?}");
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
    let (pod, address) = (streaming.pod.clone(), streaming.address);
    let left = turn(&streaming.world, &pod, address, false).await;
    assert!(left < AT_ONCE, "{left:?}");
    streaming.others_answer().await;
    turn(&streaming.world, &pod, address, true).await;
    sessions.pass(&load, 1).await.unwrap();
    let report = load.stop().await;
    assert!(report.other_than(&[200]).is_empty(), "{}", told(&report));
    let Streaming { world, answer, .. } = streaming;
    ends_whole(answer).await;

    // Also where endpoints change all the time.
    let _restless = Restless::start(&world).await;
    let mut left = Vec::new();
    for _ in 0..TIMES {
        left.push(turn(&world, &pod, address, false).await);
        turn(&world, &pod, address, true).await;
    }
    left.sort();
    measured!("a pod that turned unready left Envoy after {left:?}");
    assert!(left[TIMES / 2] < MOSTLY, "{left:?}");
    assert!(left[TIMES - 1] < AT_ONCE, "{left:?}");
}
