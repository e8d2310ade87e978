//! Logs the problems of this process: those that its status document shows.
//!
//! Invariant: the log does not depend on whether somebody queries the status.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use headgate_model::Finding;
use headgate_publisher::Published;
use headgate_report::problem_log::{CarriedModels, LoggedProblem, ProblemLog};
use headgate_report::{logged_problems, logged_unreachable};

use super::Admin;
use super::report_cache::Changes;

/// Shortest time between two rounds. A rollout of thousands of pods changes the state every few milliseconds.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Logs until the publisher ends.
pub(crate) async fn log_problems(admin: Admin) {
    let mut changes = Changes::new(&admin);
    let mut logs = Logs::default();
    loop {
        changes.mark_known();
        logs.observe(&admin, Instant::now());
        let due = logs.due().map(tokio::time::Instant::from_std);
        tokio::select! {
            ended = changes.wait() => if ended { return },
            () = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
        tokio::time::sleep(MIN_INTERVAL).await;
    }
}

#[derive(Default)]
struct Logs {
    /// Findings, which change only with the plan and can be thousands.
    findings: ProblemLog,
    /// Everything else.
    others: ProblemLog,
    /// The publication whose findings were taken in.
    last: Option<Arc<Published>>,
}

impl Logs {
    fn observe(&mut self, admin: &Admin, now: Instant) {
        let published = admin.published.borrow().clone();
        let mut others: BTreeSet<LoggedProblem> =
            admin.state_problems().map(LoggedProblem::from).collect();
        if let Some(published) = published {
            others.extend(logged_problems(&published, &admin.scopes));
            let reporters = admin.loads.reporters(SystemTime::now());
            others.extend(logged_unreachable(&published, &admin.scopes, &reporters));
            self.observe_findings(published, now);
        }
        for line in self.others.observe(others, now) {
            line.log();
        }
    }

    fn observe_findings(&mut self, published: Arc<Published>, now: Instant) {
        let is_known = self.last.as_ref().is_some_and(|last| {
            Arc::ptr_eq(last, &published) || last.plan.findings == published.plan.findings
        });
        if !is_known || self.findings.due().is_some_and(|due| due <= now) {
            let Published { plan, observed, .. } = &*published;
            let models = CarriedModels::new(plan);
            let logged = |finding: &Finding| LoggedProblem::of_finding(finding, &models, observed);
            let findings = plan.findings.iter().map(logged).collect();
            for line in self.findings.observe(findings, now) {
                line.log();
            }
        }
        self.last = Some(published);
    }

    fn due(&self) -> Option<Instant> {
        self.findings
            .due()
            .into_iter()
            .chain(self.others.due())
            .min()
    }
}
