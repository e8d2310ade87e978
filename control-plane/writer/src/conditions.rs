//! Status conditions, for all kinds.
//!
//! Invariant: `lastTransitionTime` changes only with `status`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message, in characters, so that `kubectl describe` stays readable.
const MAX_MESSAGE: usize = 1024;

/// A condition of this type. `stored` is the current one.
pub(crate) fn condition(
    kind: &str,
    (status, reason, message): (&str, &str, &str),
    generation: i64,
    stored: Option<&Condition>,
    now: &Time,
) -> Condition {
    let same = stored.filter(|stored| stored.status == status);
    let time = same.map_or(now, |stored| &stored.last_transition_time);
    Condition {
        last_transition_time: time.clone(),
        message: short(message),
        observed_generation: Some(generation),
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: kind.to_owned(),
    }
}

/// The message, cut to [`MAX_MESSAGE`] characters.
pub(crate) fn short(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE - 1) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
