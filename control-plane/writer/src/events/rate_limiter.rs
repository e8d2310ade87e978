//! Rate limit of Events by object: a token bucket for each, with the numbers of the spam filter of client-go.
//!
//! Pure: the clock is an argument. Full buckets are not stored, so memory is bounded by the objects with recent Events.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_model::Subject;

/// Capacity of a bucket, in Events.
const BURST: u32 = 25;
/// Time to refill one Event.
const REFILL: Duration = Duration::from_secs(300);

/// The buckets by object.
#[derive(Debug, Clone, Default)]
pub struct EventRateLimiter {
    /// When each bucket is full again.
    full_at: BTreeMap<Subject, Duration>,
}

impl EventRateLimiter {
    /// Takes one Event from the bucket of an object; `false` if the bucket is empty at `clock`.
    pub fn take(&mut self, object: &Subject, clock: Duration) -> bool {
        self.full_at.retain(|_, full| *full > clock);
        let full = self.full_at.get(object).copied().unwrap_or(clock);
        // The missing Events, as the time to refill them.
        let after = full + REFILL;
        if after > clock + REFILL * BURST {
            return false;
        }
        self.full_at.insert(object.clone(), after);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Subject {
        let key = headgate_model::CarrierKey {
            namespace: "default".to_owned(),
            kind: "deployment".to_owned(),
            name: name.to_owned(),
        };
        key.into()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_object_has_25_events_at_once_then_one_every_five_minutes_and_another_has_its_own() {
        let mut limiter = EventRateLimiter::default();
        let taken = |a: &mut EventRateLimiter, object: &str, clock| {
            (0..1000)
                .filter(|_| a.take(&self::object(object), clock))
                .count()
        };
        assert_eq!(taken(&mut limiter, "a", at(10)), 25);
        assert_eq!(taken(&mut limiter, "b", at(10)), 25);
        assert_eq!(taken(&mut limiter, "a", at(309)), 0);
        assert_eq!(taken(&mut limiter, "a", at(310)), 1);
        assert_eq!(taken(&mut limiter, "a", at(310 + 3 * 300)), 3);
        assert_eq!(taken(&mut limiter, "a", at(1_000_000)), 25, "never more");
    }

    #[test]
    fn a_full_bucket_takes_no_memory() {
        let mut limiter = EventRateLimiter::default();
        for n in 0..100 {
            assert!(limiter.take(&object(&n.to_string()), at(0)));
        }
        assert!(limiter.take(&object("other"), at(300)));
        assert_eq!(limiter.full_at.len(), 1);
    }
}
