//! Tags, replies, balances and statistics through the ABI.
//!
//! One program for all of these tests, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod amended;
mod apis;
mod cases;
mod charges;
mod client_view;
mod failures;
mod schemas;

use headgate_testkit::client::{HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::config::{slow_tokens, slow_tokens_by_reservation, with_buckets};
use headgate_tests_abi::testbed::{SOON, Testbed, start, try_start};
use serde_json::{Value, json};

/// The headers at the upstream.
fn upstream_headers(reply: &Reply) -> Value {
    reply.json().expect("a JSON answer")["mock"]["headers"].clone()
}

fn ask(testbed: &Testbed, tenant: &str, max_tokens: u64) -> HttpRequest {
    OpenAiRequest::chat("m")
        .max_tokens(max_tokens)
        .header("x-tenant-id", tenant)
        .to(&testbed.url)
}

#[tokio::test]
async fn tags_reach_the_upstream_the_access_log_and_the_answer() {
    for module in ["traffic-tag", "headgate"] {
        let testbed = start(module, &with_buckets(&[])).await;
        let request = OpenAiRequest::chat("Org/M-Instruct")
            .header("x-tenant-id", "acme")
            .header("x-headgate-tenant", "forged")
            .header("baggage", "a=1,headgate.model=forged");
        let reply = testbed.send(request.to(&testbed.url)).await;
        assert_eq!(reply.status, 200, "{module}: {}", reply.text());

        let headers = upstream_headers(&reply);
        let version = headers["x-model-version"]
            .as_str()
            .expect("a version")
            .to_owned();
        let served_by = format!("m/{version}");
        assert_eq!(headers["x-model"], "m", "{module}");
        assert_eq!(headers["x-headgate-tenant"], "acme", "{module}");
        let baggage = headers["baggage"].as_str().expect("baggage");
        assert!(
            baggage.contains("a=1") && baggage.contains("headgate.model=m"),
            "{baggage}"
        );
        assert!(!baggage.contains("forged"), "{baggage}");

        assert_eq!(reply.header("x-mock-served-by"), Some(served_by.as_str()));
        assert_eq!(reply.header("x-model"), Some("m"));
        assert_eq!(reply.header("x-model-version"), Some(version.as_str()));
        let line = testbed.access_line("model=m").await;
        assert!(line.contains(&format!("version={version}")), "{line}");
        assert!(line.contains("tenant=acme"), "{line}");
    }
}

#[tokio::test]
async fn over_budget_is_a_429_with_retry_after() {
    for module in ["token-bucket", "headgate"] {
        let testbed = start(module, &with_buckets(&[slow_tokens_by_reservation(1000)])).await;
        let send = async || {
            let request = OpenAiRequest::chat("m")
                .max_tokens(900)
                .header("x-model", "m")
                .header("x-model-version", "v2")
                .header("x-tenant-id", "acme");
            testbed.send(request.to(&testbed.url)).await
        };
        let first = send().await;
        assert_eq!(first.status, 200, "{module}: {}", first.text());
        let left: u64 = first
            .header("x-ratelimit-remaining-tokens")
            .and_then(|left| left.parse().ok())
            .expect("a balance");
        assert!(left <= 100, "{module}: {left} left");

        let second = send().await;
        assert_eq!(second.status, 429, "{module}: {}", second.text());
        let wait: u64 = second
            .header("retry-after")
            .and_then(|wait| wait.parse().ok())
            .expect("a time to wait");
        assert!((1..=86_400).contains(&wait), "{module}: {wait} s");
        let body = second.json().expect("a JSON refusal");
        assert_eq!(body["error"]["code"], "rate_limit_exceeded", "{body}");
        assert_eq!(testbed.served(), 1, "{module}");
        testbed.access_line("status=429 details=headgate_").await;
    }
}

/// 800 of 1000 are reserved and about 20 used: only a settlement lets the next 800 through, on either worker.
#[tokio::test]
async fn a_settlement_reaches_every_worker_through_shared_data() {
    let config = with_buckets(&[slow_tokens(1000)]).to_string();
    let testbed = try_start("headgate", &config, 2).await.unwrap();
    for round in 1..=5 {
        eventually(SOON, "a settled reservation", async || {
            let reply = testbed.send(ask(&testbed, "acme", 800)).await;
            match reply.status {
                200 => Ok(()),
                429 => Err(reply.text()),
                other => panic!("{other}: {}", reply.text()),
            }
        })
        .await
        .unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    assert_eq!(testbed.served(), 5);
}

/// The counterpart: without a settlement later requests are refused.
#[tokio::test]
async fn a_charged_reservation_is_not_refunded() {
    let config = with_buckets(&[slow_tokens_by_reservation(1000)]).to_string();
    let testbed = try_start("headgate", &config, 2).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(testbed.send(ask(&testbed, "acme", 800)).await.status);
    }
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|s| *s == 429), "{statuses:?}");
    assert_eq!(testbed.send(ask(&testbed, "other", 800)).await.status, 200);
}

