//! `headgate wait`: waits until a condition holds at every replica, for CI pipelines and scripts.

use std::time::{Duration, Instant};

use super::connections::{Connections, Step};
use super::fetch::Answers;
use super::{Condition, Credentials, Failure, Goal, HostPort, Outcome, fetch};
use crate::Query;
use crate::output::{print, print_error};
use crate::view::merge::merge;

/// Longest wait for an event before the condition is evaluated again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Options of `headgate wait`.
#[derive(Debug, Clone)]
pub struct WaitOptions {
    /// Admin addresses of the control planes.
    pub hosts: Vec<HostPort>,
    /// What the client presents to them.
    pub credentials: Credentials,
    /// The model.
    pub query: Query,
    /// The condition.
    pub goal: Goal,
    /// How long to wait. Zero evaluates the condition once.
    pub timeout: Duration,
}

/// Waits until the condition holds. The outcome is negative on a timeout; the reason is on standard error.
///
/// # Errors
/// No name has an address, the condition is ambiguous, or standard output cannot be written.
pub fn wait(options: &WaitOptions) -> Result<Outcome, Failure> {
    let model = options.query.model.as_deref().unwrap_or_default();
    let last = if options.timeout.is_zero() {
        let addresses = fetch::resolve(&options.hosts)?;
        evaluate(
            &options.goal,
            fetch::fetch_all(&addresses, &options.query, &options.credentials),
            &[],
        )
    } else {
        poll(options)?
    };
    match last {
        Condition::Met(message) => {
            print(&format!("{message}\n"))?;
            Ok(Outcome::Success)
        }
        Condition::Ambiguous(why) => Err(format!("--for {}: {why}", options.goal).into()),
        Condition::Unmet(why) => {
            print_error(&format!(
                "headgate: {} does not hold for model {model} after {}s: {why}",
                options.goal,
                options.timeout.as_secs()
            ));
            Ok(Outcome::Negative)
        }
    }
}

/// The first condition that ends the wait, or the last one before the timeout.
fn poll(options: &WaitOptions) -> Result<Condition, Failure> {
    let deadline = Instant::now() + options.timeout;
    let mut connections =
        Connections::open(&options.hosts, &options.credentials, options.query.clone())?;
    let mut last = Condition::Unmet("no control plane has answered".to_owned());
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(last);
        }
        if let Step::Interrupted = connections.next(left.min(INTERVAL)) {
            return Err("interrupted".into());
        }
        let Some(answers) = connections.answers() else {
            continue;
        };
        last = evaluate(&options.goal, answers, &connections.missing_peers());
        if !matches!(last, Condition::Unmet(_)) {
            return Ok(last);
        }
    }
}

fn evaluate(goal: &Goal, answers: Answers, missing: &[String]) -> Condition {
    match merge(answers) {
        Ok(report) => goal.evaluate(&report, missing),
        Err(why) => Condition::Unmet(format!("no control plane answers: {why}")),
    }
}
