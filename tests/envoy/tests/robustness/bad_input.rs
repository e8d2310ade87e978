//! What a filter refuses, by way of a real Envoy: each bad request gets its declared answer, in the client's dialect and
//! naming the field; it reaches no model server, costs nothing, and harms neither the VM nor the next request.

use headgate_testkit::client::{HttpClient, HttpRequest, Reply};
use headgate_testkit::stage::Stage;
use serde_json::Value;

use crate::common::{INPUT, ask, budget, charged, declare, empty_world, reloads};
use crate::wire::Wire;

/// Bytes of body that a filter reads.
const MAX_BODY: usize = 4096;

/// What is sent, and what is to come back: `param` as JSON has it, and words of the message.
struct Bad {
    name: &'static str,
    body: &'static str,
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
    words: &'static str,
}

const fn bad(
    name: &'static str,
    body: &'static str,
    (status, code): (u16, &'static str),
    param: Option<&'static str>,
    words: &'static str,
) -> Bad {
    Bad {
        name,
        body,
        status,
        code,
        param,
        words,
    }
}

/// Bodies, all of them within the limit.
const BODIES: [Bad; 13] = [
    bad(
        "cut",
        r#"{"model":"m","#,
        (400, "invalid_json"),
        None,
        "not valid JSON at byte 13",
    ),
    bad(
        "no-object",
        "[]",
        (400, "invalid_json"),
        None,
        "must be a JSON object",
    ),
    bad(
        "wrong-type",
        r#"{"model":"m","max_tokens":"many"}"#,
        (400, "invalid_type"),
        Some("max_tokens"),
        "`max_tokens` must be a",
    ),
    bad(
        "negative",
        r#"{"model":"m","max_tokens":-2}"#,
        (400, "invalid_value"),
        Some("max_tokens"),
        "between 1 and 10000000",
    ),
    bad(
        "absurd",
        r#"{"model":"m","max_tokens":1e99}"#,
        (400, "invalid_value"),
        Some("max_tokens"),
        "between 1 and 10000000",
    ),
    bad(
        "disagreeing",
        r#"{"model":"m","model":"down"}"#,
        (400, "duplicate_parameter"),
        Some("model"),
        "more than once with different values",
    ),
    bad(
        "nameless",
        r#"{"max_tokens":4}"#,
        (400, "missing_required_parameter"),
        Some("model"),
        "name the model in the request body",
    ),
    bad(
        "empty-name",
        r#"{"model":""}"#,
        (404, "model_not_found"),
        Some("model"),
        "the model `` does not exist",
    ),
    bad(
        "unknown",
        r#"{"model":"nobody"}"#,
        (404, "model_not_found"),
        Some("model"),
        "the model `nobody` does not exist",
    ),
    bad(
        "too-costly",
        r#"{"model":"m","max_tokens":7201}"#,
        (400, "cost_exceeds_capacity"),
        Some("max_tokens"),
        "more than bucket `bad` ever holds (7200)",
    ),
    // A known model is never 404, whatever became of its pods: our capacity, so 503.
    bad(
        "no-replica",
        r#"{"model":"down"}"#,
        (503, "model_not_ready"),
        None,
        "no ready replica",
    ),
    bad(
        "no-replica-costly",
        r#"{"model":"down","max_tokens":7201}"#,
        (503, "model_not_ready"),
        None,
        "no ready replica",
    ),
    // One of four replicas is there.
    bad(
        "reduced",
        r#"{"model":"quarter","max_tokens":1801}"#,
        (503, "capacity_reduced"),
        None,
        "while capacity is reduced (1800)",
    ),
];

/// `m`, whole; `down`, which has no endpoint; `quarter`, which has one of four. One bucket for all of them.
async fn world() -> Stage {
    let policy = budget("bad", "").replace("[m]", "[m, down, quarter]");
    let max_body = MAX_BODY.to_string();
    let mut stage = empty_world(1, 1, &policy, &["--max-body-bytes", &max_body]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    declare(&mut stage, "down", "v1", |manifest| manifest.endpoints(&[])).await;
    declare(&mut stage, "quarter", "v1", |manifest| manifest.replicas(4)).await;
    stage.settled().await.unwrap();
    stage
}

/// Requests that reached a model server.
fn served(stage: &Stage) -> u64 {
    ["m", "down", "quarter"]
        .map(|model| stage.mock(model, "v1").unwrap().stats().requests)
        .iter()
        .sum()
}

/// The answer is the one declared.
#[track_caller]
fn told(name: &str, status: u16, body: &str, expected: &Bad) {
    assert_eq!(status, expected.status, "{name}: {body}");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{name}: {e}: {body}"));
    let error = &body["error"];
    assert_eq!(error["code"], expected.code, "{name}: {body}");
    assert_eq!(
        error["param"],
        Value::from(expected.param),
        "{name}: {body}"
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(expected.words), "{name}: {body}");
    let kind = if status >= 500 {
        "server_error"
    } else {
        "invalid_request_error"
    };
    assert_eq!(error["type"], kind, "{name}: {body}");
}

/// After a bad request: nothing was passed on, and the next good one of the same tenant is served and is all that is charged.
async fn unharmed(stage: &Stage, name: &str, served_before: u64) {
    assert_eq!(
        served(stage),
        served_before,
        "{name} reached a model server"
    );
    let good = stage.send(&ask(name, 200)).await.unwrap();
    assert_eq!(good.status, 200, "after {name}: {}", good.text());
    charged(stage, name, INPUT + 16).await;
}

/// No VM died and none was made anew.
async fn no_trap(stage: &Stage) {
    let stats = stage.envoys()[0].envoy.stats("wasm.").await.unwrap();
    assert_eq!(reloads(&stats), 0, "{stats:?}");
}

fn chat(stage: &Stage, tenant: &str, body: impl Into<Vec<u8>>) -> HttpRequest {
    let url = format!("{}/v1/chat/completions", stage.url());
    HttpRequest::post(url, body.into())
        .header("content-type", "application/json")
        .header("x-tenant-id", tenant)
}

async fn send(client: &HttpClient, request: HttpRequest) -> Reply {
    client.send(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_body_is_answered_as_declared_and_harms_nobody() {
    let stage = world().await;
    for expected in &BODIES {
        let before = served(&stage);
        let request = chat(&stage, expected.name, expected.body);
        let reply = send(&stage.client(), request).await;
        told(expected.name, reply.status, &reply.text(), expected);
        let waits = reply.header("retry-after").is_some();
        assert_eq!(waits, reply.status == 503, "{}", expected.name);
        unharmed(&stage, expected.name, before).await;
    }
    no_trap(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_answered_with_the_header_at_fault() {
    let stage = world().await;
    let expected = bad(
        "gzip",
        "",
        (415, "unsupported_content_encoding"),
        Some("content-encoding"),
        "send it uncompressed",
    );
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let request = chat(&stage, "gzip", gzip).header("content-encoding", "gzip");
    let reply = send(&stage.client(), request).await;
    told("gzip", reply.status, &reply.text(), &expected);
    unharmed(&stage, "gzip", 0).await;
    no_trap(&stage).await;
}

/// A chat of so many bytes.
fn long(bytes: usize) -> String {
    let frame = r#"{"model":"m","x":""}"#.len();
    format!(r#"{{"model":"m","x":"{}"}}"#, "y".repeat(bytes - frame))
}

const TOO_LARGE: Bad = bad(
    "too-large",
    "",
    (413, "request_too_large"),
    None,
    "larger than 4096 bytes (`maxBodyBytes`)",
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_our_413_while_it_still_streams() {
    let stage = world().await;
    // Announced: answered before a byte of it was sent.
    let announced = format!("content-length: {}\r\n", MAX_BODY + 1);
    let wire = Wire::chat(&stage, "announced", &announced).await;
    over_http1("announced", wire.answer().await);
    unharmed(&stage, "announced", 0).await;

    // In chunks, of which the last never comes: answered at the first byte too many, also where the whole is far above what
    // Envoy itself buffers, which is twice the limit.
    for (tenant, bytes) in [("chunked", MAX_BODY + 1), ("chunked-far", 20 * MAX_BODY)] {
        let before = served(&stage);
        let mut wire = Wire::chat(&stage, tenant, "transfer-encoding: chunked\r\n").await;
        wire.send(&format!("{bytes:x}\r\n{}", long(bytes))).await;
        over_http1(tenant, wire.answer().await);
        unharmed(&stage, tenant, before).await;
    }
    no_trap(&stage).await;
}

#[track_caller]
fn over_http1(name: &str, (head, body): (String, String)) {
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    told(name, status, &body, &TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_is_our_413_over_http2_too() {
    let stage = world().await;
    let client = HttpClient::http2();
    for (tenant, bytes) in [("two", MAX_BODY + 1), ("two-far", 20 * MAX_BODY)] {
        for announced in [true, false] {
            let before = served(&stage);
            let tenant = format!("{tenant}-{announced}");
            let mut request = chat(&stage, &tenant, long(bytes));
            if !announced {
                request = request.unannounced();
            }
            let reply = send(&client, request).await;
            told(&tenant, reply.status, &reply.text(), &TOO_LARGE);
            unharmed(&stage, &tenant, before).await;
        }
    }
    // To the byte: one of exactly the limit is served.
    let exact = chat(&stage, "exact", long(MAX_BODY)).unannounced();
    assert_eq!(send(&client, exact).await.status, 200);
    no_trap(&stage).await;
}
