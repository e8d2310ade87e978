//! A run: warm-up, then rounds of short blocks in random order.
//!
//! Invariant: within a round, the rows of a group run directly one after another, in a new random order each time. So a disturbance
//! that lasts seconds affects all rows alike, and one that lasts a block affects no row every time.

use std::hash::{BuildHasher, RandomState};
use std::io::IsTerminal;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Envoy;

use crate::cpu;
use crate::error::BenchError;
use crate::load::Load;
use crate::rows::{Counters, Group, Row};
use crate::stats::Random;

/// Warm-up of a row: connections, buckets, and the caches of code and allocator.
const WARM_UP: Duration = Duration::from_millis(400);

/// Our filter reports its counters once a second.
const STATS_TIMEOUT: Duration = Duration::from_secs(5);

/// The samples: for each group, each round and each row, microseconds of worker CPU per request.
pub(crate) type Samples = Vec<Vec<Vec<f64>>>;

/// A connected row with its block size.
struct RowRunner<'a> {
    row: &'a Row,
    load: Load,
    block: u64,
    sent: u64,
    /// The filter's counter before the first request.
    counted: u64,
}

/// Warms up, measures, and checks that the filters counted the sent requests.
///
/// # Errors
/// [`BenchError`], already for one wrong response.
pub(crate) async fn measure(
    envoy: &Envoy,
    groups: &[Group],
    rounds: usize,
    block: Duration,
) -> Result<Samples, BenchError> {
    let mut runners = Vec::with_capacity(groups.len());
    for group in groups {
        let mut row_runners = Vec::with_capacity(group.rows.len());
        for row in &group.rows {
            row_runners.push(RowRunner::open(envoy, row, block).await?);
        }
        runners.push(row_runners);
    }
    let mut random = Random::new(RandomState::new().hash_one("order"));
    let mut samples: Samples = runners.iter().map(|_| Vec::with_capacity(rounds)).collect();
    let terminal = std::io::stderr().is_terminal();
    for round in 1..=rounds {
        let mut order: Vec<usize> = (0..runners.len()).collect();
        random.shuffle(&mut order);
        for group in order {
            let spent = round_of(envoy, &mut runners[group], &mut random).await?;
            samples[group].push(spent);
        }
        if terminal {
            eprint!("\rround {round} of {rounds}");
        }
    }
    if terminal {
        eprintln!();
    }
    for runner in runners.iter().flatten() {
        runner.check(envoy).await?;
    }
    Ok(samples)
}

/// Runs one block of each row; microseconds per request, in row order.
async fn round_of(
    envoy: &Envoy,
    runners: &mut [RowRunner<'_>],
    random: &mut Random,
) -> Result<Vec<f64>, BenchError> {
    let mut order: Vec<usize> = (0..runners.len()).collect();
    random.shuffle(&mut order);
    let mut spent = vec![0.0; runners.len()];
    for row in order {
        let runner = &mut runners[row];
        let before = cpu::spent(envoy).await?;
        let block = runner.block;
        runner
            .send(block, |status, expected| status == expected)
            .await?;
        let after = cpu::spent(envoy).await?;
        spent[row] = (after - before).as_secs_f64() * 1e6 / block as f64;
    }
    Ok(spent)
}

impl<'a> RowRunner<'a> {
    /// Connects, warms up, and determines the number of requests that take as long as a block should.
    async fn open(envoy: &Envoy, row: &'a Row, block: Duration) -> Result<Self, BenchError> {
        let listeners = envoy.admin().listeners().await?;
        let error = |source| BenchError::Load {
            row: row.id.clone(),
            source,
        };
        let address = listeners.get(&row.id);
        let address = address
            .ok_or_else(|| error(std::io::Error::other("Envoy has no listener for this row")))?;
        let load = Load::connect(*address, row.request.clone()).await;
        let mut runner = Self {
            row,
            load: load.map_err(error)?,
            block: 64,
            sent: 0,
            counted: counted(envoy, row).await?,
        };
        // The requests that a fresh bucket admits before it is empty are not an error of a row about refusals.
        let warm = |status, expected| status == expected || (status == 200 && expected == 429);
        let mut warmed = Duration::ZERO;
        while warmed < WARM_UP {
            let took = runner.send(runner.block, warm).await?;
            warmed += took;
            let each = took.as_secs_f64() / runner.block as f64;
            runner.block = ((block.as_secs_f64() / each) as u64).clamp(16, 4 * runner.block);
        }
        Ok(runner)
    }

    async fn send(
        &mut self,
        count: u64,
        fits: impl Fn(u16, u16) -> bool,
    ) -> Result<Duration, BenchError> {
        let expected = self.row.status;
        let sent = self
            .load
            .block(count, |status| fits(status, expected))
            .await;
        self.sent += count;
        sent.map_err(|source| BenchError::Load {
            row: self.row.id.clone(),
            source,
        })
    }

    async fn check(&self, envoy: &Envoy) -> Result<(), BenchError> {
        let Some(counters) = &self.row.counter else {
            return Ok(());
        };
        let stat = format!("{}…{}", counters.begin, counters.end);
        let mut received = 0;
        let checked = eventually(STATS_TIMEOUT, &stat, async || {
            // An error of Envoy ends the wait at once.
            let now = match counted(envoy, self.row).await {
                Ok(now) => now,
                Err(error) => return Ok(Err(error)),
            };
            received = now - self.counted;
            match received == self.sent {
                true => Ok(Ok(())),
                false => Err(received),
            }
        });
        if let Ok(checked) = checked.await {
            return checked;
        }
        Err(BenchError::NotCounted {
            row: self.row.id.clone(),
            stat,
            sent: self.sent,
            counted: received,
        })
    }
}

async fn counted(envoy: &Envoy, row: &Row) -> Result<u64, BenchError> {
    match &row.counter {
        Some(Counters { begin, end }) => {
            let stats = envoy.stats(begin).await?;
            let counted = stats.iter().filter(|(name, _)| name.ends_with(end));
            Ok(counted.map(|(_, n)| n).sum())
        }
        None => Ok(0),
    }
}
