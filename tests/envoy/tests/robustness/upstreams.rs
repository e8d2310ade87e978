//! How endpoints are reached: in which protocol, by name, over TLS, and what happens while they do not answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::measured;
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::stage::{Manifest, Stage};
use headgate_testkit::tls::Authority;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::common::{SOON, budget, counted, declare, empty_world};

const ENDPOINTS: &str = "headgate.dev/endpoints";
const PROTOCOL: &str = "headgate.dev/protocol";

async fn world(serve_args: &[&str]) -> Stage {
    empty_world(2, 1, &budget("tenants", ""), serve_args).await
}

fn write(stage: &Stage, manifest: &Manifest) {
    let file = format!("{}.yaml", manifest.name());
    stage
        .files()
        .write_model(&file, &manifest.render())
        .unwrap();
}

/// A chat of a session.
async fn session(stage: &Stage, client: &HttpClient, n: usize) -> Reply {
    // This test is not about budgets.
    let chat = OpenAiRequest::chat("m")
        .max_tokens(1)
        .header("x-tenant-id", n.to_string())
        .header("x-conversation-id", n.to_string());
    client.send(chat.to(stage.url())).await.unwrap()
}

async fn pinned(stage: &Stage, version: &str) -> Reply {
    let chat = OpenAiRequest::chat("m").header("x-model-version", version);
    stage.client().send(chat.to(stage.url())).await.unwrap()
}

