//! Load from sticky sessions, spread over all Envoys.
//!
//! Invariant: half of the sessions send a header of theirs, the other half nothing but the conversation; each meets every Envoy.

use std::time::Duration;

use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport, OpenAiRequest};
use headgate_testkit::share::{Pass, flips};

use crate::edge::Edge;
use crate::{ClusterError, world::SOON};

/// Requests in flight.
const CONCURRENCY: usize = 8;
/// Rest of each loop between two requests: the load shall not be what keeps a small machine busy.
const REST: Duration = Duration::from_millis(4);

/// A set of sessions of one model.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// The model.
    pub model: String,
    /// How many.
    pub count: u64,
}

impl Sessions {
    /// Starts the load: all sessions, one turn after the other, over and over.
    #[must_use]
    pub fn load(&self, edges: &[Edge]) -> Load {
        let urls: Vec<String> = edges.iter().map(|edge| edge.url().to_owned()).collect();
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
        options.rest = REST;
        Load::start(options)
    }

    /// Which version answers each session from now on: waits until each has asked every Envoy once more.
    ///
    /// # Errors
    /// [`ClusterError::TimedOut`], and [`ClusterError::NotMeasured`] when a session met two versions meanwhile.
    pub async fn pass(&self, load: &Load, envoys: usize) -> Result<Pass, ClusterError> {
        // An Envoy acks before its workers take the change up: each has answered something once more before it counts.
        load.wait_for(4 * envoys * CONCURRENCY, SOON).await?;
        let (from, now) = (load.len(), load.now());
        let each = usize::try_from(self.count).unwrap_or(usize::MAX);
        // What is in flight now was sent before.
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
        let pass = report.pass();
        if pass.len() == each {
            return Ok(pass);
        }
        let why = format!(
            "{} of {each} sessions were answered: {}",
            pass.len(),
            told(&report)
        );
        Err(ClusterError::NotMeasured(why))
    }
}

/// What came, in words.
#[must_use]
pub fn told(report: &LoadReport) -> String {
    let outcomes = report.outcomes().into_iter();
    let outcomes = outcomes.map(|(outcome, count)| format!("{count} × {outcome}"));
    outcomes.collect::<Vec<_>>().join(", ")
}
