//! Skew of conversation fingerprints: conversations with the same first message share a fingerprint, and so go to one version
//! together. If few messages begin many conversations, shares miss their percents, and a metric shows it.
//!
//! The algorithm finds the most frequent keys of a stream in constant space (Misra and Gries, 1982): with `K` counters, the count of a
//! key is too low by at most `total / (K + 1)`, so a key with more than a ninth of the requests is always among them.

/// Number of keys that are counted.
const KEYS: usize = 8;
/// Number of requests below which no key is heavy.
const MIN_REQUESTS: u32 = 64;
/// A key is heavy if it has at least one of so many requests.
const HEAVY: u32 = 16;
/// Number of requests at which all counts are halved, so that recent ones count.
const HALVE_AT: u32 = 4096;

/// The most frequent keys ("heavy hitters") of one model.
#[derive(Debug, Default)]
pub(crate) struct HeavyHitters {
    keys: [(u64, u32); KEYS],
    total: u32,
}

impl HeavyHitters {
    /// Counts a request. Returns whether at least a sixteenth of the recent requests had its key.
    pub(crate) fn count(&mut self, key: u64) -> bool {
        if self.total >= HALVE_AT {
            self.total /= 2;
            self.keys.iter_mut().for_each(|k| k.1 /= 2);
        }
        self.total += 1;
        let known = self.keys.iter_mut().find(|k| k.1 > 0 && k.0 == key);
        if let Some((_, count)) = known {
            *count += 1;
            return self.total >= MIN_REQUESTS && *count * HEAVY >= self.total;
        }
        match self.keys.iter_mut().find(|k| k.1 == 0) {
            Some(free) => *free = (key, 1),
            None => self.keys.iter_mut().for_each(|k| k.1 -= 1),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads counts over the whole range (splitmix64's increment).
    fn spread(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn different_keys_are_never_heavy() {
        let mut hitters = HeavyHitters::default();
        assert!((0..100_000).all(|n| !hitters.count(spread(n))));
    }

    #[test]
    fn a_key_with_a_fifth_of_the_requests_is_heavy_until_it_stops() {
        let mut hitters = HeavyHitters::default();
        let mut heavy = 0;
        for n in 0..10_000 {
            if n % 5 == 0 {
                heavy += u32::from(hitters.count(7));
            } else {
                assert!(!hitters.count(spread(n)));
            }
        }
        assert!(heavy > 1900, "{heavy} of 2000");
        assert!((0..100_000).all(|n| !hitters.count(spread(n)) || n < 1000));
        assert!(!hitters.count(7));
    }
}
