//! The cases of `cases/`: the request, the answer and the expected charge of each file.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpRequest, OpenAiRequest};
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::config::{one_version, tokens, with_buckets};
use headgate_tests_abi::testbed::{Testbed, start};
use http::Method;
use serde_json::{Value, json};

use crate::charges::{
    CAPACITY, balance, bucket, case, case_answer, case_chat, charge_of, chat, cut_after,
    events_within, leave_after, left, sent, testbed, testbed_with, text,
};

/// The charge of a case with this prompt, complete or streamed.
async fn whole(testbed: &Testbed, file: &str, prompt_bytes: usize) -> u64 {
    testbed.set_answer(file, &case_answer(file));
    let streamed = file.ends_with(".sse");
    charge_of(testbed, file, async |tenant| {
        let mut request = case_chat(tenant, prompt_bytes, file);
        if streamed {
            request = request.stream();
        }
        let reply = sent(testbed, &request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.body == case(file) || taken_out(&reply.body, &case(file)));
    })
    .await
}

/// Whether an answer equals that of the upstream without the one event that has no choices.
fn taken_out(received: &[u8], upstream: &[u8]) -> bool {
    let upstream = String::from_utf8_lossy(upstream);
    let received = String::from_utf8_lossy(received);
    let remaining = upstream.split_inclusive("\n\n");
    let remaining: String = remaining
        .filter(|e| !e.contains(r#""choices":[]"#))
        .collect();
    remaining == received
}

/// The charge of a case whose client leaves after 70 % of the bytes.
async fn cut(testbed: &Testbed, file: &str, prompt_bytes: usize) -> u64 {
    testbed.set_answer(file, &case_answer(file));
    let body = case(file);
    let events = events_within(&body, 0.7);
    let name = format!("cut-{file}");
    charge_of(testbed, &name, async |tenant| {
        let request = case_chat(tenant, prompt_bytes, file).stream();
        cut_after(testbed, &request, events, &body).await;
    })
    .await
}

#[tokio::test]
async fn case_01_reasoning_outside_of_the_completion_is_charged_by_the_total() {
    let testbed = testbed().await;
    for file in ["01-reasoning-outside.json", "01-reasoning-outside.sse"] {
        assert_eq!(whole(&testbed, file, 12).await, 135, "{file}");
    }
}

/// 68.75 tokens of four bytes flow, 46.5 of them before the cut.
#[tokio::test]
async fn case_02_thinking_within_blocks_is_counted_in_complete_and_cut_answers() {
    let testbed = testbed().await;
    let file = "02-content-blocks.sse";
    assert_eq!(whole(&testbed, file, 4000).await, 1000 + 69);
    assert_eq!(cut(&testbed, file, 4000).await, 1000 + 47);
}

#[tokio::test]
async fn case_03_usage_within_a_choice_is_found() {
    let testbed = testbed().await;
    let charged = whole(&testbed, "03-usage-in-choice.sse", 4000).await;
    assert_eq!(charged, 1600);
}

#[tokio::test]
async fn case_04_zeros_until_the_end_are_not_a_report() {
    let testbed = testbed().await;
    let file = "04-zero-usage-until-the-end.sse";
    assert_eq!(whole(&testbed, file, 4000).await, 1057);
    assert_eq!(cut(&testbed, file, 4000).await, 1000 + 47);
}

#[tokio::test]
async fn case_05_a_prompt_of_zero_keeps_its_estimate() {
    let testbed = testbed().await;
    assert_eq!(whole(&testbed, "05-prompt-zero.sse", 4000).await, 1057);
}

#[tokio::test]
async fn case_06_cumulative_deltas_are_counted_once() {
    let testbed = testbed().await;
    // About 173 tokens by bytes, but the body allows 100.
    assert_eq!(
        whole(&testbed, "06-cumulative-deltas.sse", 4000).await,
        1100
    );
}

#[tokio::test]
async fn case_07_reasoning_details_are_counted() {
    let testbed = testbed().await;
    let file = "07-reasoning-details.sse";
    assert_eq!(whole(&testbed, file, 4000).await, 1000 + 68);
    assert_eq!(cut(&testbed, file, 4000).await, 1000 + 47);
}

#[tokio::test]
async fn case_08_only_an_error_is_not_output() {
    let testbed = testbed().await;
    for file in ["08-error-only.sse", "08-error-only-no-done.sse"] {
        assert_eq!(whole(&testbed, file, 12).await, 0, "{file}");
    }
}

#[tokio::test]
async fn case_09_a_request_that_the_upstream_refuses_is_not_charged() {
    let testbed = testbed().await;
    let file = "09-upstream-refuses.json";
    testbed.set_answer(file, &case_answer(file));
    for status in ["429", "400", "401", "404", "413", "422"] {
        let charged = charge_of(&testbed, status, async |tenant| {
            let request = case_chat(tenant, 40_000, file).header("x-mock-status", status);
            let reply = sent(&testbed, &request).await;
            assert_eq!(reply.status.to_string(), status);
            assert_eq!(reply.body, case(file));
        });
        assert_eq!(charged.await, 0, "{status}");
    }
}

/// Envoy's own filter answers allowed origins: see `browsers` in the robustness tests.
#[tokio::test]
async fn case_10_a_preflight_without_a_policy_is_refused_with_the_setting() {
    let testbed = testbed().await;
    for path in ["/v1/chat/completions", "/v1/models"] {
        let preflight = HttpRequest::new(Method::OPTIONS, format!("{}{path}", testbed.url))
            .header("origin", "https://chat.example")
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            );
        let reply = testbed.send(preflight).await;
        assert_eq!(reply.status, 403, "{}", reply.text());
        let error = &reply.json().unwrap()["error"];
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("cors.allowOrigins"), "{message}");
        assert!(message.contains("https://chat.example"), "{message}");
    }
    assert_eq!(testbed.served(), 0);
}

