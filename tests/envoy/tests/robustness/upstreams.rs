//! Connections to endpoints: protocol, DNS names, TLS, and endpoints that do not respond.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::measured;
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::{Manifest, Testbed};
use headgate_testkit::tls::CertificateAuthority;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::common::{SOON, budget, counted, declare, empty_testbed};

const ENDPOINTS: &str = "headgate.dev/endpoints";
const PROTOCOL: &str = "headgate.dev/protocol";

async fn start_testbed(serve_args: &[&str]) -> Testbed {
    empty_testbed(2, 1, &budget("tenants", ""), serve_args).await
}

fn write(testbed: &Testbed, manifest: &Manifest) {
    let file = format!("{}.yaml", manifest.name());
    testbed
        .files()
        .write_model(&file, &manifest.render())
        .unwrap();
}

/// A chat of session `n`.
async fn session(testbed: &Testbed, client: &HttpClient, n: usize) -> Reply {
    // A tenant of its own, so that no budget is exhausted.
    let chat = OpenAiRequest::chat("m")
        .max_tokens(1)
        .header("x-tenant-id", n.to_string())
        .header("x-conversation-id", n.to_string());
    client.send(chat.to(testbed.url())).await.unwrap()
}

async fn pinned(testbed: &Testbed, version: &str) -> Reply {
    let chat = OpenAiRequest::chat("m").header("x-model-version", version);
    testbed.client().send(chat.to(testbed.url())).await.unwrap()
}

