//! Large bodies.

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{HttpClient, OpenAiRequest, Reply};
use serde_json::json;

use crate::testbed::{CLIENT, HOST, MeshTestbed};
use crate::traffic::MODEL;

/// The claim of [`large_bodies`].
pub const CLAIM: Claim = Claim::new(
    "a body of 8 MB is read, tagged and served, and a larger one gets a 413 that SDKs understand",
);
/// Bytes of the image that is served.
const IMAGE: usize = 8_000_000;
/// Bytes of the image that is refused: the filter reads 8 MiB.
const TOO_LARGE: usize = 9_000_000;

/// The figures of large bodies.
#[derive(Debug, Clone)]
pub struct LargeBodies {
    /// Where the requests entered the mesh.
    pub entry: &'static str,
    /// Bytes that the model server received.
    pub received: u64,
    /// `error.message` of the refusal.
    pub refusal: String,
}

/// Sends both bodies through the sidecar of the client and through the gateway.
///
/// # Errors
/// The claim does not hold.
pub async fn large_bodies(testbed: &MeshTestbed) -> ClaimResult<Vec<LargeBodies>> {
    let sidecar = CLAIM.require_ok("the sidecar", testbed.outbound(CLIENT))?;
    let mut all = Vec::new();
    for (entry, server, host) in [
        ("sidecar", sidecar, HOST),
        ("gateway", testbed.ingress(), "ai.example.com"),
    ] {
        let served = send(&server, host, IMAGE).await?;
        let shown = |reply: &Reply| {
            let text: String = reply.text().chars().take(300).collect();
            format!("{entry}: {} {text}", reply.status)
        };
        let body = served.json().unwrap_or_default();
        let received = body["mock"]["body_bytes"].as_u64().unwrap_or_default();
        let is_tagged = served.header("x-model-version").is_some();
        CLAIM.ensure(
            served.is_success() && is_tagged && received >= IMAGE as u64,
            || shown(&served),
        )?;
        let refused = send(&server, host, TOO_LARGE).await?;
        let body = refused.json().unwrap_or_default();
        let message = body["error"]["message"].as_str().unwrap_or_default();
        CLAIM.ensure(refused.status == 413 && !message.is_empty(), || {
            shown(&refused)
        })?;
        all.push(LargeBodies {
            entry,
            received,
            refusal: message.to_owned(),
        });
    }
    Ok(all)
}

async fn send(server: &str, host: &str, image: usize) -> ClaimResult<Reply> {
    let request = image_chat(MODEL, image)
        .header("host", host)
        .header("x-tenant-id", "large");
    let reply = HttpClient::new().send(request.to(server)).await;
    CLAIM.require_ok("a large body", reply)
}

/// A chat about an image of this many bytes, as vision models get it: the bytes of a medium are no tokens of the prompt.
pub(super) fn image_chat(model: &str, bytes: usize) -> OpenAiRequest {
    let url = format!("data:image/png;base64,{}", "A".repeat(bytes));
    let content = json!([
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]);
    OpenAiRequest::chat(model)
        .field("messages", json!([{"role": "user", "content": content}]))
        .max_tokens(16)
}
