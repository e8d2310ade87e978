//! Statistics of the filter in a sidecar, with labels by Istio's own annotation.

use std::time::Duration;

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::deadline::eventually;

use crate::stand::{CLIENT, CLIENTS, MeshStand};
use crate::traffic::MODEL;

/// The claim of [`labels`].
pub const CLAIM: Claim = Claim::new(
    "Prometheus gets the filter's statistics with labels, by sidecar.istio.io/extraStatTags",
);
const METRIC: &str = "headgate_requests_total";

/// Reads the statistics of the client's sidecar. Returns the sample of admitted requests of the model, as Prometheus reads it.
///
/// # Errors
/// The claim does not hold.
pub async fn labels(stand: &MeshStand) -> ClaimResult<String> {
    let admin = stand.mesh.admin(&format!("{CLIENTS}/{CLIENT}"));
    let admin = CLAIM.require_ok("the sidecar", admin)?;
    let labels = [("model", MODEL), ("version", "v1"), ("outcome", "admitted")];
    let found = eventually(Duration::from_secs(10), METRIC, async || {
        let samples = admin
            .prometheus()
            .await
            .map_err(|error| error.to_string())?;
        let mut own = samples.iter().filter(|sample| sample.name.contains(METRIC));
        let found = own.find(|sample| sample.has(&labels) && sample.value > 0.0);
        let all = || {
            samples
                .iter()
                .filter(|sample| sample.name.contains("headgate"))
        };
        found
            .map(|sample| format!("{} {:?} {}", sample.name, sample.labels, sample.value))
            .ok_or_else(|| format!("{:?}", all().collect::<Vec<_>>()))
    });
    CLAIM.require_ok("the statistics", found.await)
}
