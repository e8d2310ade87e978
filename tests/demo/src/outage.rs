//! The control plane is killed: traffic goes on, and what was edited meanwhile is picked up by the next one.

use std::time::{Duration, Instant};

use headgate_testkit::client::Load;
use headgate_testkit::stage::Stage;

use crate::canary::{CANARY, WORKLOAD};
use crate::claim::{Claim, Claimed};
use crate::traffic::{MODEL, Sessions};

/// What [`control_plane_dies`] claims.
pub const CLAIM: Claim = Claim(
    "traffic goes on while the control plane is dead, and what was edited meanwhile is picked up when it is back",
);
const CONCURRENCY: usize = 8;
const SHOWN: Duration = Duration::from_secs(120);

/// How traffic fared.
#[derive(Debug, Clone)]
pub struct Survived {
    /// Requests answered with 200 while no control plane ran.
    pub during: usize,
    /// For how long none ran.
    pub down: Duration,
    /// From the start of the new one to its ACK by every Envoy.
    pub back: Duration,
    /// Requests of the whole load, all of them answered with 200.
    pub requests: usize,
}

/// Kills the control plane (`kill -9`) under load, edits the label to `percent`, waits for `requests` more answers, and starts
/// it again.
///
/// # Errors
/// A failed request, or an edit that is not picked up.
pub async fn control_plane_dies(
    stage: &mut Stage,
    sessions: &Sessions,
    requests: usize,
    percent: u32,
) -> Claimed<Survived> {
    let load = Load::start(sessions.load(stage, CONCURRENCY));
    CLAIM.seen("the load", load.wait_for(requests, SHOWN).await)?;
    let killed = CLAIM.seen("the kill", stage.control_plane_mut().kill())?;
    CLAIM.found("a control plane to kill", killed)?;
    let (dead, at_kill) = (Instant::now(), load.len());
    let weight = percent.to_string();
    let edited = stage.label(WORKLOAD, "canary-weight", Some(&weight)).await;
    CLAIM.seen("the edit", edited)?;
    CLAIM.seen("the load", load.wait_for(requests, SHOWN).await)?;
    let during = load.len() - at_kill;
    let down = dead.elapsed();

    let restart = Instant::now();
    CLAIM.seen("the restart", stage.control_plane_mut().restart().await)?;
    let wanted = f64::from(percent);
    let acked = stage.await_status(SHOWN, "every Envoy to ack the edit", |status| {
        status.all_acked(MODEL, CANARY, wanted)
    });
    CLAIM.seen("the edit", acked.await)?;
    CLAIM.seen("the push", stage.settled().await)?;
    let back = restart.elapsed();
    CLAIM.seen("the load", load.wait_for(requests, SHOWN).await)?;
    let report = load.stop().await;
    let failed = report.other_than(&[200]);
    CLAIM.ensure(failed.is_empty(), || {
        format!("{} requests failed: {:?}", failed.len(), report.outcomes())
    })?;
    Ok(Survived {
        during,
        down,
        back,
        requests: report.samples.len(),
    })
}
