//! Costs of buckets that all workers share, other than time: compare-and-swap operations lost to other workers, reservations given up
//! after losing all tries, and memory per key.

use std::path::Path;

use futures::future::try_join_all;
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use serde::Serialize;

use crate::bootstrap::{self, Listener, Routes};
use crate::error::BenchError;
use crate::filters::{FilterSetup, headgate};
use crate::load::Load;
use crate::{fleet, requests, upstream};

/// Number of requests on one hot key.
const HOT: u64 = 400_000;
/// Number of loads; each has several connections.
const LOADS: u64 = 4;
/// Number of tenants whose buckets are kept.
const TENANTS: u64 = 100_000;
/// At most one of this many reservations may be given up.
const MAX_GIVEN_UP: u64 = 100_000;
/// Maximum memory of Envoy per key in bytes, with its share of its set: of 65 536 sets, most hold one or two of these keys.
const MAX_KEY_BYTES: u64 = 400;

/// One target for shared buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketTarget {
    /// Contention: this number of workers spend one bucket.
    Contention(u32),
    /// Memory per key.
    Memory,
}

/// The result of one target.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BucketReport {
    /// Its name for `--only`.
    pub id: String,
    /// Its description.
    pub title: String,
    /// The measured value.
    pub value: String,
    /// The target.
    pub target: String,
    /// Whether the target is met.
    pub holds: bool,
}

impl BucketTarget {
    /// All targets, in table order.
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

/// Measures the targets one after the other.
///
/// # Errors
/// [`BenchError`].
pub(crate) async fn measure(
    targets: &[BucketTarget],
    module: &Path,
) -> Result<Vec<BucketReport>, BenchError> {
    let mut found = Vec::new();
    if targets.is_empty() {
        return Ok(found);
    }
    let module = module.canonicalize().unwrap_or_else(|_| module.into());
    for target in targets {
        found.push(match target {
            BucketTarget::Contention(workers) => contention(*target, *workers, &module).await?,
            BucketTarget::Memory => memory(*target, &module).await?,
        });
    }
    Ok(found)
}

/// An Envoy with only our filter, and connections to it.
async fn start(id: &str, workers: u32, module: &Path) -> Result<(Envoy, Vec<Load>), BenchError> {
    let upstream = upstream::start().await.map_err(BenchError::Upstream)?;
    let dir = tempfile::tempdir().map_err(BenchError::Files)?;
    let listener = Listener {
        name: id.to_owned(),
        filters: vec![headgate(id, module, FilterSetup::by("tenant"))],
        routes: Routes::Upstream(None),
    };
    let clusters = fleet::write_clusters(&[], dir.path())?;
    let text = bootstrap::bootstrap(&[listener], upstream, &clusters);
    let mut options = EnvoyOptions::new(text);
    options.log_level = "error".to_owned();
    options.concurrency = workers;
    let envoy = Envoy::start(options).await?;
    let listeners = envoy.admin().listeners().await?;
    let missing = || std::io::Error::other("Envoy has no listener for this row");
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

async fn contention(
    target: BucketTarget,
    workers: u32,
    module: &Path,
) -> Result<BucketReport, BenchError> {
    let id = target.id();
    let (envoy, mut loads) = start(id, workers, module).await?;
    let blocks = loads.iter_mut().map(async |load| {
        let mut left = HOT / LOADS;
        while left > 0 {
            let block = left.min(10_000);
            // A reservation that is given up responds 503.
            load.block(block, |status| matches!(status, 200 | 503))
                .await?;
            left -= block;
        }
        Ok(())
    });
    try_join_all(blocks)
        .await
        .map_err(|source| error(id, source))?;
    // The filter reports its counters once a second.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let count = async |end: &str| {
        let stats = envoy.stats("wasmcustom.").await?;
        let counted = stats.iter().filter(|(name, _)| name.ends_with(end));
        Ok::<u64, BenchError>(counted.map(|(_, n)| n).sum())
    };
    let reserves = "headgate_reserves_total";
    let reserved = count(&format!("outcome=.=reserved;.;{reserves}")).await?;
    let given_up = count(&format!("outcome=.=bucket_contended;.;{reserves}")).await?;
    let lost = count("headgate_bucket_tries_lost_total").await?;
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
    Ok(BucketReport {
        id: id.to_owned(),
        title: format!("{workers} workers, one hot key, {HOT} requests"),
        value: format!("{share:.2} % of tries lost, {given_up} given up"),
        target: format!("< 1 in {MAX_GIVEN_UP}"),
        holds: given_up * MAX_GIVEN_UP < HOT,
    })
}

async fn memory(target: BucketTarget, module: &Path) -> Result<BucketReport, BenchError> {
    let id = target.id();
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
    // The caches of allocator and VM are warm before the first comparison.
    fill(0, 1).await?;
    for _ in 0..4 {
        fill(0, 1000).await?;
    }
    let before = resident(&envoy)?;
    fill(1_000_000, TENANTS).await?;
    let each = resident(&envoy)?.saturating_sub(before) / TENANTS;
    Ok(BucketReport {
        id: id.to_owned(),
        title: format!("memory of Envoy, {TENANTS} tenants with a key each"),
        value: format!("{each} bytes per key"),
        target: format!("≤ {MAX_KEY_BYTES} bytes"),
        holds: each <= MAX_KEY_BYTES,
    })
}

/// Resident memory in bytes.
fn resident(envoy: &Envoy) -> Result<u64, BenchError> {
    let path = format!("/proc/{}/status", envoy.pid());
    let text = std::fs::read_to_string(path).map_err(BenchError::Files)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.unwrap_or(0) * 1024)
}
