//! What a request says of itself, and what it asks that is answered without any model server.

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::deadline::eventually;
use headgate_testkit::stage::Stage;
use serde_json::{Value, json};

use crate::common::{INPUT, SOON, ask, budget, charged, declare, empty_world, small_world};
use crate::wire::Wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_charged_to_a_client_that_hangs_up() {
    let stage = small_world(1, &budget("prompts", "abandoned: prompt"), &[]).await;
    let parameters = json!({ "type": "object", "description": "x".repeat(12_000) });
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": parameters } });
    let tools = Value::from(vec![tool]);
    // Four bytes to a token, and `Hello`.
    let prompt = (tools.to_string().len() as u64 + 5).div_ceil(4);
    assert!(prompt > 3000);
    let request = ask("tools", 200)
        .field("tools", tools)
        .header("x-mock-headers-delay-ms", "20000")
        .to(stage.url());
    let client = stage.client();
    let asking = tokio::spawn(async move { client.send(request).await });
    let mock = stage.mock("m", "v1").unwrap();
    let sent = eventually(SOON, "the request to be sent on", async || {
        match mock.stats() {
            stats if stats.in_flight == 1 => Ok(()),
            stats => Err(format!("{stats:?}")),
        }
    });
    sent.await.unwrap();
    asking.abort();
    charged(&stage, "tools", prompt).await;
    assert_eq!(mock.stats().tokens_produced, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_lowers_no_reserve_of_a_request_with_a_body() {
    let stage = small_world(1, &budget("headers", "settleOn: reservation"), &[]).await;
    // Tenant, `max_tokens` of the body and of the header, what is reserved for the answer.
    let cases = [
        ("silent body", None, "1", 512),
        ("raised", None, "600", 600),
        ("body wins", Some(200), "1", 200),
        ("body wins over more", Some(200), "600", 200),
    ];
    for (tenant, body, header, reserved) in cases {
        let request = OpenAiRequest::chat("m")
            .header("x-tenant-id", tenant)
            .header("x-max-tokens", header);
        let request = match body {
            Some(tokens) => request.max_tokens(tokens),
            None => request,
        };
        let reply = stage.send(&request).await.unwrap();
        assert_eq!(reply.status, 200, "{tenant}: {}", reply.text());
        charged(&stage, tenant, INPUT + reserved).await;
    }
}

/// Status, headers and body of a request without one.
async fn bare(stage: &Stage, method: &str, path: &str) -> (u16, String, String) {
    let wire = Wire::open(stage, &format!("{method} {path}"), "").await;
    let answer = wire.rest().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_told_one_by_one_and_all_at_once_and_a_head_is_their_headers() {
    let mut stage = empty_world(1, 1, &budget("unused", ""), &[]).await;
    let named = "headgate.dev/model-names";
    declare(&mut stage, "m", "v1", |manifest| {
        manifest.annotation(named, "org/Big-Model")
    })
    .await;
    stage.settled().await.unwrap();
    let object =
        |id: &str| json!({ "id": id, "object": "model", "created": 0, "owned_by": "headgate" });
    let both = json!({ "object": "list", "data": [object("m"), object("org/Big-Model")] });
    for (path, expected) in [
        ("/v1/models", both),
        ("/v1/models/m", object("m")),
        ("/v1/models/org/Big-Model", object("org/Big-Model")),
        ("/v1/models/org%2FBig-Model?x=1", object("org/Big-Model")),
    ] {
        let (status, _, body) = bare(&stage, "GET", path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let told: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told, expected, "{path}");

        let (status, head, nothing) = bare(&stage, "HEAD", path).await;
        assert_eq!((status, nothing.as_str()), (200, ""), "{path}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let length = format!("content-length: {}\r\n", body.len());
        assert!(format!("{head}\r\n").contains(&length), "{head}");
    }
    let (status, _, body) = bare(&stage, "GET", "/v1/models/nobody").await;
    assert_eq!(status, 404, "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["error"]["code"], "model_not_found");
    let (status, _, nothing) = bare(&stage, "HEAD", "/v1/models/nobody").await;
    assert_eq!((status, nothing.as_str()), (404, ""));
    // All of it told here: the model server was not asked.
    let mock = stage.mock("m", "v1").unwrap();
    assert_eq!(mock.stats().requests, 0);
}
