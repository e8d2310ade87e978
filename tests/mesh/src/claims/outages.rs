//! Deaths and replacements of Headgate and istiod under load.

use std::time::{Duration, Instant};

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::kube::CommandOutput;

use crate::testbed::{HEADGATE, MeshTestbed, SYSTEM};
use crate::traffic::{Served, Traffic};

/// The claim of [`headgate_dies`].
pub const HEADGATE_DIES: Claim = Claim::new(
    "one replica of Headgate is killed, then all of them, and no request fails or loses its tag",
);
/// The claim of [`istiod_dies`].
pub const ISTIOD_DIES: Claim =
    Claim::new("istiod is killed, and no request fails or loses its tag");
/// The claim of [`headgate_is_replaced`].
pub const REPLACED: Claim =
    Claim::new("kubectl rollout restart replaces Headgate, and no request fails or loses its tag");
/// Requests while something is away.
const AWAY: usize = 400;

/// What was killed.
#[derive(Debug, Clone)]
pub struct Killed {
    /// Process ids, in the order of the kills.
    pub pids: Vec<u32>,
    /// From the last kill until all of it was ready again.
    pub back: Duration,
    /// The load.
    pub served: Served,
}

/// Kills one replica, then all replicas at once, with SIGKILL.
///
/// # Errors
/// The claim does not hold.
pub async fn headgate_dies(testbed: &MeshTestbed) -> ClaimResult<Killed> {
    let traffic = Traffic::start(HEADGATE_DIES, testbed, "headgate").await?;
    let pods = testbed.pods(SYSTEM, HEADGATE).await;
    let pods = HEADGATE_DIES.require_ok("the pods", pods)?;
    HEADGATE_DIES.ensure(pods.len() == 2, || format!("the replicas are {pods:?}"))?;
    let mut pids = Vec::new();
    let mut kill = |pod: &String| {
        let killed = testbed.kill(&format!("{SYSTEM}/{pod}"), "headgate");
        pids.push(HEADGATE_DIES.require_ok(pod, killed)?);
        Ok(())
    };
    pods.first().map_or(Ok(()), &mut kill)?;
    traffic.more(AWAY).await?;
    let ready = testbed.wait(SYSTEM, HEADGATE).await;
    HEADGATE_DIES.require_ok("the killed replica", ready)?;
    pods.iter().try_for_each(&mut kill)?;
    let dead = Instant::now();
    traffic.more(AWAY).await?;
    let ready = testbed.wait(SYSTEM, HEADGATE).await;
    HEADGATE_DIES.require_ok("the replicas", ready)?;
    let back = dead.elapsed();
    traffic.more(AWAY).await?;
    let served = traffic.stop(0).await?;
    Ok(Killed { pids, back, served })
}

/// Kills istiod with SIGKILL, and starts it again.
///
/// # Errors
/// The claim does not hold.
pub async fn istiod_dies(testbed: &mut MeshTestbed) -> ClaimResult<Killed> {
    let traffic = Traffic::start(ISTIOD_DIES, testbed, "istiod").await?;
    let pids = vec![testbed.mesh.istiod().pid()];
    ISTIOD_DIES.require_ok("the kill", testbed.mesh.istiod().kill())?;
    traffic.more(AWAY).await?;
    let restart = Instant::now();
    let restarted = testbed.mesh.restart_istiod().await;
    ISTIOD_DIES.require_ok("its restart", restarted)?;
    let back = restart.elapsed();
    traffic.more(AWAY).await?;
    let served = traffic.stop(0).await?;
    Ok(Killed { pids, back, served })
}

/// What was replaced.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// The command that waited for the new pods.
    pub typed: CommandOutput,
    /// The load.
    pub served: Served,
}

/// Replaces the pods of Headgate, as an upgrade does.
///
/// # Errors
/// The claim does not hold.
pub async fn headgate_is_replaced(testbed: &MeshTestbed) -> ClaimResult<Replaced> {
    let traffic = Traffic::start(REPLACED, testbed, "replaced").await?;
    let before = REPLACED.require_ok("the pods", testbed.pods(SYSTEM, HEADGATE).await)?;
    let restart = format!("kubectl -n {SYSTEM} rollout restart deployment/headgate");
    REPLACED.require_ok("the restart", testbed.kubectl(&restart).await)?;
    let wait = format!("kubectl -n {SYSTEM} rollout status deployment/headgate --timeout=120s");
    let typed = REPLACED.require_ok("the rollout", testbed.kubectl(&wait).await)?;
    for pod in &before {
        let gone = format!("kubectl -n {SYSTEM} wait --for=delete pod/{pod} --timeout=60s");
        REPLACED.require_ok("the end of an old pod", testbed.kubectl(&gone).await)?;
    }
    traffic.more(AWAY).await?;
    let served = traffic.stop(0).await?;
    Ok(Replaced { typed, served })
}
