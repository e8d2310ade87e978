//! What became of a policy and how many proxies have it → the status to write, if it differs from the one there.
//!
//! Pure: time is an argument. Invariant: equal outcomes and counts ask for nothing, so a status settles; a condition's
//! time changes only with its status.

use headgate_model::{PolicyOutcome, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// Condition: the policy says something that can be done, and some of it counts.
pub const ACCEPTED: &str = "Accepted";
/// Condition: all that it names exists.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Condition: every connected proxy that it concerns has it.
pub const PROGRAMMED: &str = "Programmed";

/// Longest message, in characters: what `kubectl describe` still shows well.
const LONGEST: usize = 1024;

/// Proxies in a policy's scope, over all replicas of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Those connected (M).
    pub connected: u32,
    /// Those of them whose ACKed filter configuration holds at least this generation (N).
    pub acked: u32,
}

/// A condition as it should be, but for its time.
struct Wanted {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

/// The conditions to write, or `None` where `stored` says the same already.
#[must_use]
pub fn to_write(
    outcome: &PolicyOutcome,
    counts: Counts,
    stored: &[Condition],
    now: Timestamp,
) -> Option<Vec<Condition>> {
    let wanted = [
        of(ACCEPTED, &outcome.accepted),
        of(RESOLVED_REFS, &outcome.resolved),
        programmed(outcome, counts),
    ];
    let find = |kind: &str| stored.iter().find(|condition| condition.type_ == kind);
    let conditions: Vec<Condition> = wanted
        .into_iter()
        .map(|wanted| {
            let before = find(wanted.kind).filter(|before| before.status == wanted.status);
            Condition {
                last_transition_time: before
                    .map_or(Time(now), |before| before.last_transition_time.clone()),
                message: wanted.message,
                observed_generation: Some(outcome.generation),
                reason: wanted.reason.to_owned(),
                status: wanted.status.to_owned(),
                type_: wanted.kind.to_owned(),
            }
        })
        .collect();
    let same = conditions
        .iter()
        .all(|condition| find(&condition.type_) == Some(condition));
    (!same).then_some(conditions)
}

fn of(kind: &'static str, verdict: &Verdict) -> Wanted {
    Wanted {
        kind,
        status: if verdict.holds { "True" } else { "False" },
        reason: verdict.reason,
        message: short(&verdict.message),
    }
}

fn programmed(outcome: &PolicyOutcome, counts: Counts) -> Wanted {
    let Counts { connected, acked } = counts;
    let told = |status, reason, message: String| Wanted {
        kind: PROGRAMMED,
        status,
        reason,
        message: short(&message),
    };
    // Nothing is told to a proxy: why not is what people look for here.
    if !outcome.accepted.holds {
        return told(
            "False",
            outcome.accepted.reason,
            outcome.accepted.message.clone(),
        );
    }
    if outcome.namespaces.is_empty() {
        return told(
            "False",
            outcome.resolved.reason,
            outcome.resolved.message.clone(),
        );
    }
    match (acked, connected) {
        (_, 0) => told(
            "Unknown",
            "NoProxies",
            "no proxy of its models is connected".to_owned(),
        ),
        (acked, connected) if acked >= connected => told(
            "True",
            "Programmed",
            format!("{connected} of {connected} proxies have it"),
        ),
        (acked, connected) => told(
            "False",
            "Reconciling",
            format!("{acked} of {connected} proxies have it"),
        ),
    }
}

fn short(message: &str) -> String {
    match message.char_indices().nth(LONGEST - 1) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
