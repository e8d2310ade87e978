//! A new version is held at 0 until it gets a weight, and is reachable by a pin.

use std::time::Duration;

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::testbed::{Manifest, Testbed};

use crate::claim::{Claim, ClaimResult};
use crate::sessions::{MODEL, Sessions};

/// The new version.
pub const NEW: &str = "v3";
/// The claim of [`new_version_is_held`].
pub const HELD: Claim =
    Claim("a new version without a weight is held at 0 and gets no production traffic");
/// The claim of [`pin_reaches`].
pub const PIN: Claim = Claim("a request with a pinned version goes there, whatever the weights");
/// The claim of [`unknown_pin_is_refused`].
pub const UNKNOWN: Claim =
    Claim("a pin to an unknown version gets a 404 that lists the existing versions");
const TIMEOUT: Duration = Duration::from_secs(20);

/// The figures of the held version.
#[derive(Debug, Clone)]
pub struct HeldVersion {
    /// Its role, from `status`.
    pub standing: String,
    /// Its weight in percent.
    pub weight: f64,
    /// The message in `status`.
    pub advice: String,
    /// Following requests without a pin, all answered with 200.
    pub requests: usize,
    /// Number of them that reached it.
    pub reached: u64,
}

/// Applies a manifest of a new version without a weight, then sends one turn of each of `sessions`.
///
/// # Errors
/// The claim does not hold.
pub async fn new_version_is_held(
    testbed: &mut Testbed,
    sessions: &Sessions,
) -> ClaimResult<HeldVersion> {
    let manifest = Manifest::new(MODEL, NEW).created_now();
    HELD.require_ok("its manifest", testbed.join(manifest.clone()).await)?;
    let found = testbed.wait_for_status(TIMEOUT, "the new version in status", |status| {
        status
            .version(MODEL, NEW)
            .is_some_and(|v| v.endpoints.current == 1)
    });
    HELD.require_ok("status", found.await)?;
    let status = HELD.require_ok("the push", testbed.wait_until_settled().await)?;
    let carrier = HELD.require_some(
        "its carrier in status",
        status.carrier(MODEL, manifest.name()),
    )?;
    HELD.ensure(carrier.standing == "held" && carrier.weight == 0.0, || {
        format!(
            "its standing is {} at {} %",
            carrier.standing, carrier.weight
        )
    })?;
    let advice = status
        .problems_of("VersionHeld")
        .find(|problem| problem.object.contains(manifest.name()))
        .map(|problem| problem.message.clone());
    let advice = HELD.require_some("VersionHeld in status", advice)?;

    let report = HELD.require_ok("the sessions", sessions.send_all(testbed, 1).await)?;
    let failed = report.other_than(&[200]);
    HELD.ensure(failed.is_empty(), || format!("{:?}", report.outcomes()))?;
    let stats = testbed.stats_of(manifest.name(), manifest.model(), manifest.version());
    let reached = HELD.require_some("its server", stats)?.requests;
    HELD.ensure(reached == 0, || format!("{reached} requests reached it"))?;
    Ok(HeldVersion {
        standing: carrier.standing.clone(),
        weight: carrier.weight,
        advice,
        requests: report.samples.len(),
        reached,
    })
}

/// Sends `requests` pinned to `version`. Returns the number that reached it, which is all of them.
///
/// # Errors
/// A request that did not reach it.
pub async fn pin_reaches(testbed: &Testbed, version: &str, requests: u64) -> ClaimResult<u64> {
    for n in 0..requests {
        let request = OpenAiRequest::chat(MODEL)
            .max_tokens(4)
            .header("x-tenant-id", "pinned")
            .header("x-session-id", format!("pinned-{n}"))
            .header("x-model-version", version);
        let reply = PIN.require_ok("a pinned request", testbed.send(&request).await)?;
        let served = (
            reply.header("x-model-version"),
            reply.header("x-mock-served-by"),
        );
        let expected = format!("{MODEL}/{version}");
        PIN.ensure(
            reply.status == 200 && served == (Some(version), Some(expected.as_str())),
            || format!("{} from {served:?}: {}", reply.status, reply.text()),
        )?;
    }
    Ok(requests)
}

/// The refusal of a pin to an unknown version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPin {
    /// The status.
    pub status: u16,
    /// `error.code`.
    pub code: String,
    /// `error.message`.
    pub message: String,
}

/// Pins a request to `v9`, which does not exist.
///
/// # Errors
/// Another status, or a message that does not list the existing versions.
pub async fn unknown_pin_is_refused(testbed: &Testbed) -> ClaimResult<UnknownPin> {
    let request = OpenAiRequest::chat(MODEL).header("x-model-version", "v9");
    let reply = UNKNOWN.require_ok("a pinned request", testbed.send(&request).await)?;
    let body = UNKNOWN.require_ok("the answer", reply.json())?;
    let text = |key: &str| body["error"][key].as_str().unwrap_or_default().to_owned();
    let refusal = UnknownPin {
        status: reply.status,
        code: text("code"),
        message: text("message"),
    };
    UNKNOWN.ensure(
        refusal.status == 404
            && refusal.code == "version_not_found"
            && refusal.message.contains("v1")
            && refusal.message.contains("v2"),
        || format!("{refusal:?}"),
    )?;
    Ok(refusal)
}
