//! Closed-loop load: N sessions' worth of requests in flight until told to stop, every answer on record.
//!
//! Invariant: nothing is dropped from the record. A request that got no answer is an [`Outcome::Failed`], so "no
//! response other than 200 and 429" also means that no connection broke.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{HttpClient, HttpRequest};
use crate::deadline::{TimedOut, eventually};
use crate::share::{self, Pass};

/// One request of the load and the session it belongs to.
#[derive(Debug, Clone)]
pub struct Job {
    /// The session key, for the record.
    pub session: String,
    /// What to send.
    pub request: HttpRequest,
}

/// What load to make.
#[derive(Clone)]
pub struct LoadOptions {
    /// Requests in flight at any time.
    pub concurrency: usize,
    /// Rest of each loop after an answer; zero for none.
    pub rest: Duration,
    /// The client, and with it the time an answer may take.
    pub client: HttpClient,
    /// Makes the n-th request, n from 0 without gaps over all loops.
    pub job: Arc<dyn Fn(u64) -> Job + Send + Sync>,
}

impl LoadOptions {
    /// Load without rests over one HTTP/1.1 pool.
    pub fn new(concurrency: usize, job: impl Fn(u64) -> Job + Send + Sync + 'static) -> Self {
        Self {
            concurrency,
            rest: Duration::ZERO,
            client: HttpClient::new(),
            job: Arc::new(job),
        }
    }
}

/// How one request ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// With a whole answer of this status.
    Status(u16),
    /// Without one.
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

/// One request on record.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was sent, since the load began.
    pub sent: Duration,
    /// From sending to the end of the answer.
    pub latency: Duration,
    /// The session key.
    pub session: String,
    /// How it ended.
    pub outcome: Outcome,
    /// `x-model-version` of the response.
    pub version: Option<String>,
}

/// The record of a load.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// In the order in which answers came.
    pub samples: Vec<Sample>,
}

impl LoadReport {
    /// How often each outcome came.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<Outcome, usize> {
        let mut counts = BTreeMap::new();
        for sample in &self.samples {
            *counts.entry(sample.outcome.clone()).or_default() += 1;
        }
        counts
    }

    /// How many answers had this status.
    #[must_use]
    pub fn count(&self, status: u16) -> usize {
        let wanted = Outcome::Status(status);
        self.samples.iter().filter(|s| s.outcome == wanted).count()
    }

    /// The samples that ended in anything but these statuses.
    #[must_use]
    pub fn other_than(&self, statuses: &[u16]) -> Vec<&Sample> {
        self.samples
            .iter()
            .filter(|s| !matches!(s.outcome, Outcome::Status(status) if statuses.contains(&status)))
            .collect()
    }

    /// The version of each session's last 200.
    #[must_use]
    pub fn pass(&self) -> Pass {
        self.answered()
            .map(|(session, version)| (session.to_owned(), version.to_owned()))
            .collect()
    }

    /// Sessions whose 200s came from more than one version.
    #[must_use]
    pub fn flips(&self) -> BTreeMap<String, std::collections::BTreeSet<String>> {
        share::flips(self.answered())
    }

    /// The latency below which the fraction `q` (0–1) of the samples lie; zero when there are none.
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

/// A load that is running. Dropping it ends it at once; [`Load::stop`] lets what is in flight finish.
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

    /// The record so far, from sample `from` on.
    #[must_use]
    pub fn since(&self, from: usize) -> LoadReport {
        let samples = self.shared.lock();
        LoadReport {
            samples: samples.get(from..).unwrap_or_default().to_vec(),
        }
    }

    /// How many samples are on record.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().len()
    }

    /// Whether nothing is on record yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `more` further samples are on record.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub async fn wait_for(&self, more: usize, within: Duration) -> Result<(), TimedOut> {
        let goal = self.len() + more;
        eventually(within, &format!("{more} more answers"), async || {
            let have = self.len();
            if have >= goal {
                Ok(())
            } else {
                Err(format!("{} missing", goal - have))
            }
        })
        .await
    }

    /// Sends nothing more, waits for what is in flight, and returns the record.
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
        let (outcome, version) = match answer {
            Ok(reply) => (
                Outcome::Status(reply.status),
                reply.header("x-model-version").map(str::to_owned),
            ),
            Err(error) => (Outcome::Failed(error.to_string()), None),
        };
        shared.lock().push(Sample {
            sent,
            latency,
            session: job.session,
            outcome,
            version,
        });
        if !options.rest.is_zero() {
            tokio::time::sleep(options.rest).await;
        }
    }
}
