//! Failed requests: every kind of failure with every policy.

use std::time::{Duration, Instant};

use headgate_testkit::client::{ClientError, OpenAiRequest};
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::config::one_version;
use headgate_tests_abi::testbed::{Testbed, start};
use serde_json::{Value, json};

use crate::charges::{
    bucket, charge_of, chat, cut_after, leave_after, sent, testbed, testbed_with,
};

/// Bytes of the prompt, and its tokens.
const BYTES: usize = 400;
const PROMPT: u64 = 100;
/// The limit of output tokens.
const OUTPUT: u64 = 1000;

/// A kind of failure: the field of the policy, a name, and the headers that cause it.
type Way = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Each of them takes about 100 ms.
const WAYS: [Way; 8] = [
    ("clientError", "404", &[("x-mock-status", "404")]),
    ("clientError", "422", &[("x-mock-status", "422")]),
    ("rateLimited", "429", &[("x-mock-status", "429")]),
    ("serverError", "500", &[("x-mock-status", "500")]),
    ("serverError", "error", &[("x-mock-answer", "error")]),
    (
        "reset",
        "reset",
        &[
            ("x-mock-abort-after", "headers"),
            ("x-mock-abort-with", "reset"),
        ],
    ),
    ("timeout", "upstream-504", &[("x-mock-status", "504")]),
    (
        "timeout",
        "proxy-504",
        &[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-envoy-upstream-rq-timeout-ms", "100"),
            ("x-mock-headers-delay-ms", "20000"),
        ],
    ),
];

fn failing(tenant: &str, headers: &[(&str, &str)]) -> OpenAiRequest {
    let request = chat(tenant, BYTES).max_tokens(OUTPUT);
    let delayed = headers
        .iter()
        .any(|(name, _)| *name == "x-mock-headers-delay-ms");
    let request = match delayed {
        true => request,
        false => request.header("x-mock-headers-delay-ms", "100"),
    };
    headers.iter().fold(request, |request, (name, value)| {
        request.header(name, *value)
    })
}

