//! The log lines about models that replicas plan differently. A control plane does not know the plans of the others, so only a client
//! that queries several of them can log it.

use std::time::Instant;

use crate::problem_log::{LoggedProblem, ProblemLog};
use crate::{Report, reason};

/// The logged problems.
#[derive(Default)]
pub(super) struct DifferenceLog(ProblemLog);

impl DifferenceLog {
    /// Logs what changed in a merged document.
    pub(super) fn observe(&mut self, report: &Report) {
        let problems = report.problems.iter();
        let differing = problems.filter(|problem| problem.reason == reason::REPLICAS_DIFFER);
        let differing = differing.cloned().map(LoggedProblem::from).collect();
        for line in self.0.observe(differing, Instant::now()) {
            line.log();
        }
    }
}
