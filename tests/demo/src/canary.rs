//! The canary label sets the share of sessions; an edit under load moves sessions one way and fails no request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headgate_testkit::client::{Load, LoadReport};
use headgate_testkit::share::{MeasuredShare, SessionMoves, share_of};
use headgate_testkit::testbed::{LabelledBy, Status, Testbed};

use crate::claim::{Claim, ClaimResult};
use crate::sessions::{MODEL, Sessions};

/// The version of the canary.
pub const CANARY: &str = "v2";
/// The Deployment with the canary's labels.
pub const WORKLOAD: &str = "llama3-70b-v2";
/// The claim of [`sessions_split`].
pub const SPLIT: Claim =
    Claim("the canary gets its percent of sessions, and no session flips between versions");
/// The claim of [`label_raised`].
pub const RAISE: Claim = Claim(
    "an edited label reaches Envoy and traffic without a failed request, and moves sessions only to the canary",
);
/// Requests in flight while the label is edited.
const EDIT_CONCURRENCY: usize = 12;
/// Deadline for the ACK of a label.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);
/// Deadline for the load.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// The figures of a split.
#[derive(Debug, Clone)]
pub struct Split {
    /// The canary's share of sessions.
    pub share: MeasuredShare,
    /// Number of sessions.
    pub sessions: usize,
    /// Number of requests, all answered with 200.
    pub requests: usize,
    /// Sessions per version.
    pub sessions_per_version: BTreeMap<String, usize>,
}

/// Sends `turns` requests of each session while the canary has `percent`.
///
/// # Errors
/// The share differs by more than four standard deviations, a session flipped, or a request failed.
pub async fn sessions_split(
    testbed: &Testbed,
    sessions: &Sessions,
    turns: u64,
    percent: f64,
) -> ClaimResult<Split> {
    // Pods become ready one after another; until the base is ready, the canary takes all traffic.
    let planned = testbed
        .wait_for_status(ACK_TIMEOUT, "every Envoy to ack the weight", |status| {
            status.all_acked(MODEL, CANARY, percent)
        })
        .await;
    SPLIT.require_ok("the weights", planned)?;
    let report = SPLIT.require_ok("the sessions", sessions.send_all(testbed, turns).await)?;
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

/// The figures of an edit of the label.
#[derive(Debug, Clone)]
pub struct LabelEdit {
    /// How the label was edited.
    pub by: LabelledBy,
    /// Duration of the edit itself.
    pub edit: Duration,
    /// From the end of the edit to the last Envoy's ACK of the new filter configuration.
    pub acked: Duration,
    /// From the end of the edit to the first response on a session's new version.
    pub first_moved: Duration,
    /// From the end of the edit to the last request that a session's old version answered.
    pub last_old: Duration,
    /// Number of sessions that moved, all to the canary.
    pub moved: usize,
    /// Number of sessions that kept their version.
    pub kept: usize,
    /// Requests of the load, all answered with 200.
    pub requests: usize,
    /// The new share.
    pub split: Split,
}

/// Changes the label from `from` to `to` percent under load and observes every session.
///
/// # Errors
/// A failed request, a session that left the canary or moved twice, a wrong share, or a missing ACK.
pub async fn label_raised(
    testbed: &Testbed,
    sessions: &Sessions,
    from: f64,
    to: u32,
) -> ClaimResult<LabelEdit> {
    let load = Load::start(sessions.load(testbed, EDIT_CONCURRENCY));
    let each_once = usize::try_from(sessions.count()).unwrap_or(usize::MAX);
    RAISE.require_ok("the load", load.wait_for(each_once, LOAD_TIMEOUT).await)?;

    // An API server may push the change before the command has returned.
    let (began, unedited) = (Instant::now(), load.now());
    let percent = to.to_string();
    let edited = testbed
        .label(WORKLOAD, "canary-weight", Some(&percent))
        .await;
    let (at, on_load, wall) = (Instant::now(), load.now(), SystemTime::now());
    let by = RAISE.require_ok("the edit", edited)?;
    let target = f64::from(to);
    let status = testbed
        .wait_for_status(ACK_TIMEOUT, "every Envoy to ack the new weight", |status| {
            status.all_acked(MODEL, CANARY, target)
        })
        .await;
    let status = RAISE.require_ok("the push", status)?;
    let acked = RAISE.require_some("the time of the ACK", acked_after(&status, wall))?;
    let settled_at = load.len();
    // One round of all sessions after the ACK, so that every session that moves has moved.
    RAISE.require_ok("the load", load.wait_for(each_once * 2, LOAD_TIMEOUT).await)?;
    let report = load.stop().await;
    all_answered(RAISE, &report)?;

    let before = part(&report, |sent| sent < unedited);
    let after = LoadReport {
        samples: report.samples[settled_at..].to_vec(),
    };
    RAISE.ensure(at.elapsed() > acked, || "time went backwards".into())?;
    split(RAISE, &before, from)?;
    let split = split(RAISE, &after, target)?;
    let moves = SessionMoves::between(&before.assignments(), &after.assignments());
    RAISE.ensure(moves.only_into(CANARY), || {
        format!("sessions moved elsewhere: {:?}", moves.moved)
    })?;
    RAISE.ensure(moves.count() > 0, || "no session moved".into())?;
    let move_times = move_times(&report, on_load)?;
    Ok(LabelEdit {
        by,
        edit: at.duration_since(began),
        acked,
        first_moved: move_times.first_new,
        last_old: move_times.last_old,
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

pub(crate) fn all_answered(claim: Claim, report: &LoadReport) -> ClaimResult<()> {
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

fn split(claim: Claim, report: &LoadReport, percent: f64) -> ClaimResult<Split> {
    let pass = report.assignments();
    let share = share_of(&pass, CANARY, percent / 100.0);
    claim.ensure(share.holds(), || {
        format!(
            "{:.2} % of {} sessions are on {CANARY}, not {percent} % ± {:.2}",
            share.measured * 100.0,
            pass.len(),
            share.bound * 100.0
        )
    })?;
    Ok(Split {
        share,
        sessions: pass.len(),
        requests: report.samples.len(),
        sessions_per_version: headgate_testkit::share::sessions_per_version(&pass),
    })
}

/// Time from `wall` to the last proxy's last ACK of its filters, from the control plane's record; zero if the ACK came first.
fn acked_after(status: &Status, wall: SystemTime) -> Option<Duration> {
    let began = wall.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let acked = status.proxies.iter().map(|p| p.types.get("ecds")?.acked_at);
    let last = acked
        .collect::<Option<Vec<f64>>>()?
        .into_iter()
        .fold(began, f64::max);
    Some(Duration::from_secs_f64(last - began))
}

/// The times of the moves, counted from the edit.
struct MoveTimes {
    first_new: Duration,
    last_old: Duration,
}

/// Also checks that no session moved twice: once a response shows the new version, every request sent later gets it.
fn move_times(report: &LoadReport, edited: Duration) -> ClaimResult<MoveTimes> {
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
    let first_new = RAISE.require_some("an answer that shows a move", first_new)?;
    Ok(MoveTimes {
        first_new: first_new.saturating_sub(edited),
        last_old: last_old.saturating_sub(edited),
    })
}
