//! The APIs of other platforms through a real Envoy: bodies that are held, that pass, and that are charged as they pass.

use headgate_testkit::client::HttpRequest;
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::config::{one_version, tagged};
use headgate_tests_abi::testbed::start;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::charges::{bucket, charge_of, testbed};

const BOUNDARY: &str = "headgate-boundary";

/// A part of `multipart/form-data`.
fn part(disposition: &str, content: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
}

/// The charge of a request, whose answer comes through unchanged.
async fn charge(
    path: &str,
    headers: &[(&'static str, &str)],
    body: Vec<u8>,
    answer: MockAnswer,
    text: &str,
) -> u64 {
    let testbed = testbed().await;
    testbed.set_answer("api", &answer);
    let charged = charge_of(&testbed, "api", async |tenant| {
        let url = format!("{}{path}", testbed.url);
        let mut request = HttpRequest::post(url, body.clone())
            .header("x-tenant-id", tenant)
            .header("x-mock-answer", "api");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = testbed.send(request).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(reply.text(), text, "{path}");
        assert_eq!(reply.header("x-model-version"), Some("v1"), "{path}");
    });
    charged.await
}

#[tokio::test]
async fn a_stream_of_anthropic_messages_is_charged_its_last_report() {
    let events = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let body = r#"{"model":"Org/M-Instruct","max_tokens":64,"stream":true,"system":"Be brief.","messages":[{"role":"user","content":"Hi"}]}"#;
    let answer = MockAnswer::events(events);
    let charged = charge("/v1/messages", &[], body.into(), answer, events).await;
    assert_eq!(charged, 45);
}

#[tokio::test]
async fn the_path_of_gemini_names_the_model() {
    let text = r#"{"candidates":[{"content":{"parts":[{"text":"Hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":20,"totalTokenCount":32}}"#;
    let body =
        r#"{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":64}}"#;
    let path = "/v1beta/models/m:generateContent?key=x";
    let answer = MockAnswer::json(text);
    assert_eq!(charge(path, &[], body.into(), answer, text).await, 32);
}

#[tokio::test]
async fn a_recording_before_its_model_is_transcribed_and_charged_its_seconds() {
    let text = r#"{"text":"Hello","usage":{"type":"duration","seconds":9}}"#;
    let file = part("name=\"file\"; filename=\"a.mp3\"", &"s".repeat(300_000));
    let body = format!("{file}{}--{BOUNDARY}--\r\n", part("name=\"model\"", "m"));
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("content-type", &*kind)];
    let path = "/v1/audio/transcriptions";
    let answer = MockAnswer::json(text);
    assert_eq!(charge(path, &headers, body.into(), answer, text).await, 90);
}

/// It is larger than `maxBodyBytes` would allow to hold.
#[tokio::test]
async fn an_upload_passes_and_is_charged_its_bytes() {
    let text = r#"{"id":"file-1","object":"file"}"#;
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let body = vec![b'x'; 10 << 20];
    let tokens = (body.len() as u64).div_ceil(4);
    let testbed = testbed().await;
    testbed.set_answer("file", &MockAnswer::json(text));
    let request = HttpRequest::post(format!("{}/v1/files", testbed.url), body)
        .header("x-tenant-id", "uploader")
        .header("content-type", kind)
        .header("x-mock-answer", "file");
    // More than the bucket ever holds, and the length is announced.
    let refused = testbed.send(request).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("send a smaller file"), "{tokens}");
    let small = vec![b'x'; 4000];
    let answer = MockAnswer::json(text);
    assert_eq!(charge("/v1/files", &[], small, answer, text).await, 1000);
}

#[tokio::test]
async fn binary_tensors_after_the_json_are_charged() {
    let text = r#"{"model_name":"m","outputs":[]}"#;
    let json = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,100],"parameters":{"binary_data_size":400}}]}"#;
    let length = json.len().to_string();
    let body = [json.as_bytes(), &[0; 400]].concat();
    let headers = [
        ("inference-header-content-length", &*length),
        ("content-type", "application/octet-stream"),
    ];
    let path = "/v2/models/m/versions/v1/infer";
    let answer = MockAnswer::json(text);
    assert_eq!(charge(path, &headers, body, answer, text).await, 100);
}

#[tokio::test]
async fn counting_is_free_and_management_is_refused() {
    let text = r#"{"input_tokens":14}"#;
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;
    let path = "/v1/messages/count_tokens";
    let answer = MockAnswer::json(text);
    assert_eq!(charge(path, &[], body.into(), answer, text).await, 0);
    let testbed = testbed().await;
    let url = format!("{}/v1/load_lora_adapter", testbed.url);
    let reply = testbed
        .send(HttpRequest::post(url, "{}").header("x-model", "m"))
        .await;
    assert_eq!(reply.status, 404);
    assert!(
        reply.text().contains("vllm.loraAdapters"),
        "{}",
        reply.text()
    );
    assert_eq!(testbed.served(), 0);
}

#[tokio::test]
async fn a_realtime_session_is_charged_its_minute_and_its_bytes() {
    let apis = json!({"apis": {"realtime": {"tokensPerMinute": 700, "bytesPerToken": 10}}});
    let config = tagged(one_version(&[bucket(&json!({}))]), &apis);
    let testbed = start("headgate", &config).await;
    let address = testbed.url.trim_start_matches("http://").to_owned();
    let charged = charge_of(&testbed, "session", async |tenant| {
        let mut session = TcpStream::connect(&address).await.unwrap();
        let handshake = format!(
            "GET /v1/realtime?model=Org%2FM-Instruct HTTP/1.1\r\nhost: models\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-tenant-id: {tenant}\r\n\r\n"
        );
        session.write_all(handshake.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(session.read_u8().await.unwrap());
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        session.write_all(&[7; 1000]).await.unwrap();
        let mut echo = vec![0; 1000];
        session.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, [7; 1000]);
        session.shutdown().await.unwrap();
        // The session has ended for the proxy, too.
        assert_eq!(session.read(&mut echo).await.unwrap_or(0), 0);
        testbed.wait_until_settled().await;
    });
    assert_eq!(charged.await, 700 + 2 * 100);
}
