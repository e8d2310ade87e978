//! Estimates with intervals from paired samples. Pure.
//!
//! The estimate is the mean of the middle half, because disturbances of single blocks fall into the tails. The interval is the
//! percentile bootstrap over *Envoys* and, within each, over *rounds*. The blocks of a round ran within seconds of each other and stay
//! together, so that a common slowdown cancels. The rounds of one Envoy share the memory layout of its VMs and stay together too.

use serde::Serialize;

/// Resamples of a bootstrap; the ends of a 95 % interval then vary by a few hundredths of its width.
const RESAMPLES: usize = 2000;

/// An estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// Whether the interval contains `x`.
    #[must_use]
    pub(crate) fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }
}

/// Mean of the middle half (a quarter cut off at each end, rounded down). NaN without samples.
#[must_use]
pub(crate) fn midmean(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    let middle = &sorted[cut..sorted.len() - cut];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// Estimates `statistic` over all rounds, `each` rounds of each Envoy. It receives the indices of the drawn rounds, with repeats.
#[must_use]
pub(crate) fn bootstrap(
    envoys: usize,
    each: usize,
    statistic: impl Fn(&[usize]) -> f64,
) -> Estimate {
    let all: Vec<usize> = (0..envoys * each).collect();
    let value = statistic(&all);
    // A constant seed, so that the same data gives the same interval.
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut drawn = Vec::with_capacity(all.len());
            for _ in 0..envoys {
                let envoy = random.below(envoys);
                drawn.extend((0..each).map(|_| envoy * each + random.below(each)));
            }
            statistic(&drawn)
        })
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
    Estimate {
        value,
        low: at(0.025),
        high: at(0.975),
    }
}

/// A small random number generator (xorshift64*), for shuffles and resamples, not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator with this seed.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)] // it never ends
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`; 0 for an `n` of 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Shuffles the items (Fisher–Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_change_the_estimate() {
        let mut samples = vec![10.0; 20];
        samples[3] = 500.0;
        samples[7] = 0.0;
        assert!((midmean(&samples) - 10.0).abs() < 1e-9);
        assert!((midmean(&[1.0, 2.0, 3.0]) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn intervals_have_their_nominal_coverage() {
        let mut random = Random::new(7);
        let mut covered = 0;
        for _ in 0..200 {
            // Triangular noise around 5.
            let mut noise = || (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
            let rounds: Vec<f64> = (0..40).map(|_| 4.0 + noise() + noise()).collect();
            let estimate = bootstrap(1, rounds.len(), |drawn| {
                midmean(&drawn.iter().map(|i| rounds[*i]).collect::<Vec<_>>())
            });
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high);
            covered += usize::from(estimate.contains(5.0));
        }
        assert!((175..=199).contains(&covered), "{covered} of 200");
    }

    /// With few Envoys the coverage is below 95 %; without resampling Envoys the interval would hardly ever cover.
    #[test]
    fn a_common_effect_of_one_envoys_rounds_widens_the_interval() {
        let mut random = Random::new(11);
        let mut covered = [0; 2];
        for _ in 0..200 {
            let mut noise = || (random.next() >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
            let rounds: Vec<f64> = (0..8)
                .flat_map(|_| {
                    let place = 5.0 + 4.0 * (noise() + noise());
                    [(); 5].map(|()| place + noise())
                })
                .collect();
            for (covered, (envoys, each)) in covered.iter_mut().zip([(8, 5), (1, 40)]) {
                let estimate = bootstrap(envoys, each, |drawn| {
                    midmean(&drawn.iter().map(|i| rounds[*i]).collect::<Vec<_>>())
                });
                *covered += usize::from(estimate.contains(5.0));
            }
        }
        assert!(covered[0] >= 165 && covered[1] < 140, "{covered:?} of 200");
    }

    #[test]
    fn a_shuffle_keeps_every_item_and_reaches_every_position() {
        let mut random = Random::new(1);
        let mut counts = [[0_u32; 4]; 4];
        for _ in 0..4000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            for (place, item) in items.into_iter().enumerate() {
                counts[place][item] += 1;
            }
        }
        for row in counts {
            assert_eq!(row.iter().sum::<u32>(), 4000);
            assert!(row.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
        }
    }
}
