//! Rule 7: the delay between a change and its publication.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_xds::debounce::{Debouncer, Urgency};
use proptest::prelude::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn rule_07_an_intent_is_published_after_20_ms_together_with_earlier_churn() {
    let t = Instant::now();
    let mut debouncer = Debouncer::default();
    debouncer.changed(Urgency::Churn, t);
    debouncer.changed(Urgency::Intent, t + ms(10));
    debouncer.changed(Urgency::Intent, t + ms(25));
    assert_eq!(debouncer.due(), Some(t + ms(30)));
    assert!(debouncer.publish(t + ms(30)));
    assert_eq!(debouncer.due(), None);
}

#[test]
fn rule_07_churn_is_published_after_100_ms_of_quiet_but_after_1_s_at_most() {
    let t = Instant::now();
    let mut debouncer = Debouncer::default();
    for i in 0..20 {
        debouncer.changed(Urgency::Churn, t + ms(90 * i));
        if debouncer.publish(t + ms(90 * i)) {
            assert_eq!(i, 12, "the first change past one second");
            break;
        }
        assert_eq!(
            debouncer.due(),
            Some((t + ms(90 * i + 100)).min(t + ms(1000)))
        );
    }
    let mut debouncer = Debouncer::default();
    debouncer.changed(Urgency::Churn, t);
    assert_eq!(debouncer.due(), Some(t + ms(100)));
}

proptest! {
    #[test]
    fn every_change_is_published_in_time(
        changes in prop::collection::vec((0u64..150, any::<bool>()), 1..60),
    ) {
        let mut debouncer = Debouncer::default();
        let mut now = Instant::now();
        let mut waiting: Vec<(Instant, Duration)> = Vec::new();
        for (gap, intent) in changes {
            let next = now + ms(gap);
            while let Some(due) = debouncer.due().filter(|due| *due <= next) {
                prop_assert!(debouncer.publish(due));
                for (made, within) in waiting.drain(..) {
                    prop_assert!(due <= made + within);
                }
            }
            now = next;
            let urgency = if intent { Urgency::Intent } else { Urgency::Churn };
            debouncer.changed(urgency, now);
            waiting.push((now, if intent { ms(20) } else { ms(1000) }));
        }
    }
}
