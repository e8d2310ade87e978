//! Rule 7: when a changed world is published.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_xds::pace::{Pace, Urgency};
use proptest::prelude::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn rule_07_an_intent_goes_out_after_20_ms_and_takes_the_churn_with_it() {
    let t = Instant::now();
    let mut pace = Pace::default();
    pace.changed(Urgency::Churn, t);
    pace.changed(Urgency::Intent, t + ms(10));
    pace.changed(Urgency::Intent, t + ms(25));
    assert_eq!(pace.due(), Some(t + ms(30)));
    assert!(pace.publish(t + ms(30)));
    assert_eq!(pace.due(), None);
}

#[test]
fn rule_07_churn_waits_until_it_is_quiet_for_100_ms_but_at_most_1_s() {
    let t = Instant::now();
    let mut pace = Pace::default();
    for i in 0..20 {
        pace.changed(Urgency::Churn, t + ms(90 * i));
        if pace.publish(t + ms(90 * i)) {
            assert_eq!(i, 12, "the first change past one second");
            break;
        }
        assert_eq!(pace.due(), Some((t + ms(90 * i + 100)).min(t + ms(1000))));
    }
    let mut pace = Pace::default();
    pace.changed(Urgency::Churn, t);
    assert_eq!(pace.due(), Some(t + ms(100)));
}

proptest! {
    #[test]
    fn every_change_is_published_in_time(
        changes in prop::collection::vec((0u64..150, any::<bool>()), 1..60),
    ) {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut waiting: Vec<(Instant, Duration)> = Vec::new();
        for (gap, intent) in changes {
            let next = now + ms(gap);
            while let Some(due) = pace.due().filter(|due| *due <= next) {
                prop_assert!(pace.publish(due));
                for (made, within) in waiting.drain(..) {
                    prop_assert!(due <= made + within);
                }
            }
            now = next;
            let urgency = if intent { Urgency::Intent } else { Urgency::Churn };
            pace.changed(urgency, now);
            waiting.push((now, if intent { ms(20) } else { ms(1000) }));
        }
    }
}
