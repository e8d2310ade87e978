//! The declared cost of a request (tool definitions, `x-max-tokens`), and `GET /v1/models`, which no model server answers.

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::deadline::eventually;
use headgate_testkit::testbed::Testbed;
use serde_json::{Value, json};

use crate::common::{
    INPUT, SOON, ask, budget, charged, declare, empty_testbed, single_model_testbed,
};
use crate::raw_http::RawConnection;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tool_definitions_are_charged_to_a_client_that_disconnects() {
    let testbed = single_model_testbed(1, &budget("prompts", "abandoned: prompt"), &[]).await;
    let parameters = json!({ "type": "object", "description": "x".repeat(12_000) });
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": parameters } });
    let tools = Value::from(vec![tool]);
    // Four bytes per token, with the five of `Hello`.
    let prompt = (tools.to_string().len() as u64 + 5).div_ceil(4);
    assert!(prompt > 3000);
    let request = ask("tools", 200)
        .field("tools", tools)
        .header("x-mock-headers-delay-ms", "20000")
        .to(testbed.url());
    let client = testbed.client();
    let asking = tokio::spawn(async move { client.send(request).await });
    let mock = testbed.mock("m", "v1").unwrap();
    let sent = eventually(SOON, "the request to be sent on", async || {
        match mock.stats() {
            stats if stats.in_flight == 1 => Ok(()),
            stats => Err(format!("{stats:?}")),
        }
    });
    sent.await.unwrap();
    asking.abort();
    charged(&testbed, "tools", prompt).await;
    assert_eq!(mock.stats().tokens_produced, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_does_not_lower_the_reservation_of_a_request_with_a_body() {
    let testbed = single_model_testbed(1, &budget("headers", "settleOn: reservation"), &[]).await;
    // Tenant, `max_tokens` in the body and in the header, tokens reserved for the response.
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
        let reply = testbed.send(&request).await.unwrap();
        assert_eq!(reply.status, 200, "{tenant}: {}", reply.text());
        charged(&testbed, tenant, INPUT + reserved).await;
    }
}

/// Status, headers and body of the response to a request without a body.
async fn bare(testbed: &Testbed, method: &str, path: &str) -> (u16, String, String) {
    let wire = RawConnection::open(testbed, &format!("{method} {path}"), "").await;
    let answer = wire.rest().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_models_lists_all_or_one_and_head_returns_the_same_headers() {
    let mut testbed = empty_testbed(1, 1, &budget("unused", ""), &[]).await;
    let named = "headgate.dev/model-names";
    declare(&mut testbed, "m", "v1", |manifest| {
        manifest.annotation(named, "org/Big-Model")
    })
    .await;
    testbed.wait_until_settled().await.unwrap();
    let object =
        |id: &str| json!({ "id": id, "object": "model", "created": 0, "owned_by": "headgate" });
    let both = json!({ "object": "list", "data": [object("m"), object("org/Big-Model")] });
    for (path, expected) in [
        ("/v1/models", both),
        ("/v1/models/m", object("m")),
        ("/v1/models/org/Big-Model", object("org/Big-Model")),
        ("/v1/models/org%2FBig-Model?x=1", object("org/Big-Model")),
    ] {
        let (status, _, body) = bare(&testbed, "GET", path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer, expected, "{path}");

        let (status, head, nothing) = bare(&testbed, "HEAD", path).await;
        assert_eq!((status, nothing.as_str()), (200, ""), "{path}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let length = format!("content-length: {}\r\n", body.len());
        assert!(format!("{head}\r\n").contains(&length), "{head}");
    }
    let (status, _, body) = bare(&testbed, "GET", "/v1/models/nobody").await;
    assert_eq!(status, 404, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["error"]["code"], "model_not_found");
    let (status, _, nothing) = bare(&testbed, "HEAD", "/v1/models/nobody").await;
    assert_eq!((status, nothing.as_str()), (404, ""));
    // The proxy answered all of them; the model server got no request.
    let mock = testbed.mock("m", "v1").unwrap();
    assert_eq!(mock.stats().requests, 0);
}