async fn fail(testbed: &Testbed, tenant: &str, headers: &[(&str, &str)]) {
    testbed.set_answer(
        "error",
        &MockAnswer::json(r#"{"error":{"message":"engine stopped","code":500}}"#),
    );
    let reply = sent(testbed, &failing(tenant, headers)).await;
    let error = headers.contains(&("x-mock-answer", "error"));
    assert_eq!(reply.status == 200, error, "{tenant}: {}", reply.status);
}

#[tokio::test]
async fn by_default_a_failure_without_work_is_free_and_others_are_charged() {
    let testbed = testbed().await;
    for (field, name, headers) in WAYS {
        let charged = charge_of(&testbed, name, async |tenant| {
            fail(&testbed, tenant, headers).await
        });
        // The speed of the model is unknown, so the reservation is charged.
        let right = match field {
            "reset" => PROMPT,
            "timeout" => PROMPT + OUTPUT,
            _ => 0,
        };
        assert_eq!(charged.await, right, "{name}");
    }
}

#[tokio::test]
async fn each_failure_is_charged_by_its_own_field() {
    for (charge, right) in [
        ("nothing", 0),
        ("prompt", PROMPT),
        ("reservation", PROMPT + OUTPUT),
    ] {
        for field in [
            "clientError",
            "rateLimited",
            "serverError",
            "reset",
            "timeout",
        ] {
            let testbed = testbed_with(&json!({"onFailure": {field: charge}})).await;
            for (of, name, headers) in WAYS.iter().filter(|(of, _, _)| *of == field) {
                let charged = charge_of(&testbed, name, async |tenant| {
                    fail(&testbed, tenant, headers).await
                });
                assert_eq!(charged.await, right, "{of}: {charge}, by {name}");
            }
        }
    }
}

/// Generates 100 tokens in 500 ms, three times; returns the longest duration.
async fn taught(testbed: &Testbed) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        let request = chat("teacher", 4)
            .max_tokens(100)
            .header("x-mock-tokens", "100")
            .header("x-mock-headers-delay-ms", "500");
        let began = Instant::now();
        assert_eq!(sent(testbed, &request).await.status, 200);
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[tokio::test]
async fn elapsed_charges_the_prompt_and_the_time_at_the_speed_of_the_model() {
    let all = [
        "clientError",
        "rateLimited",
        "serverError",
        "reset",
        "timeout",
    ];
    let all: Value = all
        .map(|field| (field.to_owned(), json!("elapsed")))
        .into_iter()
        .collect();
    let testbed = testbed_with(&json!({"onFailure": all})).await;
    for (_, name, headers) in WAYS {
        let charged = charge_of(&testbed, name, async |tenant| {
            fail(&testbed, tenant, headers).await
        });
        assert_eq!(charged.await, PROMPT + OUTPUT, "{name}, before any answer");
    }
    let slowest = taught(&testbed).await;
    for (_, name, headers) in WAYS {
        let took = std::cell::Cell::new(Duration::ZERO);
        let again = format!("again-{name}");
        let charged = charge_of(&testbed, &again, async |tenant| {
            let began = Instant::now();
            fail(&testbed, tenant, headers).await;
            testbed.wait_until_settled().await;
            took.set(began.elapsed());
        });
        #[allow(clippy::cast_precision_loss)]
        let output = (charged.await - PROMPT) as f64;
        let least = 0.1 * 100.0 / slowest.as_secs_f64() - 1.0;
        let most = took.get().as_secs_f64() * 200.0 + 1.0;
        assert!(
            (least..=most).contains(&output),
            "{name}: {output}; {least} to {most} is right"
        );
    }
}

/// Two sequences generate twice as much in the same time, and the charge is at most the reservation.
#[tokio::test]
async fn elapsed_counts_each_sequence_up_to_the_reservation() {
    let testbed = testbed().await;
    let slowest = taught(&testbed).await;
    let leave = async |name: &str, n: u64, max_tokens: u64| {
        let charged = charge_of(&testbed, name, async |tenant| {
            let request = chat(tenant, BYTES)
                .n(n)
                .max_tokens(max_tokens)
                .header("x-mock-headers-delay-ms", "20000");
            leave_after(
                &testbed,
                request.to(&testbed.url),
                Duration::from_millis(300),
            )
            .await;
        });
        charged.await - PROMPT
    };
    let (one, two) = (leave("one", 1, OUTPUT).await, leave("two", 2, OUTPUT).await);
    #[allow(clippy::cast_precision_loss)]
    let (one, two, least) = (
        one as f64,
        two as f64,
        0.3 * 100.0 / slowest.as_secs_f64() - 1.0,
    );
    assert!(
        one >= least && two >= 2.0 * least,
        "{one} and {two}, at least {least}"
    );
    assert_eq!(leave("bounded", 3, 5).await, 15);
}

/// After the start of the answer the observed text counts, whoever ends the stream.
#[tokio::test]
async fn a_broken_stream_is_charged_its_observed_text() {
    let testbed = testbed().await;
    let request = |tenant: &str| {
        chat(tenant, BYTES)
            .max_tokens(OUTPUT)
            .stream()
            .header("x-mock-tokens", "40")
    };
    for (name, how) in [("closed", "close"), ("reset", "reset")] {
        let charged = charge_of(&testbed, name, async |tenant| {
            let request = request(tenant)
                .header("x-mock-abort-after", "10")
                .header("x-mock-abort-with", how);
            let broken = testbed.client.send(request.to(&testbed.url)).await;
            assert!(
                matches!(broken, Err(ClientError::Body { .. })),
                "{broken:?}"
            );
        });
        let right = if how == "close" { 10..=10 } else { 0..=10 };
        assert!(right.contains(&(charged.await - PROMPT)), "{name}");
    }
    let reported = charge_of(&testbed, "reported", async |tenant| {
        let request = request(tenant)
            .header("x-mock-abort-after", "10")
            .header("x-mock-continuous-usage", "true")
            .header("x-mock-usage", "prompt_tokens=90,completion_tokens=30");
        assert!(testbed.client.send(request.to(&testbed.url)).await.is_err());
    });
    assert_eq!(reported.await, 120, "the greater of reported and observed");
}

#[tokio::test]
async fn usage_and_text_in_an_error_are_charged_at_any_status() {
    let testbed = testbed().await;
    let generated = "x".repeat(400);
    let failed = format!(
        r#"{{"error":{{"message":"Failed to call a function.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"{generated}"}}}}"#
    );
    let reported = r#"{"error":{"message":"stopped"},"usage":{"prompt_tokens":90,"completion_tokens":10,"total_tokens":100}}"#;
    for (name, body, status, right) in [
        ("failed-generation", failed.as_str(), "400", PROMPT + 100),
        ("usage-400", reported, "400", 100),
        ("usage-500", reported, "500", 100),
        ("usage-429", reported, "429", 100),
    ] {
        testbed.set_answer(name, &MockAnswer::json(body.to_owned()));
        let charged = charge_of(&testbed, name, async |tenant| {
            let request = chat(tenant, BYTES)
                .max_tokens(OUTPUT)
                .header("x-mock-answer", name)
                .header("x-mock-status", status);
            assert_eq!(sent(&testbed, &request).await.status.to_string(), status);
        });
        assert_eq!(charged.await, right, "{name}");
    }
}

/// `semantic` has no price for a prompt.
#[tokio::test]
async fn in_a_semantic_bucket_the_charge_of_the_prompt_is_the_reservation() {
    let bucket = json!({
        "name": "fair",
        "key": ["tenant"],
        "profile": "semantic",
        "semantic": {"minCapacity": 100, "fillRatio": 0.000_001},
        "onFailure": {"clientError": "prompt"},
    });
    let testbed = start("headgate", &one_version(&[bucket])).await;
    let left = |reply: &headgate_testkit::client::Reply| -> u64 {
        let header = reply.header("x-ratelimit-remaining-requests").unwrap();
        header.parse().unwrap()
    };
    let request = |status: &str| {
        chat("acme", 4)
            .max_tokens(5120)
            .header("x-mock-status", status)
    };
    assert_eq!(left(&sent(&testbed, &request("404")).await), 90);
    testbed.wait_until_settled().await;
    assert_eq!(left(&sent(&testbed, &request("500")).await), 80);
    testbed.wait_until_settled().await;
    // The 404 was charged what it had reserved, the 500 nothing.
    assert_eq!(left(&sent(&testbed, &request("404")).await), 80);
}

/// Three attempts of the proxy are one failure.
#[tokio::test]
async fn retries_of_the_proxy_are_charged_once() {
    let testbed = testbed_with(&json!({"onFailure": {"serverError": "prompt"}})).await;
    let charged = charge_of(&testbed, "retried", async |tenant| {
        let request = chat(tenant, BYTES)
            .max_tokens(OUTPUT)
            .header("x-forwarded-for", "127.0.0.1")
            .header("x-envoy-retry-on", "5xx")
            .header("x-envoy-max-retries", "2")
            .header("x-mock-status", "500");
        let drained = testbed.served();
        assert_eq!(sent(&testbed, &request).await.status, 500);
        assert_eq!(testbed.served() - drained, 3, "tries");
    });
    assert_eq!(charged.await, PROMPT);
}

/// An unreadable answer is charged by its bytes, never only the prompt.
#[tokio::test]
async fn an_unreadable_answer_is_charged_by_its_bytes() {
    let testbed = testbed().await;
    let nan =
        r#"{"choices":[{"index":0,"message":{"content":NaN}}],"x":"#.to_owned() + &"y".repeat(400);
    let utf8 = [
        &b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe"[..],
        &[b'z'; 400],
        b"\"}}]}\n\n",
    ]
    .concat();
    for (name, answer) in [
        ("nan", MockAnswer::json(nan)),
        ("utf8", MockAnswer::events(utf8)),
        ("prose", MockAnswer::json("<html>".repeat(80))),
    ] {
        let charged = charge_of_answer(&testbed, name, &answer).await;
        assert!(
            (PROMPT + 100..=PROMPT + 140).contains(&charged),
            "{name}: {charged}"
        );
    }
}

/// The charge of a chat with this answer and status 200.
async fn charge_of_answer(testbed: &Testbed, name: &str, answer: &MockAnswer) -> u64 {
    testbed.set_answer(name, answer);
    let charged = charge_of(testbed, name, async |tenant| {
        let request = chat(tenant, BYTES)
            .max_tokens(OUTPUT)
            .header("x-mock-answer", name);
        assert_eq!(sent(testbed, &request).await.status, 200);
    });
    charged.await
}

/// The first bytes of an answer determine its form, not its content type.
#[tokio::test]
async fn a_wrong_content_type_does_not_hide_text() {
    let testbed = testbed().await;
    let usage = r#""usage":{"prompt_tokens":90,"completion_tokens":10,"total_tokens":100}"#;
    let document = format!(r#"{{"choices":[{{"index":0,"message":{{"content":"hi"}}}}],{usage}}}"#);
    let events = format!("data: {{\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n");
    for (name, answer) in [
        (
            "document",
            MockAnswer::json(document.clone()).content_type("text/event-stream"),
        ),
        (
            "events",
            MockAnswer::events(events).content_type("application/json"),
        ),
        (
            "unlabelled",
            MockAnswer::json(document).content_type("text/plain"),
        ),
    ] {
        let charged = charge_of_answer(&testbed, name, &answer).await;
        assert_eq!(charged, 100, "{name}");
    }
}

/// The text that a client got before it left is charged to the byte, also shortly before the end.
#[tokio::test]
async fn a_client_that_leaves_mid_stream_is_charged_the_text_that_it_got() {
    let testbed = start(
        "headgate",
        &one_version(&[bucket(&json!({"abandoned": "reservation"}))]),
    )
    .await;
    let chunk = |n: usize| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"tok{n}\"}}}}]}}\n\n")
    };
    let body: String = (0..9).map(chunk).collect();
    testbed.set_answer("nine", &MockAnswer::events(body.clone()));
    for events in [1, 5, 9] {
        let name = format!("left-{events}");
        let charged = charge_of(&testbed, &name, async |tenant| {
            let request = chat(tenant, BYTES)
                .max_tokens(OUTPUT)
                .stream()
                .header("x-mock-answer", "nine");
            match events {
                // The stream has nine events, so it ends by itself.
                9 => drop(sent(&testbed, &request).await),
                events => cut_after(&testbed, &request, events, body.as_bytes()).await,
            }
        });
        assert_eq!(charged.await, PROMPT + events as u64, "{events} events");
    }
}
