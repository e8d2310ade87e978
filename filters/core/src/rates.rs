//! Generation rate of each model version: tokens per second of its recent complete responses, as this worker saw them.
//!
//! Input of a charge by elapsed time, for a request that ended before its response reported usage.

use std::rc::Rc;

/// A response with fewer tokens per sequence measures the time to the first token rather than the rate.
const MIN_TOKENS: u64 = 32;
/// Time after which a response counts half, ns: 10 minutes.
const HALF_LIFE_NS: u64 = 600 * 1_000_000_000;
/// Most versions remembered; beyond it, the version whose sums were halved longest ago is replaced.
const MAX_VERSIONS: usize = 1024;

const NS_PER_MS: u64 = 1_000_000;

/// A model version: namespace, model, version.
pub(crate) type Served = (Rc<str>, Rc<str>, Rc<str>);

/// The rates of one worker.
#[derive(Debug, Default)]
pub(crate) struct Rates(Vec<(Served, Rate)>);

#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Tokens generated per sequence, summed.
    tokens: u64,
    /// Milliseconds they took, summed.
    millis: u64,
    /// When both were last halved, ns.
    since: u64,
}

impl Rate {
    /// Halves both sums once for each half-life that passed.
    fn age(&mut self, now: u64) {
        let halves = now.saturating_sub(self.since) / HALF_LIFE_NS;
        if halves > 0 {
            let shift = u32::try_from(halves).unwrap_or(u32::MAX);
            self.tokens = self.tokens.checked_shr(shift).unwrap_or(0);
            self.millis = self.millis.checked_shr(shift).unwrap_or(0);
            self.since = self
                .since
                .saturating_add(halves.saturating_mul(HALF_LIFE_NS));
        }
    }
}

impl Rates {
    /// Records a complete response: `tokens` per sequence in `ns` from forwarding to its end.
    pub(crate) fn learn(&mut self, served: &Served, tokens: u64, ns: u64, now: u64) {
        if tokens < MIN_TOKENS {
            return;
        }
        let millis = (ns / NS_PER_MS).max(1);
        if let Some((_, rate)) = self.0.iter_mut().find(|(known, _)| known == served) {
            rate.age(now);
            rate.tokens = rate.tokens.saturating_add(tokens);
            rate.millis = rate.millis.saturating_add(millis);
            return;
        }
        let new = Rate {
            tokens,
            millis,
            since: now,
        };
        if self.0.len() < MAX_VERSIONS {
            self.0.push((served.clone(), new));
        } else if let Some(oldest) = self.0.iter_mut().min_by_key(|(_, rate)| rate.since) {
            *oldest = (served.clone(), new);
        }
    }

    /// Tokens per sequence that this version generates in `ns`, rounded up; `None` before its first complete response.
    pub(crate) fn tokens(&self, served: &Served, ns: u64) -> Option<u64> {
        let (_, rate) = self.0.iter().find(|(known, _)| known == served)?;
        let took = u128::from(rate.millis) * u128::from(NS_PER_MS);
        let tokens = (u128::from(ns) * u128::from(rate.tokens)).div_ceil(took.max(1));
        u64::try_from(tokens).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{HALF_LIFE_NS, Rates, Served};

    const SECOND: u64 = 1_000_000_000;

    fn served(version: &str) -> Served {
        ("default".into(), "m".into(), version.into())
    }

    #[test]
    fn a_rate_follows_recent_answers() {
        let (mut rates, v1) = (Rates::default(), served("v1"));
        assert_eq!(rates.tokens(&v1, SECOND), None);
        rates.learn(&v1, 31, SECOND, 0);
        assert_eq!(rates.tokens(&v1, SECOND), None, "too short to tell");
        rates.learn(&v1, 100, 2 * SECOND, 0);
        assert_eq!(rates.tokens(&v1, SECOND), Some(50));
        assert_eq!(rates.tokens(&v1, SECOND / 10), Some(5));
        assert_eq!(rates.tokens(&served("v2"), SECOND), None);
        // Ten half-lives later the old answer is forgotten but for a thousandth.
        let later = 10 * HALF_LIFE_NS;
        rates.learn(&v1, 10_000, 10 * SECOND, later);
        assert_eq!(rates.tokens(&v1, SECOND), Some(1000));
    }

    #[test]
    fn memory_is_bounded() {
        let mut rates = Rates::default();
        for n in 0..3000 {
            rates.learn(&served(&format!("v{n}")), 100, SECOND, n);
        }
        assert_eq!(rates.0.len(), super::MAX_VERSIONS);
        assert!(rates.tokens(&served("v2999"), SECOND).is_some());
    }
}
