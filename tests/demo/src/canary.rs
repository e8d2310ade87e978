//! The label decides the share of sessions; an edit of it moves sessions one way and breaks none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headgate_testkit::client::{Load, LoadReport};
use headgate_testkit::share::{Measured, Moves, share_of};
use headgate_testkit::stage::{LabelledBy, Stage, Status};

use crate::claim::{Claim, Claimed};
use crate::traffic::{MODEL, Sessions};

/// The version that is the canary.
pub const CANARY: &str = "v2";
/// The Deployment that carries its labels.
pub const WORKLOAD: &str = "llama3-70b-v2";
/// What [`sessions_split`] claims.
pub const SPLIT: Claim =
    Claim("the canary gets its percent of sessions, and no session flips between versions");
/// What [`label_raised`] claims.
pub const RAISE: Claim = Claim(
    "an edited label reaches Envoy and traffic without a failed request, and moves sessions only into the canary",
);
/// Requests in flight while the label is edited.
const EDIT_CONCURRENCY: usize = 12;
/// How long a label may take to be acked.
const ACKED: Duration = Duration::from_secs(20);
/// How long the load may take to show what it has to.
const SHOWN: Duration = Duration::from_secs(120);

/// How sessions split.
#[derive(Debug, Clone)]
pub struct Split {
    /// The share of the canary, of sessions.
    pub share: Measured,
    /// Sessions.
    pub sessions: usize,
    /// Requests, all of them answered with 200.
    pub requests: usize,
    /// Sessions per version.
    pub per_version: BTreeMap<String, usize>,
}

/// Holds `sessions` for `turns` each while the canary is at `percent`.
///
/// # Errors
/// The share is off by more than four standard deviations, a session flipped, or a request failed.
pub async fn sessions_split(
    stage: &Stage,
    sessions: &Sessions,
    turns: u64,
    percent: f64,
) -> Claimed<Split> {
    // Pods become ready one after another, and a canary whose base is not takes everything until then.
    let planned = stage
        .await_status(ACKED, "every Envoy to ack the weight", |status| {
            status.all_acked(MODEL, CANARY, percent)
        })
        .await;
    SPLIT.seen("the weights", planned)?;
    let report = SPLIT.seen("the sessions", sessions.pass(stage, turns).await)?;
    all_answered(SPLIT, &report)?;
    let flips = report.flips();
    SPLIT.ensure(flips.is_empty(), || {
        format!(
            "{} sessions flipped, such as {:?}",
            flips.len(),
            flips.iter().next()
        )
    })?;
    split(SPLIT, &report, percent)
}

/// What an edit of the label did.
#[derive(Debug, Clone)]
pub struct Raised {
    /// How the label was edited.
    pub by: LabelledBy,
    /// How long the edit itself took.
    pub edit: Duration,
    /// From the end of the edit to the last Envoy's ACK of the new filter configuration.
    pub acked: Duration,
    /// From the end of the edit to the first answer that shows it: a session that moved.
    pub first_moved: Duration,
    /// From the end of the edit to the last request that was still answered by a session's old version.
    pub last_old: Duration,
    /// Sessions that moved, all of them into the canary.
    pub moved: usize,
    /// Sessions that stayed.
    pub kept: usize,
    /// Requests of the load, all of them answered with 200.
    pub requests: usize,
    /// The new share.
    pub split: Split,
}

