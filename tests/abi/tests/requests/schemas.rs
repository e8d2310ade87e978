//! Schemas of requests on a real Envoy: the filter reads the body that Envoy holds a second time, however it came.

use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest};
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::bootstrap::Upstreams;
use headgate_tests_abi::config::{one_version, tagged};
use headgate_tests_abi::module;
use headgate_tests_abi::testbed::{Testbed, try_start_speaking};
use serde_json::json;

/// A testbed with a schema for chats and one for tensors. It speaks HTTP/2 on both sides, so that trailers can end a body.
async fn testbed() -> Testbed {
    let chat = json!({"properties": {"messages": {"items": {"properties": {"content": {"maxLength": 300_000}}}}}});
    let infer =
        json!({"properties": {"inputs": {"items": {"properties": {"name": {"const": "x"}}}}}});
    let schemas = json!([
        {"operations": ["openai.chat"], "schema": chat},
        {"operations": ["openinference.infer"], "schema": infer},
    ]);
    let config = tagged(one_version(&[]), &json!({ "schemas": schemas })).to_string();
    let module = module::path("headgate");
    let started = try_start_speaking(&module, &config, 1, Upstreams::Http2);
    started.await.unwrap()
}

#[tokio::test]
async fn a_held_body_is_checked_however_it_came() {
    let testbed = testbed().await;
    let client = HttpClient::http2();
    for (characters, fits) in [(10, true), (300_000, true), (300_001, false)] {
        let request = OpenAiRequest::chat("m").prompt(&"é".repeat(characters));
        let http = || request.to(&testbed.url);
        for (form, http) in [
            ("whole", http()),
            ("chunked", http().without_content_length()),
            ("with trailers", http().trailer("x-checksum", "1")),
        ] {
            let reply = client.send(http).await.unwrap();
            if fits {
                assert_eq!(reply.status, 200, "{form}: {}", reply.text());
                continue;
            }
            assert_eq!(reply.status, 400, "{form}: {}", reply.text());
            let error = &reply.json().expect("a JSON answer")["error"];
            assert_eq!(error["code"], "schema_violation", "{form}");
            assert_eq!(error["param"], "messages[0].content", "{form}");
            assert_eq!(
                error["message"],
                "the schema for the model `m` refuses the request: `messages[0].content` must have at most 300000 characters (`maxLength`)",
                "{form}"
            );
        }
    }
}

#[tokio::test]
async fn the_json_before_tensors_is_checked() {
    let testbed = testbed().await;
    testbed.set_answer("infer", &MockAnswer::json("{}"));
    for (name, status) in [("x", 200), ("y", 400)] {
        let json = format!(
            r#"{{"inputs":[{{"name":"{name}","datatype":"FP32","shape":[50000],"parameters":{{"binary_data_size":200000}}}}]}}"#
        );
        let body = [json.as_bytes(), &[7; 200_000]].concat();
        let url = format!("{}/v2/models/m/infer", testbed.url);
        let length = json.len().to_string();
        let request = HttpRequest::post(url, body)
            .header("content-type", "application/octet-stream")
            .header("x-mock-answer", "infer")
            .header("inference-header-content-length", length.as_str());
        let reply = HttpClient::http2().send(request).await.unwrap();
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        if status == 400 {
            assert!(
                reply.text().contains("`inputs[0].name` must be"),
                "{}",
                reply.text()
            );
        }
    }
}