/// The first bytes that come to an endpoint of a model with this protocol, when this client asks for it.
async fn first_bytes(stage: &Stage, protocol: &str, client: &HttpClient) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let manifest = Manifest::new(protocol, "v1").endpoints(&[listener.local_addr().unwrap()]);
    write(stage, &manifest.annotation(PROTOCOL, protocol));
    stage.settled().await.unwrap();
    let call = format!("{}/inference.GRPCInferenceService/ServerLive", stage.url());
    let call = HttpRequest::post(call, vec![0; 5])
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-model", protocol);
    let sending = client.clone().with_timeout(SOON);
    let sent = tokio::spawn(async move { sending.send(call).await });
    let accepted = tokio::time::timeout(SOON, listener.accept()).await;
    let (mut connection, _) = accepted.unwrap().unwrap();
    let mut bytes = [0; 14];
    connection.read_exact(&mut bytes).await.unwrap();
    sent.abort();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_endpoint_is_spoken_to_in_its_protocol() {
    let stage = world(&[]).await;
    let (one, two) = (HttpClient::new(), HttpClient::http2());
    let preface = "PRI * HTTP/2.0";
    let request = "POST /inferenc";
    for (protocol, of_one, of_two) in [
        ("grpc", preface, preface),
        ("http2", preface, preface),
        ("http1", request, request),
        ("client", request, preface),
    ] {
        assert_eq!(
            first_bytes(&stage, protocol, &one).await,
            of_one,
            "{protocol}"
        );
        assert_eq!(
            first_bytes(&stage, protocol, &two).await,
            of_two,
            "{protocol}"
        );
    }
    let status = stage.status().await.unwrap();
    assert_eq!(status.problems_of("ProtocolsDiffer").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_does_not_answer_is_passed_over_and_takes_back_what_it_had() {
    let mut stage = world(&[]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    let closed = free_addr().unwrap();
    write(
        &stage,
        &Manifest::new("m", "v2").endpoints(&[closed]).weight("50"),
    );
    stage.settled().await.unwrap();

    let begun = Instant::now();
    // As many connections as there may be, so that both workers see failures.
    let mut failed = Vec::new();
    for n in 0..200 {
        let reply = session(&stage, &HttpClient::new(), n).await;
        match reply.status {
            200 => assert_eq!(reply.header("x-model-version"), Some("v1")),
            503 => failed.push(n),
            other => panic!("{other}: {}", reply.text()),
        }
    }
    measured!(
        "{} of 200 sessions failed before a dead canary was passed over",
        failed.len()
    );
    assert!((5..=10).contains(&failed.len()), "{failed:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "it was tried again"
    );
    let own = failed[0];
    // Half of the endpoints stay: the only endpoint of a version is never ejected, so pins reach it.
    let envoy = &stage.envoys()[0].envoy;
    let ejected = "cluster.model/default/m/v2/.outlier_detection.ejections_active";
    assert_eq!(envoy.stat(ejected).await.unwrap(), Some(0));
    assert_eq!(pinned(&stage, "v2").await.status, 503);
    let outages = counted(envoy.admin(), "outages").await;
    assert_eq!(outages.values().sum::<u64>(), 1, "{outages:?}");
    let passed = counted(envoy.admin(), "passed_over").await;
    let (name, _) = passed.first_key_value().unwrap();
    assert!(name.ends_with("|model=m|version=v2"), "{name}");

    let back = MockModel::start(MockOptions::new("m", "v2").at(closed));
    let back = back.await.unwrap();
    let client = stage.client();
    let again = eventually(SOON, "the version to be tried again", async || {
        let reply = session(&stage, &client, own).await;
        match reply.header("x-model-version") {
            Some("v2") => Ok(()),
            _ => Err(format!(
                "{} from {:?}",
                reply.status,
                reply.header("x-model-version")
            )),
        }
    });
    again.await.unwrap();
    // By now, or at their next tick, both workers know it.
    let all = eventually(SOON, "all of its sessions", async || {
        for n in &failed {
            let reply = session(&stage, &HttpClient::new(), *n).await;
            if reply.header("x-model-version") != Some("v2") {
                return Err(format!("session {n} is elsewhere"));
            }
        }
        Ok(())
    });
    all.await.unwrap();
    drop(back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_does_not_answer_is_taken_out_and_one_that_answers_500_is_not() {
    let mut stage = world(&[]).await;
    let good = stage.add_mock("m", "v1").await.unwrap();
    let closed = free_addr().unwrap();
    write(&stage, &Manifest::new("m", "v1").endpoints(&[good, closed]));
    stage.settled().await.unwrap();
    let client = stage.client();
    for _ in 0..20 {
        let chat = OpenAiRequest::chat("m").header("x-mock-status", "500");
        let reply = client.send(chat.to(stage.url())).await.unwrap();
        assert_eq!(reply.status, 500, "{}", reply.text());
    }
    for n in 0..40 {
        // A connection that fails is made anew to the other endpoint.
        assert_eq!(session(&stage, &client, n).await.status, 200);
    }
    let stats = |name: &str| format!("cluster.model/default/m/v1/.outlier_detection.{name}");
    let envoy = &mut stage.envoys_mut()[0].envoy;
    envoy
        .wait_stat(&stats("ejections_active"), |n| n == 1, SOON)
        .await
        .unwrap();
    let enforced = stats("ejections_enforced_consecutive_local_origin_failure");
    assert_eq!(envoy.stat(&enforced).await.unwrap(), Some(1));
    assert_eq!(
        envoy
            .stat(&stats("ejections_enforced_total"))
            .await
            .unwrap(),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_whose_health_check_fails_is_taken_out() {
    let mut stage = world(&[]).await;
    let well = stage.add_mock("m", "v1").await.unwrap();
    let ill = MockModel::start(MockOptions::new("m", "v1")).await.unwrap();
    let manifest = Manifest::new("m", "v1").endpoints(&[well, ill.addr()]);
    write(
        &stage,
        &manifest.annotation("headgate.dev/health-check", "/health"),
    );
    stage.settled().await.unwrap();
    let healthy = "cluster.model/default/m/v1/.membership_healthy";
    let envoy = &mut stage.envoys_mut()[0].envoy;
    envoy.wait_stat(healthy, |n| n == 2, SOON).await.unwrap();
    ill.handle().set_healthy(false);
    envoy.wait_stat(healthy, |n| n == 1, SOON).await.unwrap();
    let client = stage.client();
    let before = ill.stats().requests;
    for n in 0..20 {
        assert_eq!(session(&stage, &client, n).await.status, 200);
    }
    assert_eq!(ill.stats().requests, before);
}

/// `localhost:PORT`.
fn by_name(address: SocketAddr) -> String {
    format!("localhost:{}", address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_by_name_stands_beside_one_by_address_and_weights_move_between_them() {
    let mut stage = world(&[]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    let hosted = stage.add_mock("m", "v2").await.unwrap();
    let manifest = Manifest::new("m", "v2").annotation(ENDPOINTS, &by_name(hosted));
    write(&stage, &manifest.clone().weight("0"));
    stage.settled().await.unwrap();
    let reply = pinned(&stage, "v2").await;
    assert_eq!(
        (reply.status, reply.header("x-model-version")),
        (200, Some("v2"))
    );
    // The host is what such a server knows itself by.
    assert_eq!(
        reply.json().unwrap()["mock"]["headers"]["host"],
        "localhost"
    );
    let reply = pinned(&stage, "v1").await;
    let host = reply.json().unwrap()["mock"]["headers"]["host"].clone();
    assert_eq!(host, stage.url().strip_prefix("http://").unwrap());

    let client = stage.client();
    for (weight, least, most) in [("30", 30, 90), ("100", 200, 200), ("0", 0, 0)] {
        write(&stage, &manifest.clone().weight(weight));
        stage.settled().await.unwrap();
        let mut there = 0;
        for n in 0..200 {
            let reply = session(&stage, &client, n).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            there += usize::from(reply.header("x-model-version") == Some("v2"));
        }
        assert!((least..=most).contains(&there), "{there} at {weight}");
        // The model's own cluster, as a proxy without the filter has it.
        let weights = locality_weights(&stage, "model/default/m").await;
        let own: u64 = 1_000_000 - weight.parse::<u64>().unwrap() * 10_000;
        let expected: Vec<u64> = [own, 1_000_000 - own]
            .into_iter()
            .filter(|w| *w > 0)
            .collect();
        assert_eq!(weights, expected, "{weight}");
    }
    let status = stage.status().await.unwrap();
    let mut problems = status.problems.iter();
    // That the budget of this world takes long to fill is meant.
    assert!(
        problems.all(|p| p.reason == "LongWindow"),
        "{:?}",
        status.problems
    );
}

/// A cluster as Envoy has it.
async fn active_cluster(stage: &Stage, name: &str) -> serde_json::Value {
    let dump = stage.envoys()[0].envoy.admin().config_dump().await.unwrap();
    let configs = dump["configs"].as_array().unwrap();
    let clusters = configs
        .iter()
        .filter_map(|c| c["dynamic_active_clusters"].as_array());
    let mut found = clusters.flatten().map(|c| &c["cluster"]);
    found.find(|c| c["name"] == name).unwrap().clone()
}

/// Weights of a cluster's localities, which came with the cluster, in order of the versions.
async fn locality_weights(stage: &Stage, cluster: &str) -> Vec<u64> {
    let found = active_cluster(stage, cluster).await;
    let localities = found["load_assignment"]["endpoints"].as_array().unwrap();
    let weight = |l: &serde_json::Value| l["load_balancing_weight"].as_u64().unwrap();
    localities.iter().map(weight).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_checked_against_the_endpoints_own_name_or_the_one_that_is_said() {
    let authority = Authority::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.crt");
    authority.write(&ca).unwrap();
    let mut stage = world(&["--upstream-ca", ca.to_str().unwrap()]).await;
    let mock = stage.add_mock("m", "v1").await.unwrap();
    let both: &[&str] = &["h2", "http/1.1"];
    let right = authority.front(&["localhost"], both, mock).await.unwrap();
    let other = authority
        .front(&["api.example.com"], both, mock)
        .await
        .unwrap();
    let stranger = Authority::new().unwrap();
    let foreign = stranger.front(&["localhost"], both, mock).await.unwrap();
    let address = authority.front(&["127.0.0.1"], both, mock).await.unwrap();
    let named = |front: SocketAddr| vec![(ENDPOINTS, by_name(front))];
    let and = |mut annotations: Vec<(&'static str, String)>, more: &[(&'static str, &str)]| {
        annotations.extend(more.iter().map(|(k, v)| (*k, (*v).to_owned())));
        annotations
    };
    let sni = ("headgate.dev/tls-sni", "api.example.com");
    let san = ("headgate.dev/tls-san", "api.example.com");
    let cases = [
        ("own name", named(right.addr()), 200),
        ("another name", named(other.addr()), 503),
        ("another authority", named(foreign.addr()), 503),
        ("said server name", and(named(other.addr()), &[sni]), 200),
        (
            "said certificate name",
            and(named(other.addr()), &[san]),
            200,
        ),
        (
            "wrong certificate name",
            and(named(right.addr()), &[san]),
            503,
        ),
        ("wrong server name", and(named(right.addr()), &[sni]), 503),
        (
            "own address",
            vec![(ENDPOINTS, address.addr().to_string())],
            200,
        ),
        (
            "not the address",
            vec![(ENDPOINTS, right.addr().to_string())],
            503,
        ),
        ("grpc", and(named(right.addr()), &[(PROTOCOL, "grpc")]), 200),
        (
            "client",
            and(named(right.addr()), &[(PROTOCOL, "client")]),
            200,
        ),
    ];
    for (what, annotations, expected) in cases {
        let mut manifest = Manifest::new("m", "v1").annotation("headgate.dev/tls", "true");
        for (key, value) in &annotations {
            manifest = manifest.annotation(key, value);
        }
        write(&stage, &manifest);
        stage.settled().await.unwrap();
        let reply = session(&stage, &HttpClient::new(), 1).await;
        assert_eq!(reply.status, expected, "{what}: {}", reply.text());
        // What a proxy without the filter uses checks as well.
        let sockets = transport_sockets(&stage).await;
        assert_eq!(sockets, 1, "{what}");
    }
    let said = |front: &headgate_testkit::tls::TlsFront| {
        let greetings = front.greetings().into_iter();
        greetings
            .map(|g| (g.server_name, g.protocol))
            .collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert!(
        said(&right).contains(&(some("localhost"), some("http/1.1"))),
        "{:?}",
        said(&right)
    );
    assert!(
        said(&right).contains(&(some("localhost"), some("h2"))),
        "{:?}",
        said(&right)
    );
    assert!(said(&other).contains(&(some("api.example.com"), some("http/1.1"))));
    assert!(said(&other).contains(&(some("localhost"), some("http/1.1"))));
}

/// How many sockets over TLS the model's own cluster has, by version.
async fn transport_sockets(stage: &Stage) -> usize {
    let own = active_cluster(stage, "model/default/m").await;
    own["transport_socket_matches"]
        .as_array()
        .map_or(0, Vec::len)
}
