//! The mock model over loopback: its responses, and every fault it offers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read;
use std::time::{Duration, Instant};

use headgate_testkit::client::{ClientError, HttpClient, HttpRequest, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::mock_model::{MockAnswer, MockModel, MockOptions};
use http::StatusCode;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

async fn model() -> MockModel {
    MockModel::start(MockOptions::new("llama3-70b", "v2.3.1-cuda118"))
        .await
        .unwrap()
}

fn chat() -> OpenAiRequest {
    OpenAiRequest::chat("llama3-70b").max_tokens(4)
}

async fn in_flight_is(model: &MockModel, wanted: u64) {
    eventually(SOON, "requests in flight", async || {
        let stats = model.stats();
        if stats.in_flight == wanted {
            Ok(())
        } else {
            Err(format!("{stats:?}"))
        }
    })
    .await
    .unwrap();
}

fn usage_of(event: &str) -> Value {
    serde_json::from_str::<Value>(event).unwrap()["usage"].clone()
}

#[tokio::test]
async fn a_complete_response_has_true_usage_and_echoes_the_request() {
    let model = model().await;
    let request = chat()
        .prompt("héllo")
        .n(2)
        .header("x-model", "llama3-70b")
        .to(&model.url());
    let reply = HttpClient::new().send(request).await.unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("x-mock-served-by"),
        Some("llama3-70b/v2.3.1-cuda118")
    );
    let body = reply.json().unwrap();
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 2, "completion_tokens": 8, "total_tokens": 10})
    );
    assert_eq!(body["choices"][1]["message"]["content"], "tok tok tok tok ");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["mock"]["version"], "v2.3.1-cuda118");
    assert_eq!(body["mock"]["headers"]["x-model"], "llama3-70b");
    assert_eq!(body["mock"]["path"], "/v1/chat/completions");
    let stats = model.stats();
    assert_eq!((stats.requests, stats.in_flight), (1, 0));
    assert_eq!((stats.tokens_produced, stats.client_aborts), (8, 0));
}

#[tokio::test]
async fn max_tokens_limits_the_configured_number_of_tokens() {
    let model = model().await;
    let client = HttpClient::new();
    for (max_tokens, configured, produced, reason) in [
        (4, "9", 4, "length"),
        (9, "3", 3, "stop"),
        (5, "5", 5, "stop"),
    ] {
        let request = OpenAiRequest::completion("m")
            .max_tokens(max_tokens)
            .header("x-mock-tokens", configured)
            .to(&model.url());
        let body = client.send(request).await.unwrap().json().unwrap();
        assert_eq!(body["usage"]["completion_tokens"], produced);
        assert_eq!(body["choices"][0]["finish_reason"], reason);
    }
}

#[tokio::test]
async fn a_stream_ends_with_usage_when_requested() {
    let model = model().await;
    for client in [HttpClient::new(), HttpClient::http2()] {
        let stream = client
            .open(chat().stream_with_usage().to(&model.url()))
            .await
            .unwrap();
        assert_eq!(stream.header("content-type"), Some("text/event-stream"));
        let events = stream.events().await.unwrap();
        // The role, four tokens, the finish event, the usage, and `[DONE]`.
        assert_eq!(events.len(), 8);
        assert_eq!(events[7], "[DONE]");
        assert_eq!(usage_of(&events[6])["completion_tokens"], 4);
        assert!(events[..6].iter().all(|event| usage_of(event).is_null()));
        let first: Value = serde_json::from_str(&events[0]).unwrap();
        assert_eq!(first["mock"]["method"], "POST");
        let last: Value = serde_json::from_str(&events[6]).unwrap();
        assert_eq!(last["choices"], json!([]));
    }
}

#[tokio::test]
async fn a_stream_has_no_usage_unless_requested_and_not_omitted() {
    let model = model().await;
    let client = HttpClient::new();
    let omitting = chat().stream_with_usage().header("x-mock-usage", "omit");
    for request in [chat().stream(), omitting] {
        let stream = client.open(request.to(&model.url())).await.unwrap();
        let events = stream.events().await.unwrap();
        assert_eq!(events.len(), 7);
        assert!(events[..6].iter().all(|event| usage_of(event).is_null()));
    }
}

