//! A sidecar that starts while Headgate is away.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{HttpClient, HttpRequest};
use headgate_testkit::deadline::eventually;
use tokio::net::TcpStream;

use super::budget::{self, Exhausted};
use super::canary::CANARY;
use crate::testbed::{CLIENT, CLIENTS, GATEWAYS, HEADGATE, MeshTestbed, SOON, SYSTEM};

/// The claim of [`starts_while_headgate_is_away`].
pub const CLAIM: Claim = Claim::new(
    "a sidecar that starts while Headgate is away tags, limits, and sends each session to the base; then the canary is back",
);
/// Sessions that are all served by the base.
const SESSIONS: usize = 50;

/// The figures of such a sidecar.
#[derive(Debug, Clone)]
pub struct Restarted {
    /// From the kill to its first tagged response.
    pub tagged: Duration,
    /// Sessions served by the base.
    pub sessions: usize,
    /// The budget of a tenant, spent there.
    pub exhausted: Exhausted,
    /// From the new pods of Headgate to the first session on the canary.
    pub canary: Duration,
    /// From the new pods of Headgate until each proxy has its streams again.
    pub connected: Duration,
}

/// Removes all pods of Headgate, kills the client's sidecar, and brings Headgate back.
///
/// # Errors
/// The claim does not hold.
pub async fn starts_while_headgate_is_away(testbed: &MeshTestbed) -> ClaimResult<Restarted> {
    let streams = streams(testbed).await?;
    scale(testbed, 0).await?;
    let gone = format!("kubectl -n {SYSTEM} wait --for=delete pod -l {HEADGATE} --timeout=60s");
    CLAIM.require_ok("no pod of Headgate", testbed.kubectl(&gone).await)?;
    let killed = testbed.kill(&format!("{CLIENTS}/{CLIENT}"), "istio-proxy");
    CLAIM.require_ok("the sidecar", killed)?;
    let dead = Instant::now();
    until_refused(testbed).await?;
    let first = chat(testbed, "first")?;
    let tagged = testbed.until(
        "a tagged response",
        || first.clone(),
        |reply| reply.is_success() && reply.header("x-model-version").is_some(),
    );
    CLAIM.require_ok("a tagged response", tagged.await)?;
    let tagged = dead.elapsed();
    let client = HttpClient::new();
    for session in 0..SESSIONS {
        let reply = client
            .send(chat(testbed, &format!("base-{session}"))?)
            .await;
        let reply = CLAIM.require_ok("a chat", reply)?;
        let is_base = reply.header("x-model-version") == Some("v1");
        CLAIM.ensure(reply.is_success() && is_base, || {
            format!(
                "session {session}: {} {:?} {}",
                reply.status,
                reply.headers,
                reply.text()
            )
        })?;
    }
    let exhausted = budget::tenant_runs_out(testbed, "away").await?;

    scale(testbed, 2).await?;
    let status = format!("kubectl -n {SYSTEM} rollout status deployment/headgate --timeout=120s");
    CLAIM.require_ok("the pods of Headgate", testbed.kubectl(&status).await)?;
    let up = Instant::now();
    let canary = until_canary(testbed).await?;
    let connected = until_connected(testbed, &streams).await?;
    Ok(Restarted {
        tagged,
        sessions: SESSIONS,
        exhausted,
        canary: canary.duration_since(up),
        connected: connected.duration_since(up),
    })
}

/// Waits until the killed Envoy accepts no connection. The kernel ends it shortly after pilot-agent; until then it serves requests.
async fn until_refused(testbed: &MeshTestbed) -> ClaimResult<()> {
    let proxy = testbed.mesh.proxy(&format!("{CLIENTS}/{CLIENT}"));
    let outbound = CLAIM.require_ok("the sidecar", proxy)?.outbound;
    let refused = eventually(
        SOON,
        "the end of the killed Envoy",
        async || match TcpStream::connect((outbound, 8000)).await {
            Ok(_) => Err("it accepts connections"),
            Err(_) => Ok(()),
        },
    );
    CLAIM.require_ok("the sidecar", refused.await)
}

/// Sends requests of new sessions until the canary serves one.
async fn until_canary(testbed: &MeshTestbed) -> ClaimResult<Instant> {
    let client = HttpClient::new();
    let (began, mut session) = (Instant::now(), 0);
    while began.elapsed() < SOON {
        session += 1;
        let reply = client
            .send(chat(testbed, &format!("back-{session}"))?)
            .await;
        let reply = CLAIM.require_ok("a chat", reply)?;
        CLAIM.ensure(reply.is_success(), || {
            format!("{} {}", reply.status, reply.text())
        })?;
        if reply.header("x-model-version") == Some(CANARY) {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(CLAIM.broken(format!("no session of {session} reached the canary")))
}

/// Waits until each proxy has as many streams as before, or more.
async fn until_connected(
    testbed: &MeshTestbed,
    before: &BTreeMap<String, u64>,
) -> ClaimResult<Instant> {
    let back = eventually(SOON, "the streams of all proxies", async || {
        let now = streams(testbed).await.map_err(|error| error.to_string())?;
        let is_back = |(proxy, count)| now.get(proxy).is_some_and(|now| now >= count);
        before
            .iter()
            .all(is_back)
            .then(Instant::now)
            .ok_or_else(|| format!("{now:?} instead of {before:?}"))
    });
    CLAIM.require_ok("the proxies", back.await)
}

/// The streams of the client and the gateway.
async fn streams(testbed: &MeshTestbed) -> ClaimResult<BTreeMap<String, u64>> {
    let mut streams = BTreeMap::new();
    for pod in [format!("{CLIENTS}/{CLIENT}"), format!("{GATEWAYS}/gateway")] {
        let count = testbed.config_streams(&pod).await;
        streams.insert(pod, CLAIM.require_ok("the streams of a proxy", count)?);
    }
    CLAIM.ensure(streams.values().all(|count| *count > 0), || {
        format!("a proxy has no stream: {streams:?}")
    })?;
    Ok(streams)
}

fn chat(testbed: &MeshTestbed, session: &str) -> ClaimResult<HttpRequest> {
    let chat = testbed.chat(CLIENT);
    let chat = CLAIM.require_ok("the sidecar", chat)?;
    Ok(chat.header("x-session-id", session))
}

async fn scale(testbed: &MeshTestbed, replicas: u8) -> ClaimResult<()> {
    let line = format!("kubectl -n {SYSTEM} scale deployment/headgate --replicas={replicas}");
    CLAIM.require_ok("kubectl scale", testbed.kubectl(&line).await)?;
    Ok(())
}
