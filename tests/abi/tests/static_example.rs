//! `envoy-config/static.yaml` as it is, but for where things listen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use headgate_test_support::client::{HttpClient, OpenAiRequest};
use headgate_test_support::envoy::{Envoy, EnvoyOptions};
use headgate_test_support::mock_model::{MockModel, MockOptions};
use headgate_tests_abi::module;
use headgate_tests_abi::world::SOON;

/// Model, version and the port that the example gives it.
const MODELS: [(&str, &str, u16); 4] = [
    ("llama3-70b", "v1", 8101),
    ("llama3-70b", "v2", 8102),
    ("gpt-4", "2024-08-06", 8103),
    ("phi-3", "mini-4k", 8104),
];

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in static.yaml");
    text.replace(from, to)
}

#[tokio::test]
async fn the_static_example_serves_every_model_and_pin() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../envoy-config/static.yaml"]
        .iter()
        .collect();
    let mut text = std::fs::read_to_string(path).expect("the example");
    let mut models = Vec::new();
    for (name, version, port) in MODELS {
        let model = MockModel::start(MockOptions::new(name, version))
            .await
            .expect("a mock model");
        let (from, to) = (
            format!("port_value: {port} "),
            format!("port_value: {} ", model.addr().port()),
        );
        text = replaced(&text, &from, &to);
        models.push(model);
    }
    text = replaced(&text, "port_value: 10000 ", "port_value: 0 ");
    let wasm = module::path("headgate");
    let wasm = wasm.to_str().expect("a path in UTF-8");
    text = replaced(
        &text,
        "filename: dist/headgate.wasm ",
        &format!("filename: {wasm} "),
    );

    let mut envoy = Envoy::start(EnvoyOptions::new(text)).await.unwrap();
    let url = format!(
        "http://{}",
        envoy.wait_listener("headgate", SOON).await.unwrap()
    );
    let client = HttpClient::new();
    for (name, version, _) in MODELS {
        let pinned = OpenAiRequest::chat(name).header("x-model-version", version);
        let reply = client.send(pinned.to(&url)).await.unwrap();
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        let who = format!("{name}/{version}");
        assert_eq!(reply.header("x-mock-served-by"), Some(who.as_str()));
        assert_eq!(reply.header("x-model-version"), Some(version));
    }
    let by_client_name = OpenAiRequest::chat("microsoft/Phi-3-mini-4k-instruct");
    let reply = client.send(by_client_name.to(&url)).await.unwrap();
    assert_eq!(reply.header("x-mock-served-by"), Some("phi-3/mini-4k"));

    let unknown = client
        .send(OpenAiRequest::chat("nobody").to(&url))
        .await
        .unwrap();
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert_eq!(unknown.json().unwrap()["error"]["code"], "model_not_found");
}
