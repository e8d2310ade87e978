//! The charge of a stream for each way it can end, measured from the remaining balance.
//!
//! Each case has its own tenant, and therefore a full bucket.

use headgate_testkit::client::{ClientError, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::testbed::Testbed;

use crate::common::{
    CAPACITY, INPUT, SOON, ask, balance, budget, charged, single_model_testbed, stop_server,
};

/// Tokens that a request reserves beyond its input: more than any response here uses.
const OUTPUT: u64 = 200;

async fn start_testbed() -> Testbed {
    single_model_testbed(1, &budget("endings", ""), &["--idle-timeout", "2"]).await
}

/// Tenant, faults of the mock model, tokens charged beyond the input.
type Broken = (&'static str, &'static [(&'static str, &'static str)], u64);

fn streamed(tenant: &str) -> OpenAiRequest {
    ask(tenant, OUTPUT).stream()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn complete_responses_are_charged_their_usage() {
    let testbed = start_testbed().await;
    // Tenant, behaviour of the mock model, tokens charged beyond the input.
    let cases: [(&str, &str, &str, u64); 4] = [
        ("reported", "x-mock-usage", "completion_tokens=16", 16),
        (
            "less than was generated",
            "x-mock-usage",
            "completion_tokens=7",
            7,
        ),
        (
            "more than was reserved",
            "x-mock-usage",
            "completion_tokens=500",
            500,
        ),
        // 16 tokens of four bytes.
        ("not reported", "x-mock-usage", "omit", 16),
    ];
    for (tenant, header, value, output) in cases {
        let request = ask(tenant, OUTPUT).header(header, value);
        let reply = testbed.send(&request).await.unwrap();
        assert_eq!(reply.status, 200, "{tenant}: {}", reply.text());
        charged(&testbed, tenant, INPUT + output).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_without_tokens_is_charged_nothing() {
    let testbed = start_testbed().await;
    for status in ["400", "429", "500"] {
        let request = ask(status, OUTPUT).header("x-mock-status", status);
        let reply = testbed.send(&request).await.unwrap();
        assert_eq!(reply.status.to_string(), status, "{}", reply.text());
        charged(&testbed, status, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_response_is_charged_by_its_bytes() {
    let testbed = start_testbed().await;
    let reply = testbed
        .send(&ask("gzip", OUTPUT).header("x-mock-gzip", "true"))
        .await
        .unwrap();
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let bytes = reply.body.len() as u64;
    assert!(bytes > 0);
    charged(&testbed, "gzip", INPUT + bytes.div_ceil(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_disconnects_mid_stream_is_charged_the_streamed_tokens() {
    let testbed = start_testbed().await;
    let request = streamed("gone")
        .header("x-mock-tokens", "200")
        .header("x-mock-delay-ms", "30");
    let mut answer = testbed
        .client()
        .open(request.to(testbed.url()))
        .await
        .unwrap();
    for _ in 0..20 {
        answer.event().await.unwrap().unwrap();
    }
    answer.disconnect();
    let mock = testbed.mock("m", "v1").unwrap();
    let produced = eventually(SOON, "the mock to see the client go", async || {
        let stats = mock.stats();
        if stats.client_aborts == 1 {
            Ok(stats.tokens_produced)
        } else {
            Err(format!("{stats:?}"))
        }
    });
    let produced = produced.await.unwrap();
    // The first event of a chat carries no token.
    let received = 19;
    let client = testbed.client();
    let settled = eventually(SOON, "the settlement of the cut stream", async || {
        let left = balance(&client, testbed.url(), "gone").await.unwrap();
        let used = CAPACITY - left;
        if used == INPUT + OUTPUT {
            Err("the reservation still stands")
        } else {
            Ok(used)
        }
    });
    let used = settled.await.unwrap();
    assert!(
        (INPUT + received..=INPUT + produced).contains(&used),
        "{used} tokens charged; {received} were received, {produced} produced"
    );
    headgate_testkit::measured!(
        "cut after {received} tokens: {used} charged, of {} reserved",
        INPUT + OUTPUT
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_streams_are_charged_the_larger_of_reported_and_observed() {
    let testbed = start_testbed().await;
    let cases: [Broken; 4] = [
        ("upstream closes", &[("x-mock-abort-after", "10")], 10),
        (
            "upstream lies and closes",
            &[
                ("x-mock-abort-after", "10"),
                ("x-mock-continuous-usage", "true"),
                ("x-mock-usage", "completion_tokens=1"),
            ],
            10,
        ),
        ("upstream stalls", &[("x-mock-stall-after", "5")], 5),
        // No response came: the prompt counts as read.
        (
            "upstream closes at once",
            &[("x-mock-abort-after", "headers")],
            0,
        ),
    ];
    for (tenant, headers, output) in cases {
        let request = headers
            .iter()
            .fold(streamed(tenant), |r, (name, value)| r.header(name, *value));
        let answer = testbed.send(&request).await;
        match answer {
            Err(ClientError::Body { .. }) => assert!(output > 0, "{tenant}"),
            Ok(reply) => assert!(
                output == 0 && reply.status == 503,
                "{tenant}: {}",
                reply.text()
            ),
            Err(error) => panic!("{tenant}: {error}"),
        }
        charged(&testbed, tenant, INPUT + output).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_mid_stream_is_charged_at_most_the_streamed_tokens() {
    let testbed = start_testbed().await;
    let request = streamed("reset")
        .header("x-mock-abort-after", "10")
        .header("x-mock-abort-with", "reset");
    let broken = testbed.send(&request).await.unwrap_err();
    assert!(matches!(broken, ClientError::Body { .. }), "{broken}");
    // A reset may discard bytes in flight.
    let client = testbed.client();
    let settled = eventually(SOON, "the settlement of the reset stream", async || {
        let left = balance(&client, testbed.url(), "reset").await.unwrap();
        let used = CAPACITY - left;
        if (INPUT..=INPUT + 10).contains(&used) {
            Ok(())
        } else {
            Err(format!("{used} are charged"))
        }
    });
    settled.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_keeps_the_reservation_and_a_refused_connection_refunds_it() {
    let mut testbed = start_testbed().await;
    let slow = ask("patient", OUTPUT).header("x-mock-headers-delay-ms", "20000");
    let reply = testbed.send(&slow).await.unwrap();
    assert_eq!(reply.status, 504, "{}", reply.text());
    charged(&testbed, "patient", INPUT + OUTPUT).await;

    // One charge first, so that the bucket is not full and the balance can be measured.
    testbed.send(&ask("unlucky", OUTPUT)).await.unwrap();
    charged(&testbed, "unlucky", INPUT + 16).await;
    stop_server(&mut testbed).await;
    let reply = testbed.send(&ask("unlucky", OUTPUT)).await.unwrap();
    assert_eq!(reply.status, 503, "{}", reply.text());
    charged(&testbed, "unlucky", INPUT + 16).await;
}