/// The first bytes that reach an endpoint of a model with this protocol, when this client sends a request.
async fn first_bytes(testbed: &Testbed, protocol: &str, client: &HttpClient) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let manifest = Manifest::new(protocol, "v1").endpoints(&[listener.local_addr().unwrap()]);
    write(testbed, &manifest.annotation(PROTOCOL, protocol));
    testbed.wait_until_settled().await.unwrap();
    let call = format!(
        "{}/inference.GRPCInferenceService/ServerLive",
        testbed.url()
    );
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
async fn each_endpoint_gets_requests_in_its_protocol() {
    let testbed = start_testbed(&[]).await;
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
            first_bytes(&testbed, protocol, &one).await,
            of_one,
            "{protocol}"
        );
        assert_eq!(
            first_bytes(&testbed, protocol, &two).await,
            of_two,
            "{protocol}"
        );
    }
    let status = testbed.status().await.unwrap();
    assert_eq!(status.problems_of("ProtocolsDiffer").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_does_not_respond_is_passed_over_and_gets_its_sessions_back_later() {
    let mut testbed = start_testbed(&[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    let closed = free_addr().unwrap();
    write(
        &testbed,
        &Manifest::new("m", "v2").endpoints(&[closed]).weight("50"),
    );
    testbed.wait_until_settled().await.unwrap();

    let begun = Instant::now();
    // As many connections as possible, so that both workers see failures.
    let mut failed = Vec::new();
    for n in 0..200 {
        let reply = session(&testbed, &HttpClient::new(), n).await;
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
    // At most half of the endpoints are ejected, so the only endpoint of a version never is, and pins reach it.
    let envoy = &testbed.envoys()[0].envoy;
    let ejected = "cluster.model/default/m/v2/.outlier_detection.ejections_active";
    assert_eq!(envoy.stat(ejected).await.unwrap(), Some(0));
    assert_eq!(pinned(&testbed, "v2").await.status, 503);
    let outages = counted(envoy.admin(), "outages_total").await;
    assert_eq!(outages.values().sum::<u64>(), 1, "{outages:?}");
    let passed = counted(envoy.admin(), "passed_over_total").await;
    let (name, _) = passed.first_key_value().unwrap();
    assert!(name.contains("model=.=m;.;version=.=v2;.;"), "{name}");

    let back = MockModel::start(MockOptions::new("m", "v2").at(closed));
    let back = back.await.unwrap();
    let client = testbed.client();
    let again = eventually(SOON, "the version to be tried again", async || {
        let reply = session(&testbed, &client, own).await;
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
    // By now, or at their next tick, both workers know.
    let all = eventually(SOON, "all of its sessions", async || {
        for n in &failed {
            let reply = session(&testbed, &HttpClient::new(), *n).await;
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
async fn an_endpoint_that_does_not_respond_is_ejected_and_one_that_responds_500_is_not() {
    let mut testbed = start_testbed(&[]).await;
    let valid = testbed.add_mock("m", "v1").await.unwrap();
    let closed = free_addr().unwrap();
    write(
        &testbed,
        &Manifest::new("m", "v1").endpoints(&[valid, closed]),
    );
    testbed.wait_until_settled().await.unwrap();
    let client = testbed.client();
    for _ in 0..20 {
        let chat = OpenAiRequest::chat("m").header("x-mock-status", "500");
        let reply = client.send(chat.to(testbed.url())).await.unwrap();
        assert_eq!(reply.status, 500, "{}", reply.text());
    }
    for n in 0..40 {
        // A request whose connection fails is retried at the other endpoint.
        assert_eq!(session(&testbed, &client, n).await.status, 200);
    }
    let stats = |name: &str| format!("cluster.model/default/m/v1/.outlier_detection.{name}");
    let envoy = &mut testbed.envoys_mut()[0].envoy;
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
async fn an_endpoint_whose_health_check_fails_gets_no_requests() {
    let mut testbed = start_testbed(&[]).await;
    let well = testbed.add_mock("m", "v1").await.unwrap();
    let ill = MockModel::start(MockOptions::new("m", "v1")).await.unwrap();
    let manifest = Manifest::new("m", "v1").endpoints(&[well, ill.addr()]);
    write(
        &testbed,
        &manifest.annotation("headgate.dev/health-check", "/health"),
    );
    testbed.wait_until_settled().await.unwrap();
    let healthy = "cluster.model/default/m/v1/.membership_healthy";
    let envoy = &mut testbed.envoys_mut()[0].envoy;
    envoy.wait_stat(healthy, |n| n == 2, SOON).await.unwrap();
    ill.handle().set_healthy(false);
    envoy.wait_stat(healthy, |n| n == 1, SOON).await.unwrap();
    let client = testbed.client();
    let before = ill.stats().requests;
    for n in 0..20 {
        assert_eq!(session(&testbed, &client, n).await.status, 200);
    }
    assert_eq!(ill.stats().requests, before);
}

/// `localhost:PORT`.
fn by_name(address: SocketAddr) -> String {
    format!("localhost:{}", address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_shift_traffic_between_a_dns_endpoint_and_an_address() {
    let mut testbed = start_testbed(&[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    let hosted = testbed.add_mock("m", "v2").await.unwrap();
    let manifest = Manifest::new("m", "v2").annotation(ENDPOINTS, &by_name(hosted));
    write(&testbed, &manifest.clone().weight("0"));
    testbed.wait_until_settled().await.unwrap();
    let reply = pinned(&testbed, "v2").await;
    assert_eq!(
        (reply.status, reply.header("x-model-version")),
        (200, Some("v2"))
    );
    // Such a server expects its own name as the host.
    assert_eq!(
        reply.json().unwrap()["mock"]["headers"]["host"],
        "localhost"
    );
    let reply = pinned(&testbed, "v1").await;
    let host = reply.json().unwrap()["mock"]["headers"]["host"].clone();
    assert_eq!(host, testbed.url().strip_prefix("http://").unwrap());

    let client = testbed.client();
    for (weight, least, most) in [("30", 30, 90), ("100", 200, 200), ("0", 0, 0)] {
        write(&testbed, &manifest.clone().weight(weight));
        testbed.wait_until_settled().await.unwrap();
        let mut at_v2 = 0;
        for n in 0..200 {
            let reply = session(&testbed, &client, n).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            at_v2 += usize::from(reply.header("x-model-version") == Some("v2"));
        }
        assert!((least..=most).contains(&at_v2), "{at_v2} at {weight}");
        // The model's own cluster, for proxies without the filter.
        let weights = locality_weights(&testbed, "model/default/m").await;
        let own: u64 = 1_000_000 - weight.parse::<u64>().unwrap() * 10_000;
        let expected: Vec<u64> = [own, 1_000_000 - own]
            .into_iter()
            .filter(|w| *w > 0)
            .collect();
        assert_eq!(weights, expected, "{weight}");
    }
    let status = testbed.status().await.unwrap();
    let mut problems = status.problems.iter();
    // The note about the budget's long window is expected.
    assert!(
        problems.all(|p| p.reason == "LongWindow"),
        "{:?}",
        status.problems
    );
}

/// A cluster in Envoy's config dump.
async fn active_cluster(testbed: &Testbed, name: &str) -> serde_json::Value {
    let dump = testbed.envoys()[0]
        .envoy
        .admin()
        .config_dump()
        .await
        .unwrap();
    let configs = dump["configs"].as_array().unwrap();
    let clusters = configs
        .iter()
        .filter_map(|c| c["dynamic_active_clusters"].as_array());
    let mut found = clusters.flatten().map(|c| &c["cluster"]);
    found.find(|c| c["name"] == name).unwrap().clone()
}

/// The weights of a cluster's localities, from its initial configuration, in order of the versions.
async fn locality_weights(testbed: &Testbed, cluster: &str) -> Vec<u64> {
    let found = active_cluster(testbed, cluster).await;
    let localities = found["load_assignment"]["endpoints"].as_array().unwrap();
    let weight = |l: &serde_json::Value| l["load_balancing_weight"].as_u64().unwrap();
    localities.iter().map(weight).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_verified_against_the_endpoints_name_or_the_configured_one() {
    let authority = CertificateAuthority::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.crt");
    authority.write(&ca).unwrap();
    let mut testbed = start_testbed(&["--upstream-ca", ca.to_str().unwrap()]).await;
    let mock = testbed.add_mock("m", "v1").await.unwrap();
    let both: &[&str] = &["h2", "http/1.1"];
    let right = authority
        .terminate_tls(&["localhost"], both, mock)
        .await
        .unwrap();
    let other = authority
        .terminate_tls(&["api.example.com"], both, mock)
        .await
        .unwrap();
    let stranger = CertificateAuthority::new().unwrap();
    let foreign = stranger
        .terminate_tls(&["localhost"], both, mock)
        .await
        .unwrap();
    let address = authority
        .terminate_tls(&["127.0.0.1"], both, mock)
        .await
        .unwrap();
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
        (
            "configured server name",
            and(named(other.addr()), &[sni]),
            200,
        ),
        (
            "configured certificate name",
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
        write(&testbed, &manifest);
        testbed.wait_until_settled().await.unwrap();
        let reply = session(&testbed, &HttpClient::new(), 1).await;
        assert_eq!(reply.status, expected, "{what}: {}", reply.text());
        // Proxies without the filter use sockets that check as well.
        let sockets = transport_sockets(&testbed).await;
        assert_eq!(sockets, 1, "{what}");
    }
    let hellos_of = |front: &headgate_testkit::tls::TlsTerminator| {
        let client_hellos = front.client_hellos().into_iter();
        client_hellos
            .map(|g| (g.server_name, g.protocol))
            .collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert!(
        hellos_of(&right).contains(&(some("localhost"), some("http/1.1"))),
        "{:?}",
        hellos_of(&right)
    );
    assert!(
        hellos_of(&right).contains(&(some("localhost"), some("h2"))),
        "{:?}",
        hellos_of(&right)
    );
    assert!(hellos_of(&other).contains(&(some("api.example.com"), some("http/1.1"))));
    assert!(hellos_of(&other).contains(&(some("localhost"), some("http/1.1"))));
}

/// The number of TLS sockets of the model's own cluster, by version.
async fn transport_sockets(testbed: &Testbed) -> usize {
    let own = active_cluster(testbed, "model/default/m").await;
    own["transport_socket_matches"]
        .as_array()
        .map_or(0, Vec::len)
}
