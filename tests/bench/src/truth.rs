//! What one truth for each key of a bucket costs beside time: tries of a compare-and-swap that other workers win, reserves that are
//! given up after losing all of them, and the memory of keys.

use std::path::Path;

use futures::future::try_join_all;
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use serde::Serialize;

use crate::bootstrap::{self, Listener, Routes};
use crate::error::BenchError;
use crate::filters::{Ours, ours};
use crate::load::Load;
use crate::{fleet, requests, upstream};

/// Requests on one hot key.
const HOT: u64 = 400_000;
/// Sets of connections; each has several.
const LOADS: u64 = 4;
/// Tenants whose buckets are remembered.
const TENANTS: u64 = 100_000;
/// Of so many reserves, fewer than one is given up.
const GIVEN_UP: u64 = 100_000;
/// Most bytes a key may take of Envoy's memory, with its share of its set: of 65 536 sets, most hold one or two of these keys.
const BYTES: u64 = 400;

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    /// So many workers spend one bucket.
    Contention(u32),
    /// The memory of keys.
    Memory,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TruthReport {
    /// Its name for `--only`.
    pub id: String,
    /// What it is.
    pub title: String,
    /// What was measured.
    pub value: String,
    /// What is aimed at.
    pub mark: String,
    /// Whether it is kept.
    pub holds: bool,
}

impl Truth {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::Contention(2), Self::Contention(8), Self::Memory];

    /// Its name for `--only`.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Contention(2) => "buckets-hot-2",
            Self::Contention(_) => "buckets-hot-8",
            Self::Memory => "buckets-memory",
        }
    }
}

/// Measures them, one after another.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn measure(
    truths: &[Truth],
    module: &Path,
) -> Result<Vec<TruthReport>, BenchError> {
    let mut found = Vec::new();
    if truths.is_empty() {
        return Ok(found);
    }
    let module = module.canonicalize().unwrap_or_else(|_| module.into());
    for truth in truths {
        found.push(match truth {
            Truth::Contention(workers) => contention(*truth, *workers, &module).await?,
            Truth::Memory => memory(*truth, &module).await?,
        });
    }
    Ok(found)
}

/// An Envoy with our filter alone, and connections to it.
async fn start(id: &str, workers: u32, module: &Path) -> Result<(Envoy, Vec<Load>), BenchError> {
    let upstream = upstream::start().await.map_err(BenchError::Upstream)?;
    let dir = tempfile::tempdir().map_err(BenchError::Files)?;
    let listener = Listener {
        name: id.to_owned(),
        filters: vec![ours(id, module, Ours::by("tenant"))],
        routes: Routes::Upstream(None),
    };
    let clusters = fleet::write_clusters(&[], dir.path())?;
    let text = bootstrap::bootstrap(&[listener], upstream, &clusters);
    let mut options = EnvoyOptions::new(text);
    options.log_level = "error".to_owned();
    options.concurrency = workers;
    let envoy = Envoy::start(options).await?;
    let listeners = envoy.admin().listeners().await?;
    let missing = || std::io::Error::other("it has no listener");
    let address = listeners.get(id).copied();
    let request = requests::by_headers(requests::MODEL, &[]);
    let connect = async || {
        let address = address.ok_or_else(missing)?;
        Load::connect(address, request.clone()).await
    };
    let loads = try_join_all((0..LOADS).map(|_| connect())).await;
    Ok((envoy, loads.map_err(|source| error(id, source))?))
}

fn error(id: &str, source: std::io::Error) -> BenchError {
    BenchError::Load {
        row: id.to_owned(),
        source,
    }
}

async fn contention(truth: Truth, workers: u32, module: &Path) -> Result<TruthReport, BenchError> {
    let id = truth.id();
    let (envoy, mut loads) = start(id, workers, module).await?;
    let blocks = loads.iter_mut().map(async |load| {
        let mut left = HOT / LOADS;
        while left > 0 {
            let block = left.min(10_000);
            // A reserve that is given up answers 503.
            load.block(block, |status| matches!(status, 200 | 503))
                .await?;
            left -= block;
        }
        Ok(())
    });
    try_join_all(blocks)
        .await
        .map_err(|source| error(id, source))?;
    // The filter tells what it counted once a second.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let count = async |prefix: &str, part: &str| {
        let stats = envoy.stats(prefix).await?;
        let counted = stats.iter().filter(|(name, _)| name.contains(part));
        Ok::<u64, BenchError>(counted.map(|(_, n)| n).sum())
    };
    let reserves = "wasmcustom.headgate_reserves";
    let reserved = count(reserves, "outcome=reserved").await?;
    let given_up = count(reserves, "outcome=bucket_contended").await?;
    let lost = count("wasmcustom.headgate_bucket_tries_lost", "").await?;
    if reserved + given_up != HOT {
        return Err(BenchError::NotCounted {
            row: id.to_owned(),
            stat: reserves.to_owned(),
            sent: HOT,
            counted: reserved + given_up,
        });
    }
    let tries = reserved + lost;
    let share = lost as f64 * 100.0 / tries as f64;
    Ok(TruthReport {
        id: id.to_owned(),
        title: format!("{workers} workers on one hot key, {HOT} requests"),
        value: format!("{share:.2} % of tries lost, {given_up} given up"),
        mark: format!("< 1 in {GIVEN_UP}"),
        holds: given_up * GIVEN_UP < HOT,
    })
}

async fn memory(truth: Truth, module: &Path) -> Result<TruthReport, BenchError> {
    let id = truth.id();
    let (envoy, mut loads) = start(id, 1, module).await?;
    let request = |tenant: u64| {
        let text = format!("tenant-{tenant:010}");
        requests::of_tenant(&text)
    };
    let mut fill = async |from: u64, count: u64| {
        let load = &mut loads[0];
        let mut done = 0;
        while done < count {
            let block = (count - done).min(10_000);
            let first = from + done;
            load.each(block, |left| request(first + left), |status| status == 200)
                .await
                .map_err(|source| error(id, source))?;
            done += block;
        }
        Ok::<(), BenchError>(())
    };
    // Caches of the allocator and of the VM are warm before anything is compared.
    fill(0, 1).await?;
    for _ in 0..4 {
        fill(0, 1000).await?;
    }
    let before = resident(&envoy)?;
    fill(1_000_000, TENANTS).await?;
    let each = resident(&envoy)?.saturating_sub(before) / TENANTS;
    Ok(TruthReport {
        id: id.to_owned(),
        title: format!("memory of Envoy for {TENANTS} tenants, each a key"),
        value: format!("{each} bytes a key"),
        mark: format!("≤ {BYTES} bytes"),
        holds: each <= BYTES,
    })
}

/// Resident memory, bytes.
fn resident(envoy: &Envoy) -> Result<u64, BenchError> {
    let path = format!("/proc/{}/status", envoy.pid());
    let text = std::fs::read_to_string(path).map_err(BenchError::Files)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.unwrap_or(0) * 1024)
}
