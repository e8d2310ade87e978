//! Spans of the proxies, in the collector that the user's own Telemetry names.

use std::time::Duration;

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;

use crate::testbed::{CLIENT, HOST, MeshTestbed};
use crate::traffic::MODEL;

/// The claim of [`tags`].
pub const CLAIM: Claim = Claim::new(
    "a span of a sidecar has the tags of the filter, by the Telemetry of the overlay and a provider of the mesh",
);
const TENANT: &str = "in-a-span";

/// Samples every request of the mesh, and returns the tags of a span that are the filter's.
///
/// # Errors
/// The claim does not hold.
pub async fn tags(testbed: &MeshTestbed) -> ClaimResult<Vec<String>> {
    let collector = &testbed.collector;
    let objects = testbed.apply(&collector.objects()).await;
    CLAIM.require_ok("the Telemetry", objects)?;
    let server = CLAIM.require_ok("the sidecar", testbed.outbound(CLIENT))?;
    let request = OpenAiRequest::chat(MODEL)
        .header("host", HOST)
        .header("x-tenant-id", TENANT);
    let client = HttpClient::new();
    // istiod has to push the Telemetry, and Envoy sends spans every 5 s.
    let span = eventually(
        Duration::from_secs(60),
        "a span of the tenant",
        async || {
            let reply = client.send(request.to(&server)).await;
            reply.map_err(|error| error.to_string())?;
            let span = collector.span_with("headgate.tenant", TENANT);
            span.ok_or_else(|| format!("{} spans, none of the tenant", collector.count()))
        },
    );
    let span = CLAIM.require_ok("the collector", span.await)?;
    let tags = [
        ("headgate.model", MODEL),
        ("headgate.version", "v1"),
        ("headgate.lane", "base"),
        ("headgate.tenant", TENANT),
    ];
    for (tag, value) in tags {
        CLAIM.ensure(span["tags"][tag] == value, || {
            format!("{tag} is not {value}: {span}")
        })?;
    }
    Ok(tags.map(|(tag, value)| format!("{tag}={value}")).into())
}