#[tokio::test]
async fn a_body_in_many_pieces_is_read_once_and_forwarded_completely() {
    let testbed = start("headgate", &with_buckets(&[slow_tokens(1_000_000_000)])).await;
    let prompt = "word ".repeat(200_000);
    let request = OpenAiRequest::chat("m").prompt(&prompt).max_tokens(8);
    let sent = request.body().to_string().len();
    let reply = testbed.send(request.to(&testbed.url)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json().unwrap();
    assert_eq!(answer["mock"]["body_bytes"], sent);
    assert_eq!(answer["usage"]["prompt_tokens"], prompt.len() / 4);
}

#[tokio::test]
async fn statistics_have_labels_and_count_each_request_once() {
    let testbed = start("headgate", &with_buckets(&[slow_tokens(1000)])).await;
    for tenant in ["a", "b", "c"] {
        assert_eq!(testbed.send(ask(&testbed, tenant, 10)).await.status, 200);
    }
    let labels = [
        ("model_namespace", "default"),
        ("model", "m"),
        ("outcome", "admitted"),
    ];
    eventually(SOON, "three requests counted", async || {
        let samples = testbed
            .envoy
            .prometheus()
            .await
            .map_err(|e| e.to_string())?;
        let requests: Vec<_> = samples
            .iter()
            .filter(|s| s.name == "headgate_requests_total")
            .collect();
        let admitted = requests.iter().filter(|s| s.has(&labels));
        let sum: f64 = admitted.map(|s| s.value).sum();
        if (sum - 3.0).abs() < f64::EPSILON {
            Ok(())
        } else {
            Err(format!("{requests:?}"))
        }
    })
    .await
    .unwrap();
    let rule = ("rule", "default/p/tokens");
    eventually(SOON, "three settlements counted", async || {
        let samples = testbed
            .envoy
            .prometheus()
            .await
            .map_err(|e| e.to_string())?;
        let sum = |name: &str, labels: &[(&str, &str)]| -> f64 {
            let found = samples.iter().filter(|s| s.name == name && s.has(labels));
            found.map(|s| s.value).sum()
        };
        // Counters and histograms have the version as a label.
        let by_version = |name: &str, labels: &[(&str, &str)]| -> f64 {
            let of = |version| [labels, &[("model", "m"), ("version", version)]].concat();
            sum(name, &of("v1")) + sum(name, &of("v2"))
        };
        let counts = [
            by_version("headgate_settlements_total", &[rule, ("outcome", "usage")]),
            by_version("headgate_reserves_total", &[rule, ("outcome", "reserved")]),
            by_version("headgate_charged_milli_count", &[rule]),
            by_version("headgate_charged_milli_bucket", &[rule, ("le", "+Inf")]),
            by_version("headgate_output_tokens_count", &[]),
        ];
        if counts.iter().all(|n| (n - 3.0).abs() < f64::EPSILON) {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    })
    .await
    .unwrap();
}

/// `semantic`: a share of the capacity of the model. The default table allows a hundred requests of gpt-4 with any
/// `max_tokens`.
#[tokio::test]
async fn a_semantic_bucket_limits_requests_by_the_capacity_of_the_model() {
    let slow = json!({"name": "fair", "key": ["tenant", "model"], "profile": "semantic", "semantic": {"fillRatio": 0.0001}, "settleOn": "reservation"});
    let mut config = with_buckets(&[slow]);
    let model = config["namespaces"]["default"]["models"]["m"].take();
    config["namespaces"]["default"]["models"] = json!({"gpt-4": model});
    config["namespaces"]["default"]["models"]["gpt-4"]["names"] = json!([]);
    let testbed = start("headgate", &config).await;
    let send = async |max_tokens: u64| {
        let request = OpenAiRequest::chat("gpt-4").max_tokens(max_tokens);
        let request = request.header("x-tenant-id", "acme");
        testbed.send(request.to(&testbed.url)).await.status
    };
    let mut admitted = 0;
    while admitted < 150 && send([512, 1024][admitted % 2]).await == 200 {
        admitted += 1;
    }
    assert_eq!(admitted, 100);
    assert_eq!(testbed.served(), 100);
}

#[tokio::test]
async fn a_grpc_request_is_refused_in_grpc() {
    let testbed = start(
        "headgate",
        &with_buckets(&[slow_tokens_by_reservation(1000)]),
    )
    .await;
    let url = format!("{}/inference.GRPCInferenceService/ModelInfer", testbed.url);
    testbed.set_answer("inferred", &MockAnswer::json("inferred"));
    // `model_name`, and 3600 bytes of `raw_input_contents`: 900 tokens.
    let infer = [b"\x0a\x01m\x3a\x90\x1c", &[7; 3600][..]].concat();
    let length = u32::try_from(infer.len()).unwrap().to_be_bytes();
    let message = [&[0][..], &length, &infer].concat();
    let send = async || {
        let request = HttpRequest::post(&url, message.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-mock-answer", "inferred")
            .header("x-tenant-id", "acme");
        testbed.send(request).await
    };
    let admitted = send().await;
    assert_eq!(admitted.header("grpc-status"), None, "{}", admitted.text());
    let refused = send().await;
    assert_eq!(refused.status, 200, "{}", refused.text());
    assert_eq!(refused.header("grpc-status"), Some("8"));
    let message = refused.header("grpc-message").expect("a message");
    assert!(!message.is_empty());
}
