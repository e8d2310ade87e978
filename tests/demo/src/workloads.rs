//! Pods change under load: a rollout, a scale-down, reduced capacity, and an outage of the API.
//!
//! These claims need a testbed on a Kubernetes API.

use std::time::{Duration, Instant};

use headgate_testkit::client::{Load, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::CommandOutput;
use headgate_testkit::testbed::Testbed;

use crate::budget::MODEL as FREE;
use crate::canary::{CANARY, WORKLOAD, all_answered};
use crate::claim::{Claim, ClaimResult};
use crate::objects::cluster;
use crate::sessions::{MODEL, Sessions};

/// The claim of [`rollout_fails_nothing`].
pub const ROLLOUT: Claim = Claim(
    "a rollout replaces every pod without a failed request, and no session changes its version",
);
/// The claim of [`scale_down_fails_nothing`].
pub const SCALE: Claim = Claim("a scale-down fails no request");
/// The claim of [`budget_follows_capacity`].
pub const CAPACITY: Claim =
    Claim("a budget scales with ready replicas per desired replicas, down and up again");
/// The claim of [`api_dies`].
pub const AWAY: Claim = Claim(
    "while the Kubernetes API is down, traffic and configuration are unchanged, also for a new proxy, and a label applies when it is back",
);

/// The base version of the model, which has most of the traffic.
const BASE: &str = "llama3-70b-v1";
const CONCURRENCY: usize = 8;
/// Deadline for pods, loads and pushes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The figures of a change of pods under load.
#[derive(Debug, Clone)]
pub struct PodChange {
    /// The command.
    pub typed: CommandOutput,
    /// From its start until the last old pod had ended.
    pub took: Duration,
    /// Pods before.
    pub before: Vec<String>,
    /// Pods after.
    pub after: Vec<String>,
    /// Requests of the load, all answered with 200.
    pub requests: usize,
}

/// Runs `kubectl rollout restart` of the base under load.
///
/// # Errors
/// The claim does not hold.
pub async fn rollout_fails_nothing(
    testbed: &Testbed,
    sessions: &Sessions,
) -> ClaimResult<PodChange> {
    let line = format!("kubectl rollout restart deploy/{BASE}");
    changed(ROLLOUT, testbed, sessions, &line, |before, after| {
        after.len() == before.len() && !after.iter().any(|pod| before.contains(pod))
    })
    .await
}

/// Scales the base to three pods, and under load down to one.
///
/// # Errors
/// The claim does not hold, also when the additional pods did not serve.
pub async fn scale_down_fails_nothing(
    testbed: &Testbed,
    sessions: &Sessions,
) -> ClaimResult<PodChange> {
    let api = cluster(SCALE, testbed)?;
    let up = format!("kubectl scale deploy/{BASE} --replicas=3");
    SCALE.require_ok(&up, api.kubectl(&up).await)?;
    let served = testbed.wait_for_status(TIMEOUT, "three endpoints", |status| {
        status
            .version(MODEL, "v1")
            .is_some_and(|version| version.endpoints.current == 3)
    });
    SCALE.require_ok("the pods", served.await)?;
    SCALE.require_ok("the push", testbed.wait_until_settled().await)?;
    let down = format!("kubectl scale deploy/{BASE} --replicas=1");
    changed(SCALE, testbed, sessions, &down, |_, after| after.len() == 1).await
}

/// Runs a command under load and waits until `done(before, now)` is true for the base's pods.
async fn changed(
    claim: Claim,
    testbed: &Testbed,
    sessions: &Sessions,
    line: &str,
    done: impl Fn(&[String], &[String]) -> bool,
) -> ClaimResult<PodChange> {
    let cluster = cluster(claim, testbed)?;
    let load = Load::start(sessions.load(testbed, CONCURRENCY));
    let each_once = usize::try_from(sessions.count()).unwrap_or(usize::MAX);
    claim.require_ok("the load", load.wait_for(each_once, TIMEOUT).await)?;
    let (before, began) = (cluster.pods_of(BASE), Instant::now());
    let typed = claim.require_ok(line, cluster.kubectl(line).await)?;
    let after = eventually(TIMEOUT, "the old pods to have ended", async || {
        let now = cluster.pods_of(BASE);
        if done(&before, &now) {
            return Ok(now);
        }
        Err(format!("{before:?} became {now:?}"))
    });
    let after = claim.require_ok("the pods", after.await)?;
    let took = began.elapsed();
    claim.require_ok("the load", load.wait_for(each_once, TIMEOUT).await)?;
    let report = load.stop().await;
    all_answered(claim, &report)?;
    let flips = report.flips();
    claim.ensure(flips.is_empty(), || {
        format!("{} sessions changed their version", flips.len())
    })?;
    Ok(PodChange {
        typed,
        took,
        before,
        after,
        requests: report.samples.len(),
    })
}

/// The figures of a budget that follows capacity.
#[derive(Debug, Clone)]
pub struct CapacityChange {
    /// `x-ratelimit-limit-tokens` while all desired replicas are ready.
    pub full: u64,
    /// The command that asks for a replica that the cluster cannot run.
    pub up: CommandOutput,
    /// The limit after it.
    pub half: u64,
    /// From the end of that command to the first response with that limit.
    pub shrunk: Duration,
    /// The command that removes the replica.
    pub down: CommandOutput,
    /// From the end of that command to the first response with the full limit.
    pub back: Duration,
}

/// Asks for two replicas where only one can run, which halves the capacity of the budget; then for one.
///
/// # Errors
/// The claim does not hold.
pub async fn budget_follows_capacity(testbed: &Testbed) -> ClaimResult<CapacityChange> {
    let api = cluster(CAPACITY, testbed)?;
    let full = limit(testbed, "capacity-0").await?;
    api.set_full(true);
    let up = format!("kubectl scale deploy/{FREE} --replicas=2");
    let up = CAPACITY.require_ok(&up, api.kubectl(&up).await)?;
    let shrunk = limit_becomes(testbed, 50, full / 2).await?;
    let down = format!("kubectl scale deploy/{FREE} --replicas=1");
    let down = CAPACITY.require_ok(&down, api.kubectl(&down).await)?;
    let back = limit_becomes(testbed, 100, full).await?;
    api.set_full(false);
    Ok(CapacityChange {
        full,
        up,
        half: full / 2,
        shrunk,
        down,
        back,
    })
}

/// The time until responses show the expected limit.
async fn limit_becomes(testbed: &Testbed, percent: u16, expected: u64) -> ClaimResult<Duration> {
    let began = Instant::now();
    let scaled = testbed.wait_for_status(TIMEOUT, "the budget's scale", |status| {
        status
            .model(FREE)
            .is_some_and(|model| model.scale_percent == percent)
    });
    CAPACITY.require_ok("status", scaled.await)?;
    let mut probes = 0;
    let shown = eventually(TIMEOUT, "the limit in an answer", async || {
        probes += 1;
        // Each request uses a new tenant, so that no bucket is exhausted by the probes.
        let limit_now = limit(testbed, &format!("capacity-{percent}-{probes}")).await;
        let limit_now = limit_now.map_err(|broken| broken.why)?;
        if limit_now == expected {
            return Ok(());
        }
        Err(format!("the limit is {limit_now}, expected {expected}"))
    });
    CAPACITY.require_ok("the limit", shown.await)?;
    Ok(began.elapsed())
}

/// The capacity of the tenant's bucket, from a response.
async fn limit(testbed: &Testbed, tenant: &str) -> ClaimResult<u64> {
    let request = OpenAiRequest::chat(FREE)
        .max_tokens(4)
        .header("x-tenant-id", tenant);
    let reply = CAPACITY.require_ok("a request", testbed.send(&request).await)?;
    CAPACITY.ensure(reply.status == 200, || {
        format!("{} {}", reply.status, reply.text())
    })?;
    let limit = reply.header("x-ratelimit-limit-tokens");
    CAPACITY.require_some("a limit", limit.and_then(|value| value.parse().ok()))
}

/// The figures of an outage of the API.
#[derive(Debug, Clone)]
pub struct ApiOutage {
    /// Requests answered with 200 during the outage.
    pub during: usize,
    /// Duration of the outage.
    pub away: Duration,
    /// The message in `status` during the outage.
    pub message: String,
    /// Time until an Envoy that started during the outage served a request.
    pub joined: Duration,
    /// The command after the outage.
    pub edit: String,
    /// From the end of that command to the ACK of every Envoy.
    pub acked: Duration,
    /// Requests of the whole load, all answered with 200.
    pub requests: usize,
}

/// Kills the API server (`kill -9`) under load, restarts it after `requests` more responses, and edits the label to `percent`.
///
/// # Errors
/// The claim does not hold.
pub async fn api_dies(
    testbed: &mut Testbed,
    sessions: &Sessions,
    requests: usize,
    percent: u32,
) -> ClaimResult<ApiOutage> {
    let load = Load::start(sessions.load(testbed, CONCURRENCY));
    AWAY.require_ok("the load", load.wait_for(requests, TIMEOUT).await)?;
    let api = AWAY.require_some("a Kubernetes API", testbed.cluster_mut())?;
    AWAY.require_ok("the kill", api.kube_mut().kill_api())?;
    let (dead, at_kill) = (Instant::now(), load.len());
    let reported = testbed.wait_for_status(TIMEOUT, "status to report the outage", |status| {
        status.problems_of("KubernetesApi").next().is_some()
    });
    let status = AWAY.require_ok("status", reported.await)?;
    let problem = status.problems_of("KubernetesApi").next();
    let message = problem.map(|problem| problem.message.clone());
    let joined = newcomer_is_served(testbed).await?;
    AWAY.require_ok("the load", load.wait_for(requests, TIMEOUT).await)?;
    let (during, away) = (load.len() - at_kill, dead.elapsed());

    let api = AWAY.require_some("a Kubernetes API", testbed.cluster_mut())?;
    AWAY.require_ok("the restart", api.kube_mut().start_api().await)?;
    let weight = percent.to_string();
    let line = format!("kubectl label deploy/{WORKLOAD} canary-weight={weight} --overwrite");
    let edited = testbed
        .label(WORKLOAD, "canary-weight", Some(&weight))
        .await;
    AWAY.require_ok(&line, edited)?;
    let began = Instant::now();
    let acked = testbed.wait_for_status(TIMEOUT, "every Envoy to ack the edit", |status| {
        status.all_acked(MODEL, CANARY, f64::from(percent))
    });
    AWAY.require_ok("the edit", acked.await)?;
    let acked = began.elapsed();
    AWAY.require_ok("the load", load.wait_for(requests, TIMEOUT).await)?;
    let report = load.stop().await;
    all_answered(AWAY, &report)?;
    Ok(ApiOutage {
        during,
        away,
        message: AWAY.require_some("the message in status", message)?,
        joined,
        edit: line,
        acked,
        requests: report.samples.len(),
    })
}

/// Starts another Envoy, sends a request through it, and ends it.
async fn newcomer_is_served(testbed: &mut Testbed) -> ClaimResult<Duration> {
    let began = Instant::now();
    let url = AWAY
        .require_ok("another Envoy", testbed.add_envoy().await)?
        .url();
    let (url, client) = (url.to_owned(), testbed.client());
    let answered = eventually(TIMEOUT, "an answer through it", async || {
        let request = OpenAiRequest::chat(MODEL).header("x-tenant-id", "newcomer");
        match client.send(request.to(&url)).await {
            Ok(reply) if reply.status == 200 => Ok(()),
            Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
            Err(error) => Err(error.to_string()),
        }
    });
    AWAY.require_ok("another Envoy", answered.await)?;
    let took = began.elapsed();
    testbed.envoys_mut().pop();
    let left = testbed.envoys().len();
    let gone = testbed.wait_for_status(TIMEOUT, "it to be gone", |status| {
        status.proxies.len() == left
    });
    AWAY.require_ok("another Envoy", gone.await)?;
    Ok(took)
}
