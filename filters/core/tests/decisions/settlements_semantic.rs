//! Settlements of the profile `semantic`: an inflated `max_tokens` has no advantage.

use headgate_contract::{ModelCapacity, Profile, Semantic};
use headgate_core::cost::{Parts, Pricing, Work, window};
use headgate_core::effects::Flow;
use proptest::prelude::*;

use crate::proxy::{Proxy, counted, one_model};

const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];

fn semantic(base: u64) -> Pricing {
    let mut table = Semantic::default();
    let row = ModelCapacity {
        base_capacity: headgate_contract::Decimal::whole(base),
        temperature_sensitivity: headgate_contract::Decimal::whole(1),
    };
    table.models.insert("x".try_into().unwrap(), row);
    Pricing::new(&Profile::Semantic(table), "x")
}

#[test]
fn gpt_4_at_512_that_used_256_gets_no_refund() {
    let window = window(&Profile::Semantic(Semantic::default())).unwrap();
    let cells = |output| {
        let work = Work {
            input: 0,
            output,
            n: 1,
            parts: Parts::default(),
        };
        semantic(100).quote(work, 1_000_000, 100).cells(&window)
    };
    assert_eq!(cells(512), cells(256));
    assert!(cells(64) < cells(256), "below the floor less work is less");
}

proptest! {
    /// The same work has the same final charge with any `max_tokens`, and a greater `max_tokens` never
    /// reserves less.
    #[test]
    fn inflated_max_tokens_has_no_advantage(
        base in 0_u64..300, honest in 1_u64..4000, more in 0_u64..4_000_000, used in 0_u64..4000,
        n in 1_u64..8, temperature in 0_u64..3_000_000, percent in (1_u16..40).prop_map(|p| p * 5),
    ) {
        let window = window(&Profile::Semantic(Semantic::default())).unwrap();
        let pricing = semantic(base);
        let cells = |output| pricing.quote(Work { input: 9, output, n, parts: Parts::default() }, temperature, percent).cells(&window);
        let (reserved, inflated) = (cells(n * honest), cells(n * (honest + more)));
        prop_assert!(inflated >= reserved);
        // The settlement depends only on the work.
        let used = used.min(honest) * n;
        let refund = |reserved: u64| reserved - cells(used).min(reserved);
        prop_assert_eq!(inflated - refund(inflated), reserved - refund(reserved));
        // A request that used all of its `max_tokens` gets no refund.
        prop_assert_eq!(cells(n * honest), reserved);
    }

    /// The same with complete streams: two tenants with the same work and a different `max_tokens`.
    #[test]
    fn inflated_max_tokens_has_no_advantage_in_a_stream(honest in 1_u64..600, more in 0_u64..100_000, used in 1_u64..600) {
        let bucket = r#"{"policy":"p","bucket":{"name":"fair","key":["tenant"],"profile":"semantic","semantic":{"fillRatio":0.000001}}}"#;
        let mut proxy = Proxy::new(&one_model(bucket));
        let mut charge = |tenant: &str, max_tokens: u64| {
            let body = format!(r#"{{"model":"m","max_tokens":{max_tokens}}}"#);
            let (mut stream, step) = proxy.chat(&[("x-tenant-id", tenant)], &body);
            if step.flow != Flow::Continue {
                return None;
            }
            let answer = format!(r#"{{"usage":{{"prompt_tokens":1,"completion_tokens":{used}}}}}"#);
            proxy.answer(&mut stream, &JSON, &answer);
            let effects = proxy.end(&mut stream);
            Some(counted(&effects, "rule=.=default/p/fair;.;model=.=m;.;version=.=v1;.;outcome=.=usage;.;headgate_settlements_total"))
                .zip(remaining(&mut proxy, tenant))
        };
        let (a, b) = (charge("honest", honest), charge("greedy", honest + more));
        prop_assume!(a.is_some());
        if b.is_some() {
            prop_assert!(a >= b, "{a:?} {b:?}");
        }
    }
}

/// The number of requests of the reference size that a tenant can still send.
fn remaining(proxy: &mut Proxy, tenant: &str) -> Option<u64> {
    let body = r#"{"model":"m","max_tokens":16}"#;
    (0..2000).find(|_| proxy.chat(&[("x-tenant-id", tenant)], body).1.flow != Flow::Continue)
}
