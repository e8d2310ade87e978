//! Headgate in a genuine Istio mesh, from `kubectl apply -k` to a canary by label.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, OpenAiRequest, Reply};
use headgate_testkit::measured;
use headgate_tests_mesh::{MeshStand, Options};

/// The version that served, as the filter tags the response.
fn served(reply: &Reply) -> Option<&str> {
    reply.header("x-model-version")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_moves_sessions_in_a_mesh_without_a_failed_request() {
    let began = Instant::now();
    let stand = MeshStand::start(&Options {
        args: vec!["--linger=5".to_owned()],
    })
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    measured!("mesh with Headgate ready: {:?}", began.elapsed());
    stand
        .deploy()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    measured!("models, clients and gateway ready: {:?}", began.elapsed());

    let tagged = stand
        .until(
            "a tagged response",
            || stand.chat("client").unwrap(),
            |reply| reply.is_success() && served(reply) == Some("v1"),
        )
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    measured!(
        "first tagged response: {:?} {:?}",
        began.elapsed(),
        tagged.headers
    );

    let through_gateway = || {
        OpenAiRequest::chat("llama3-70b")
            .to(&stand.ingress())
            .header("host", "ai.example.com")
    };
    stand
        .until(
            "a tagged response of the gateway",
            through_gateway,
            |reply| reply.is_success() && served(reply) == Some("v1"),
        )
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    measured!("gateway tags: {:?}", began.elapsed());

    stand
        .deploy_version("v2.0", Some("50"))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let at = Instant::now();
    stand
        .until(
            "a session on v2.0",
            || stand.chat("client").unwrap().header("x-session-id", "s"),
            |_| true,
        )
        .await
        .unwrap();
    let client = HttpClient::new();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    while at.elapsed() < Duration::from_secs(30) && !seen.contains_key("v2.0") {
        for i in 0..50 {
            let request = stand
                .chat("client")
                .unwrap()
                .header("x-session-id", format!("s{i}"));
            let reply = client.send(request).await.unwrap();
            assert!(reply.is_success(), "{} {}", reply.status, reply.text());
            let version = served(&reply).unwrap_or("none").to_owned();
            let by = reply.header("x-mock-served-by").unwrap_or_default();
            assert!(by.ends_with(&version), "tagged {version}, served by {by}");
            *seen.entry(version).or_default() += 1;
        }
    }
    measured!(
        "canary takes sessions {:?} after its pods are ready: {seen:?}",
        at.elapsed()
    );
    assert!(
        seen.contains_key("v2.0"),
        "{}",
        stand.with_logs(&format!("{seen:?}"))
    );
}
