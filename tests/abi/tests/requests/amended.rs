//! Streamed requests that are amended to request usage, and answers without the extra event: the exact bytes at the upstream and
//! at the client.

use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::bootstrap::Upstreams;
use headgate_tests_abi::config::{one_version, with_buckets};
use headgate_tests_abi::module;
use headgate_tests_abi::testbed::{SOON, Testbed, start, try_start_speaking};
use serde_json::{Value, json};

use crate::charges::{bucket, charge_of, chat, cut_after, sent, testbed, testbed_with};

/// The text that is spliced into a body without the usage option.
const OPTIONS: &str = r#""stream_options":{"include_usage":true},"#;

/// The event that the amended request causes.
const USAGE: &str = r#"data: {"id":"c1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;

fn chunk(text: &str) -> String {
    format!(
        r#"data: {{"id":"c1","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}],"usage":null}}"#
    )
}

/// A stream of these events with this line end; the usage event stands before the last.
fn stream(events: &[String], line_end: &str) -> String {
    let end = line_end.repeat(2);
    events.iter().map(|event| format!("{event}{end}")).collect()
}

/// A request with exactly this body to a path.
fn body_to(testbed: &Testbed, path: &str, body: &str, tenant: &str) -> HttpRequest {
    HttpRequest::post(format!("{}{path}", testbed.url), body.to_owned())
        .header("content-type", "application/json")
        .header("x-tenant-id", tenant)
        .header("x-mock-keep", tenant)
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn the_upstream_gets_the_body_with_one_splice_and_the_correct_length() {
    let testbed = testbed().await;
    for (tenant, path, body, amended) in [
        (
            "silent",
            CHAT,
            "\n{ \"model\":\"m\",\t\"stream\" : true,\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9 😀\"}] } ",
            format!("\n{{{OPTIONS} \"model\":\"m\",\t\"stream\" : true,\"messages\":[{{\"role\":\"user\",\"content\":\"h\\u00e9 😀\"}}] }} "),
        ),
        (
            "false",
            CHAT,
            r#"{"model":"m","messages":[],"stream_options":{"include_usage":false},"stream":true}"#,
            r#"{"model":"m","messages":[],"stream_options":{"include_usage":true},"stream":true}"#.to_owned(),
        ),
        (
            "null",
            CHAT,
            r#"{"stream_options": null,"model":"m","messages":[],"stream":true}"#,
            r#"{"stream_options": {"include_usage":true},"model":"m","messages":[],"stream":true}"#.to_owned(),
        ),
        (
            "other-option",
            CHAT,
            r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_obfuscation":false}}"#,
            r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#.to_owned(),
        ),
        (
            "legacy",
            "/v1/completions",
            r#"{"model":"m","prompt":"hi","stream":true}"#,
            format!(r#"{{{OPTIONS}"model":"m","prompt":"hi","stream":true}}"#),
        ),
    ] {
        for announced in [true, false] {
            let mut request = body_to(&testbed, path, body, tenant);
            if !announced {
                request = request.without_content_length();
            }
            let reply = testbed.send(request).await;
            assert_eq!(reply.status, 200, "{tenant}: {}", reply.text());
            let received = testbed.recorded(tenant);
            assert_eq!(String::from_utf8_lossy(&received.body), amended, "{tenant}");
            // The length header is present as before, and correct.
            let length = amended.len().to_string();
            let announced_length = received.header("content-length");
            let right = announced.then_some(length.as_str());
            assert_eq!(announced_length, right, "{tenant}, announced: {announced}");
            // The client does not get the usage event.
            assert!(!reply.text().contains(r#""choices":[]"#), "{}", reply.text());
            assert!(reply.text().ends_with("data: [DONE]\n\n"));
        }
    }
}

/// A body of many pieces, as large clients send it.
#[tokio::test]
async fn a_large_body_in_chunks_is_amended_once() {
    let testbed = testbed().await;
    let prompt = "word ".repeat(100_000);
    let request = chat("large", 0).prompt(&prompt).max_tokens(5).stream();
    let body = request.body().to_string();
    let http = request.header("x-mock-keep", "large").to(&testbed.url);
    let reply = testbed.send(http.without_content_length()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let amended = body.replacen('{', &format!("{{{OPTIONS}"), 1);
    assert!(
        testbed.recorded("large").body == amended,
        "bytes were changed"
    );
}

#[tokio::test]
async fn a_request_with_the_usage_option_or_without_streaming_is_unchanged() {
    let testbed = testbed().await;
    let digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    let aws = "AWS4-HMAC-SHA256 Credential=a/20261129/eu/bedrock/aws4_request, SignedHeaders=host, Signature=0a";
    let silent = r#"{"model":"m","messages":[],"stream":true}"#;
    for (tenant, body, header) in [
        ("whole", r#"{"model":"m","messages":[]}"#, None),
        (
            "not-streamed",
            r#"{"model":"m","messages":[],"stream":false}"#,
            None,
        ),
        (
            "asks",
            r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
            None,
        ),
        (
            "continuous",
            r#"{"model":"m","messages":[],"stream":true,"stream_options":{"continuous_usage_stats":true}}"#,
            None,
        ),
        (
            "twice",
            r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":false},"stream_options":{}}"#,
            None,
        ),
        ("content-digest", silent, Some(("content-digest", digest))),
        ("digest", silent, Some(("digest", "SHA-256=X48E9q"))),
        (
            "content-md5",
            silent,
            Some(("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ==")),
        ),
        ("sigv4", silent, Some(("authorization", aws))),
        (
            "sigv4-hash",
            silent,
            Some(("x-amz-content-sha256", "e3b0c442")),
        ),
        (
            "signature",
            silent,
            Some((
                "signature-input",
                r#"sig1=("@method" "content-length");created=1"#,
            )),
        ),
    ] {
        let mut request = body_to(&testbed, CHAT, body, tenant);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        // The mock model accepts each key once.
        if tenant == "twice" {
            testbed.set_answer("any", &MockAnswer::events("data: [DONE]\n\n"));
            request = request.header("x-mock-answer", "any");
        }
        let reply = testbed.send(request).await;
        assert_eq!(reply.status, 200, "{tenant}: {}", reply.text());
        let received = testbed.recorded(tenant);
        assert_eq!(String::from_utf8_lossy(&received.body), body, "{tenant}");
        if let Some((name, value)) = header {
            assert_eq!(received.header(name), Some(value), "{tenant}");
        }
        let extra = reply.text().contains(r#""choices":[],"#);
        assert_eq!(extra, tenant == "asks", "{tenant}: {}", reply.text());
    }
}

#[tokio::test]
async fn without_metering_or_with_observe_no_request_is_amended() {
    let observe = json!({"usage": "observe"});
    let reserved = json!({"settleOn": "reservation"});
    let mut second = bucket(&observe);
    second["name"] = "second".into();
    for (name, config) in [
        ("observe", one_version(&[bucket(&observe)])),
        ("reservation", one_version(&[bucket(&reserved)])),
        ("no bucket", one_version(&[])),
        ("one of two", one_version(&[bucket(&json!({})), second])),
    ] {
        let testbed = start("headgate", &config).await;
        let body = r#"{"model":"m","messages":[],"stream":true}"#;
        let reply = testbed.send(body_to(&testbed, CHAT, body, "acme")).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(testbed.recorded("acme").body, body, "{name}");
    }
}

/// The answer without exactly the usage event, with any chunks and line ends.
#[tokio::test]
async fn the_client_gets_every_byte_but_the_usage_event() {
    let testbed = testbed().await;
    let texts = ["h\u{e9}", "\u{1f600}", "l\\u0000o", "", "end"].map(chunk);
    let done = "data: [DONE]".to_owned();
    let usage = USAGE.to_owned();
    let comment = ": keep-alive".to_owned();
    // The parts before and after the usage event.
    let shapes: [(&str, Vec<String>, Vec<String>); 4] = [
        ("last", texts.to_vec(), vec![done.clone()]),
        (
            "commented",
            [vec![comment.clone()], texts.to_vec(), vec![comment.clone()]].concat(),
            vec![comment, done.clone()],
        ),
        ("without an end", texts.to_vec(), vec![]),
        (
            "in the middle",
            texts[..2].to_vec(),
            [texts[2..].to_vec(), vec![done]].concat(),
        ),
    ];
    for (name, before, after) in shapes {
        for line_end in ["\n", "\r\n"] {
            let with = [before.clone(), vec![usage.clone()], after.clone()].concat();
            let upstream = stream(&with, line_end);
            let right = stream(&[before.clone(), after.clone()].concat(), line_end);
            let tenant = format!("{name}{}", line_end.len()).replace(' ', "-");
            testbed.set_answer(&tenant, &MockAnswer::events(upstream));
            for split in ["", "1", "7", "64", "3,1,200"] {
                let mut request = chat(&tenant, 28).stream().header("x-mock-answer", &*tenant);
                if !split.is_empty() {
                    request = request.header("x-mock-split", split);
                }
                let reply = sent(&testbed, &request).await;
                assert_eq!(reply.text(), right, "{tenant} in pieces of {split:?}");
            }
            let charged = charge_of(&testbed, &tenant, async |tenant: &str| {
                let name = tenant.rsplit_once('-').unwrap().0;
                let request = chat(tenant, 28).stream().header("x-mock-answer", name);
                sent(&testbed, &request).await;
            });
            assert_eq!(charged.await, 12, "{tenant}");
        }
    }
}

/// Servers write events in many ways; each form is removed with all its lines.
#[tokio::test]
async fn the_usage_event_is_removed_completely_in_any_form() {
    let testbed = testbed().await;
    let usage = USAGE.strip_prefix("data: ").unwrap();
    let json = r#"{ "usage" : {"prompt_tokens":7,"completion_tokens":5,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":0}}, "system_fingerprint":null, "choices" : [ ] }"#;
    for (name, event, line_end) in [
        ("no-space", format!("data:{usage}"), "\n"),
        ("other-lines", format!("id: 7\nevent: message\ndata: {usage}"), "\n"),
        ("lines-after", format!("data: {usage}\nretry: 10"), "\n"),
        ("comment", format!(": the sum\ndata: {usage}"), "\n"),
        ("other-order", format!("data: {json}"), "\n"),
        ("carriage-returns", USAGE.to_owned(), "\r"),
        ("two-lines", "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}".to_owned(), "\n"),
    ] {
        let (first, done) = (chunk("a"), "data: [DONE]".to_owned());
        let upstream = stream(&[first.clone(), event, done.clone()], line_end);
        // A comment does not belong to an event: a keep-alive must not wait for one.
        let done = match name {
            "comment" => format!(": the sum\n{done}"),
            _ => done,
        };
        let right = stream(&[first, done], line_end);
        testbed.set_answer(name, &MockAnswer::events(upstream));
        for split in ["1", "10", "100000"] {
            let request = chat(name, 28)
                .stream()
                .header("x-mock-answer", name)
                .header("x-mock-split", split);
            let reply = sent(&testbed, &request).await;
            assert_eq!(reply.text(), right, "{name} in pieces of {split}");
        }
        let charged = charge_of(&testbed, name, async |tenant| {
            let request = chat(tenant, 28).stream().header("x-mock-answer", name);
            sent(&testbed, &request).await;
        });
        assert_eq!(charged.await, 12, "{name}");
    }
}

/// A server may answer with a document instead of a stream, or with an unrequested compression, which cannot be read.
#[tokio::test]
async fn an_answer_that_is_not_a_stream_of_events_is_unchanged() {
    let testbed = testbed().await;
    let body =
        r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;
    testbed.set_answer("document", &MockAnswer::json(body));
    let charged = charge_of(&testbed, "document", async |tenant| {
        let request = chat(tenant, 28)
            .stream()
            .header("x-mock-answer", "document");
        let reply = sent(&testbed, &request).await;
        assert_eq!(reply.text(), body);
        let length = body.len().to_string();
        assert_eq!(reply.header("content-length"), Some(length.as_str()));
    });
    assert_eq!(charged.await, 12);

    let bytes = std::cell::Cell::new(0);
    let charged = charge_of(&testbed, "compressed", async |tenant| {
        let request = chat(tenant, 28).stream().header("x-mock-gzip", "true");
        let reply = sent(&testbed, &request).await;
        assert_eq!(reply.header("content-encoding"), Some("gzip"));
        bytes.set(reply.body.len() as u64);
    });
    assert_eq!(charged.await, 7 + bytes.get().div_ceil(4));
}

/// Only a requested usage event is removed: an event with choices or without usage belongs to the host.
#[tokio::test]
async fn events_that_only_look_like_usage_stay() {
    let testbed = testbed().await;
    let unaffected = [
        // Azure starts with an event without choices; some hosts report usage in each chunk.
        r#"data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#.to_owned(),
        r#"data: {"choices":[],"usage":null}"#.to_owned(),
        r#"data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#.to_owned(),
        chunk("b"),
    ];
    let done = ["data: [DONE]".to_owned()];
    let upstream = stream(
        &[&unaffected[..], &[USAGE.to_owned()], &done].concat(),
        "\n",
    );
    let right = stream(&[&unaffected[..], &done].concat(), "\n");
    testbed.set_answer("alike", &MockAnswer::events(upstream));
    let request = chat("acme", 4).stream().header("x-mock-answer", "alike");
    assert_eq!(sent(&testbed, &request).await.text(), right);
}

#[tokio::test]
async fn an_answer_without_its_usage_event_has_no_content_length() {
    let testbed = testbed().await;
    let body = stream(
        &[chunk("a"), USAGE.to_owned(), "data: [DONE]".to_owned()],
        "\n",
    );
    let length = body.len().to_string();
    let answer = MockAnswer::events(body.clone()).header("content-length", &length);
    testbed.set_answer("announced", &answer);
    let request = chat("acme", 4).header("x-mock-answer", "announced");
    let amended = sent(&testbed, &request.clone().stream()).await;
    assert_eq!(amended.header("content-length"), None);
    let right = stream(&[chunk("a"), "data: [DONE]".to_owned()], "\n");
    assert_eq!(amended.text(), right);
    // Without an amendment no event is removed, and the length stays.
    let asking = sent(&testbed, &request.stream_with_usage()).await;
    assert_eq!(asking.header("content-length"), Some(length.as_str()));
    assert_eq!(asking.text(), body);
}

#[tokio::test]
async fn no_event_waits_for_the_next_one() {
    let testbed = testbed().await;
    let events = ["a", "b", "c", "d"].map(chunk);
    let body = stream(&[&events[..], &[USAGE.to_owned()]].concat(), "\n");
    testbed.set_answer("slow", &MockAnswer::events(body.clone()));
    // The upstream stops after this number of events: the client has all of them by then.
    for chunks in 1..=4 {
        let name = format!("after-{chunks}");
        let charged = charge_of(&testbed, &name, async |tenant| {
            let request = chat(tenant, 28)
                .max_tokens(50)
                .stream()
                .header("x-mock-answer", "slow");
            cut_after(&testbed, &request, chunks, body.as_bytes()).await;
        });
        // One letter each, four letters for a token.
        assert_eq!(charged.await, 7 + 1, "{chunks} events");
    }
}

/// The first request fails; then requests to this version are no longer amended.
#[tokio::test]
async fn a_version_that_refuses_an_amended_request_is_observed_from_then_on() {
    for status in ["400", "422"] {
        let testbed = testbed().await;
        let request = |tenant: &str| {
            chat(tenant, 28)
                .max_tokens(50)
                .stream()
                .header("x-mock-keep", tenant)
                .header("x-mock-refuse-stream-options", status)
        };
        let charged = charge_of(&testbed, "first", async |tenant| {
            let reply = sent(&testbed, &request(tenant)).await;
            assert_eq!(reply.status.to_string(), status);
        });
        assert_eq!(charged.await, 0);
        for round in ["second", "third"] {
            let charged = charge_of(&testbed, round, async |tenant| {
                let reply = sent(&testbed, &request(tenant)).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                let right = request(tenant).body().to_string();
                assert_eq!(testbed.recorded(tenant).body, right);
            });
            // 16 tokens of four bytes, observed.
            assert_eq!(charged.await, 7 + 16, "{round}");
        }
        eventually(SOON, "the refusal to be counted", async || {
            let samples = testbed
                .envoy
                .prometheus()
                .await
                .map_err(|e| e.to_string())?;
            let named = |s: &&_| -> bool {
                let s: &headgate_testkit::envoy::PromSample = s;
                s.name == "headgate_usage_requests_refused_total"
                    && s.has(&[("model", "m"), ("version", "v1")])
            };
            match samples.iter().find(named) {
                Some(sample) if (sample.value - 1.0).abs() < f64::EPSILON => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    }
}

/// A refusal for another reason does not count: the next request to the version is amended.
#[tokio::test]
async fn a_refusal_of_a_request_that_was_not_amended_changes_nothing() {
    let testbed = testbed().await;
    let refused = chat("acme", 4)
        .stream_with_usage()
        .header("x-mock-status", "400");
    assert_eq!(sent(&testbed, &refused).await.status, 400);
    let request = chat("acme", 4).stream().header("x-mock-keep", "next");
    assert_eq!(sent(&testbed, &request).await.status, 200);
    let body = testbed.recorded("next").body;
    assert!(String::from_utf8_lossy(&body).contains("include_usage"));
}

/// HTTP/2 on both sides.
#[tokio::test]
async fn trailers_follow_an_answer_without_its_usage_event() {
    let config = one_version(&[bucket(&json!({}))]).to_string();
    let module = module::path("headgate");
    let testbed = try_start_speaking(&module, &config, 1, Upstreams::Http2).await;
    let testbed = testbed.unwrap();
    let body = stream(
        &[chunk("a"), USAGE.to_owned(), "data: [DONE]".to_owned()],
        "\n",
    );
    let right = stream(&[chunk("a"), "data: [DONE]".to_owned()], "\n");
    testbed.set_answer("trailing", &MockAnswer::events(body));
    let client = HttpClient::http2();
    for split in ["1", "7", "1000"] {
        let request = chat("acme", 4)
            .stream()
            .header("x-mock-answer", "trailing")
            .header("x-mock-split", split)
            .header("x-mock-trailers", "true");
        let request = request.to(&testbed.url).trailer("x-checksum", "1");
        let reply = client.send(request).await.unwrap();
        assert_eq!(reply.text(), right, "in pieces of {split}");
        assert_eq!(reply.trailers.get("x-mock-done").unwrap(), "true");
    }
    let charged = charge_of(&testbed, "trailed", async |tenant| {
        let request = chat(tenant, 28)
            .stream()
            .header("x-mock-answer", "trailing")
            .header("x-mock-trailers", "true");
        client.send(request.to(&testbed.url)).await.unwrap();
    });
    assert_eq!(charged.await, 12);
}

/// The usage of a mock model with OpenAI's format is charged, and visible only to clients that requested it.
#[tokio::test]
async fn usage_is_charged_whether_or_not_the_client_requested_it() {
    let testbed = testbed_with(&json!({})).await;
    let request = |tenant: &str| -> OpenAiRequest {
        chat(tenant, 400)
            .max_tokens(50)
            .header("x-mock-usage", "prompt_tokens=90,completion_tokens=33")
    };
    let charged = charge_of(&testbed, "silent", async |tenant| {
        let reply = sent(&testbed, &request(tenant).stream()).await;
        let events: Vec<Value> = json_events(&reply.text());
        assert!(events.iter().all(|event| event["choices"][0].is_object()));
    });
    assert_eq!(charged.await, 123);
    let charged = charge_of(&testbed, "asking", async |tenant| {
        let reply = sent(&testbed, &request(tenant).stream_with_usage()).await;
        let events = json_events(&reply.text());
        assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], 33);
    });
    assert_eq!(charged.await, 123);
}

/// Two versions: a refusal of one does not affect the other.
#[tokio::test]
async fn requests_to_each_version_are_amended_until_that_version_refuses() {
    let testbed = start("headgate", &with_buckets(&[bucket(&json!({}))])).await;
    let request = |version: &str, name: &str| {
        chat("acme", 4)
            .stream()
            .header("x-model-version", version)
            .header("x-mock-keep", name)
            .header("x-mock-refuse-stream-options", "400")
    };
    assert_eq!(sent(&testbed, &request("v1", "a")).await.status, 400);
    assert_eq!(sent(&testbed, &request("v1", "b")).await.status, 200);
    assert_eq!(sent(&testbed, &request("v2", "c")).await.status, 400);
    assert_eq!(sent(&testbed, &request("v2", "d")).await.status, 200);
}

fn json_events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let json = data.filter(|data| *data != "[DONE]");
    json.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}
