//! A new version joins: held at nothing until somebody says otherwise, reachable by a pin.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::stage::{Manifest, Stage};

use crate::claim::{Claim, Claimed};
use crate::traffic::{MODEL, Sessions};

/// The version that joins.
pub const NEW: &str = "v3";
/// What [`new_version_is_held`] claims.
pub const HELD: Claim =
    Claim("a new version without a weight is held at 0 and takes no production traffic");
/// What [`pin_reaches`] claims.
pub const PIN: Claim = Claim("a request that names its version goes there, whatever the weights");
/// What [`unknown_pin_is_refused`] claims.
pub const UNKNOWN: Claim =
    Claim("a pin to a version that does not exist is answered 404, naming those that do");
const JOINED: Duration = Duration::from_secs(20);

/// What became of the new version.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its standing, as `status` says it.
    pub standing: String,
    /// Its weight, percent.
    pub weight: f64,
    /// What `status` advises.
    pub advice: String,
    /// Requests without a pin that followed, all answered with 200.
    pub requests: usize,
    /// How many of them reached it.
    pub reached: u64,
}

/// Applies a manifest of a new version without a weight, and sends `sessions` past it.
///
/// # Errors
/// The claim does not hold.
pub async fn new_version_is_held(stage: &mut Stage, sessions: &Sessions) -> Claimed<Held> {
    let manifest = Manifest::new(MODEL, NEW).created(&now());
    HELD.seen("its manifest", stage.join(manifest.clone()).await)?;
    let known = stage.await_status(JOINED, "the new version to be known", |status| {
        status
            .version(MODEL, NEW)
            .is_some_and(|v| v.endpoints.are == 1)
    });
    HELD.seen("status", known.await)?;
    let status = HELD.seen("the push", stage.settled().await)?;
    let carrier = HELD.found(
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
    let advice = HELD.found("VersionHeld in status", advice)?;

    let report = HELD.seen("the sessions", sessions.pass(stage, 1).await)?;
    let failed = report.other_than(&[200]);
    HELD.ensure(failed.is_empty(), || format!("{:?}", report.outcomes()))?;
    let stats = stage.stats_of(manifest.name(), manifest.model(), manifest.version());
    let reached = HELD.found("its server", stats)?.requests;
    HELD.ensure(reached == 0, || format!("{reached} requests reached it"))?;
    Ok(Held {
        standing: carrier.standing.clone(),
        weight: carrier.weight,
        advice,
        requests: report.samples.len(),
        reached,
    })
}

/// Sends `requests` that name `version`; returns how many went there, which is all of them.
///
/// # Errors
/// One that did not.
pub async fn pin_reaches(stage: &Stage, version: &str, requests: u64) -> Claimed<u64> {
    for n in 0..requests {
        let request = OpenAiRequest::chat(MODEL)
            .max_tokens(4)
            .header("x-tenant-id", "pinned")
            .header("x-session-id", format!("pinned-{n}"))
            .header("x-model-version", version);
        let reply = PIN.seen("a pinned request", stage.send(&request).await)?;
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

/// The refusal of a pin to a version that does not exist.
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
/// It is answered otherwise, or without naming the versions that exist.
pub async fn unknown_pin_is_refused(stage: &Stage) -> Claimed<UnknownPin> {
    let request = OpenAiRequest::chat(MODEL).header("x-model-version", "v9");
    let reply = UNKNOWN.seen("a pinned request", stage.send(&request).await)?;
    let body = UNKNOWN.seen("the answer", reply.json())?;
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

/// The moment a manifest is applied, as an API server writes it into `creationTimestamp`.
fn now() -> String {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    rfc3339(unix)
}

/// Days to a date after Howard Hinnant's `civil_from_days`.
fn rfc3339(unix: u64) -> String {
    let (days, second) = (unix / 86_400 + 719_468, unix % 86_400);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_an_api_server_writes_it() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(unix), text);
        }
    }
}
