//! Closed-loop load: a fixed number of requests in flight until stopped, with a record of every response.
//!
//! Invariant: the record is complete. A request without a response is an [`Outcome::Failed`], so "no response other than
//! 200 and 429" also means that no connection broke.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{HttpClient, HttpRequest, Reply};
use crate::deadline::{TimedOut, eventually};
use crate::share::{self, Assignments};

/// One request of the load and the session it belongs to.
#[derive(Debug, Clone)]
pub struct Job {
    /// The session key, for the record.
    pub session: String,
    /// The request to send.
    pub request: HttpRequest,
}

/// The load to generate.
#[derive(Clone)]
pub struct LoadOptions {
    /// Requests in flight at any time.
    pub concurrency: usize,
    /// Pause of each loop after a response; zero for none.
    pub pause: Duration,
    /// The client; its timeout bounds each response.
    pub client: HttpClient,
    /// Makes request number `n`; `n` counts from 0 without gaps over all loops.
    pub job: Arc<dyn Fn(u64) -> Job + Send + Sync>,
}

impl LoadOptions {
    /// Load without rests over one HTTP/1.1 pool.
    pub fn new(concurrency: usize, job: impl Fn(u64) -> Job + Send + Sync + 'static) -> Self {
        Self {
            concurrency,
            pause: Duration::ZERO,
            client: HttpClient::new(),
            job: Arc::new(job),
        }
    }
}

/// The result of one request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A complete response with this status.
    Status(u16),
    /// No complete response.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// One recorded request.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was sent, counted from the start of the load.
    pub sent: Duration,
    /// From sending to the end of the response.
    pub latency: Duration,
    /// The session key.
    pub session: String,
    /// Its result.
    pub outcome: Outcome,
    /// `x-model-version` of the response.
    pub version: Option<String>,
    /// The beginning of the body of a response other than 200, for messages about a failure.
    pub detail: String,
    /// `x-mock-served-by` of the response: the mock model that answered.
    pub served_by: Option<String>,
}

/// The record of a load.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// In the order of the responses.
    pub samples: Vec<Sample>,
}

impl LoadReport {
    /// The number of requests for each outcome.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<Outcome, usize> {
        let mut counts = BTreeMap::new();
        for sample in &self.samples {
            *counts.entry(sample.outcome.clone()).or_default() += 1;
        }
        counts
    }

    /// The number of responses with this status.
    #[must_use]
    pub fn count(&self, status: u16) -> usize {
        let wanted = Outcome::Status(status);
        self.samples.iter().filter(|s| s.outcome == wanted).count()
    }

    /// The samples whose result is none of these statuses.
    #[must_use]
    pub fn other_than(&self, statuses: &[u16]) -> Vec<&Sample> {
        self.samples
            .iter()
            .filter(|s| !matches!(s.outcome, Outcome::Status(status) if statuses.contains(&status)))
            .collect()
    }

    /// The version that answered each session's last 200.
    #[must_use]
    pub fn assignments(&self) -> Assignments {
        self.answered()
            .map(|(session, version)| (session.to_owned(), version.to_owned()))
            .collect()
    }

    /// Sessions whose 200s came from more than one version, with these versions.
    #[must_use]
    pub fn flips(&self) -> BTreeMap<String, std::collections::BTreeSet<String>> {
        share::flips(self.answered())
    }

    /// The latency quantile `q` (0–1); zero without samples.
    #[must_use]
    pub fn latency(&self, q: f64) -> Duration {
        let mut all: Vec<Duration> = self.samples.iter().map(|s| s.latency).collect();
        all.sort_unstable();
        let rank = (q.clamp(0.0, 1.0) * all.len() as f64).ceil() as usize;
        all.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    fn answered(&self) -> impl Iterator<Item = (&str, &str)> {
        self.samples
            .iter()
            .filter(|s| s.outcome == Outcome::Status(200))
            .filter_map(|s| Some((s.session.as_str(), s.version.as_deref()?)))
    }
}

/// A running load. Dropping it aborts the requests in flight; [`Load::stop`] waits for them.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    loops: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    samples: Mutex<Vec<Sample>>,
}

impl Load {
    /// Starts the loops on the current runtime.
    #[must_use]
    pub fn start(options: LoadOptions) -> Self {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            samples: Mutex::default(),
        });
        let mut loops = JoinSet::new();
        for _ in 0..options.concurrency {
            loops.spawn(run(options.clone(), Arc::clone(&shared)));
        }
        Self { shared, loops }
    }

    /// The time since the load began, on the scale of [`Sample::sent`].
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// The record from sample `from` on.
    #[must_use]
    pub fn since(&self, from: usize) -> LoadReport {
        let samples = self.shared.lock();
        LoadReport {
            samples: samples.get(from..).unwrap_or_default().to_vec(),
        }
    }

    /// The number of recorded samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().len()
    }

    /// Whether no sample is recorded yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `more` further samples are recorded.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub async fn wait_for(&self, more: usize, within: Duration) -> Result<(), TimedOut> {
        let goal = self.len() + more;
        eventually(within, &format!("{more} more responses"), async || {
            let have = self.len();
            if have >= goal {
                Ok(())
            } else {
                Err(format!("{} missing", goal - have))
            }
        })
        .await
    }

    /// Sends no further request, waits for those in flight, and returns the record.
    pub async fn stop(mut self) -> LoadReport {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.loops.join_next().await.is_some() {}
        LoadReport {
            samples: std::mem::take(&mut *self.shared.lock()),
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(options: LoadOptions, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let job = (options.job)(shared.next.fetch_add(1, Ordering::Relaxed));
        let sent = shared.began.elapsed();
        let answer = options.client.send(job.request).await;
        let latency = shared.began.elapsed() - sent;
        let (outcome, version, served_by, detail) = match answer {
            Ok(reply) => (
                Outcome::Status(reply.status),
                reply.header("x-model-version").map(str::to_owned),
                reply.header("x-mock-served-by").map(str::to_owned),
                detail(&reply),
            ),
            Err(error) => (
                Outcome::Failed(error.to_string()),
                None,
                None,
                String::new(),
            ),
        };
        shared.lock().push(Sample {
            sent,
            latency,
            session: job.session,
            outcome,
            version,
            served_by,
            detail,
        });
        if !options.pause.is_zero() {
            tokio::time::sleep(options.pause).await;
        }
    }
}

fn detail(reply: &Reply) -> String {
    match reply.status {
        200 => String::new(),
        _ => reply.text().chars().take(200).collect(),
    }
}
