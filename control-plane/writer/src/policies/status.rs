//! Conditions of a policy: its outcome and proxy counts → the status to write, if it differs from the stored one.
//!
//! Pure: the time is an argument. Invariant: equal inputs cause no write; `lastTransitionTime` changes only with `status`.

use headgate_contract::ConditionStatus::{self, False, True, Unknown};
use headgate_contract::{ChargeAt, Condition};
use headgate_model::{PolicyCondition, PolicyOutcome};
use k8s_openapi::jiff::Timestamp;

use crate::conditions::condition;
use crate::counts::PolicyRollup;

/// Condition: the policy is valid, and at least a part of it takes effect.
pub const ACCEPTED: &str = "Accepted";
/// Condition: every object that it names exists.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Condition: every connected proxy in its scope has it.
pub const PROGRAMMED: &str = "Programmed";

/// A desired condition without its time.
struct DesiredCondition {
    kind: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

/// The conditions to write; `None` if they are stored already.
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
            condition(wanted.kind, says, outcome.generation, stored, now)
        })
        .collect();
    let same = conditions
        .iter()
        .all(|condition| find(&condition.type_) == Some(condition));
    (!same).then_some(conditions)
}

fn of(kind: &'static str, condition: &PolicyCondition) -> DesiredCondition {
    DesiredCondition {
        kind,
        status: if condition.holds { True } else { False },
        reason: condition.reason,
        message: condition.message.clone(),
    }
}

fn programmed(outcome: &PolicyOutcome, counts: PolicyRollup) -> DesiredCondition {
    let PolicyRollup { connected, acked } = counts;
    let condition = |status, reason, message: String| DesiredCondition {
        kind: PROGRAMMED,
        status,
        reason,
        message,
    };
    // No proxy gets the policy. The condition explains why.
    if !outcome.accepted.holds {
        return condition(
            False,
            outcome.accepted.reason,
            outcome.accepted.message.clone(),
        );
    }
    if outcome.namespaces.is_empty() {
        return condition(
            False,
            outcome.resolved.reason,
            joined(&outcome.resolved.message, unserved(outcome)),
        );
    }
    // No proxy will ever get the policy, so this is not `Reconciling`.
    if let Some(why) = unserved(outcome).filter(|_| outcome.namespaces == outcome.unserved) {
        return condition(False, "NoDomain", why);
    }
    match (acked, connected) {
        (_, 0) => condition(Unknown, "NoProxies", no_proxies(outcome).to_owned()),
        (acked, connected) if acked >= connected => condition(
            True,
            "Programmed",
            joined(
                &joined(
                    &format!("{connected} of {connected} proxies have it"),
                    spent_apart(outcome, connected),
                ),
                unserved(outcome),
            ),
        ),
        (acked, connected) => condition(
            False,
            "Reconciling",
            joined(
                &format!("{acked} of {connected} proxies have it"),
                spent_apart(outcome, acked),
            ),
        ),
    }
}

fn no_proxies(outcome: &PolicyOutcome) -> &'static str {
    match outcome.at {
        None if outcome.authenticates => {
            "no proxy with the listener that Headgate renders is connected, or with the filter headgate.jwt in a listener of its own"
        }
        None => "no proxy that serves its models is connected",
        Some(ChargeAt::Decide) => "no proxy that decides about its models and limits is connected",
        Some(ChargeAt::Inbound) => {
            "no proxy with a filter that follows is connected, and `spec.at` is inbound: remove `at`, or add the filter headgate.follow \
             to the proxies of the models. In a mesh, allow their identities with --allow-identity or --scopes"
        }
    }
}

/// The message that every proxy has its own copy of the buckets, so they do not share a budget. `None` if the policy has no buckets, or
/// only one proxy charges them.
fn spent_apart(outcome: &PolicyOutcome, proxies: u32) -> Option<String> {
    let apart = outcome.at.is_some() && proxies > 1;
    apart.then(|| format!("spent apart by {proxies} proxies: each has its own buckets"))
}

/// The message about namespaces without a domain, where no proxy gets the policy. `None` if there is none.
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
