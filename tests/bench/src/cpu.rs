//! Placement of threads on cores, and CPU time of Envoy's worker.
//!
//! The worker has a core of its own; Envoy's other threads, the load and the upstream share another one. So the worker's CPU time
//! does not include the cost of two threads that evict each other from a core's caches.

use std::time::Duration;

use headgate_testkit::envoy::Envoy;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use crate::error::BenchError;

/// The name of the only worker's thread.
const WORKER: &str = "wrk:worker_0";

/// Highest core number to check, plus one.
const CORES: usize = 1024;

/// The placement of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The worker on the first core, everything else on the second.
    Separate {
        /// Core of the worker.
        worker: usize,
        /// Core of everything else.
        rest: usize,
    },
    /// There is only one core.
    Shared,
}

/// The available cores, as long as no thread is bound.
///
/// # Errors
/// [`BenchError::Pin`].
pub(crate) fn cores() -> Result<CpuSet, BenchError> {
    sched_getaffinity(None).map_err(|error| BenchError::Pin(error.into()))
}

/// Binds Envoy's threads and the calling thread to these cores.
///
/// # Errors
/// [`BenchError::Pin`], [`BenchError::NoWorker`].
pub(crate) fn place(envoy: &Envoy, allowed: &CpuSet) -> Result<Placement, BenchError> {
    let pin = |error: rustix::io::Errno| BenchError::Pin(error.into());
    let mut cores = (0..CORES).filter(|core| allowed.is_set(*core));
    let (Some(worker), Some(rest)) = (cores.next(), cores.next()) else {
        return Ok(Placement::Shared);
    };
    let mut found = false;
    let tasks = format!("/proc/{}/task", envoy.pid());
    for task in std::fs::read_dir(tasks).map_err(BenchError::Pin)? {
        let task = task.map_err(BenchError::Pin)?;
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let is_worker = name.trim_end() == WORKER;
        found |= is_worker;
        let id = task.file_name().to_string_lossy().parse().ok();
        if let Some(id) = id.and_then(Pid::from_raw) {
            let core = if is_worker { worker } else { rest };
            sched_setaffinity(Some(id), &only(core)).map_err(pin)?;
        }
    }
    sched_setaffinity(None, &only(rest)).map_err(pin)?;
    if found {
        Ok(Placement::Separate { worker, rest })
    } else {
        Err(BenchError::NoWorker)
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// CPU time of the worker so far, read once it sleeps: the kernel accounts a running thread late.
///
/// # Errors
/// [`BenchError`] when Envoy has exited.
pub(crate) async fn spent(envoy: &Envoy) -> Result<Duration, BenchError> {
    /// A worker that never sleeps is still busy; then the last value is the best available.
    const MAX_READS: usize = 50;
    let mut last = worker(envoy)?;
    for _ in 0..MAX_READS {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let now = worker(envoy)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

fn worker(envoy: &Envoy) -> Result<Duration, BenchError> {
    let times = envoy.cpu_time()?;
    times.get(WORKER).copied().ok_or(BenchError::NoWorker)
}
