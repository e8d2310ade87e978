//! Measures the charge of requests and answers by the remaining balance.
//!
//! The bucket of the cases refills one token every 20 s, so a measurement within that time is exact. Each measurement has
//! its own tenant.

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::config::{one_version, tokens};
use headgate_tests_abi::testbed::{SOON, Testbed, start};
use serde_json::{Value, json};

pub(crate) const CAPACITY: u64 = 1_000_000;
const REFILL: f64 = 0.05;
/// Charged before each measurement, so that a request for the whole capacity is refused with the balance. So few tokens do not
/// count for the speed of the model.
const DRAINED: u64 = 2;

/// The bucket of the cases with these further fields.
pub(crate) fn bucket(more: &Value) -> Value {
    tokens(CAPACITY, REFILL, more)
}

/// A testbed with one worker, one version and the bucket of the cases.
pub(crate) async fn testbed() -> Testbed {
    testbed_with(&json!({})).await
}

pub(crate) async fn testbed_with(more: &Value) -> Testbed {
    start("headgate", &one_version(&[bucket(more)])).await
}

/// A file of the cases.
pub(crate) fn case(file: &str) -> Vec<u8> {
    let path = [env!("CARGO_MANIFEST_DIR"), "/cases/", file].concat();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The answer in a file of the cases; the extension determines its type.
pub(crate) fn case_answer(file: &str) -> MockAnswer {
    let body = case(file);
    if file.ends_with(".sse") {
        MockAnswer::events(body)
    } else {
        MockAnswer::json(body)
    }
}

/// A text of this number of bytes.
pub(crate) fn text(bytes: usize) -> String {
    let mut text = "word ".repeat(bytes.div_ceil(5));
    text.truncate(bytes);
    text
}

/// A chat with a prompt of this number of bytes.
pub(crate) fn chat(tenant: &str, prompt_bytes: usize) -> OpenAiRequest {
    OpenAiRequest::chat("m")
        .prompt(&text(prompt_bytes))
        .header("x-tenant-id", tenant)
}

/// The chat of most cases: a prompt of this number of bytes, `max_tokens` 100, and the answer registered under this name.
pub(crate) fn case_chat(tenant: &str, prompt_bytes: usize, answer: &str) -> OpenAiRequest {
    chat(tenant, prompt_bytes)
        .max_tokens(100)
        .header("x-mock-answer", answer)
}

/// Sends a request and returns its answer.
pub(crate) async fn sent(testbed: &Testbed, request: &OpenAiRequest) -> Reply {
    testbed.send(request.to(&testbed.url)).await
}

/// The remaining tokens in the header of an answer.
#[track_caller]
pub(crate) fn left(reply: &Reply) -> u64 {
    let header = reply.header("x-ratelimit-remaining-tokens");
    let header = header.unwrap_or_else(|| panic!("{}: {}", reply.status, reply.text()));
    header.parse().unwrap()
}

/// The balance of a tenant's bucket, from a refusal, which charges nothing.
pub(crate) async fn balance(testbed: &Testbed, tenant: &str) -> u64 {
    testbed.wait_until_settled().await;
    let whole = chat(tenant, 4).max_tokens(CAPACITY - 1);
    let reply = sent(testbed, &whole).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    left(&reply)
}

/// The charge of the requests that `run` sends for its tenant. Repeats a measurement that was too slow to be exact.
pub(crate) async fn charge_of(testbed: &Testbed, name: &str, run: impl AsyncFn(&str)) -> u64 {
    for round in 1..=5 {
        let tenant = format!("{name}-{round}");
        let began = Instant::now();
        let usage = format!("prompt_tokens=1,completion_tokens={}", DRAINED - 1);
        let drain = chat(&tenant, 4).header("x-mock-usage", usage);
        let reply = sent(testbed, &drain).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let before = balance(testbed, &tenant).await;
        run(&tenant).await;
        let after = balance(testbed, &tenant).await;
        if began.elapsed().as_secs_f64() * REFILL < 1.0 {
            assert_eq!(before, CAPACITY - DRAINED, "the drain of {tenant}");
            return before.checked_sub(after).expect("a charge");
        }
    }
    panic!("{name}: this machine is too slow for a bucket of {REFILL} tokens a second");
}

/// Sends a streamed request whose answer stops after `events` of these events, reads them, and disconnects.
pub(crate) async fn cut_after(
    testbed: &Testbed,
    request: &OpenAiRequest,
    events: usize,
    body: &[u8],
) {
    let request = request
        .clone()
        .header("x-mock-stall-after", events.to_string());
    let expected = length_of(body, events);
    let mut answer = testbed.client.open(request.to(&testbed.url)).await.unwrap();
    assert_eq!(answer.status, 200);
    let mut received = Vec::new();
    while received.len() < expected {
        let chunk = answer.chunk().await.unwrap();
        received.extend_from_slice(&chunk.expect("more of the stream"));
    }
    assert!(received == body[..expected], "bytes were changed");
    answer.disconnect();
}

/// The number of events within this share of the bytes.
pub(crate) fn events_within(body: &[u8], share: f64) -> usize {
    #[allow(clippy::cast_precision_loss)]
    let within = |events: usize| length_of(body, events) as f64 <= body.len() as f64 * share;
    (1..).take_while(|events| within(*events)).count()
}

/// The number of bytes of the first events.
fn length_of(body: &[u8], events: usize) -> usize {
    let ends = body.windows(2).enumerate();
    let ends = ends.filter(|(_, pair)| *pair == b"\n\n");
    ends.map(|(at, _)| at + 2)
        .nth(events.wrapping_sub(1))
        .unwrap_or(body.len() + usize::from(events > 0))
}

/// Sends a request, waits until an upstream has it, and disconnects after this time without an answer. Returns the least time that
/// it ran.
pub(crate) async fn leave_after(
    testbed: &Testbed,
    request: HttpRequest,
    patience: Duration,
) -> Duration {
    let client = testbed.client.clone();
    let asking = tokio::spawn(async move { client.send(request).await });
    let forwarded = eventually(SOON, "the request at an upstream", async || {
        let stats = testbed.models.each_ref().map(|model| model.stats());
        match stats.iter().map(|stats| stats.in_flight).sum() {
            1_u64 => Ok(()),
            _ => Err(format!("{stats:?}")),
        }
    });
    forwarded.await.unwrap();
    let since = Instant::now();
    tokio::time::sleep(patience).await;
    let out = since.elapsed();
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled(), "it was answered");
    out
}
