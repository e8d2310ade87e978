//! Statistics of the filter in a sidecar, with labels by Istio's own annotation.

use std::time::Duration;

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;

use crate::testbed::{CLIENT, CLIENTS, HOST, MeshTestbed};
use crate::traffic::MODEL;

/// The claim of [`access_log`].
pub const LOG: Claim = Claim::new(
    "the access log of a sidecar has the tags of the filter, by the Telemetry of the overlay and its component",
);
/// The claim of [`labels`].
pub const CLAIM: Claim = Claim::new(
    "Prometheus gets the filter's statistics with labels, by sidecar.istio.io/extraStatTags",
);
const METRIC: &str = "headgate_requests_total";

/// Reads the statistics of the client's sidecar. Returns the sample of admitted requests of the model, as Prometheus reads it.
///
/// # Errors
/// The claim does not hold.
pub async fn labels(testbed: &MeshTestbed) -> ClaimResult<String> {
    let admin = testbed.mesh.admin(&format!("{CLIENTS}/{CLIENT}"));
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

/// Sends a request of a tenant and reads the line about it in the log of the client's sidecar.
///
/// # Errors
/// The claim does not hold.
pub async fn access_log(testbed: &MeshTestbed) -> ClaimResult<String> {
    let tenant = "in-the-log";
    let server = LOG.require_ok("the sidecar", testbed.outbound(CLIENT))?;
    let request = OpenAiRequest::chat(MODEL)
        .header("host", HOST)
        .header("x-tenant-id", tenant);
    let reply = HttpClient::new().send(request.to(&server)).await;
    let reply = LOG.require_ok("a chat", reply)?;
    LOG.ensure(reply.is_success(), || {
        format!("{} {}", reply.status, reply.text())
    })?;
    let pod = format!("{CLIENTS}/{CLIENT}");
    let log = testbed.processes.log(&pod, "istio-proxy");
    let log = LOG.require_some("the log of the sidecar", log)?;
    // Envoy flushes the log every 10 s.
    let line = eventually(
        Duration::from_secs(30),
        "a line of the access log",
        async || log.line_with(tenant).ok_or_else(|| log.tail(3)),
    );
    let line = LOG.require_ok("the access log", line.await)?;
    let fields = line
        .find('{')
        .and_then(|at| serde_json::from_str(&line[at..]).ok());
    let fields: serde_json::Value = LOG.require_some(&format!("JSON in {line}"), fields)?;
    for (field, value) in [("model", MODEL), ("version", "v1"), ("tenant", tenant)] {
        LOG.ensure(fields[field] == value, || {
            format!("{field} is not {value}: {line}")
        })?;
    }
    Ok(line)
}
