//! The control plane is killed: traffic continues, and the next one applies the edits made meanwhile.

use std::time::{Duration, Instant};

use headgate_testkit::client::Load;
use headgate_testkit::testbed::Testbed;

use crate::canary::{CANARY, WORKLOAD};
use crate::claim::{Claim, ClaimResult};
use crate::sessions::{MODEL, Sessions};

/// The claim of [`control_plane_dies`].
pub const CLAIM: Claim = Claim(
    "traffic continues while the control plane is down, and edits made meanwhile apply when it is back",
);
const CONCURRENCY: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(120);

/// The figures of the outage.
#[derive(Debug, Clone)]
pub struct OutageFigures {
    /// Requests answered with 200 while no control plane ran.
    pub during: usize,
    /// Duration of the outage.
    pub down: Duration,
    /// From the restart to the ACK of every Envoy.
    pub back: Duration,
    /// Requests of the whole load, all answered with 200.
    pub requests: usize,
}

/// Kills the control plane (`kill -9`) under load, edits the label to `percent`, waits for `requests` more responses, and restarts it.
///
/// # Errors
/// A failed request, or an edit that is not applied.
pub async fn control_plane_dies(
    testbed: &mut Testbed,
    sessions: &Sessions,
    requests: usize,
    percent: u32,
) -> ClaimResult<OutageFigures> {
    let load = Load::start(sessions.load(testbed, CONCURRENCY));
    CLAIM.require_ok("the load", load.wait_for(requests, TIMEOUT).await)?;
    let killed = CLAIM.require_ok("the kill", testbed.control_plane_mut().kill())?;
    CLAIM.require_some("a control plane to kill", killed)?;
    let (dead, at_kill) = (Instant::now(), load.len());
    let weight = percent.to_string();
    let edited = testbed
        .label(WORKLOAD, "canary-weight", Some(&weight))
        .await;
    CLAIM.require_ok("the edit", edited)?;
    CLAIM.require_ok("the load", load.wait_for(requests, TIMEOUT).await)?;
    let during = load.len() - at_kill;
    let down = dead.elapsed();

    let restart = Instant::now();
    CLAIM.require_ok("the restart", testbed.control_plane_mut().restart().await)?;
    let expected = f64::from(percent);
    let acked = testbed.wait_for_status(TIMEOUT, "every Envoy to ack the edit", |status| {
        status.all_acked(MODEL, CANARY, expected)
    });
    CLAIM.require_ok("the edit", acked.await)?;
    CLAIM.require_ok("the push", testbed.wait_until_settled().await)?;
    let back = restart.elapsed();
    CLAIM.require_ok("the load", load.wait_for(requests, TIMEOUT).await)?;
    let report = load.stop().await;
    let failed = report.other_than(&[200]);
    CLAIM.ensure(failed.is_empty(), || {
        format!("{} requests failed: {:?}", failed.len(), report.outcomes())
    })?;
    Ok(OutageFigures {
        during,
        down,
        back,
        requests: report.samples.len(),
    })
}
