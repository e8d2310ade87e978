//! Cause and fix of each reason: of problems, of Events and of conditions.

mod conditions;
mod control_plane;
mod endpoints;
mod labels;
mod mesh;
mod policies;

pub use self::conditions::{CONDITIONS, ConditionExplanation};

/// Explanation of a reason.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// The reason, as in `headgate status`, Events, conditions and metrics.
    pub reason: &'static str,
    /// The severities that the problem can have; empty for a reason of Events and conditions alone.
    pub severities: &'static [&'static str],
    /// The situation.
    pub cause: &'static str,
    /// The fix.
    pub fix: &'static str,
}

const fn row(
    reason: &'static str,
    severities: &'static [&'static str],
    cause: &'static str,
    fix: &'static str,
) -> Explanation {
    Explanation {
        reason,
        severities,
        cause,
        fix,
    }
}

const ERROR: &[&str] = &["error"];
const WARNING: &[&str] = &["warning"];
const INFO: &[&str] = &["info"];
const WARNING_OR_ERROR: &[&str] = &["warning", "error"];
const ANY: &[&str] = &["info", "warning", "error"];
const EVENT: &[&str] = &[];

const NONE: &str = "None; this is for information.";

/// The explanations of all reasons of problems and Events.
pub fn explanations() -> impl Iterator<Item = &'static Explanation> {
    let subjects = [
        mesh::ROWS,
        labels::ROWS,
        endpoints::ROWS,
        policies::ROWS,
        control_plane::ROWS,
    ];
    subjects.into_iter().flatten()
}
