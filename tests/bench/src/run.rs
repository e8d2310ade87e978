//! The run itself: warm up, then rounds of short blocks in shuffled order.
//!
//! Invariant: within a round, the rows of a group run one right after the other, in an order drawn anew each
//! time. So what the machine does over seconds meets all of them alike, and what it does in one block meets
//! none of them always.

use std::hash::{BuildHasher, RandomState};
use std::io::IsTerminal;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Envoy;

use crate::cpu;
use crate::error::BenchError;
use crate::load::Load;
use crate::rows::{Group, Row};
use crate::stats::Random;

/// How long a row is warmed up: connections, buckets, the code's and the allocator's caches.
const WARM_UP: Duration = Duration::from_millis(400);

/// Our filter tells what it counted once a second.
const TOLD: Duration = Duration::from_secs(5);

/// What was measured: for each group, for each round, for each row, microseconds of worker CPU per request.
pub(crate) type Samples = Vec<Vec<Vec<f64>>>;

/// A row that is connected and knows how many requests make a block.
struct Lane<'a> {
    row: &'a Row,
    load: Load,
    block: u64,
    sent: u64,
    /// What its filter had counted before anything was sent.
    counted: u64,
}

/// Warms up, measures, and checks that the filters counted what was sent.
///
/// # Errors
/// [`BenchError`]: one wrong answer is enough.
pub(crate) async fn measure(
    envoy: &Envoy,
    groups: &[Group],
    rounds: usize,
    block: Duration,
) -> Result<Samples, BenchError> {
    let mut lanes = Vec::with_capacity(groups.len());
    for group in groups {
        let mut row_lanes = Vec::with_capacity(group.rows.len());
        for row in &group.rows {
            row_lanes.push(Lane::open(envoy, row, block).await?);
        }
        lanes.push(row_lanes);
    }
    let mut random = Random::new(RandomState::new().hash_one("order"));
    let mut samples: Samples = lanes.iter().map(|_| Vec::with_capacity(rounds)).collect();
    let terminal = std::io::stderr().is_terminal();
    for round in 1..=rounds {
        let mut order: Vec<usize> = (0..lanes.len()).collect();
        random.shuffle(&mut order);
        for group in order {
            let spent = round_of(envoy, &mut lanes[group], &mut random).await?;
            samples[group].push(spent);
        }
        if terminal {
            eprint!("\rround {round} of {rounds}");
        }
    }
    if terminal {
        eprintln!();
    }
    for lane in lanes.iter().flatten() {
        lane.check(envoy).await?;
    }
    Ok(samples)
}

/// One block of each row; microseconds per request, in the order of the rows.
async fn round_of(
    envoy: &Envoy,
    lanes: &mut [Lane<'_>],
    random: &mut Random,
) -> Result<Vec<f64>, BenchError> {
    let mut order: Vec<usize> = (0..lanes.len()).collect();
    random.shuffle(&mut order);
    let mut spent = vec![0.0; lanes.len()];
    for row in order {
        let lane = &mut lanes[row];
        let before = cpu::spent(envoy).await?;
        let block = lane.block;
        lane.send(block, |status, wanted| status == wanted).await?;
        let after = cpu::spent(envoy).await?;
        spent[row] = (after - before).as_secs_f64() * 1e6 / block as f64;
    }
    Ok(spent)
}

impl<'a> Lane<'a> {
    /// Connects, warms up, and finds how many requests take as long as a block should.
    async fn open(envoy: &Envoy, row: &'a Row, block: Duration) -> Result<Self, BenchError> {
        let listeners = envoy.admin().listeners().await?;
        let error = |source| BenchError::Load {
            row: row.id.clone(),
            source,
        };
        let address = listeners.get(&row.id);
        let address = address.ok_or_else(|| error(std::io::Error::other("it has no listener")))?;
        let load = Load::connect(*address, row.request.clone()).await;
        let mut lane = Self {
            row,
            load: load.map_err(error)?,
            block: 64,
            sent: 0,
            counted: counted(envoy, row).await?,
        };
        // What a fresh bucket admits before it is empty is no fault of a row about refusals.
        let warm = |status, wanted| status == wanted || (status == 200 && wanted == 429);
        let mut warmed = Duration::ZERO;
        while warmed < WARM_UP {
            let took = lane.send(lane.block, warm).await?;
            warmed += took;
            let each = took.as_secs_f64() / lane.block as f64;
            lane.block = ((block.as_secs_f64() / each) as u64).clamp(16, 4 * lane.block);
        }
        Ok(lane)
    }

    async fn send(
        &mut self,
        count: u64,
        fits: impl Fn(u16, u16) -> bool,
    ) -> Result<Duration, BenchError> {
        let wanted = self.row.status;
        let sent = self.load.block(count, |status| fits(status, wanted)).await;
        self.sent += count;
        sent.map_err(|source| BenchError::Load {
            row: self.row.id.clone(),
            source,
        })
    }

    async fn check(&self, envoy: &Envoy) -> Result<(), BenchError> {
        let Some(stat) = &self.row.witness else {
            return Ok(());
        };
        let mut seen = 0;
        let told = eventually(TOLD, stat, async || {
            // An Envoy that cannot be asked is no count to wait for.
            let now = match counted(envoy, self.row).await {
                Ok(now) => now,
                Err(error) => return Ok(Err(error)),
            };
            seen = now - self.counted;
            match seen == self.sent {
                true => Ok(Ok(())),
                false => Err(seen),
            }
        });
        if let Ok(told) = told.await {
            return told;
        }
        Err(BenchError::NotCounted {
            row: self.row.id.clone(),
            stat: stat.clone(),
            sent: self.sent,
            counted: seen,
        })
    }
}

async fn counted(envoy: &Envoy, row: &Row) -> Result<u64, BenchError> {
    match &row.witness {
        Some(prefix) => Ok(envoy.stats(prefix).await?.values().sum()),
        None => Ok(0),
    }
}
