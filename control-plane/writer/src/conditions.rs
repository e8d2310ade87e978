//! Status conditions, for every kind that has some.
//!
//! Invariant: `lastTransitionTime` changes only with `status`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message, in characters: `kubectl describe` still shows it well.
const LONGEST: usize = 1024;

/// The condition of this kind; `stored` is the one that is there.
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

/// The message, cut to [`LONGEST`] characters.
pub(crate) fn short(message: &str) -> String {
    match message.char_indices().nth(LONGEST - 1) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
