//! Load from sticky sessions, spread over all Envoys.
//!
//! Invariant: half of the sessions send a session header, the other half only the conversation; each session uses every Envoy.

use std::time::Duration;

use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport, OpenAiRequest};
use headgate_testkit::share::{Assignments, flips};

use crate::ClusterError;
use crate::envoy::ClusterEnvoy;
use crate::test_cluster::SOON;

/// Requests in flight.
const CONCURRENCY: usize = 8;
/// Pause of each loop between two requests, so that the load does not saturate a small machine.
const PAUSE: Duration = Duration::from_millis(4);

/// A set of sessions of one model.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// The model.
    pub model: String,
    /// Number of sessions.
    pub count: u64,
}

impl Sessions {
    /// Starts the load: all sessions, one turn after the other, repeated.
    #[must_use]
    pub fn load(&self, envoys: &[ClusterEnvoy]) -> Load {
        let urls: Vec<String> = envoys.iter().map(|envoy| envoy.url().to_owned()).collect();
        let (model, count) = (self.model.clone(), self.count);
        let mut options = LoadOptions::new(CONCURRENCY, move |n| {
            let (number, turn) = (n % count, n / count);
            let key = format!("session-{number}");
            let mut request = OpenAiRequest::chat(&model)
                .prompt(&format!("the question of {key}"))
                .max_tokens(16);
            if number % 2 == 0 {
                request = request.header("x-session-id", key.clone());
            }
            let to = usize::try_from(number + turn).unwrap_or_default() % urls.len();
            Job {
                session: key,
                request: request.to(&urls[to]),
            }
        });
        options.pause = PAUSE;
        Load::start(options)
    }

    /// The version that answers each session from now on; waits until each session has used every Envoy once more.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`], and [`ClusterError::NotMeasured`] when a session saw two versions meanwhile.
    pub async fn pass(&self, load: &Load, envoys: usize) -> Result<Assignments, ClusterError> {
        // An Envoy acknowledges before its workers apply the change, so each must have answered once more before responses count.
        load.wait_for(4 * envoys * CONCURRENCY, SOON).await?;
        let (from, now) = (load.len(), load.now());
        let each = usize::try_from(self.count).unwrap_or(usize::MAX);
        // Requests in flight were sent before.
        load.wait_for(each * envoys + 2 * CONCURRENCY, SOON).await?;
        let mut report = load.since(from);
        report.samples.retain(|sample| sample.sent >= now);
        let answers = report.samples.iter().filter_map(|sample| {
            let version = sample.version.as_deref()?;
            Some((sample.session.as_str(), version))
        });
        let flipped = flips(answers);
        if !flipped.is_empty() {
            let why = format!("{} sessions flipped: {flipped:?}", flipped.len());
            return Err(ClusterError::NotMeasured(why));
        }
        let pass = report.assignments();
        if pass.len() == each {
            return Ok(pass);
        }
        let why = format!(
            "{} of {each} sessions were answered: {}",
            pass.len(),
            summary(&report)
        );
        Err(ClusterError::NotMeasured(why))
    }
}

/// The outcomes of a load, as text.
#[must_use]
pub fn summary(report: &LoadReport) -> String {
    let outcomes = report.outcomes().into_iter();
    let outcomes = outcomes.map(|(outcome, count)| format!("{count} × {outcome}"));
    outcomes.collect::<Vec<_>>().join(", ")
}
