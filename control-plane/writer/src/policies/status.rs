//! What became of a policy and how many proxies have it → the status to write, if it differs from the one there.
//!
//! Pure: time is an argument. Invariant: equal outcomes and counts ask for nothing, so a status settles; a condition's
//! time changes only with its status.

use headgate_model::{PolicyCondition, PolicyOutcome};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::conditions::condition;
use crate::counts::PolicyRollup;

/// Condition: the policy says something that can be done, and some of it counts.
pub const ACCEPTED: &str = "Accepted";
/// Condition: all that it names exists.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Condition: every connected proxy that it concerns has it.
pub const PROGRAMMED: &str = "Programmed";

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
    counts: PolicyRollup,
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
            let says = (wanted.status, wanted.reason, wanted.message.as_str());
            let stored = find(wanted.kind);
            condition(wanted.kind, says, outcome.generation, stored, &Time(now))
        })
        .collect();
    let same = conditions
        .iter()
        .all(|condition| find(&condition.type_) == Some(condition));
    (!same).then_some(conditions)
}

fn of(kind: &'static str, condition: &PolicyCondition) -> Wanted {
    Wanted {
        kind,
        status: if condition.holds { "True" } else { "False" },
        reason: condition.reason,
        message: condition.message.clone(),
    }
}

fn programmed(outcome: &PolicyOutcome, counts: PolicyRollup) -> Wanted {
    let PolicyRollup { connected, acked } = counts;
    let told = |status, reason, message: String| Wanted {
        kind: PROGRAMMED,
        status,
        reason,
        message,
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
            joined(&outcome.resolved.message, unserved(outcome)),
        );
    }
    // Waiting does not help: no proxy will ever get it.
    if let Some(why) = unserved(outcome).filter(|_| outcome.namespaces == outcome.unserved) {
        return told("False", "NoDomain", why);
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
            joined(
                &format!("{connected} of {connected} proxies have it"),
                unserved(outcome),
            ),
        ),
        (acked, connected) => told(
            "False",
            "Reconciling",
            format!("{acked} of {connected} proxies have it"),
        ),
    }
}

/// The message on namespaces without a domain, where no proxy gets the policy. `None` if there is none.
fn unserved(outcome: &PolicyOutcome) -> Option<String> {
    let namespaces: Vec<&str> = outcome.unserved.iter().map(String::as_str).collect();
    let first = namespaces.first()?;
    let all = namespaces.join(", ");
    Some(format!(
        "no domain is configured for namespace {all}, so no proxy serves it: start headgate with --domain {first}=<domain>"
    ))
}

fn joined(message: &str, more: Option<String>) -> String {
    more.map_or_else(|| message.to_owned(), |more| format!("{message}; {more}"))
}