#[tokio::test]
async fn usage_can_be_continuous_and_can_be_forged() {
    let model = model().await;
    let client = HttpClient::new();
    let request = chat()
        .stream()
        .header("x-mock-continuous-usage", "true")
        .to(&model.url());
    let events = client.open(request).await.unwrap().events().await.unwrap();
    let reported: Vec<_> = events[..6]
        .iter()
        .map(|event| usage_of(event)["completion_tokens"].as_u64().unwrap())
        .collect();
    assert_eq!(reported, [0, 1, 2, 3, 4, 4]);

    let lie = "completion_tokens=1000,cached_tokens=3,reasoning_tokens=7";
    let request = chat().header("x-mock-usage", lie).to(&model.url());
    let usage = client.send(request).await.unwrap().json().unwrap()["usage"].clone();
    assert_eq!(usage["completion_tokens"], 1000);
    assert_eq!(usage["total_tokens"], 1002);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 3);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 7);
}

#[tokio::test]
async fn a_stream_breaks_off_after_n_tokens_with_close_or_reset() {
    let model = model().await;
    let client = HttpClient::new();
    for (how, trace) in [("close", "EOF"), ("reset", "reset")] {
        let request = chat()
            .stream()
            .header("x-mock-abort-after", "2")
            .header("x-mock-abort-with", how)
            .to(&model.url());
        let mut stream = client.open(request).await.unwrap();
        let mut events = 0;
        let why = loop {
            match stream.event().await {
                Ok(Some(_)) => events += 1,
                Ok(None) => panic!("the stream ended properly"),
                Err(ClientError::Body { why, .. }) => break why,
                Err(other) => panic!("{other}"),
            }
        };
        // The role and two tokens.
        assert_eq!(events, 3);
        assert!(why.contains(trace), "{how}: {why}");
    }
    let stats = model.stats();
    assert_eq!((stats.own_aborts, stats.client_aborts), (2, 0));
    assert_eq!(stats.tokens_produced, 4);
}

#[tokio::test]
async fn a_complete_response_breaks_off_before_its_content_length() {
    let model = model().await;
    let request = chat().header("x-mock-abort-after", "2").to(&model.url());
    match HttpClient::new().send(request).await {
        Err(ClientError::Body { so_far, .. }) => {
            assert!(so_far.starts_with(b"{\"id\""), "{so_far:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_can_break_before_the_headers() {
    let model = model().await;
    let request = chat()
        .header("x-mock-abort-after", "headers")
        .to(&model.url());
    let error = HttpClient::new().send(request).await.unwrap_err();
    assert!(matches!(error, ClientError::Exchange(_)), "{error}");
    assert_eq!(model.stats().own_aborts, 1);
}

#[tokio::test]
async fn a_client_abort_is_counted_at_any_point_of_a_response() {
    let model = model().await;
    let stalled = || chat().stream().header("x-mock-stall-after", "1");
    for client in [HttpClient::new(), HttpClient::http2()] {
        let before = model.stats().client_aborts;
        let mut stream = client.open(stalled().to(&model.url())).await.unwrap();
        stream.event().await.unwrap();
        stream.event().await.unwrap();
        assert_eq!(model.stats().in_flight, 1);
        stream.disconnect();
        in_flight_is(&model, 0).await;

        let never = chat().header("x-mock-headers-delay-ms", "600000");
        let hasty = client.with_timeout(Duration::from_millis(100));
        let error = hasty.send(never.to(&model.url())).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout(_)), "{error}");
        in_flight_is(&model, 0).await;
        assert_eq!(model.stats().client_aborts, before + 2);
    }
}

#[tokio::test]
async fn delays_apply_before_the_headers_and_between_chunks() {
    let model = model().await;
    let client = HttpClient::new();
    for request in [chat().stream(), chat()] {
        let began = Instant::now();
        let request = request
            .header("x-mock-headers-delay-ms", "60")
            .header("x-mock-delay-ms", "20")
            .to(&model.url());
        let answer = client.open(request).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(60));
        answer.whole().await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(120));
    }
}

