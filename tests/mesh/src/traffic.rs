//! Load on the model through the sidecar of a client and through the gateway, and what must be true of every response.
//!
//! Invariant: a response that is not 200, not tagged, or tagged with another version than the one that served, breaks the claim.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport, OpenAiRequest, Sample};

use crate::testbed::{CLIENT, HOST, MeshTestbed};

/// The model.
pub(crate) const MODEL: &str = "llama3-70b";
/// Requests in flight.
const CONCURRENCY: usize = 4;
/// Pause of each of them after a response: the load leaves time to what changes under it.
const PAUSE: Duration = Duration::from_millis(5);
/// Sessions of each of the two entries. Each is its own tenant, so that no budget runs out.
const SESSIONS: u64 = 100;
/// Deadline for a number of responses.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a load measured.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// Number of requests, all answered with 200 by the version that the tag names.
    pub requests: usize,
    /// Number of requests of each version.
    pub versions: BTreeMap<String, usize>,
    /// The longest time of a request.
    pub slowest: Duration,
    /// Sessions that changed their version, each once.
    pub moved: usize,
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let versions: Vec<String> = self
            .versions
            .iter()
            .map(|(version, count)| format!("{version}: {count}"))
            .collect();
        write!(
            f,
            "{}, 0 failed, each tagged with the version that served it ({}); slowest {} ms",
            self.requests,
            versions.join(", "),
            self.slowest.as_millis()
        )
    }
}

/// A running load.
#[derive(Debug)]
pub struct Traffic {
    load: Load,
    claim: Claim,
}

impl Traffic {
    /// Starts the load: every second request through the gateway, the others through the sidecar of the client. Loads with different
    /// names have no session in common.
    ///
    /// # Errors
    /// The claim, if the client has no sidecar or no response comes.
    pub async fn start(claim: Claim, testbed: &MeshTestbed, name: &str) -> ClaimResult<Self> {
        let sidecar = claim.require_ok("the sidecar", testbed.outbound(CLIENT))?;
        let (gateway, name) = (testbed.ingress(), name.to_owned());
        let mut options = LoadOptions::new(CONCURRENCY, move |n| {
            let (entry, server, host) = match n % 2 {
                0 => ("sidecar", &sidecar, HOST),
                _ => ("gateway", &gateway, "ai.example.com"),
            };
            let session = format!("{name}-{entry}-{}", n / 2 % SESSIONS);
            let request = OpenAiRequest::chat(MODEL)
                .max_tokens(16)
                .header("x-session-id", &session)
                .header("x-tenant-id", &session)
                .header("host", host);
            Job {
                request: request.to(server),
                session,
            }
        });
        options.pause = PAUSE;
        let traffic = Self {
            load: Load::start(options),
            claim,
        };
        traffic.more(20).await?;
        Ok(traffic)
    }

    /// Waits for further responses.
    ///
    /// # Errors
    /// The claim, if they do not come.
    pub async fn more(&self, responses: usize) -> ClaimResult<()> {
        let waited = self.load.wait_for(responses, TIMEOUT).await;
        self.claim.require_ok("the load", waited)
    }

    /// Number of responses so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.load.len()
    }

    /// Whether there is no response yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.load.is_empty()
    }

    /// Waits until a version has served a request through the sidecar and one through the gateway.
    ///
    /// # Errors
    /// The claim, if it does not.
    pub async fn until_serves(&self, version: &str) -> ClaimResult<()> {
        let from = self.len();
        let waited = headgate_testkit::deadline::eventually(TIMEOUT, version, async || {
            let report = self.load.since(from);
            let by = |entry: &str| {
                let mut samples = report.samples.iter();
                samples.any(|sample| {
                    sample.session.contains(entry) && sample.version.as_deref() == Some(version)
                })
            };
            match (by("-sidecar-"), by("-gateway-")) {
                (true, true) => Ok(()),
                served => Err(format!("served by sidecar and gateway: {served:?}")),
            }
        });
        self.claim
            .require_ok("a session on the version", waited.await)
    }

    /// Ends the load.
    ///
    /// # Errors
    /// The claim, if a response is not as it must be, or a session changed its version more than `moves` times.
    pub async fn stop(self, moves: usize) -> ClaimResult<Served> {
        let (claim, report) = (self.claim, self.load.stop().await);
        let bad: Vec<String> = report.samples.iter().filter_map(wrong).collect();
        claim.ensure(bad.is_empty(), || {
            let first = bad.iter().take(3).cloned().collect::<Vec<_>>();
            format!(
                "{} of {} requests were wrong, such as {}",
                bad.len(),
                report.samples.len(),
                first.join("; ")
            )
        })?;
        let changes = changes(&report);
        let unsteady = changes
            .iter()
            .find(|(_, versions)| versions.len() > moves + 1);
        claim.ensure(unsteady.is_none(), || {
            format!("a session changed its version more than {moves} times: {unsteady:?}")
        })?;
        let mut versions = BTreeMap::new();
        for version in report.samples.iter().filter_map(|s| s.version.clone()) {
            *versions.entry(version).or_default() += 1;
        }
        Ok(Served {
            requests: report.samples.len(),
            versions,
            slowest: report.latency(1.0),
            moved: changes
                .values()
                .filter(|versions| versions.len() > 1)
                .count(),
        })
    }
}

/// What is wrong with a response.
fn wrong(sample: &Sample) -> Option<String> {
    let version = sample.version.as_deref();
    let served = version.map(|version| format!("{MODEL}/{version}"));
    let is_right = matches!(
        &sample.outcome,
        headgate_testkit::client::Outcome::Status(200)
    ) && served.is_some()
        && served == sample.served_by;
    (!is_right).then(|| {
        format!(
            "{} after {} ms, tagged {version:?}, served by {:?}, sent at {} ms by {} {}",
            sample.outcome,
            sample.latency.as_millis(),
            sample.served_by,
            sample.sent.as_millis(),
            sample.session,
            sample.detail
        )
    })
}

/// The versions of each session, in the order of its requests, without repetitions.
fn changes(report: &LoadReport) -> BTreeMap<&str, Vec<&str>> {
    let mut samples: Vec<&Sample> = report.samples.iter().collect();
    samples.sort_by_key(|sample| sample.sent);
    let mut changes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for sample in samples {
        let versions = changes.entry(&sample.session).or_default();
        if let Some(version) = sample.version.as_deref()
            && versions.last() != Some(&version)
        {
            versions.push(version);
        }
    }
    changes
}
