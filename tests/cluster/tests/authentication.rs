//! An AuthenticationPolicy on a Kubernetes API: a mistake in its keys, which the API server cannot find, never opens a namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::jwt::{TokenIssuer, key_set};
use headgate_tests_cluster::test_cluster::{SOON, TestCluster, TestClusterOptions};
use serde_json::json;

const MODEL: &str = "llama";
const ISSUER: &str = "https://issuer.test";

/// Applies the policy with these keys.
async fn apply(cluster: &TestCluster, keys: &str) {
    let policy = json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "AuthenticationPolicy",
        "metadata": { "name": "login" },
        "spec": { "jwt": [{ "issuer": ISSUER, "audiences": ["models"], "jwks": { "inline": keys } }] },
    });
    cluster.kubectl().apply(&policy.to_string()).await.unwrap();
}

/// Waits until requests with this token, and those without one, have these statuses.
async fn answers(cluster: &TestCluster, token: &str, expected: (u16, u16)) {
    let send = async |token: Option<&str>| {
        let mut request = OpenAiRequest::chat(MODEL).max_tokens(4);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let url = cluster.envoys[0].url();
        HttpClient::new()
            .send(request.to(url))
            .await
            .unwrap()
            .status
    };
    eventually(SOON, &format!("{expected:?}"), async || {
        let seen = (send(Some(token)).await, send(None).await);
        let as_expected = (seen == expected).then_some(());
        as_expected.ok_or_else(|| format!("{seen:?}"))
    })
    .await
    .unwrap();
}

/// Waits until `headgate status` has a problem of the policy with this text.
async fn reported(cluster: &TestCluster, text: &str) {
    let status = cluster.control_plane.wait_for_status(SOON, text, |status| {
        let mut problems = status.problems_of("Unreadable");
        problems.any(|problem| problem.message.contains(text))
    });
    status.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_read_never_open_a_namespace() {
    let cluster = TestCluster::start(TestClusterOptions::default())
        .await
        .unwrap();
    cluster.serve(MODEL, "v1", "one", 1).await.unwrap();
    let issuer = TokenIssuer::new(ISSUER, "k1").unwrap();
    let token = issuer.token(&json!({ "aud": "models" })).unwrap();
    let keys = key_set(&[&issuer]);
    answers(&cluster, &token, (200, 200)).await;

    // The first version of a policy is invalid: it cannot tell good tokens, so no token passes.
    let truncated = &keys[..keys.len() / 2];
    apply(&cluster, truncated).await;
    answers(&cluster, &token, (401, 401)).await;
    reported(&cluster, "no valid version of the policy is known").await;

    apply(&cluster, &keys).await;
    answers(&cluster, &token, (200, 401)).await;

    // An invalid edit leaves the last valid version in effect.
    apply(&cluster, truncated).await;
    reported(
        &cluster,
        "the last valid version of the policy stays in effect",
    )
    .await;
    answers(&cluster, &token, (200, 401)).await;
}
