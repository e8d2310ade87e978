//! The tag of one request, at the model server, in the access log and at the client.

use std::time::Duration;

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::deadline::eventually;
use headgate_testkit::testbed::Testbed;
use serde_json::Value;

use crate::claim::{Claim, ClaimResult};

/// The claim of [`tag_travels`].
pub const CLAIM: Claim = Claim(
    "every request is tagged with model, version and tenant, visible to every later hop, the log and the client",
);
/// Much longer than Envoy's flush interval of the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// The places with the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSeen {
    /// The tag's request headers, as the model server received them.
    pub at_model: Vec<(String, String)>,
    /// The line of the access log.
    pub log_line: String,
    /// The tag's response headers, as the client received them.
    pub at_client: Vec<(String, String)>,
}

/// Sends one request of tenant `acme` with a forged tag, and checks the tag at every place.
///
/// # Errors
/// The claim does not hold.
pub async fn tag_travels(testbed: &Testbed) -> ClaimResult<TagSeen> {
    let request = OpenAiRequest::chat("gpt-4")
        .header("x-tenant-id", "acme")
        .header("x-headgate-lane", "forged")
        .header("baggage", "trace=abc,headgate.tenant=forged");
    let reply = CLAIM.require_ok("a chat with gpt-4", testbed.send(&request).await)?;
    CLAIM.ensure(reply.status == 200, || {
        format!("{} {}", reply.status, reply.text())
    })?;
    let body = CLAIM.require_ok("the answer", reply.json())?;
    let headers = &body["mock"]["headers"];

    let version = CLAIM.require_some(
        "x-model-version in the answer",
        reply.header("x-model-version"),
    )?;
    let at_model = tag_headers(headers);
    let expected = [
        ("x-model", "gpt-4"),
        ("x-model-version", version),
        ("x-headgate-tenant", "acme"),
        ("x-headgate-lane", "base"),
    ];
    for (name, value) in expected {
        let received = at_model
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str());
        CLAIM.ensure(received == Some(value), || {
            format!("the model server got {name}: {received:?}, expected {value:?}; all headers: {at_model:?}")
        })?;
    }
    let baggage = headers["baggage"].as_str().unwrap_or_default();
    CLAIM.ensure(
        baggage.contains("trace=abc")
            && baggage.contains("headgate.tenant=acme")
            && !baggage.contains("forged"),
        || format!("the model server got baggage: {baggage:?}"),
    )?;

    let id = CLAIM.require_some(
        "x-request-id at the model server",
        headers["x-request-id"].as_str(),
    )?;
    let logged = format!("model=gpt-4 version={version} tenant=acme lane=base");
    let log_line = log_line(testbed, id).await?;
    CLAIM.ensure(log_line.contains(&logged), || {
        format!("the access log has {log_line:?}, expected {logged:?}")
    })?;

    CLAIM.ensure(reply.header("x-model") == Some("gpt-4"), || {
        format!("the client got x-model: {:?}", reply.header("x-model"))
    })?;
    let at_client = ["x-model", "x-model-version"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), reply.header(name)?.to_owned())))
        .collect();
    Ok(TagSeen {
        at_model,
        log_line,
        at_client,
    })
}

fn tag_headers(headers: &Value) -> Vec<(String, String)> {
    let all = headers.as_object();
    all.into_iter()
        .flatten()
        .filter(|(name, _)| {
            name.starts_with("x-headgate-") || name.starts_with("x-model") || *name == "baggage"
        })
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

async fn log_line(testbed: &Testbed, request_id: &str) -> ClaimResult<String> {
    let envoy = CLAIM.require_some("an Envoy", testbed.envoys().first())?;
    let line = eventually(LOG_TIMEOUT, "the request in the access log", async || {
        let needle = format!("request={request_id}");
        envoy.log().line_with(&needle).ok_or("no line with its id")
    });
    CLAIM.require_ok("the access log", line.await)
}
