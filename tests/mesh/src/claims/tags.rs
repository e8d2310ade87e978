//! The tag of a request, at the model server and at the client.

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest};

use crate::testbed::{CLIENT, HOST, MeshTestbed};
use crate::traffic::MODEL;

/// The claim of [`tag_travels`].
pub const CLAIM: Claim = Claim::new(
    "a request through a sidecar, a gateway or an HTTPRoute is tagged, for the model server and for the client",
);

/// The tag of one request.
#[derive(Debug, Clone)]
pub struct Tagged {
    /// Where the request entered the mesh.
    pub entry: &'static str,
    /// The headers that the model server received.
    pub at_model: Vec<(String, String)>,
    /// `x-model-version` of the response.
    pub at_client: String,
}

/// Sends a request through the sidecar of the client and one through each port of the gateway, each with a forged tag.
///
/// # Errors
/// The claim does not hold.
pub async fn tag_travels(testbed: &MeshTestbed) -> ClaimResult<Vec<Tagged>> {
    let sidecar = CLAIM.require_ok("the sidecar", testbed.outbound(CLIENT))?;
    let mut tagged = Vec::new();
    for (entry, server, host) in [
        ("sidecar", sidecar, HOST),
        ("gateway", testbed.ingress(), "ai.example.com"),
        ("HTTPRoute", testbed.http_route(), "ai.example.com"),
    ] {
        let request = OpenAiRequest::chat(MODEL)
            .header("host", host)
            .header("x-tenant-id", "acme")
            .header("x-headgate-lane", "forged")
            .to(&server);
        tagged.push(tag_of(entry, request).await?);
    }
    Ok(tagged)
}

async fn tag_of(entry: &'static str, request: HttpRequest) -> ClaimResult<Tagged> {
    let reply = HttpClient::new().send(request).await;
    let reply = CLAIM.require_ok("a chat", reply)?;
    CLAIM.ensure(reply.is_success(), || {
        format!("{entry}: {} {}", reply.status, reply.text())
    })?;
    let body = CLAIM.require_ok("the answer", reply.json())?;
    let received = &body["mock"]["headers"];
    let version = CLAIM.require_some("x-model-version", reply.header("x-model-version"))?;
    let expected = [
        ("x-model", MODEL),
        ("x-model-version", version),
        ("x-headgate-tenant", "acme"),
        ("x-headgate-lane", "base"),
    ];
    for (name, value) in expected {
        CLAIM.ensure(received[name] == value, || {
            format!(
                "{entry}: the model server got {name} {}, expected {value:?}",
                received[name]
            )
        })?;
    }
    Ok(Tagged {
        entry,
        at_model: expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        at_client: version.to_owned(),
    })
}
