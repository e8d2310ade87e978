//! `envoy-config/static.yaml` with other addresses: every feature that it shows works.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use headgate_testkit::client::{HttpClient, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::mock_model::{MockModel, MockOptions};
use headgate_testkit::share::MeasuredShare;
use headgate_tests_abi::bootstrap::shipped;
use headgate_tests_abi::module;
use headgate_tests_abi::testbed::SOON;
use serde_json::Value;

/// Model, version and its port in the example.
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

/// An Envoy with the example, in front of four mock models.
struct Example {
    envoy: Envoy,
    url: String,
    client: HttpClient,
    _models: Vec<MockModel>,
}

impl Example {
    async fn start() -> Self {
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
        let mut options = EnvoyOptions::new(text);
        options.args = vec!["--file-flush-interval-msec".into(), "100".into()];
        let mut envoy = Envoy::start(options).await.unwrap();
        let address = envoy.wait_listener("headgate", SOON).await.unwrap();
        Self {
            envoy,
            url: format!("http://{address}"),
            client: HttpClient::new(),
            _models: models,
        }
    }

    async fn send(&self, request: &OpenAiRequest) -> Reply {
        self.client.send(request.to(&self.url)).await.unwrap()
    }
}

#[tokio::test]
async fn the_static_example_serves_every_model_and_pin() {
    let example = Example::start().await;
    for (name, version, _) in MODELS {
        let pinned = OpenAiRequest::chat(name).header("x-model-version", version);
        let reply = example.send(&pinned).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        let who = format!("{name}/{version}");
        assert_eq!(reply.header("x-mock-served-by"), Some(who.as_str()));
        assert_eq!(reply.header("x-model-version"), Some(version));
    }
    for (name, served_by) in [
        ("microsoft/Phi-3-mini-4k-instruct", "phi-3/mini-4k"),
        ("meta-llama/Llama-3-70B-Instruct", "llama3-70b/v"),
    ] {
        let reply = example.send(&OpenAiRequest::chat(name)).await;
        let who = reply.header("x-mock-served-by").unwrap();
        assert!(who.starts_with(served_by), "{name}: {who}");
    }
    let unknown = example.send(&OpenAiRequest::chat("nobody")).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert_eq!(unknown.json().unwrap()["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn the_static_example_gives_its_canary_a_tenth_of_the_sessions() {
    let example = Example::start().await;
    let sessions = 1000;
    let mut canary = 0;
    for session in 0..sessions {
        let request = OpenAiRequest::chat("llama3-70b")
            .max_tokens(1)
            .header("x-session-id", format!("static-{session}"));
        let reply = example.send(&request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        canary += usize::from(reply.header("x-model-version") == Some("v2"));
    }
    let share = MeasuredShare::new(0.1, canary, sessions);
    assert!(share.holds(), "{share:?}");
}

#[tokio::test]
async fn the_static_example_spends_both_buckets() {
    let example = Example::start().await;
    let number = |reply: &Reply, name: &str| -> u64 {
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.header(name).unwrap().parse().unwrap()
    };
    // The bucket of tokens: a request spends its use, for its tenant and model.
    let mut last = 100_001;
    for _ in 0..3 {
        let request = OpenAiRequest::chat("phi-3")
            .max_tokens(3000)
            .header("x-mock-tokens", "3000")
            .header("x-tenant-id", "acme");
        let left = number(
            &example.send(&request).await,
            "x-ratelimit-remaining-tokens",
        );
        assert!(left + 2900 <= last, "{left} are left of {last}");
        last = left;
    }
    let above = OpenAiRequest::chat("phi-3").max_tokens(100_001);
    let reply = example.send(&above).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let code = reply.json().unwrap()["error"]["code"].clone();
    assert_eq!(code, "cost_exceeds_capacity");
    // The semantic bucket: a hundred requests of gpt-4.
    let request = OpenAiRequest::chat("gpt-4").header("x-tenant-id", "acme");
    let reply = example.send(&request).await;
    assert_eq!(number(&reply, "x-ratelimit-limit-requests"), 100);
    assert_eq!(number(&reply, "x-ratelimit-remaining-requests"), 99);
}

#[tokio::test]
async fn the_static_example_tags_requests_its_log_and_its_statistics() {
    let example = Example::start().await;
    let request = OpenAiRequest::chat("gpt-4").header("x-tenant-id", "acme");
    let reply = example.send(&request).await;
    let headers = reply.json().unwrap()["mock"]["headers"].clone();
    assert_eq!(headers["x-headgate-environment"], "static", "{headers}");

    let line = eventually(SOON, "the access log", async || {
        let text = example.envoy.log().text();
        let line = text.lines().find(|line| line.starts_with('{'));
        line.map(str::to_owned).ok_or("no line of JSON")
    });
    let line: Value = serde_json::from_str(&line.await.unwrap()).unwrap();
    for (key, value) in [
        ("path", "/v1/chat/completions"),
        ("details", "via_upstream"),
        // As in statistics, with the slash after the version.
        ("cluster", "model/default/gpt-4/2024-08-06/"),
        ("model", "gpt-4"),
        ("version", "2024-08-06"),
        ("tenant", "acme"),
        ("lane", "base"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(line["status"], 200, "{line}");

    let served = [("model", "gpt-4"), ("version", "2024-08-06")];
    let (filter, cluster) = (
        [
            &served[..],
            &[("model_namespace", "default"), ("outcome", "admitted")],
        ]
        .concat(),
        [&served[..], &[("model_namespace", "default")]].concat(),
    );
    eventually(SOON, "the request to be counted", async || {
        let samples = example
            .envoy
            .prometheus()
            .await
            .map_err(|e| e.to_string())?;
        let counted = |name: &str, labels: &[(&str, &str)]| {
            let mut of = samples.iter().filter(|s| s.name == name);
            of.any(|s| s.has(labels) && s.value > 0.0)
        };
        let found = (
            counted("headgate_requests_total", &filter),
            counted("envoy_cluster_upstream_rq_total", &cluster),
        );
        if found == (true, true) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await
    .unwrap();
}

#[test]
fn both_shipped_bootstraps_label_statistics_alike() {
    let [with, without] =
        ["bootstrap.yaml", "static.yaml"].map(|file| shipped(file)["stats_config"].clone());
    assert!(with["stats_tags"].is_array(), "{with}");
    assert_eq!(with, without);
}
