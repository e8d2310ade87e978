//! Versions that come, change their share by label, and go, under load.

use std::time::{Duration, Instant};

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Admin;
use headgate_testkit::kube::CommandOutput;

use crate::testbed::{CLIENT, CLIENTS, MeshTestbed};
use crate::traffic::{Served, Traffic};

/// The claim of [`version_comes`].
pub const COMES: Claim =
    Claim::new("a new version waits for its routes, then takes sessions, and no request fails");
/// The claim of [`label_moves_sessions`].
pub const LABEL: Claim = Claim::new(
    "kubectl label changes the share within a second; a session moves once at most, and no request fails",
);
/// The claim of [`version_goes`].
pub const GOES: Claim =
    Claim::new("a version is deleted under load, its routes follow, and no request fails");

/// The new version. Its name is no name of a subset, so the subset has a name of its own.
pub const CANARY: &str = "v2.3.1-cuda118";
/// Its Deployment.
pub const WORKLOAD: &str = "llama3-70b-v2-3-1-cuda118";
const TIMEOUT: Duration = Duration::from_secs(90);

/// A version that came.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The line of `headgate status` while it waited.
    pub waits: String,
    /// From ready pods to its first sessions through sidecar and gateway.
    pub took: Duration,
    /// The load.
    pub served: Served,
}

/// Deploys the canary with half of the sessions.
///
/// # Errors
/// The claim does not hold.
pub async fn version_comes(testbed: &MeshTestbed) -> ClaimResult<NewVersion> {
    let traffic = Traffic::start(COMES, testbed, "comes").await?;
    let waits = eventually(
        TIMEOUT,
        "`waits for routes` in headgate status",
        async || {
            let status = testbed.status().await.map_err(|error| error.to_string())?;
            let line = status
                .lines()
                .find(|line| line.contains("waits for routes"));
            line.map(|line| line.trim().to_owned()).ok_or(status)
        },
    );
    let (deployed, waits) = tokio::join!(testbed.deploy_version(CANARY, Some("50")), waits);
    let ready = Instant::now();
    COMES.require_ok("the Deployment", deployed)?;
    let waits = COMES.require_ok("headgate status", waits)?;
    traffic.until_serves(CANARY).await?;
    let took = ready.elapsed();
    traffic.more(300).await?;
    let served = traffic.stop(1).await?;
    Ok(NewVersion {
        waits,
        took,
        served,
    })
}

/// A share that changed.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The command.
    pub typed: CommandOutput,
    /// From its end to the new configuration in the client's sidecar.
    pub reached: Duration,
    /// The load.
    pub served: Served,
}

/// Labels the canary with another weight.
///
/// # Errors
/// The claim does not hold.
pub async fn label_moves_sessions(testbed: &MeshTestbed, weight: u8) -> ClaimResult<Labelled> {
    let admin = testbed.mesh.admin(&format!("{CLIENTS}/{CLIENT}"));
    let admin = LABEL.require_ok("the sidecar", admin)?;
    let traffic = Traffic::start(LABEL, testbed, "label").await?;
    // All sessions have had their first request.
    traffic.more(250).await?;
    let before = quiet(&admin).await?;
    let line =
        format!("kubectl label -n models deployment/{WORKLOAD} canary-weight={weight} --overwrite");
    let typing = async { (testbed.kubectl(&line).await, Instant::now()) };
    let watching = eventually(TIMEOUT, "a new configuration in the sidecar", async || {
        let now = version(&admin).await?;
        (now != before)
            .then(Instant::now)
            .ok_or_else(|| format!("still configuration {now}"))
    });
    let ((typed, returned), changed) = tokio::join!(typing, watching);
    let typed = LABEL.require_ok("kubectl label", typed)?;
    let changed = LABEL.require_ok("the sidecar", changed)?;
    let reached = changed.saturating_duration_since(returned);
    LABEL.ensure(reached < Duration::from_secs(1), || {
        format!("after {reached:?}")
    })?;
    traffic.more(400).await?;
    let served = traffic.stop(1).await?;
    LABEL.ensure(served.moved > 0, || format!("no session moved: {served}"))?;
    Ok(Labelled {
        typed,
        reached,
        served,
    })
}

/// A version that went.
#[derive(Debug, Clone)]
pub struct Removed {
    /// The command.
    pub typed: CommandOutput,
    /// From its end to the removal of the last route.
    pub took: Duration,
    /// The load.
    pub served: Served,
}

/// Deletes the canary.
///
/// # Errors
/// The claim does not hold.
pub async fn version_goes(testbed: &MeshTestbed) -> ClaimResult<Removed> {
    let traffic = Traffic::start(GOES, testbed, "goes").await?;
    traffic.more(250).await?;
    let line = format!("kubectl delete -n models deployment/{WORKLOAD} --wait=false");
    let typed = GOES.require_ok("kubectl delete", testbed.kubectl(&line).await)?;
    let deleted = Instant::now();
    let gone = eventually(
        TIMEOUT,
        "no object with a route of the version",
        async || {
            let line = "kubectl get envoyfilter,destinationrule -A -o yaml";
            let objects = testbed
                .kubectl(line)
                .await
                .map_err(|error| error.to_string())?;
            // The default configuration of a starting proxy changes later.
            let named = objects.output.lines().find(|line| {
                line.contains("name: headgate/llama3-70b/v2")
                    || line.contains("name: v2-3-1-cuda118")
            });
            named.map_or(Ok(()), |line| Err(line.to_owned()))
        },
    );
    GOES.require_ok("its routes", gone.await)?;
    let took = deleted.elapsed();
    traffic.more(300).await?;
    Ok(Removed {
        typed,
        took,
        served: traffic.stop(1).await?,
    })
}

/// The version of the filter's configuration in a proxy, once it has not changed for a second.
async fn quiet(admin: &Admin) -> ClaimResult<String> {
    let (mut last, mut since) = (String::new(), Instant::now());
    let settled = eventually(
        TIMEOUT,
        "a second without a new configuration",
        async || {
            let now = version(admin).await?;
            if now != last {
                (last, since) = (now.clone(), Instant::now());
            }
            match since.elapsed() > Duration::from_secs(1) {
                true => Ok(now),
                false => Err(format!("configuration {now}")),
            }
        },
    );
    LABEL.require_ok("the sidecar", settled.await)
}

/// The version of the filter's configuration, as Envoy received it. Istio keeps no statistics of it.
async fn version(admin: &Admin) -> Result<String, String> {
    let dump = admin.get("/config_dump?resource=ecds_filters").await;
    let dump = dump.map_err(|error| error.to_string())?;
    let dump = dump.json().map_err(|error| error.to_string())?;
    let version = dump.pointer("/configs/0/version_info");
    let version = version.and_then(|version| version.as_str());
    version
        .map(str::to_owned)
        .ok_or_else(|| format!("no filter in {dump}"))
}
