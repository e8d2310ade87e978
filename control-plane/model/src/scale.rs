//! Live capacity: ready ÷ desired replicas of each model, damped. A state machine; time is an argument.
//!
//! Invariant: while readiness does not change, the published scales depend only on the readings and the epoch, so a replica that
//! starts later publishes the same. Rules:
//! - Steps of 5 %, rounded down, so missing capacity is never promised; at least 5 % while anything is ready.
//! - The first reading of a model takes effect at once, a changed one after it has differed from the published scale for 10 s.
//! - 100 % is not published. Any other scale carries the epoch, which renews it at half of its lifetime of 15 minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_contract::{ModelId, Scale};

/// Time for which a changed reading is held back.
const HOLD: Duration = Duration::from_secs(10);
/// Half of a scale's lifetime at the filter, in seconds: the unit of the epoch.
const HALF_LIFE: u64 = 450;

/// Ready and desired replicas of the carriers that serve a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// Ready endpoints.
    pub ready: u32,
    /// Desired replicas.
    pub desired: u32,
}

/// A point in time, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Monotonic time since a fixed origin.
    pub elapsed: Duration,
    /// Wall clock in Unix seconds: the same on every replica.
    pub unix_seconds: u64,
}

/// The damped scales, by namespace and model; a model not listed is at 100 %.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scales(pub BTreeMap<(String, ModelId), Scale>);

/// Damps readings into scales.
#[derive(Debug, Clone, Default)]
pub struct ScaleDamper {
    models: BTreeMap<(String, ModelId), Damped>,
}

#[derive(Debug, Clone, Copy)]
struct Damped {
    published: u16,
    /// Since when the readings differ from the published scale.
    differs_since: Option<Duration>,
}

impl ScaleDamper {
    /// Takes the current readings and returns the scales for the plan. Models without a reading are forgotten.
    pub fn observe(
        &mut self,
        readings: &BTreeMap<(String, ModelId), Readiness>,
        at: Tick,
    ) -> Scales {
        self.models = readings
            .iter()
            .filter_map(|(model, reading)| {
                let percent = percent(*reading)?;
                let damped = step(self.models.get(model).copied(), percent, at.elapsed);
                Some((model.clone(), damped))
            })
            .collect();
        let epoch = at.unix_seconds / HALF_LIFE;
        Scales(
            self.models
                .iter()
                .filter(|(_, damped)| damped.published != 100)
                .map(|(model, damped)| {
                    let percent = damped.published;
                    (model.clone(), Scale { percent, epoch })
                })
                .collect(),
        )
    }

    /// Time until [`observe`](Self::observe) may return other scales although no reading changed: a held-back change is due, or the
    /// epoch ends. `None` means never.
    #[must_use]
    pub fn wake_after(&self, at: Tick) -> Option<Duration> {
        let due = self
            .models
            .values()
            .filter_map(|d| d.differs_since)
            .map(|since| (since + HOLD).saturating_sub(at.elapsed))
            .min();
        let renewed = self.models.values().any(|d| d.published != 100);
        let epoch = renewed.then(|| Duration::from_secs(HALF_LIFE - at.unix_seconds % HALF_LIFE));
        due.into_iter().chain(epoch).min()
    }
}

/// The undamped scale in percent; `None` if nothing is desired or nothing is ready. Without a ready replica the filter answers 503
/// before any reserve, so there is no bucket to scale.
fn percent(reading: Readiness) -> Option<u16> {
    if reading.desired == 0 || reading.ready == 0 {
        return None;
    }
    let percent = u64::from(reading.ready) * 100 / u64::from(reading.desired);
    u16::try_from((percent / 5 * 5).clamp(5, 1000)).ok()
}

fn step(before: Option<Damped>, percent: u16, now: Duration) -> Damped {
    let publish = |published| Damped {
        published,
        differs_since: None,
    };
    let Some(before) = before.filter(|b| b.published != percent) else {
        return publish(percent);
    };
    let since = before.differs_since.unwrap_or(now);
    if now.saturating_sub(since) >= HOLD {
        return publish(percent);
    }
    Damped {
        differs_since: Some(since),
        ..before
    }
}