#[tokio::test]
async fn case_11_max_tokens_of_minus_one_counts_as_missing() {
    let testbed = testbed().await;
    let absent = sent(&testbed, &chat("absent", 2)).await;
    for (tenant, path) in [
        ("chat", "/v1/chat/completions"),
        ("text", "/v1/completions"),
    ] {
        let body = match tenant {
            "chat" => {
                json!({"model": "m", "max_tokens": -1, "messages": [{"role": "user", "content": "hi"}]})
            }
            _ => json!({"model": "m", "max_tokens": -1, "prompt": "hi"}),
        };
        let body = body.to_string();
        let request = HttpRequest::post(format!("{}{path}", testbed.url), body.clone())
            .header("x-tenant-id", tenant)
            .header("x-mock-keep", tenant)
            .header("x-mock-answer", "any");
        testbed.set_answer("any", &MockAnswer::json("{}"));
        let reply = testbed.send(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(left(&reply), left(&absent), "{path}");
        assert_eq!(testbed.recorded(tenant).body, body);
    }
    // The prompt, and 512 by default.
    assert_eq!(left(&absent), CAPACITY - 1 - 512);
}

/// A completion may consist of the prompt alone, which some clients use to count or score it.
#[tokio::test]
async fn case_11_max_tokens_of_zero_is_only_the_prompt_if_the_endpoint_allows_it() {
    let testbed = testbed().await;
    let completion = OpenAiRequest::completion("m").prompt("hi").max_tokens(0);
    let reply = sent(&testbed, &completion).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(left(&reply), CAPACITY - 1);
    let refused = sent(&testbed, &chat("acme", 2).max_tokens(0)).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("max_tokens"), "{}", refused.text());
}

/// A refusal: its tenant, its status, and the words in its log line.
type Refused = (&'static str, HttpRequest, u16, &'static str);