#[tokio::test]
async fn an_error_on_demand_has_the_openai_format() {
    let model = model().await;
    let client = HttpClient::new();
    let request = chat().header("x-mock-status", "529").to(&model.url());
    let reply = client.send(request).await.unwrap();
    assert_eq!(reply.status, 529);
    assert_eq!(reply.json().unwrap()["error"]["code"], "529");

    let request = chat().header("x-mock-delay-ms", "soon").to(&model.url());
    let reply = client.send(request).await.unwrap();
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("x-mock-delay-ms"), "{}", reply.text());

    let request = HttpRequest::post(format!("{}/v1/chat/completions", model.url()), "{");
    assert_eq!(client.send(request).await.unwrap().status, 400);
    assert_eq!(model.stats().client_aborts, 0);
}

#[tokio::test]
async fn gzip_is_sent_unrequested_and_decompresses_to_the_response() {
    let model = model().await;
    let client = HttpClient::new();
    for (request, end) in [
        (chat(), "}"),
        (chat().stream(), "data: [DONE]\n\n"),
        (chat().stream().header("x-mock-split", "5,1"), "[DONE]\n\n"),
    ] {
        let request = request.header("x-mock-gzip", "true").to(&model.url());
        let reply = client.send(request).await.unwrap();
        assert_eq!(reply.header("content-encoding"), Some("gzip"));
        let mut text = String::new();
        flate2::read::GzDecoder::new(&reply.body[..])
            .read_to_string(&mut text)
            .unwrap();
        assert!(text.contains("tok ") && text.ends_with(end), "{text}");
    }
}

#[tokio::test]
async fn pieces_travel_alone_and_split_characters() {
    let model = model().await;
    let request = chat()
        .stream()
        .header("x-mock-text", "né😀")
        .header("x-mock-split", "1,2,5")
        .to(&model.url());
    let mut stream = HttpClient::new().open(request).await.unwrap();
    let (mut bytes, mut cut_through) = (Vec::new(), 0);
    while let Some(chunk) = stream.chunk().await.unwrap() {
        assert!(chunk.len() <= 5, "{} bytes in a piece", chunk.len());
        cut_through += usize::from(std::str::from_utf8(&chunk).is_err());
        bytes.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches(r#""content":"né😀""#).count(), 4);
    assert!(cut_through > 0, "no character was cut");
}

#[tokio::test]
async fn the_usage_event_can_be_huge() {
    let model = model().await;
    let request = chat()
        .stream_with_usage()
        .header("x-mock-pad-bytes", "300000")
        .to(&model.url());
    let stream = HttpClient::new().open(request).await.unwrap();
    let events = stream.events().await.unwrap();
    assert!(events[6].len() > 300_000 && events[5].len() < 1000);
    assert_eq!(usage_of(&events[6])["prompt_tokens"], 2);
}

#[tokio::test]
async fn pages_show_health_models_and_counters() {
    let model = model().await;
    let client = HttpClient::new();
    let get = async |path: &str| {
        let url = format!("{}{path}", model.url());
        client.send(HttpRequest::get(url)).await.unwrap()
    };
    for path in ["/health", "/healthz", "/ping"] {
        let healthy = get(path).await;
        assert_eq!(healthy.status, 200, "{path}");
        assert_eq!(healthy.json().unwrap()["version"], "v2.3.1-cuda118");
        let served_by = healthy.header("x-mock-served-by");
        assert_eq!(served_by, Some("llama3-70b/v2.3.1-cuda118"));
    }
    model.handle().set_healthy(false);
    assert_eq!(get("/healthz").await.status, 503);
    let models = get("/v1/models").await.json().unwrap();
    assert_eq!(models["data"][0]["id"], "llama3-70b");
    client.send(chat().to(&model.url())).await.unwrap();
    let stats = get("/__stats").await.json().unwrap();
    assert_eq!(
        stats,
        json!({"requests": 1, "in_flight": 0, "client_aborts": 0, "own_aborts": 0,
               "tokens_produced": 4})
    );
    assert_eq!(get("/nowhere").await.status, 404);
}

#[tokio::test]
async fn a_canned_response_is_served_on_any_path_with_the_same_faults() {
    let model = model().await;
    let client = HttpClient::new();
    let stream = "data: {\"a\":1}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n";
    let two = MockAnswer::events(stream).header("x-request-id", "r1");
    model.handle().set_answer("two", two);
    let url = format!("{}/v1/responses", model.url());
    let ask = |name: &str| HttpRequest::post(&url, "{}").header("x-mock-answer", name);

    let reply = client.send(ask("two")).await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, stream));
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(reply.header("x-request-id"), Some("r1"));
    assert_eq!(reply.header("content-length"), None);

    let pieces = ask("two").header("x-mock-split", "7");
    assert_eq!(client.send(pieces).await.unwrap().text(), stream);
    let zipped = ask("two").header("x-mock-gzip", "true");
    let zipped = client.send(zipped).await.unwrap();
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));

    let cut = ask("two").header("x-mock-abort-after", "1");
    match client.send(cut).await {
        Err(ClientError::Body { so_far, .. }) => assert_eq!(so_far, &stream[..15]),
        other => panic!("{other:?}"),
    }
    let unknown = client.send(ask("three")).await.unwrap();
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("three"), "{}", unknown.text());
}