/// Edits the label from `from` to `to` percent under load and watches every session.
///
/// # Errors
/// A failed request, a session that moved out of the canary or twice, a share that is off, or a push that does not come.
pub async fn label_raised(
    stage: &Stage,
    sessions: &Sessions,
    from: f64,
    to: u32,
) -> Claimed<Raised> {
    let load = Load::start(sessions.load(stage, EDIT_CONCURRENCY));
    let each_once = usize::try_from(sessions.count()).unwrap_or(usize::MAX);
    RAISE.seen("the load", load.wait_for(each_once, SHOWN).await)?;

    // An API may push before the command that told it has ended.
    let (began, unedited) = (Instant::now(), load.now());
    let percent = to.to_string();
    let edited = stage.label(WORKLOAD, "canary-weight", Some(&percent)).await;
    let (at, on_load, wall) = (Instant::now(), load.now(), SystemTime::now());
    let by = RAISE.seen("the edit", edited)?;
    let wanted = f64::from(to);
    let status = stage
        .await_status(ACKED, "every Envoy to ack the new weight", |status| {
            status.all_acked(MODEL, CANARY, wanted)
        })
        .await;
    let status = RAISE.seen("the push", status)?;
    let acked = RAISE.found("the time of the ACK", acked_after(&status, wall))?;
    let settled_at = load.len();
    // Once through all sessions after the ACK, so that everyone who moves has moved.
    RAISE.seen("the load", load.wait_for(each_once * 2, SHOWN).await)?;
    let report = load.stop().await;
    all_answered(RAISE, &report)?;

    let before = part(&report, |sent| sent < unedited);
    let after = LoadReport {
        samples: report.samples[settled_at..].to_vec(),
    };
    RAISE.ensure(at.elapsed() > acked, || "time went backwards".into())?;
    split(RAISE, &before, from)?;
    let split = split(RAISE, &after, wanted)?;
    let moves = Moves::between(&before.pass(), &after.pass());
    RAISE.ensure(moves.only_into(CANARY), || {
        format!("sessions moved elsewhere: {:?}", moves.moved)
    })?;
    RAISE.ensure(moves.count() > 0, || "no session moved".into())?;
    let turning = turning(&report, on_load)?;
    Ok(Raised {
        by,
        edit: at.duration_since(began),
        acked,
        first_moved: turning.first_new,
        last_old: turning.last_old,
        moved: moves.count(),
        kept: moves.kept,
        requests: report.samples.len(),
        split,
    })
}

fn part(report: &LoadReport, of: impl Fn(Duration) -> bool) -> LoadReport {
    let samples = report.samples.iter().filter(|s| of(s.sent));
    LoadReport {
        samples: samples.cloned().collect(),
    }
}

pub(crate) fn all_answered(claim: Claim, report: &LoadReport) -> Claimed<()> {
    let failed = report.other_than(&[200]);
    claim.ensure(failed.is_empty(), || {
        format!(
            "{} of {} requests failed: {:?}",
            failed.len(),
            report.samples.len(),
            report.outcomes()
        )
    })
}

fn split(claim: Claim, report: &LoadReport, percent: f64) -> Claimed<Split> {
    let pass = report.pass();
    let share = share_of(&pass, CANARY, percent / 100.0);
    claim.ensure(share.holds(), || {
        format!(
            "{:.2} % of {} sessions are on {CANARY}, not {percent} % ± {:.2}",
            share.seen * 100.0,
            pass.len(),
            share.bound * 100.0
        )
    })?;
    Ok(Split {
        share,
        sessions: pass.len(),
        requests: report.samples.len(),
        per_version: headgate_testkit::share::per_version(&pass),
    })
}

/// From `wall`, or from no time if it came before, to the last proxy's last ACK of its filters, by the control plane's own record.
fn acked_after(status: &Status, wall: SystemTime) -> Option<Duration> {
    let began = wall.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let acked = status.proxies.iter().map(|p| p.types.get("ecds")?.acked_at);
    let last = acked
        .collect::<Option<Vec<f64>>>()?
        .into_iter()
        .fold(began, f64::max);
    Some(Duration::from_secs_f64(last - began))
}

/// When the sessions that moved did so, counted from the edit.
struct Turning {
    first_new: Duration,
    last_old: Duration,
}

/// Also checks that nobody moved twice: the new version, once seen by a request, is seen by all sent after its answer.
fn turning(report: &LoadReport, edited: Duration) -> Claimed<Turning> {
    let mut sessions: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for sample in &report.samples {
        sessions.entry(&sample.session).or_default().push(sample);
    }
    let (mut first_new, mut last_old) = (None, edited);
    for (session, mut samples) in sessions {
        samples.sort_by_key(|s| s.sent);
        let versions: Vec<_> = samples.iter().map(|s| s.version.as_deref()).collect();
        let Some(turn) = versions.windows(2).position(|pair| pair[0] != pair[1]) else {
            continue;
        };
        let answered = samples[turn + 1].sent + samples[turn + 1].latency;
        let back = samples[turn + 1..]
            .iter()
            .any(|s| s.version.as_deref() != versions[turn + 1] && s.sent > answered);
        RAISE.ensure(!back, || {
            format!("{session} moved more than once: {versions:?}")
        })?;
        first_new = Some(first_new.map_or(answered, |first: Duration| first.min(answered)));
        last_old = last_old.max(samples[turn].sent);
    }
    let first_new = RAISE.found("an answer that shows a move", first_new)?;
    Ok(Turning {
        first_new: first_new.saturating_sub(edited),
        last_old: last_old.saturating_sub(edited),
    })
}
