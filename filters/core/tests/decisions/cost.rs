//! The arithmetic of both capacity profiles: the worked rows of the reference, and exactness.

use crate::proxy::{self, Proxy};
use headgate_contract::{Profile, Semantic, Tokens, parse_json};
use headgate_core::cost::{Parts, Pricing, Quote, Work, tokens_of_bytes, window};
use headgate_core::effects::Flow;

const ONE: u64 = 1_000_000;

fn semantic(model: &str) -> Pricing {
    Pricing::new(&Profile::Semantic(Semantic::default()), model)
}

fn tokens(json: &str) -> Pricing {
    let tokens: Tokens = parse_json(json.as_bytes()).unwrap();
    Pricing::new(&Profile::Tokens(tokens), "any")
}

fn work(input: u64, n: u64, max_tokens: u64) -> Work {
    Work {
        input,
        output: n * max_tokens,
        n,
        parts: Parts::default(),
    }
}

/// Millionths of the unit.
fn cost(q: &Quote) -> u128 {
    q.cost * 1_000_000 / q.per_unit
}

fn capacity(q: &Quote) -> u128 {
    q.capacity * 1_000_000 / q.per_unit
}

#[test]
fn the_rows_of_the_semantic_table_are_correct() {
    // model, max_tokens, capacity, refill per second in tenths, cost in millionths
    let rows = [
        ("gpt-4", 512, 100, 300, 1_000_000),
        ("gpt-4", 1024, 200, 600, 2_000_000),
        ("llama3-70b", 512, 80, 240, 1_000_000),
        ("phi-3", 256, 20, 60, 500_000),
        ("unknown", 512, 20, 60, 1_000_000),
    ];
    for (model, max_tokens, full, refill, price) in rows {
        let quote = semantic(model).quote(work(0, 1, max_tokens), ONE, 100);
        assert_eq!(capacity(&quote), full * 1_000_000, "{model}@{max_tokens}");
        assert_eq!(
            capacity(&quote) * 3 / 1_000_000,
            refill,
            "{model}@{max_tokens}"
        );
        assert_eq!(cost(&quote), price, "{model}@{max_tokens}");
    }
}

#[test]
fn gpt_4_takes_the_cells_of_the_reference() {
    let window = window(&Profile::Semantic(Semantic::default())).unwrap();
    assert_eq!(window.burst().get(), 3_333_333_600);
    let quote = semantic("gpt-4").quote(work(0, 1, 512), ONE, 100);
    assert_eq!(quote.cells(&window), 33_333_336);
}

#[test]
fn a_full_bucket_with_a_frozen_clock_admits_the_computed_number() {
    let rows = [
        ("gpt-4", 512, 100),
        ("gpt-4", 1024, 100),
        ("llama3-70b", 512, 80),
        ("phi-3", 256, 40),
        ("other", 512, 20),
    ];
    for (model, max_tokens, expected) in rows {
        let config = proxy::one_model(
            r#"{"policy":"p","bucket":{"name":"fair","key":["tenant"],"profile":"semantic"}}"#,
        )
        .replace("\"m\":", &format!("\"{model}\":"));
        let mut proxy = Proxy::new(&config);
        let body = format!(r#"{{"model":"{model}","max_tokens":{max_tokens},"messages":[]}}"#);
        let mut admitted = 0;
        while proxy.chat(&[], &body).1.flow == Flow::Continue {
            admitted += 1;
            assert!(admitted <= expected, "{model}@{max_tokens}");
        }
        assert_eq!(admitted, expected, "{model}@{max_tokens}");
    }
}

#[test]
fn temperature_raises_the_cost_within_its_bounds() {
    // sensitivity of gpt-4 is 1.2
    let rows = [
        (1_000_000, 1_000_000),
        (700_000, 640_000),
        (2_000_000, 2_200_000),
        (0, 100_000),
        (10_000_000, 4_000_000),
        (123_457, 100_000),
        (1_000_001, 1_000_001),
    ];
    for (temperature, expected) in rows {
        let quote = semantic("gpt-4").quote(work(0, 1, 512), temperature, 100);
        assert_eq!(cost(&quote), expected, "at {temperature}");
    }
}

#[test]
fn weighted_tokens_are_exact() {
    let plain = tokens(r#"{"capacity":1000,"refillPerSecond":1}"#);
    assert_eq!(
        cost(&plain.quote(work(10, 2, 100), 7 * ONE, 100)),
        210_000_000
    );
    let weighted = tokens(
        r#"{"capacity":1000,"refillPerSecond":1,"weights":{"input":0.1,"output":0.333333},"temperatureSensitivity":0.5}"#,
    );
    // (0.1·3 + 0.333333·7) · 1.25, exact to the last digit
    let quote = weighted.quote(work(3, 1, 7), 1_500_000, 100);
    assert_eq!(quote.cost * 100_000_000, 329_166_375 * quote.per_unit);
    assert_eq!(capacity(&quote), 1_000_000_000);
}

#[test]
fn a_scale_changes_only_the_capacity() {
    let pricing = tokens(r#"{"capacity":1000,"refillPerSecond":1}"#);
    let full = pricing.quote(work(0, 1, 100), ONE, 100);
    let half = pricing.quote(work(0, 1, 100), ONE, 50);
    assert_eq!(
        (cost(&half), capacity(&half)),
        (cost(&full), capacity(&full) / 2)
    );
    assert_eq!(half.unscaled / half.per_unit, 1000);
}

#[test]
fn an_absurd_request_saturates_at_the_greatest_cost() {
    let pricing = tokens(
        r#"{"capacity":9000000000,"refillPerSecond":1000000,"weights":{"input":1000,"output":1000},"temperatureSensitivity":9.999999}"#,
    );
    let quote = pricing.quote(
        Work {
            input: u64::MAX,
            output: u64::MAX,
            n: u64::MAX,
            parts: Parts::default(),
        },
        9_999_999,
        1000,
    );
    assert!(quote.cost > quote.unscaled);
}

#[test]
fn prompt_tokens_are_bytes_rounded_up() {
    for (bytes, per_token, expected) in [
        (0, 4 * ONE, 0),
        (1, 4 * ONE, 1),
        (4, 4 * ONE, 1),
        (5, 4 * ONE, 2),
        (7, 3_500_000, 2),
        (u64::MAX, 1, u64::MAX),
    ] {
        assert_eq!(tokens_of_bytes(bytes, per_token), expected);
    }
}