fn refusals(url: &str) -> [Refused; 7] {
    let request = |tenant: &str| OpenAiRequest::chat("m").header("x-tenant-id", tenant);
    let post = |tenant: &str, body: &str| {
        HttpRequest::post(format!("{url}/v1/chat/completions"), body.to_owned())
            .header("x-tenant-id", tenant)
    };
    let long = text(5000);
    [
        (
            "acme",
            request("acme").max_tokens(900).to(url),
            429,
            "model=m version=v1 tenant=acme lane=base rule=default/p/tokens reason=rate_limit_exceeded",
        ),
        (
            "never",
            request("never").max_tokens(2000).to(url),
            400,
            "model=m version=v1 tenant=never lane=base rule=default/p/tokens reason=cost_exceeds_capacity",
        ),
        // Before a version was picked.
        (
            "negative",
            post("negative", r#"{"model":"m","max_tokens":-2}"#),
            400,
            "model=m version=- tenant=negative lane=- rule=- reason=invalid_value",
        ),
        (
            "broken",
            post("broken", r#"{"model":"m","max_tokens":"#),
            400,
            "model=m version=- tenant=broken lane=- rule=- reason=invalid_json",
        ),
        (
            "large",
            post("large", &long).header("x-model", "m"),
            413,
            "model=m version=- tenant=large lane=- rule=- reason=request_too_large",
        ),
        // Of a body above the limit, at most the part before the limit is read.
        (
            "pieces",
            request("pieces")
                .prompt(&long)
                .to(url)
                .without_content_length(),
            413,
            "version=- tenant=pieces lane=- rule=- reason=request_too_large",
        ),
        (
            "unknown",
            post("unknown", r#"{"model":"gpt-17"}"#),
            404,
            "model=gpt-17 version=- tenant=unknown lane=- rule=- reason=model_not_found",
        ),
    ]
}

/// The access log and the headers of each refusal have all facts from before it.
#[tokio::test]
async fn case_12_the_log_line_of_a_refusal_names_its_tenant() {
    let mut config = one_version(&[tokens(1000, 0.01, &json!({"settleOn": "reservation"}))]);
    config["maxBodyBytes"] = 4096.into();
    let testbed = start("headgate", &config).await;
    let spend = chat("acme", 4).max_tokens(900);
    assert_eq!(sent(&testbed, &spend).await.status, 200);
    for (tenant, request, status, _) in refusals(&testbed.url) {
        let reply = testbed.send(request).await;
        assert_eq!(reply.status, status, "{tenant}: {}", reply.text());
        assert_eq!(reply.header("x-headgate-tenant"), Some(tenant));
    }
    // Envoy writes its log every ten seconds, so all requests are sent before the first check.
    for (_, _, status, words) in refusals(&testbed.url) {
        let line = testbed.access_line(words).await;
        assert!(line.contains(&format!("status={status} ")), "{line}");
    }
}

/// Forty requests at once without `max_tokens`: as many pass as a bucket of 2000 tokens can reserve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_13_a_header_does_not_lower_the_reserve() {
    let config = one_version(&[tokens(2000, 1.0, &json!({}))]);
    let testbed = start("headgate", &config).await;
    let used =
        r#"{"id":"r","usage":{"input_tokens":1,"output_tokens":10000,"total_tokens":10001}}"#;
    testbed.set_answer("used", &MockAnswer::json(used));
    let url = format!("{}/v1/responses", testbed.url);
    let chat = format!("{}/v1/chat/completions", testbed.url);
    let body = r#"{"model":"m","input":"hi"}"#;
    let silent = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    for (tenant, url, body, header) in [
        ("plain", &url, body, None),
        ("lowered", &url, body, Some("1")),
        ("chat", &chat, silent, Some("1")),
    ] {
        let request = HttpRequest::post(url, body)
            .header("x-tenant-id", tenant)
            .header("x-model", "m")
            .header("x-mock-answer", "used")
            .header("x-mock-headers-delay-ms", "700");
        let request = match header {
            Some(tokens) => request.header("x-max-tokens", tokens),
            None => request,
        };
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (client, request) = (testbed.client.clone(), request.clone());
            asking.spawn(async move { client.send(request).await.unwrap().status });
        }
        let statuses = asking.join_all().await;
        let passed = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(passed, 3, "{tenant}: {statuses:?}");
        assert!(
            statuses.iter().all(|s| [200, 429].contains(s)),
            "{statuses:?}"
        );
    }
}

/// Answers of 32 003 tokens, one after another, in the bucket of docs/budgets.md.
#[tokio::test]
async fn case_14_remaining_follows_each_settlement_and_a_debt_is_refilled_first() {
    let config = one_version(&[tokens(100_000, 20.0, &json!({}))]);
    let testbed = start("headgate", &config).await;
    for (tenant, max_tokens) in [("silent", None), ("limited", Some(100))] {
        let request = OpenAiRequest::chat("m")
            .prompt("hello world!")
            .header("x-tenant-id", tenant)
            .header("x-mock-usage", "prompt_tokens=3,completion_tokens=32000");
        let request = match max_tokens {
            Some(tokens) => request.max_tokens(tokens),
            None => request,
        };
        let reserved = 3 + max_tokens.unwrap_or(512);
        let began = Instant::now();
        for answers in 0..4 {
            let reply = sent(&testbed, &request).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            testbed.wait_until_settled().await;
            let at_least = 100_000 - answers * 32_003 - reserved;
            let refilled = began.elapsed().as_secs() * 20 + 20;
            let left_tokens = left(&reply);
            assert!(
                (at_least..=at_least + refilled).contains(&left_tokens),
                "{tenant}: {left_tokens}, {answers} answers"
            );
        }
        // A debt of 28 012 tokens: half an hour.
        let refused = sent(&testbed, &request).await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        assert_eq!(left(&refused), 0);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        let right = (28_012 + reserved) / 20;
        assert!((right - 20..=right + 1).contains(&wait), "{wait} s");
        let small = sent(&testbed, &chat(tenant, 4).max_tokens(1)).await;
        assert_eq!(small.status, 429, "{}", small.text());
    }
}

#[tokio::test]
async fn case_15_a_wait_longer_than_a_client_timeout_turns_off_retries() {
    // Refill per second, the longest wait of a client, and whether a wait of about 50 s is too long.
    for (refill, patience, futile) in [
        (0.05, None, true),
        (20.0, None, false),
        (20.0, Some("10s"), true),
        (0.05, Some("24h"), false),
        (20.0, Some("0s"), true),
    ] {
        let mut more = json!({"settleOn": "reservation"});
        if let Some(patience) = patience {
            more["maxClientWait"] = patience.into();
        }
        let testbed = start("headgate", &one_version(&[tokens(1000, refill, &more)])).await;
        let request = chat("acme", 4).max_tokens(999);
        assert_eq!(sent(&testbed, &request).await.status, 200);
        let refused = sent(&testbed, &request).await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!(
            if refill > 1.0 {
                (45..=50).contains(&wait)
            } else {
                wait > 15_000
            },
            "{wait} s"
        );
        let header = refused.header("x-should-retry");
        assert_eq!(header, futile.then_some("false"), "{refill}/s {patience:?}");
    }
}

/// The versions that served the 12 turns of a chat, each with the time in its system message.
async fn versions(
    testbed: &Testbed,
    chat: usize,
    kept_turns: usize,
    header: Option<(&str, String)>,
) -> BTreeSet<String> {
    let mut history: Vec<Value> = Vec::new();
    let mut versions = BTreeSet::new();
    for turn in 0..12 {
        history.push(json!({"role": "user", "content": format!("question {turn} of chat {chat}")}));
        let clock = json!({"role": "system", "content": format!("It is {turn} o'clock.")});
        let from = history.len().saturating_sub(kept_turns);
        let messages: Vec<Value> = [clock]
            .into_iter()
            .chain(history[from..].to_vec())
            .collect();
        let request = OpenAiRequest::chat("m")
            .field("messages", messages)
            .max_tokens(1)
            .header("x-tenant-id", "acme");
        let request = match &header {
            Some((name, value)) => request.header(name, value.clone()),
            None => request,
        };
        let reply = sent(testbed, &request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        versions.insert(reply.header("x-model-version").unwrap().to_owned());
        history.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
    }
    versions
}

#[tokio::test]
async fn case_16_a_trimmed_history_keeps_its_version_with_a_session_header() {
    let testbed = start("headgate", &with_buckets(&[])).await;
    // Headers of agents and chat front ends that work without a policy.
    let headers = [
        "x-session-id",
        "x-conversation-id",
        "x-claude-code-session-id",
        "session_id",
        "x-openwebui-chat-id",
        "x-litellm-session-id",
    ];
    let mut served = BTreeSet::new();
    for chat in 0..20 {
        let header = headers[chat % headers.len()];
        let versions_of_chat =
            versions(&testbed, chat, 7, Some((header, format!("chat-{chat}")))).await;
        assert_eq!(versions_of_chat.len(), 1, "chat {chat}, by {header}");
        served.extend(versions_of_chat);
    }
    assert_eq!(served.len(), 2, "both versions serve sessions");
}

/// The counterpart in docs/tags.md: a whole history needs no header, a trimmed one does.
#[tokio::test]
async fn case_16_a_history_needs_no_header_until_it_is_trimmed() {
    let testbed = start("headgate", &with_buckets(&[])).await;
    let mut flipped = 0;
    for chat in 0..20 {
        let whole = versions(&testbed, chat, usize::MAX, None).await;
        assert_eq!(whole.len(), 1, "chat {chat}");
        flipped += versions(&testbed, chat, 7, None).await.len() - 1;
    }
    assert!(flipped > 0, "a trimmed history begins with another message");
}

/// A client that leaves before the answer is charged the reservation until the speed of the model is measured, then the time.
#[tokio::test]
async fn case_17_a_client_that_leaves_is_charged_the_time_that_passed() {
    let testbed = testbed().await;
    let leave = async |name: &str, patience: u64| {
        let patience = Duration::from_millis(patience);
        let out = std::cell::Cell::new((Duration::ZERO, Duration::ZERO));
        let charged = charge_of(&testbed, name, async |tenant| {
            let request = chat(tenant, 400)
                .max_tokens(4000)
                .header("x-mock-headers-delay-ms", "20000");
            let began = Instant::now();
            let least = leave_after(&testbed, request.to(&testbed.url), patience).await;
            testbed.wait_until_settled().await;
            out.set((least, began.elapsed()));
        });
        (charged.await, out.get())
    };
    assert_eq!(leave("unknown", 100).await.0, 100 + 4000);

    // 200 tokens a second, a little less because of delays.
    let learn = chat("teacher", 4)
        .max_tokens(100)
        .header("x-mock-tokens", "100")
        .header("x-mock-headers-delay-ms", "500");
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(sent(&testbed, &learn).await.status, 200);
        slowest = slowest.max(began.elapsed());
    }
    let (charged, (least, most)) = leave("known", 1000).await;
    let (slow, fast) = (100.0 / slowest.as_secs_f64(), 200.0);
    let right = 100.0 + least.as_secs_f64() * slow - 1.0..=100.0 + most.as_secs_f64() * fast + 1.0;
    #[allow(clippy::cast_precision_loss)]
    let tokens = charged as f64;
    assert!(right.contains(&tokens), "{charged}; {right:?} is right");
    assert!(charged < 100 + 4000);
}

#[tokio::test]
async fn case_17_a_policy_sets_the_charge_of_a_client_that_leaves() {
    for (policy, right) in [("prompt", 100), ("reservation", 100 + 4000)] {
        let testbed = testbed_with(&json!({"abandoned": policy})).await;
        let charged = charge_of(&testbed, policy, async |tenant| {
            let request = chat(tenant, 400)
                .max_tokens(4000)
                .header("x-mock-headers-delay-ms", "20000");
            leave_after(
                &testbed,
                request.to(&testbed.url),
                Duration::from_millis(50),
            )
            .await;
        });
        assert_eq!(charged.await, right, "{policy}");
    }
}

#[tokio::test]
async fn case_18_the_responses_api_is_charged_the_report_of_its_last_event() {
    let file = "18-responses.sse";
    let testbed = testbed().await;
    testbed.set_answer(file, &case_answer(file));
    let request = |tenant: &str| {
        let body = r#"{"model":"m","input":"hi","stream":true}"#;
        HttpRequest::post(format!("{}/v1/responses", testbed.url), body)
            .header("content-type", "application/json")
            .header("x-tenant-id", tenant)
            .header("x-mock-answer", file)
    };
    let charged = charge_of(&testbed, file, async |tenant| {
        let reply = testbed.send(request(tenant)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.body, case(file));
    });
    assert_eq!(charged.await, 34);
}

#[tokio::test]
async fn case_19_the_same_text_twice_in_a_chunk_is_counted_once() {
    let testbed = testbed().await;
    assert_eq!(whole(&testbed, "19-text-and-delta.sse", 4000).await, 1068);
}

/// Checks the assumption of `charge_of`: only charges drain the bucket of the cases.
#[tokio::test]
async fn a_balance_is_exact_and_reading_it_charges_nothing() {
    let testbed = start("headgate", &one_version(&[bucket(&json!({}))])).await;
    let used = |tokens| format!("prompt_tokens=1,completion_tokens={tokens}");
    let reply = sent(&testbed, &chat("acme", 4).header("x-mock-usage", used(499))).await;
    assert_eq!(reply.status, 200);
    for _ in 0..3 {
        assert_eq!(balance(&testbed, "acme").await, CAPACITY - 500);
    }
}
