//! Status conditions, for all kinds.
//!
//! Invariant: `lastTransitionTime` changes only with `status`.

use headgate_contract::{Condition, ConditionStatus};
use k8s_openapi::jiff::Timestamp;

/// Longest message, in characters, so that `kubectl describe` stays readable.
const MAX_MESSAGE: usize = 1024;

/// A condition of this type. `stored` is the current one.
pub(crate) fn condition(
    kind: &str,
    (status, reason, message): (ConditionStatus, &str, &str),
    generation: i64,
    stored: Option<&Condition>,
    now: Timestamp,
) -> Condition {
    let same = stored.filter(|stored| stored.status == status);
    let time = same.map(|stored| stored.last_transition_time.clone());
    Condition {
        last_transition_time: time.unwrap_or_else(|| rfc3339(now)),
        message: short(message),
        observed_generation: Some(generation),
        reason: reason.to_owned(),
        status,
        type_: kind.to_owned(),
    }
}

/// The time as the Kubernetes API writes it: in whole seconds.
fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The message, cut to [`MAX_MESSAGE`] characters.
pub(crate) fn short(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE - 1) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
