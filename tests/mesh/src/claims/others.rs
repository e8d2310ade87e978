//! Services that are no models, and sidecars that were not chosen: untouched.

use std::time::{Duration, Instant};

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Admin;

use crate::testbed::{CLIENT, CLIENTS, HOST, MeshTestbed, PLAIN_CLIENT};
use crate::traffic::MODEL;

/// The claim of [`service_is_untouched`].
pub const SERVICE: Claim = Claim::new(
    "another service on the port of the models is untouched: no tag, no answer of ours, no work of the filter",
);
/// The claim of [`plain_sidecar_is_untouched`].
pub const SIDECAR: Claim = Claim::new(
    "a sidecar without the label has no filter: it needs no module, and rejects nothing",
);
/// Longer than the filter holds counts back.
const TICK: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_secs(30);
/// The host of the other service.
const OTHER: &str = "users.models.svc.cluster.local:8000";

/// Sends requests to the other service through the client's sidecar, among them what looks like requests to a model. Returns each path
/// with its status.
///
/// # Errors
/// The claim does not hold.
pub async fn service_is_untouched(testbed: &MeshTestbed) -> ClaimResult<Vec<(String, u16)>> {
    let server = SERVICE.require_ok("the sidecar", testbed.outbound(CLIENT))?;
    let admin = SERVICE.require_ok(
        "the sidecar",
        testbed.mesh.admin(&format!("{CLIENTS}/{CLIENT}")),
    )?;
    let before = settled_work(&admin).await?;
    let (client, mut answers) = (HttpClient::new(), Vec::new());
    for path in ["/v1/users", "/v1/models", "/healthz"] {
        let request = HttpRequest::get(format!("{server}{path}"));
        answers.push((path, request));
    }
    answers.push((
        "/v1/chat/completions",
        OpenAiRequest::chat("a-model-that-nobody-has").to(&server),
    ));
    let mut seen = Vec::new();
    for (path, request) in answers {
        let reply = client.send(request.header("host", OTHER)).await;
        let reply = SERVICE.require_ok(path, reply)?;
        untouched(SERVICE, path, &reply, "users/plain")?;
        seen.push((path.to_owned(), reply.status));
    }
    let after = settled_work(&admin).await?;
    SERVICE.ensure(before == after, || {
        format!(
            "the filter counted {} events of another service",
            after - before
        )
    })?;
    Ok(seen)
}

/// Sends a request to the model through a sidecar that was not chosen. Returns the number of listeners it rejected: none.
///
/// # Errors
/// The claim does not hold.
pub async fn plain_sidecar_is_untouched(testbed: &MeshTestbed) -> ClaimResult<u64> {
    let server = SIDECAR.require_ok("the sidecar", testbed.outbound(PLAIN_CLIENT))?;
    let request = OpenAiRequest::chat(MODEL).header("host", HOST).to(&server);
    let reply = HttpClient::new().send(request).await;
    let reply = SIDECAR.require_ok("a chat", reply)?;
    SIDECAR.ensure(reply.is_success(), || {
        format!("{} {}", reply.status, reply.text())
    })?;
    untouched(SIDECAR, "a chat", &reply, "llama3-70b/v1")?;
    let admin = testbed.mesh.admin(&format!("{CLIENTS}/{PLAIN_CLIENT}"));
    let admin = SIDECAR.require_ok("the sidecar", admin)?;
    let rejected = admin.stat("listener_manager.lds.update_rejected").await;
    let rejected = SIDECAR.require_ok("its statistics", rejected)?;
    let rejected = SIDECAR.require_some("lds.update_rejected", rejected)?;
    SIDECAR.ensure(rejected == 0, || {
        format!("{rejected} listeners were rejected")
    })?;
    Ok(rejected)
}

/// Whether a response is the server's own, without a tag.
fn untouched(claim: Claim, what: &str, reply: &Reply, by: &str) -> ClaimResult<()> {
    let tagged = reply.header("x-model-version").or(reply.header("x-model"));
    claim.ensure(
        reply.header("x-mock-served-by") == Some(by) && tagged.is_none(),
        || {
            format!(
                "{what}: {} {:?} {}",
                reply.status,
                reply.headers,
                reply.text()
            )
        },
    )
}

/// The sum of all counters of the filter, once they have not changed for longer than [`TICK`].
async fn settled_work(admin: &Admin) -> ClaimResult<u64> {
    let (mut last, mut since) = (0, Instant::now());
    let settled = eventually(SOON, "counters of the filter that rest", async || {
        let stats = admin.stats("wasmcustom").await;
        let stats = stats.map_err(|error| error.to_string())?;
        let own = stats.iter().filter(|(name, _)| name.contains("headgate_"));
        let now = own.map(|(_, value)| value).sum();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        match now > 0 && since.elapsed() > TICK {
            true => Ok(now),
            false => Err(format!("{now} events")),
        }
    });
    SERVICE.require_ok("statistics", settled.await)
}
