//! Embeddings through a real Envoy: the charge is the usage, and answers of any size pass unchanged.

use headgate_testkit::client::{HttpRequest, Reply};
use headgate_testkit::mock_model::MockAnswer;
use headgate_testkit::testbed::Testbed;
use serde_json::{Value, json};

use crate::common::{CAPACITY, budget, charged, single_model_testbed};

/// A request for embeddings that gets this canned answer.
async fn embed(testbed: &Testbed, tenant: &str, answer: &str, body: &Value) -> Reply {
    let url = format!("{}/v1/embeddings", testbed.url());
    let request = HttpRequest::post(url, body.to_string())
        .header("content-type", "application/json")
        .header("x-tenant-id", tenant)
        .header("x-mock-keep", answer)
        .header("x-mock-answer", answer)
        .header("x-mock-split", "7,1000,16384");
    testbed.client().send(request).await.unwrap()
}

fn vectors(vector: &Value, count: usize, usage: &Value) -> String {
    let item = |index: usize| json!({"object": "embedding", "index": index, "embedding": vector});
    let data: Vec<_> = (0..count).map(item).collect();
    json!({"object": "list", "data": data, "model": "m", "usage": usage}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_are_charged_their_usage_and_pass_unchanged() {
    let testbed = single_model_testbed(1, &budget("vectors", ""), &[]).await;
    let mock = testbed.mock("m", "v1").unwrap().handle();
    let floats: Value = (0..1536).map(|i| f64::from(i) / 7e5 - 1e-3).collect();
    let base64 = Value::from("vLO1uj3d".repeat(1024));
    let whole = json!({"prompt_tokens": 11, "total_tokens": 11});
    // Sixteen bytes are four tokens, and an id is one.
    let texts = json!(["12345678", "12345678"]);
    let ids = json!([[1, 2, 3], [4, 5]]);
    let cases = [
        ("floats", &texts, vectors(&floats, 32, &whole), 11),
        ("base64", &texts, vectors(&base64, 64, &whole), 11),
        (
            "total-only",
            &texts,
            vectors(&base64, 1, &json!({"total_tokens": 9})),
            9,
        ),
        ("no-usage", &texts, vectors(&floats, 8, &Value::Null), 4),
        ("token-ids", &ids, vectors(&base64, 2, &Value::Null), 5),
    ];
    for (name, input, answer, tokens) in cases {
        mock.set_answer(name, MockAnswer::json(answer.clone()));
        let body = json!({"model": "m", "input": input, "stream": true});
        let reply = embed(&testbed, name, name, &body).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert!(reply.text() == answer, "{name}: the answer is changed");
        assert_eq!(reply.header("x-model-version"), Some("v1"));
        let recorded = mock.recorded(name).unwrap();
        assert_eq!(recorded.body, body.to_string(), "{name}");
        charged(&testbed, name, tokens).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_over_the_budget_are_refused_with_an_openai_error() {
    let testbed = single_model_testbed(1, &budget("vectors", ""), &[]).await;
    let mock = testbed.mock("m", "v1").unwrap().handle();
    mock.set_answer("ok", MockAnswer::json(r#"{"data":[]}"#));
    let ids = |count: u64| json!({"model": "m", "input": (0..count).collect::<Vec<_>>()});

    let reply = embed(&testbed, "much", "ok", &ids(CAPACITY + 1)).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let error = reply.json().unwrap()["error"].clone();
    assert_eq!(error["code"], "cost_exceeds_capacity");
    assert_eq!(error["param"], "input");
    assert_eq!(error["type"], "invalid_request_error");

    let reply = embed(&testbed, "again", "ok", &ids(CAPACITY)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = embed(&testbed, "again", "ok", &ids(CAPACITY)).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    let error = reply.json().unwrap()["error"].clone();
    assert_eq!(error["code"], "rate_limit_exceeded");
    assert_eq!(error["type"], "tokens");
    assert!(reply.header("retry-after").is_some());

    let reply = embed(
        &testbed,
        "bad",
        "ok",
        &json!({"model": "m", "input": [null]}),
    )
    .await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(reply.json().unwrap()["error"]["param"], "input");
}
