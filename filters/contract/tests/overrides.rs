//! Overrides of a bucket: accepted lists, refused ones, and the text of the refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_contract::{Attribute, Bucket, Decimal, OverrideCapacity, parse_json};

fn bucket(overrides: &str) -> String {
    format!(
        r#"{{"name":"a","key":["tenant","model","header:x-team"],"profile":"tokens","tokens":{{"capacity":1000,"refillPerSecond":10}},"overrides":[{overrides}]}}"#
    )
}

fn semantic(overrides: &str) -> String {
    format!(r#"{{"name":"a","key":["tenant"],"profile":"semantic","overrides":[{overrides}]}}"#)
}

fn refusal(json: &str) -> String {
    parse_json::<Bucket>(json.as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn overrides_are_written_as_they_were_given() {
    for json in [
        bucket(
            r#"{"match":{"tenant":"acme"},"capacity":5000},{"match":{"tenant":"b","header:x-team":"red"},"capacity":1,"refillPerSecond":0.5},
            {"match":{"tenant":""},"capacity":0},{"match":{"model":"m"},"capacity":0,"reason":"not paid"}"#,
        ),
        semantic(
            r#"{"match":{"tenant":"acme"},"scale":2.5},{"match":{"tenant":"b"},"scale":0,"reason":"zoë"}"#,
        ),
    ] {
        let parsed: Bucket = parse_json(json.as_bytes()).unwrap();
        let written = serde_json::to_string(&parsed).unwrap();
        let again: Bucket = parse_json(written.as_bytes()).unwrap();
        assert_eq!(parsed, again);
        let given: serde_json::Value = serde_json::from_str(&json).unwrap();
        let written: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(
            written["overrides"].to_string(),
            given["overrides"].to_string()
        );
    }
    let parsed: Bucket = parse_json(bucket("").as_bytes()).unwrap();
    assert!(parsed.overrides.is_empty());
    assert!(
        !serde_json::to_string(&parsed)
            .unwrap()
            .contains("overrides")
    );
}

#[test]
fn an_override_has_the_capacity_of_its_profile() {
    let json = bucket(
        r#"{"match":{"tenant":"a"},"capacity":50},{"match":{"tenant":"b"},"capacity":0,"reason":"r"},{"match":{"tenant":"c"},"capacity":0}"#,
    );
    let parsed: Bucket = parse_json(json.as_bytes()).unwrap();
    let capacities: Vec<_> = parsed.overrides.iter().map(|o| &o.capacity).collect();
    let suspended = |reason: Option<&str>| OverrideCapacity::Suspended {
        reason: reason.map(str::to_owned),
    };
    let fifty = OverrideCapacity::Tokens {
        capacity: Decimal::whole(50),
        refill_per_second: None,
    };
    assert_eq!(
        capacities,
        [&fifty, &suspended(Some("r")), &suspended(None)]
    );
    assert_eq!(parsed.overrides[0].matches[&Attribute::Tenant], "a");
}

#[test]
fn a_refusal_names_the_entry_and_the_fix() {
    let a = r#"{"match":{"tenant":"a"},"capacity":5}"#;
    let b = r#"{"match":{"tenant":"b","model":"m"},"capacity":5}"#;
    let after = |bad: &str| bucket(&format!("{a},{b},{bad}"));
    let long = "x".repeat(257);
    let rows = [
        (
            after(r#"{"match":{"version":"v1"},"capacity":5}"#),
            "`overrides[2].match.version`: `key` of the bucket does not have this part",
        ),
        (
            after(r#"{"match":{"tenent":"a"},"capacity":5}"#),
            "overrides[2].match.tenent: unknown attribute \"tenent\"",
        ),
        (
            after(r#"{"match":{"tenant":7},"capacity":5}"#),
            "overrides[2].match.tenant: is a whole number: write a string",
        ),
        (
            after(r#"{"match":{},"capacity":5}"#),
            "`overrides[2].match` is empty",
        ),
        (
            after(r#"{"capacity":5}"#),
            "overrides[2]: missing field `match`",
        ),
        (
            after(a),
            "`overrides[2].match` is the same as in `overrides[0]`: remove one",
        ),
        (
            after(r#"{"match":{"model":"m","tenant":"b"},"capacity":0}"#),
            "`overrides[2].match` is the same as in `overrides[1]`: remove one",
        ),
        (
            after(&format!(
                r#"{{"match":{{"tenant":"{long}"}},"capacity":5}}"#
            )),
            "`overrides[2].match.tenant` has more than 256 characters",
        ),
        (
            after(r#"{"match":{"tenant":"c"}}"#),
            "`overrides[2].capacity` is needed in `profile: tokens`",
        ),
        (
            after(r#"{"match":{"tenant":"c"},"scale":2}"#),
            "`overrides[2].capacity` is needed in `profile: tokens`",
        ),
        (
            after(r#"{"match":{"tenant":"c"},"capacity":2,"scale":2}"#),
            "`overrides[2].capacity` is needed in `profile: tokens`, which takes no `scale`",
        ),
        (
            after(r#"{"match":{"tenant":"c"},"capacity":0,"refillPerSecond":2}"#),
            "`overrides[2].refillPerSecond` needs a `capacity` above 0",
        ),
        (
            after(r#"{"match":{"tenant":"c"},"capacity":2,"refillPerSecond":0}"#),
            "`overrides[2].refillPerSecond` needs a `capacity` above 0, and must be greater than 0",
        ),
        (
            after(r#"{"match":{"tenant":"c"},"capacity":1,"refillPerSecond":1000000}"#),
            "`overrides[2].capacity / refillPerSecond` is the time an empty bucket takes to fill: keep it between 1 ms and 366 days",
        ),
        (
            after(r#"{"match":{"tenant":"c"},"capacity":1,"reason":"x"}"#),
            "`overrides[2].reason` is for suspended keys",
        ),
        (
            after(&format!(
                r#"{{"match":{{"tenant":"c"}},"capacity":0,"reason":"{long}"}}"#
            )),
            "`overrides[2].reason` has more than 256 characters",
        ),
        (
            after(r#"{"match":{"tenant":"c"},"capacity":1,"until":"x"}"#),
            "overrides[2].until: unknown field `until`",
        ),
        (
            semantic(r#"{"match":{"tenant":"c"},"capacity":1}"#),
            "`overrides[0].scale` is needed in `profile: semantic`, which takes no `capacity`",
        ),
        (
            semantic(r#"{"match":{"tenant":"c"},"scale":1000.5}"#),
            "`overrides[0].scale` is 1000.5: write 0 to 1000",
        ),
        (
            semantic(r#"{"match":{"tenant":"c"},"scale":1,"refillPerSecond":1}"#),
            "`overrides[0].refillPerSecond` needs a `capacity` above 0",
        ),
    ];
    for (json, expected) in rows {
        let got = refusal(&json);
        assert!(got.contains(expected), "{json}\n  {got}\n  {expected}");
    }
}

fn tenants(count: usize, rest: impl Fn(usize) -> String) -> String {
    let entries = (0..count).map(|i| format!(r#"{{"match":{{"tenant":"t{i}"}},{}}}"#, rest(i)));
    bucket(&entries.collect::<Vec<_>>().join(","))
}

#[test]
fn a_list_has_limits() {
    let parses = |json: &str| parse_json::<Bucket>(json.as_bytes()).is_ok();
    let plain = |_: usize| r#""capacity":5"#.to_owned();
    assert!(parses(&tenants(10_000, plain)));
    assert!(refusal(&tenants(10_001, plain)).contains("`overrides` has more than 10000 entries"));

    // 64 windows beside that of the bucket. Equal ratios are one window.
    let window = |i: usize| format!(r#""capacity":{},"refillPerSecond":2"#, 200 + i * 2);
    assert!(parses(&tenants(65, window)));
    assert!(refusal(&tenants(66, window)).contains("`overrides` have 65 different times to fill"));
    let same = |i: usize| format!(r#""capacity":{},"refillPerSecond":{}"#, (i + 1) * 3, i + 1);
    assert!(parses(&tenants(500, same)));

    let parts = ["tenant", "model", "version", "header:a", "header:b"];
    let combinations = |count: usize| {
        let entry = |bits: usize| {
            let chosen = parts
                .iter()
                .enumerate()
                .filter(|(i, _)| bits & (1 << i) != 0);
            let chosen = chosen.map(|(_, part)| format!(r#""{part}":"x""#));
            format!(
                r#"{{"match":{{{}}},"capacity":5}}"#,
                chosen.collect::<Vec<_>>().join(",")
            )
        };
        let entries = (1..=count).map(entry).collect::<Vec<_>>().join(",");
        let key = serde_json::to_string(&parts).unwrap();
        bucket(&entries).replace(r#"["tenant","model","header:x-team"]"#, &key)
    };
    assert!(parses(&combinations(8)));
    assert!(
        refusal(&combinations(9))
            .contains("`overrides` match 9 combinations of key parts: use at most 8")
    );
}
