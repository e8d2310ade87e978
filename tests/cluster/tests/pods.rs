//! The requests of a pod that ends, or that is not ready for a while.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, OpenAiRequest, StreamedReply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::deployment;
use headgate_testkit::measured;
use headgate_tests_cluster::sessions::{Sessions, summary};
use headgate_tests_cluster::test_cluster::{SOON, TestCluster, TestClusterOptions};
use tokio::task::AbortHandle;

const MODEL: &str = "llama";
const CLUSTER: &str = "model/default/llama/one";
/// Tokens of the streamed response, and the delay between two tokens; longer than any change needs to reach an Envoy.
const TOKENS: u64 = 100;
const BETWEEN_MS: u64 = 200;
/// A pod that ends or becomes unready must leave Envoy within this time, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(1500);
/// Most pods must leave within this time. Other endpoint changes may be batched for a second, half a second on average.
const MOSTLY: Duration = Duration::from_millis(450);
/// Number of readiness changes.
const TIMES: usize = 9;

/// A test cluster with two pods, and a response that one of them streams.
struct Streaming {
    cluster: TestCluster,
    client: HttpClient,
    pod: String,
    address: SocketAddr,
    answer: StreamedReply,
}

impl Streaming {
    async fn start() -> Self {
        let cluster = TestCluster::start(TestClusterOptions::default())
            .await
            .unwrap();
        cluster.serve(MODEL, "v1", "one", 2).await.unwrap();
        let client = HttpClient::new();
        let request = OpenAiRequest::chat(MODEL)
            .stream()
            .max_tokens(TOKENS)
            .header("x-mock-tokens", TOKENS.to_string())
            .header("x-mock-delay-ms", BETWEEN_MS.to_string());
        let mut answer = client
            .open(request.to(cluster.envoys[0].url()))
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        answer.event().await.unwrap().expect("a first token");
        let pods = cluster.pods("v1");
        let serves = |(_, server): &(&String, &(SocketAddr, _))| in_flight(server) == 1;
        let (pod, (address, _)) = pods.iter().find(serves).expect("a pod that serves");
        Self {
            client,
            pod: pod.clone(),
            address: *address,
            answer,
            cluster,
        }
    }

    async fn ask(&self) {
        let request = OpenAiRequest::chat(MODEL).max_tokens(1);
        let url = self.cluster.envoys[0].url();
        let reply = self.client.send(request.to(url)).await;
        assert_eq!(reply.unwrap().status, 200);
    }

    /// Sends new requests; the pod must get none of them.
    async fn others_answer(&self) {
        let pods = self.cluster.pods("v1");
        let (_, server) = &pods[&self.pod];
        // Envoy reports a change before its workers apply it, so the first request may still go to the pod.
        self.ask().await;
        let before = server.stats().requests;
        for _ in 0..20 {
            self.ask().await;
        }
        assert_eq!(server.stats().requests, before);
        assert_eq!(
            server.stats().in_flight,
            1,
            "the response is still in flight"
        );
    }
}

/// The time until an address is, or is no longer, a host of the cluster.
async fn is_host(cluster: &TestCluster, address: SocketAddr, host: bool) -> Duration {
    let began = Instant::now();
    let what = format!("{address} to be a host: {host}");
    eventually(SOON, &what, async || {
        let hosts = cluster.envoys[0].hosts(CLUSTER).await;
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

/// Sets the readiness of a pod. Returns the time until Envoy has followed.
async fn turn(cluster: &TestCluster, pod: &str, address: SocketAddr, ready: bool) -> Duration {
    cluster.set_ready(pod, ready).await.unwrap();
    is_host(cluster, address, ready).await
}

/// A pod of another model that is never ready and changes its address all the time, so that batched endpoint changes never find a
/// quiet moment. Until dropped.
struct PodChurn(AbortHandle);

impl PodChurn {
    async fn start(cluster: &TestCluster) -> Self {
        let other = deployment("other", "other", "one", 1);
        cluster.roll_out(&other).await.unwrap();
        let node = cluster.node().clone();
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

impl Drop for PodChurn {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn in_flight(server: &(SocketAddr, headgate_testkit::mock_model::MockHandle)) -> u64 {
    server.1.stats().in_flight
}

/// The first event, without a token, was read before; all other events must come, up to the end.
async fn ends_whole(answer: StreamedReply) {
    let events = answer.events().await.unwrap();
    let tokens = events.iter().filter(|event| event.contains("tok "));
    assert_eq!(tokens.count() as u64, TOKENS, "{events:?}");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminating_pod_gets_no_new_requests_and_its_stream_finishes() {
    let streaming = Streaming::start().await;
    let delete = format!("delete pod {} --wait=false", streaming.pod);
    streaming.cluster.run(&delete).await.unwrap();
    let left = is_host(&streaming.cluster, streaming.address, false).await;
    measured!("a terminating pod left Envoy {left:?} after kubectl delete");
    assert!(left < AT_ONCE, "{left:?}");
    assert!(
        streaming.cluster.pods("v1").contains_key(&streaming.pod),
        "its server still runs"
    );
    streaming.others_answer().await;
    let Streaming {
        cluster,
        pod,
        answer,
        ..
    } = streaming;
    ends_whole(answer).await;
    cluster
        .wait_for_pods("v1", "the server to stop", |pods| !pods.contains_key(&pod))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unready_pod_gets_no_requests_until_it_is_ready_again() {
    let streaming = Streaming::start().await;
    let sessions = Sessions {
        model: MODEL.into(),
        count: 200,
    };
    let load = sessions.load(&streaming.cluster.envoys);
    sessions.pass(&load, 1).await.unwrap();
    let (pod, address) = (streaming.pod.clone(), streaming.address);
    let left = turn(&streaming.cluster, &pod, address, false).await;
    assert!(left < AT_ONCE, "{left:?}");
    streaming.others_answer().await;
    turn(&streaming.cluster, &pod, address, true).await;
    sessions.pass(&load, 1).await.unwrap();
    let report = load.stop().await;
    assert!(report.other_than(&[200]).is_empty(), "{}", summary(&report));
    let Streaming {
        cluster, answer, ..
    } = streaming;
    ends_whole(answer).await;

    // Also while other endpoints change all the time.
    let _churn = PodChurn::start(&cluster).await;
    let mut left = Vec::new();
    for _ in 0..TIMES {
        left.push(turn(&cluster, &pod, address, false).await);
        turn(&cluster, &pod, address, true).await;
    }
    left.sort();
    measured!("an unready pod left Envoy after {left:?}");
    assert!(left[TIMES / 2] < MOSTLY, "{left:?}");
    assert!(left[TIMES - 1] < AT_ONCE, "{left:?}");
}
