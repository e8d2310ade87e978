//! However a stream ends, what it is charged follows from what is known of it: seen from the balance that is left.
//!
//! Each ending has its own tenant, and therefore a full bucket.

use headgate_testkit::client::{ClientError, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::stage::Stage;

use crate::common::{
    CAPACITY, INPUT, SOON, ask, balance, budget, charged, small_world, stop_server,
};

/// What a request reserves beyond its input: above what any answer here uses.
const OUTPUT: u64 = 200;

async fn world() -> Stage {
    small_world(1, &budget("endings", ""), &["--idle-timeout", "2"]).await
}

/// Tenant, what the mock does besides streaming, tokens charged beyond the input.
type Broken = (&'static str, &'static [(&'static str, &'static str)], u64);

fn streamed(tenant: &str) -> OpenAiRequest {
    ask(tenant, OUTPUT).stream()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_answers_are_charged_what_they_used() {
    let stage = world().await;
    // Tenant, what the mock does, tokens charged beyond the input.
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
        let reply = stage.send(&request).await.unwrap();
        assert_eq!(reply.status, 200, "{tenant}: {}", reply.text());
        charged(&stage, tenant, INPUT + output).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_generated_nothing_is_charged_nothing() {
    let stage = world().await;
    for status in ["400", "429", "500"] {
        let request = ask(status, OUTPUT).header("x-mock-status", status);
        let reply = stage.send(&request).await.unwrap();
        assert_eq!(reply.status.to_string(), status, "{}", reply.text());
        charged(&stage, status, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_answer_is_charged_by_its_bytes() {
    let stage = world().await;
    let reply = stage
        .send(&ask("gzip", OUTPUT).header("x-mock-gzip", "true"))
        .await
        .unwrap();
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let bytes = reply.body.len() as u64;
    assert!(bytes > 0);
    charged(&stage, "gzip", INPUT + bytes.div_ceil(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_mid_stream_pays_for_what_flowed() {
    let stage = world().await;
    let request = streamed("gone")
        .header("x-mock-tokens", "200")
        .header("x-mock-delay-ms", "30");
    let mut answer = stage.client().open(request.to(stage.url())).await.unwrap();
    for _ in 0..20 {
        answer.event().await.unwrap().unwrap();
    }
    answer.cut();
    let mock = stage.mock("m", "v1").unwrap();
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
    let seen = 19;
    let client = stage.client();
    let settled = eventually(SOON, "the settlement of the cut stream", async || {
        let left = balance(&client, stage.url(), "gone").await.unwrap();
        let used = CAPACITY - left;
        if used == INPUT + OUTPUT {
            Err("the reservation still stands")
        } else {
            Ok(used)
        }
    });
    let used = settled.await.unwrap();
    assert!(
        (INPUT + seen..=INPUT + produced).contains(&used),
        "{used} tokens charged; {seen} were seen, {produced} produced"
    );
    headgate_testkit::measured!(
        "cut after {seen} tokens: {used} charged, of {} reserved",
        INPUT + OUTPUT
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_streams_are_charged_the_larger_of_reported_and_observed() {
    let stage = world().await;
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
        // Nothing came back: the prompt was read.
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
        let answer = stage.send(&request).await;
        match answer {
            Err(ClientError::Body { .. }) => assert!(output > 0, "{tenant}"),
            Ok(reply) => assert!(
                output == 0 && reply.status == 503,
                "{tenant}: {}",
                reply.text()
            ),
            Err(error) => panic!("{tenant}: {error}"),
        }
        charged(&stage, tenant, INPUT + output).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_mid_stream_is_charged_no_more_than_flowed() {
    let stage = world().await;
    let request = streamed("reset")
        .header("x-mock-abort-after", "10")
        .header("x-mock-abort-with", "reset");
    let broken = stage.send(&request).await.unwrap_err();
    assert!(matches!(broken, ClientError::Body { .. }), "{broken}");
    // A reset may throw away what was on its way.
    let client = stage.client();
    let settled = eventually(SOON, "the settlement of the reset stream", async || {
        let left = balance(&client, stage.url(), "reset").await.unwrap();
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
async fn a_timeout_keeps_the_reservation_and_a_refused_connect_gives_it_back() {
    let mut stage = world().await;
    let slow = ask("patient", OUTPUT).header("x-mock-headers-delay-ms", "20000");
    let reply = stage.send(&slow).await.unwrap();
    assert_eq!(reply.status, 504, "{}", reply.text());
    charged(&stage, "patient", INPUT + OUTPUT).await;

    // Charged once, so that the bucket is never full and the balance can be asked.
    stage.send(&ask("unlucky", OUTPUT)).await.unwrap();
    charged(&stage, "unlucky", INPUT + 16).await;
    stop_server(&mut stage).await;
    let reply = stage.send(&ask("unlucky", OUTPUT)).await.unwrap();
    assert_eq!(reply.status, 503, "{}", reply.text());
    charged(&stage, "unlucky", INPUT + 16).await;
}
