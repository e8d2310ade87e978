//! Pods come and go under load: a rollout, a scale-down, capacity that is short, and an API that is away.
//!
//! These claims need a stage on a Kubernetes API.

use std::time::{Duration, Instant};

use headgate_testkit::client::{Load, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::Typed;
use headgate_testkit::stage::Stage;

use crate::budget::MODEL as FREE;
use crate::canary::{CANARY, WORKLOAD, all_answered};
use crate::claim::{Claim, Claimed};
use crate::objects::cluster;
use crate::traffic::{MODEL, Sessions};

/// What [`rollout_fails_nothing`] claims.
pub const ROLLOUT: Claim = Claim(
    "a rollout replaces every pod without a failed request, and no session changes its version",
);
/// What [`scale_down_fails_nothing`] claims.
pub const SCALE: Claim = Claim("pods that are scaled away take no request with them");
/// What [`budget_follows_capacity`] claims.
pub const CAPACITY: Claim = Claim(
    "a budget follows the replicas that are ready, of those that are wanted, down and up again",
);
/// What [`api_dies`] claims.
pub const AWAY: Claim = Claim(
    "while the Kubernetes API is away traffic and configuration stand, also for a proxy that comes then, and a label counts when it is back",
);

/// The base of the canaried model, which has most of the traffic.
const BASE: &str = "llama3-70b-v1";
const CONCURRENCY: usize = 8;
/// How long pods, loads and pushes may take.
const SHOWN: Duration = Duration::from_secs(120);

/// A change of pods under load.
#[derive(Debug, Clone)]
pub struct Changed {
    /// What was typed under load.
    pub typed: Typed,
    /// From its start until the last old pod had ended.
    pub took: Duration,
    /// The pods before.
    pub before: Vec<String>,
    /// The pods after.
    pub after: Vec<String>,
    /// Requests of the load, all of them answered with 200.
    pub requests: usize,
}

/// `kubectl rollout restart` of the base under load.
///
/// # Errors
/// The claim does not hold.
pub async fn rollout_fails_nothing(stage: &Stage, sessions: &Sessions) -> Claimed<Changed> {
    let line = format!("kubectl rollout restart deploy/{BASE}");
    changed(ROLLOUT, stage, sessions, &line, |before, after| {
        after.len() == before.len() && !after.iter().any(|pod| before.contains(pod))
    })
    .await
}

/// Scales the base to three pods, and under load down to one.
///
/// # Errors
/// The claim does not hold, also when the pods to come did not serve.
pub async fn scale_down_fails_nothing(stage: &Stage, sessions: &Sessions) -> Claimed<Changed> {
    let api = cluster(SCALE, stage)?;
    let up = format!("kubectl scale deploy/{BASE} --replicas=3");
    SCALE.seen(&up, api.kubectl(&up).await)?;
    let served = stage.await_status(SHOWN, "three endpoints", |status| {
        status
            .version(MODEL, "v1")
            .is_some_and(|version| version.endpoints.are == 3)
    });
    SCALE.seen("the pods", served.await)?;
    SCALE.seen("the push", stage.settled().await)?;
    let down = format!("kubectl scale deploy/{BASE} --replicas=1");
    changed(SCALE, stage, sessions, &down, |_, after| after.len() == 1).await
}

/// Types a line under load and waits until the base's pods are as wanted of (before, now).
async fn changed(
    claim: Claim,
    stage: &Stage,
    sessions: &Sessions,
    line: &str,
    done: impl Fn(&[String], &[String]) -> bool,
) -> Claimed<Changed> {
    let cluster = cluster(claim, stage)?;
    let load = Load::start(sessions.load(stage, CONCURRENCY));
    let each_once = usize::try_from(sessions.count()).unwrap_or(usize::MAX);
    claim.seen("the load", load.wait_for(each_once, SHOWN).await)?;
    let (before, began) = (cluster.pods_of(BASE), Instant::now());
    let typed = claim.seen(line, cluster.kubectl(line).await)?;
    let after = eventually(SHOWN, "the old pods to have ended", async || {
        let now = cluster.pods_of(BASE);
        if done(&before, &now) {
            return Ok(now);
        }
        Err(format!("{before:?} became {now:?}"))
    });
    let after = claim.seen("the pods", after.await)?;
    let took = began.elapsed();
    claim.seen("the load", load.wait_for(each_once, SHOWN).await)?;
    let report = load.stop().await;
    all_answered(claim, &report)?;
    let flips = report.flips();
    claim.ensure(flips.is_empty(), || {
        format!("{} sessions changed their version", flips.len())
    })?;
    Ok(Changed {
        typed,
        took,
        before,
        after,
        requests: report.samples.len(),
    })
}

/// How a budget followed capacity.
#[derive(Debug, Clone)]
pub struct Followed {
    /// `x-ratelimit-limit-tokens` while every replica that is wanted is ready.
    pub full: u64,
    /// What asked for a replica that finds no room.
    pub up: Typed,
    /// The limit then.
    pub half: u64,
    /// From the end of that command until an answer showed it.
    pub shrunk: Duration,
    /// What took the replica back.
    pub down: Typed,
    /// From the end of that command until an answer showed the whole limit again.
    pub back: Duration,
}

/// Wants two replicas where there is room for one: half of the capacity that the budget was written for. Then one.
///
/// # Errors
/// The claim does not hold.
pub async fn budget_follows_capacity(stage: &Stage) -> Claimed<Followed> {
    let api = cluster(CAPACITY, stage)?;
    let full = limit(stage, "capacity-0").await?;
    api.set_full(true);
    let up = format!("kubectl scale deploy/{FREE} --replicas=2");
    let up = CAPACITY.seen(&up, api.kubectl(&up).await)?;
    let shrunk = limit_becomes(stage, 50, full / 2).await?;
    let down = format!("kubectl scale deploy/{FREE} --replicas=1");
    let down = CAPACITY.seen(&down, api.kubectl(&down).await)?;
    let back = limit_becomes(stage, 100, full).await?;
    api.set_full(false);
    Ok(Followed {
        full,
        up,
        half: full / 2,
        shrunk,
        down,
        back,
    })
}

/// After how long the limit that answers tell is as wanted.
async fn limit_becomes(stage: &Stage, percent: u16, wanted: u64) -> Claimed<Duration> {
    let began = Instant::now();
    let scaled = stage.await_status(SHOWN, "the budget's scale", |status| {
        status
            .model(FREE)
            .is_some_and(|model| model.scale_percent == percent)
    });
    CAPACITY.seen("status", scaled.await)?;
    let mut asked = 0;
    let shown = eventually(SHOWN, "the limit in an answer", async || {
        asked += 1;
        // Each has a bucket of its own: nobody runs out by asking.
        let seen = limit(stage, &format!("capacity-{percent}-{asked}")).await;
        let seen = seen.map_err(|broken| broken.why)?;
        if seen == wanted {
            return Ok(());
        }
        Err(format!("{seen}, not {wanted}"))
    });
    CAPACITY.seen("the limit", shown.await)?;
    Ok(began.elapsed())
}

/// What an answer says the tenant's bucket holds.
async fn limit(stage: &Stage, tenant: &str) -> Claimed<u64> {
    let request = OpenAiRequest::chat(FREE)
        .max_tokens(4)
        .header("x-tenant-id", tenant);
    let reply = CAPACITY.seen("a request", stage.send(&request).await)?;
    CAPACITY.ensure(reply.status == 200, || {
        format!("{} {}", reply.status, reply.text())
    })?;
    let told = reply.header("x-ratelimit-limit-tokens");
    CAPACITY.found("a limit", told.and_then(|value| value.parse().ok()))
}

/// How traffic and configuration fared without an API.
#[derive(Debug, Clone)]
pub struct Stood {
    /// Requests answered with 200 while it was away.
    pub during: usize,
    /// For how long it was away.
    pub away: Duration,
    /// What `status` says meanwhile.
    pub said: String,
    /// How long a proxy that came meanwhile took until it answered.
    pub joined: Duration,
    /// What was typed when it was back.
    pub edit: String,
    /// From the end of that edit to its ACK by every Envoy.
    pub acked: Duration,
    /// Requests of the whole load, all of them answered with 200.
    pub requests: usize,
}

/// Kills the API server (`kill -9`) under load; starts it again after `requests` more answers, and edits the label to
/// `percent`.
///
/// # Errors
/// The claim does not hold.
pub async fn api_dies(
    stage: &mut Stage,
    sessions: &Sessions,
    requests: usize,
    percent: u32,
) -> Claimed<Stood> {
    let load = Load::start(sessions.load(stage, CONCURRENCY));
    AWAY.seen("the load", load.wait_for(requests, SHOWN).await)?;
    let api = AWAY.found("a Kubernetes API", stage.cluster_mut())?;
    AWAY.seen("the kill", api.kube_mut().kill_api())?;
    let (dead, at_kill) = (Instant::now(), load.len());
    let said = stage.await_status(SHOWN, "status to tell", |status| {
        status.problems_of("KubernetesApi").next().is_some()
    });
    let said = AWAY.seen("status", said.await)?;
    let said = said.problems_of("KubernetesApi").next();
    let said = said.map(|problem| problem.message.clone());
    let joined = newcomer_is_served(stage).await?;
    AWAY.seen("the load", load.wait_for(requests, SHOWN).await)?;
    let (during, away) = (load.len() - at_kill, dead.elapsed());

    let api = AWAY.found("a Kubernetes API", stage.cluster_mut())?;
    AWAY.seen("the restart", api.kube_mut().start_api().await)?;
    let weight = percent.to_string();
    let line = format!("kubectl label deploy/{WORKLOAD} canary-weight={weight} --overwrite");
    let edited = stage.label(WORKLOAD, "canary-weight", Some(&weight)).await;
    AWAY.seen(&line, edited)?;
    let began = Instant::now();
    let acked = stage.await_status(SHOWN, "every Envoy to ack the edit", |status| {
        status.all_acked(MODEL, CANARY, f64::from(percent))
    });
    AWAY.seen("the edit", acked.await)?;
    let acked = began.elapsed();
    AWAY.seen("the load", load.wait_for(requests, SHOWN).await)?;
    let report = load.stop().await;
    all_answered(AWAY, &report)?;
    Ok(Stood {
        during,
        away,
        said: AWAY.found("what status said", said)?,
        joined,
        edit: line,
        acked,
        requests: report.samples.len(),
    })
}

/// Starts one more Envoy, asks it for an answer, and ends it.
async fn newcomer_is_served(stage: &mut Stage) -> Claimed<Duration> {
    let began = Instant::now();
    let url = AWAY.seen("another Envoy", stage.add_envoy().await)?.url();
    let (url, client) = (url.to_owned(), stage.client());
    let answered = eventually(SHOWN, "an answer through it", async || {
        let request = OpenAiRequest::chat(MODEL).header("x-tenant-id", "newcomer");
        match client.send(request.to(&url)).await {
            Ok(reply) if reply.status == 200 => Ok(()),
            Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
            Err(error) => Err(error.to_string()),
        }
    });
    AWAY.seen("another Envoy", answered.await)?;
    let took = began.elapsed();
    stage.envoys_mut().pop();
    let left = stage.envoys().len();
    let gone = stage.await_status(SHOWN, "it to be gone", |status| {
        status.proxies.len() == left
    });
    AWAY.seen("another Envoy", gone.await)?;
    Ok(took)
}