#[tokio::test]
async fn a_canned_response_keeps_its_status_type_and_length() {
    let model = model().await;
    let client = HttpClient::new();
    let body = r#"{"error":{"message":"slow down"}}"#;
    let answer = MockAnswer::json(body).status(StatusCode::TOO_MANY_REQUESTS);
    model.handle().set_answer("refused", answer);
    let ask = chat().header("x-mock-answer", "refused");
    for (status, expected) in [("", 429), ("404", 404)] {
        let request = match status {
            "" => ask.clone(),
            status => ask.clone().header("x-mock-status", status),
        };
        let request = request.header("x-mock-delay-ms", "1");
        let reply = client.send(request.to(&model.url())).await.unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (expected, body));
        let length = body.len().to_string();
        assert_eq!(reply.header("content-length"), Some(length.as_str()));
    }
    let announced = MockAnswer::events("data: 1\n\n").header("content-length", "9");
    model.handle().set_answer("announced", announced);
    let ask = chat().header("x-mock-answer", "announced");
    let reply = client.send(ask.to(&model.url())).await.unwrap();
    assert_eq!(reply.header("content-length"), Some("9"));
    assert_eq!(reply.text(), "data: 1\n\n");
}

#[tokio::test]
async fn a_recorded_request_is_available_byte_for_byte() {
    let model = model().await;
    let client = HttpClient::new();
    let body = "{ \"model\":\"m\",\t\"messages\" : [] }";
    let url = format!("{}/v1/chat/completions?x=1", model.url());
    let request = HttpRequest::post(url, body).header("x-mock-keep", "odd");
    assert_eq!(client.send(request).await.unwrap().status, 200);
    let recorded = model.handle().recorded("odd").unwrap();
    assert_eq!(recorded.body, body);
    assert_eq!(recorded.path, "/v1/chat/completions?x=1");
    let length = body.len().to_string();
    assert_eq!(recorded.header("content-length"), Some(length.as_str()));
    assert!(model.handle().recorded("even").is_none());
    let page = HttpRequest::get(format!("{}/__kept/odd", model.url()));
    assert_eq!(client.send(page).await.unwrap().body, body);
}

#[tokio::test]
async fn a_server_can_reject_stream_options() {
    let model = model().await;
    let client = HttpClient::new();
    for (request, status) in [
        (chat().stream(), 200),
        (chat().stream_with_usage(), 422),
        (chat().stream().field("stream_options", json!({})), 422),
    ] {
        let request = request.header("x-mock-refuse-stream-options", "422");
        let reply = client.send(request.to(&model.url())).await.unwrap();
        assert_eq!(reply.status, status, "{}", reply.text());
    }
}

#[tokio::test]
async fn a_stopped_model_breaks_its_connections_and_frees_its_port() {
    let model = model().await;
    let (addr, client) = (model.addr(), HttpClient::new());
    let request = chat().stream().header("x-mock-stall-after", "1");
    let mut stream = client.open(request.to(&model.url())).await.unwrap();
    stream.event().await.unwrap();
    model.stop().await;
    let broken = loop {
        match stream.event().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(
        matches!(broken, Err(ClientError::Body { .. })),
        "{broken:?}"
    );
    let again = MockModel::start(MockOptions::new("m", "v").at(addr))
        .await
        .unwrap();
    assert_eq!(
        client.send(chat().to(&again.url())).await.unwrap().status,
        200
    );
}
