//! Plays requests and answers, and tells what they were charged: seen from the balance that is left.
//!
//! The bucket is that of the cases: a token flows back every 20 s, so that what is measured within that time is exact. Each
//! measurement has a tenant of its own.

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::config::{one_version, tokens};
use headgate_tests_abi::world::{SOON, World, start};
use serde_json::{Value, json};

pub(crate) const CAPACITY: u64 = 1_000_000;
const REFILL: f64 = 0.05;
/// Charged before anything is measured, so that a request for a whole bucket is refused, which tells the balance. So few tokens say
/// nothing of the model's speed.
const DRAINED: u64 = 2;

/// The bucket of the cases with these fields besides.
pub(crate) fn bucket(more: &Value) -> Value {
    tokens(CAPACITY, REFILL, more)
}

/// A world with one worker, one version and the bucket of the cases.
pub(crate) async fn world() -> World {
    world_with(&json!({})).await
}

pub(crate) async fn world_with(more: &Value) -> World {
    start("headgate", &one_version(&[bucket(more)])).await
}

/// A file of the cases.
pub(crate) fn case(file: &str) -> Vec<u8> {
    let path = [env!("CARGO_MANIFEST_DIR"), "/cases/", file].concat();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The answer in a file of the cases, as its name says what it is.
pub(crate) fn case_answer(file: &str) -> MockAnswer {
    let body = case(file);
    if file.ends_with(".sse") {
        MockAnswer::events(body)
    } else {
        MockAnswer::json(body)
    }
}

/// A text of so many bytes.
pub(crate) fn text(bytes: usize) -> String {
    let mut text = "word ".repeat(bytes.div_ceil(5));
    text.truncate(bytes);
    text
}

/// A chat with a prompt of so many bytes.
pub(crate) fn chat(tenant: &str, prompt_bytes: usize) -> OpenAiRequest {
    OpenAiRequest::chat("m")
        .prompt(&text(prompt_bytes))
        .header("x-tenant-id", tenant)
}

/// The chat of most cases: so many bytes of prompt, `max_tokens` 100, and the answer registered under this name.
pub(crate) fn case_chat(tenant: &str, prompt_bytes: usize, answer: &str) -> OpenAiRequest {
    chat(tenant, prompt_bytes)
        .max_tokens(100)
        .header("x-mock-answer", answer)
}

/// Sends a request, and takes the answer whatever it is.
pub(crate) async fn sent(world: &World, request: &OpenAiRequest) -> Reply {
    world.send(request.to(&world.url)).await
}

/// The tokens left, as an answer tells them.
#[track_caller]
pub(crate) fn left(reply: &Reply) -> u64 {
    let told = reply.header("x-ratelimit-remaining-tokens");
    let told = told.unwrap_or_else(|| panic!("{}: {}", reply.status, reply.text()));
    told.parse().unwrap()
}

/// What is left in a tenant's bucket, told by a refusal, which charges nothing.
pub(crate) async fn balance(world: &World, tenant: &str) -> u64 {
    world.quiet().await;
    let whole = chat(tenant, 4).max_tokens(CAPACITY - 1);
    let reply = sent(world, &whole).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    left(&reply)
}

/// What is charged for what `play` sends as the tenant that it is given. Once more if it took so long that a token came back.
pub(crate) async fn charge_of(world: &World, name: &str, play: impl AsyncFn(&str)) -> u64 {
    for round in 1..=5 {
        let tenant = format!("{name}-{round}");
        let began = Instant::now();
        let usage = format!("prompt_tokens=1,completion_tokens={}", DRAINED - 1);
        let drain = chat(&tenant, 4).header("x-mock-usage", usage);
        let reply = sent(world, &drain).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let before = balance(world, &tenant).await;
        play(&tenant).await;
        let after = balance(world, &tenant).await;
        if began.elapsed().as_secs_f64() * REFILL < 1.0 {
            assert_eq!(before, CAPACITY - DRAINED, "the drain of {tenant}");
            return before.checked_sub(after).expect("a charge");
        }
    }
    panic!("{name}: this machine is too slow for a bucket of {REFILL} tokens a second");
}

/// Sends a streamed request whose answer stops after `events` of these events, takes what was sent of it, and leaves.
pub(crate) async fn cut_after(world: &World, request: &OpenAiRequest, events: usize, body: &[u8]) {
    let request = request
        .clone()
        .header("x-mock-stall-after", events.to_string());
    let expected = length_of(body, events);
    let mut answer = world.client.open(request.to(&world.url)).await.unwrap();
    assert_eq!(answer.status, 200);
    let mut seen = Vec::new();
    while seen.len() < expected {
        let chunk = answer.chunk().await.unwrap();
        seen.extend_from_slice(&chunk.expect("more of the stream"));
    }
    assert!(seen == body[..expected], "bytes were changed");
    answer.disconnect();
}

/// How many of the events lie within this share of the bytes.
pub(crate) fn events_within(body: &[u8], share: f64) -> usize {
    #[allow(clippy::cast_precision_loss)]
    let within = |events: usize| length_of(body, events) as f64 <= body.len() as f64 * share;
    (1..).take_while(|events| within(*events)).count()
}

/// Bytes of the first events.
fn length_of(body: &[u8], events: usize) -> usize {
    let ends = body.windows(2).enumerate();
    let ends = ends.filter(|(_, pair)| *pair == b"\n\n");
    ends.map(|(at, _)| at + 2)
        .nth(events.wrapping_sub(1))
        .unwrap_or(body.len() + usize::from(events > 0))
}

/// Sends a request, waits until an upstream has it, and leaves after so long without having seen anything of the answer. Answers how
/// long it was out at least.
pub(crate) async fn leave_after(
    world: &World,
    request: HttpRequest,
    patience: Duration,
) -> Duration {
    let client = world.client.clone();
    let asking = tokio::spawn(async move { client.send(request).await });
    let forwarded = eventually(SOON, "the request at an upstream", async || {
        let stats = world.models.each_ref().map(|model| model.stats());
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
