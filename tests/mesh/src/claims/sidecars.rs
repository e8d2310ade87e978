//! A sidecar that starts while Headgate is away.

use std::time::{Duration, Instant};

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::HttpClient;

use super::budget::{self, Exhausted};
use super::canary::CANARY;
use crate::testbed::{CLIENT, CLIENTS, HEADGATE, MeshTestbed, SYSTEM};

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
}

/// Removes all pods of Headgate, kills the client's sidecar, and brings Headgate back.
///
/// # Errors
/// The claim does not hold.
pub async fn starts_while_headgate_is_away(testbed: &MeshTestbed) -> ClaimResult<Restarted> {
    scale(testbed, 0).await?;
    let gone = format!("kubectl -n {SYSTEM} wait --for=delete pod -l {HEADGATE} --timeout=60s");
    CLAIM.require_ok("no pod of Headgate", testbed.kubectl(&gone).await)?;
    let killed = testbed.kill(&format!("{CLIENTS}/{CLIENT}"), "istio-proxy");
    CLAIM.require_ok("the sidecar", killed)?;
    let dead = Instant::now();
    CLAIM.require_ok("the sidecar", testbed.chat(CLIENT))?;
    let chat = |session: &str| {
        let chat = testbed
            .chat(CLIENT)
            .map(|chat| chat.header("x-session-id", session));
        CLAIM.require_ok("the sidecar", chat)
    };
    let first = chat("first")?;
    let tagged = testbed.until(
        "a tagged response",
        || first.clone(),
        |reply| reply.is_success() && reply.header("x-model-version").is_some(),
    );
    CLAIM.require_ok("a tagged response", tagged.await)?;
    let tagged = dead.elapsed();
    let client = HttpClient::new();
    for session in 0..SESSIONS {
        let reply = client.send(chat(&format!("base-{session}"))?).await;
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
    let mut session = 0;
    while up.elapsed() < Duration::from_secs(60) {
        session += 1;
        let reply = client.send(chat(&format!("back-{session}"))?).await;
        let reply = CLAIM.require_ok("a chat", reply)?;
        CLAIM.ensure(reply.is_success(), || {
            format!("{} {}", reply.status, reply.text())
        })?;
        if reply.header("x-model-version") == Some(CANARY) {
            return Ok(Restarted {
                tagged,
                sessions: SESSIONS,
                exhausted,
                canary: up.elapsed(),
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(CLAIM.broken(format!("no session of {session} reached the canary")))
}

async fn scale(testbed: &MeshTestbed, replicas: u8) -> ClaimResult<()> {
    let line = format!("kubectl -n {SYSTEM} scale deployment/headgate --replicas={replicas}");
    CLAIM.require_ok("kubectl scale", testbed.kubectl(&line).await)?;
    Ok(())
}
