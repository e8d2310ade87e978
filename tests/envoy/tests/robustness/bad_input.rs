//! Requests that a filter refuses, through a real Envoy: each gets the documented response in the client's dialect, with the faulty
//! field; it reaches no model server, costs nothing, and affects neither the VM nor the next request.

use headgate_testkit::client::{HttpClient, HttpRequest, Reply};
use headgate_testkit::testbed::Testbed;
use serde_json::Value;

use crate::common::{INPUT, ask, budget, charged, declare, empty_testbed, reloads};
use crate::raw_http::RawConnection;

/// The filter's limit of the body, in bytes.
const MAX_BODY: usize = 4096;

/// A bad request and its expected response: `param` as JSON, and words of the message.
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

/// Bodies within the limit.
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
    // An existing model is never 404, whatever the state of its pods: missing capacity is 503.
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
    // One of four replicas is ready.
    bad(
        "reduced",
        r#"{"model":"quarter","max_tokens":1801}"#,
        (503, "capacity_reduced"),
        None,
        "while capacity is reduced (1800)",
    ),
];

/// Models `m` (complete), `down` (no endpoint) and `quarter` (one of four endpoints), with one bucket for all of them.
async fn start_testbed() -> Testbed {
    let policy = budget("bad", "").replace("[m]", "[m, down, quarter]");
    let max_body = MAX_BODY.to_string();
    let mut testbed = empty_testbed(1, 1, &policy, &["--max-body-bytes", &max_body]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    declare(&mut testbed, "down", "v1", |manifest| {
        manifest.endpoints(&[])
    })
    .await;
    declare(&mut testbed, "quarter", "v1", |manifest| {
        manifest.replicas(4)
    })
    .await;
    testbed.wait_until_settled().await.unwrap();
    testbed
}

/// Number of requests that reached a model server.
fn served(testbed: &Testbed) -> u64 {
    ["m", "down", "quarter"]
        .map(|model| testbed.mock(model, "v1").unwrap().stats().requests)
        .iter()
        .sum()
}

/// Checks the response.
#[track_caller]
fn assert_error(name: &str, status: u16, body: &str, expected: &Bad) {
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

/// After a bad request: no model server got it, and the next valid request of the tenant is served and is the only charge.
async fn assert_unaffected(testbed: &Testbed, name: &str, served_before: u64) {
    assert_eq!(
        served(testbed),
        served_before,
        "{name} reached a model server"
    );
    let valid = testbed.send(&ask(name, 200)).await.unwrap();
    assert_eq!(valid.status, 200, "after {name}: {}", valid.text());
    charged(testbed, name, INPUT + 16).await;
}

/// No VM crashed or was reloaded.
async fn no_trap(testbed: &Testbed) {
    let stats = testbed.envoys()[0].envoy.stats("wasm.").await.unwrap();
    assert_eq!(reloads(&stats), 0, "{stats:?}");
}

fn chat(testbed: &Testbed, tenant: &str, body: impl Into<Vec<u8>>) -> HttpRequest {
    let url = format!("{}/v1/chat/completions", testbed.url());
    HttpRequest::post(url, body.into())
        .header("content-type", "application/json")
        .header("x-tenant-id", tenant)
}

async fn send(client: &HttpClient, request: HttpRequest) -> Reply {
    client.send(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_body_gets_the_documented_error_and_affects_no_other_request() {
    let testbed = start_testbed().await;
    for expected in &BODIES {
        let before = served(&testbed);
        let request = chat(&testbed, expected.name, expected.body);
        let reply = send(&testbed.client(), request).await;
        assert_error(expected.name, reply.status, &reply.text(), expected);
        let waits = reply.header("retry-after").is_some();
        assert_eq!(waits, reply.status == 503, "{}", expected.name);
        assert_unaffected(&testbed, expected.name, before).await;
    }
    no_trap(&testbed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_refused_with_the_name_of_the_header() {
    let testbed = start_testbed().await;
    let expected = bad(
        "gzip",
        "",
        (415, "unsupported_content_encoding"),
        Some("content-encoding"),
        "send it uncompressed",
    );
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let request = chat(&testbed, "gzip", gzip).header("content-encoding", "gzip");
    let reply = send(&testbed.client(), request).await;
    assert_error("gzip", reply.status, &reply.text(), &expected);
    assert_unaffected(&testbed, "gzip", 0).await;
    no_trap(&testbed).await;
}

/// A chat of this many bytes.
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
async fn a_body_over_the_limit_gets_a_413_while_it_is_still_sent() {
    let testbed = start_testbed().await;
    // With `content-length`: refused before any byte of the body was sent.
    let announced = format!("content-length: {}\r\n", MAX_BODY + 1);
    let wire = RawConnection::chat(&testbed, "announced", &announced).await;
    over_http1("announced", wire.answer().await);
    assert_unaffected(&testbed, "announced", 0).await;

    // Chunked, without the last chunk: refused at the first excess byte, also for a body far larger than Envoy's own buffer, which is
    // twice the limit.
    for (tenant, bytes) in [("chunked", MAX_BODY + 1), ("chunked-far", 20 * MAX_BODY)] {
        let before = served(&testbed);
        let mut wire =
            RawConnection::chat(&testbed, tenant, "transfer-encoding: chunked\r\n").await;
        wire.send(&format!("{bytes:x}\r\n{}", long(bytes))).await;
        over_http1(tenant, wire.answer().await);
        assert_unaffected(&testbed, tenant, before).await;
    }
    no_trap(&testbed).await;
}

#[track_caller]
fn over_http1(name: &str, (head, body): (String, String)) {
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert_error(name, status, &body, &TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_limit_gets_a_413_over_http2_too() {
    let testbed = start_testbed().await;
    let client = HttpClient::http2();
    for (tenant, bytes) in [("two", MAX_BODY + 1), ("two-far", 20 * MAX_BODY)] {
        for announced in [true, false] {
            let before = served(&testbed);
            let tenant = format!("{tenant}-{announced}");
            let mut request = chat(&testbed, &tenant, long(bytes));
            if !announced {
                request = request.without_content_length();
            }
            let reply = send(&client, request).await;
            assert_error(&tenant, reply.status, &reply.text(), &TOO_LARGE);
            assert_unaffected(&testbed, &tenant, before).await;
        }
    }
    // The limit is exact: a body of exactly that size is served.
    let exact = chat(&testbed, "exact", long(MAX_BODY)).without_content_length();
    assert_eq!(send(&client, exact).await.status, 200);
    no_trap(&testbed).await;
}
