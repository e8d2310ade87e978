//! Generators of valid and invalid policies.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use crate::tokens::{authentication, paste_keys};
use crate::values::{maybe, mostly, object};

/// A kind and a spec of it: valid, or with a few edits.
pub(crate) fn written() -> impl Strategy<Value = (&'static str, Value)> {
    let bucket = (
        target(),
        prop::collection::vec(bucket(), 1..3),
        any::<bool>(),
        prop::option::of(select(vec!["decide", "inbound"])),
    );
    let buckets = bucket.prop_map(|(mut spec, mut buckets, overrides, at)| {
        for (i, bucket) in buckets.iter_mut().enumerate() {
            bucket["name"] = json!(format!("b{i}"));
        }
        spec.insert("buckets".into(), json!(buckets));
        if overrides {
            spec.insert("override".into(), json!(true));
        }
        if let Some(at) = at {
            spec.insert("at".into(), json!(at));
        }
        ("TokenBucketPolicy", Value::Object(spec))
    });
    let tags = (target(), tagging()).prop_map(|(mut spec, tagging)| {
        spec.extend(tagging);
        ("TrafficTagPolicy", Value::Object(spec))
    });
    let edits = prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::collection::vec(edit(), 1..2),
        1 => prop::collection::vec(edit(), 2..3),
    ];
    let authentication = authentication().prop_map(|spec| ("AuthenticationPolicy", spec));
    let all = prop_oneof![3 => buckets.boxed(), 2 => tags.boxed(), 2 => authentication.boxed()];
    (all, edits).prop_map(|((kind, mut spec), edits)| {
        for edit in edits {
            edit.apply(&mut spec);
        }
        paste_keys(&mut spec);
        paste_schemas(&mut spec);
        (kind, spec)
    })
}

/// Writes valid schemas over those of requests: the API server does not look into them.
fn paste_schemas(spec: &mut Value) {
    let schemas = spec.get_mut("schemas").and_then(Value::as_array_mut);
    for schema in schemas.into_iter().flatten() {
        if let Some(schema) = schema.get_mut("schema").filter(|schema| schema.is_object()) {
            *schema = json!({
                "type": ["object", "null"],
                "required": ["messages"],
                "properties": {"messages": {"items": {"maxLength": 10}}, "n": {"const": null}, "t": {"maximum": 0.5}},
                "additionalProperties": false,
            });
        }
    }
}

/// Schemas of requests.
fn schemas() -> impl Strategy<Value = Value> {
    let operation = mostly(
        vec!["openai.chat", "azure.chat", "anthropic.messages"],
        vec!["openai.files", "openai", ""],
    );
    let operations = prop::collection::vec(operation, 0..3);
    let one = operations.prop_map(|names| json!({"operations": names, "schema": {}}));
    prop::collection::vec(one, 0..3).prop_map(Value::from)
}

fn target() -> impl Strategy<Value = Map<String, Value>> {
    let name = select(vec!["llama", "a.b", "x-1", "0", "a--b"]);
    let kind = select(vec!["Service", "Deployment", "InferencePool"]);
    let group = mostly(vec!["own"], vec!["", "apps", "inference.networking.k8s.io"]);
    let reference = (
        name,
        kind,
        prop::option::of(group),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(name, kind, group, version)| {
            let mut fields = object(vec![("name", json!(name)), ("kind", json!(kind))]);
            if let Some(group) = group {
                let own = match kind {
                    "Service" => "",
                    "Deployment" => "apps",
                    _ => "inference.networking.k8s.io",
                };
                fields.insert(
                    "group".into(),
                    json!(if group == "own" { own } else { group }),
                );
            }
            if version {
                fields.insert("sectionName".into(), json!("v2.3.1-cuda118"));
            }
            Value::Object(fields)
        });
    let refs = prop::collection::vec(reference, 1..3);
    prop_oneof![
        Just(Map::new()),
        Just(object(vec![("models", json!(["gpt-4", "Llama_3.1"]))])),
        Just(object(vec![(
            "selector",
            json!({"matchLabels": {"team": "red", "": ""}})
        )])),
        refs.prop_map(|refs| object(vec![("targetRefs", json!(refs))])),
    ]
}

/// Numbers around every limit, and numbers that a double cannot represent exactly.
fn number() -> impl Strategy<Value = Value> {
    let some = vec![
        "0",
        "1",
        "-1",
        "0.25",
        "64",
        "64.000001",
        "63",
        "1048576",
        "1048577",
        "0.29",
        "0.57",
        "1.1",
        "0.000001",
        "0.0000001",
        "1e-10",
        "9.999999e-7",
        "0.1234567",
        "123456.123456",
        "1000",
        "1000.000001",
        "10",
        "10.000001",
        "100",
        "64.0",
        "1e2",
        "4096.5",
        "9000000000",
        "9000000000.000001",
        "9000000001",
        "4503599627.370497",
        "1e300",
        "4294967296",
        "9007199254740993",
        "18446744073709551616",
        "31622400",
        "31622400.000001",
        "31622399.999999",
        "-0.0",
        "0.0",
    ];
    let exact = (0u64..9_000_000_000_000_000)
        .prop_map(|n| format!("{}.{:06}", n / 1_000_000, n % 1_000_000));
    let small = (0u64..200_000_000).prop_map(|n| format!("{}.{:06}", n / 1_000_000, n % 1_000_000));
    let fine = any::<f64>().prop_map(|x| format!("{:e}", x.abs() % 1e6));
    prop_oneof![
        4 => select(some).prop_map(str::to_owned),
        2 => small,
        1 => exact,
        1 => fine,
    ]
    .prop_map(|text| serde_json::from_str(&text).unwrap())
}

/// Mostly a number within the limits.
fn near(fits: impl Into<f64>) -> impl Strategy<Value = Value> {
    let fits = json!(fits.into());
    prop_oneof![14 => Just(fits), 1 => number()]
}

/// Boxed, as the parts of a bucket are: a test has a small stack.
fn tokens() -> BoxedStrategy<Value> {
    // The window's limits lie at ratios of 0.001 and 31 622 400.
    let window = prop_oneof![
        12 => (1u64..1_000_000, 1u64..1_000).prop_map(|(c, r)| (json!(c), json!(r))),
        1 => (1u64..9_000_000).prop_map(|m| (json!(m as f64 / 1e6), json!(m as f64 / 1e3))),
        1 => (1u64..9_000_000).prop_map(|m| (json!(m as f64 / 1e6), json!((m * 1000 + 1) as f64 / 1e6))),
        1 => (1u64..250_000_000).prop_map(|m| (json!((m * 31_622_400) as f64 / 1e6), json!(m as f64 / 1e6))),
        1 => (1u64..60_000_000).prop_map(|m| (json!((m * 31_622_400 + 1) as f64 / 1e6), json!(m as f64 / 1e6))),
        1 => (number(), number()),
    ];
    let weights = (
        maybe("input", near(1)),
        maybe("output", near(0)),
        maybe("cachedInput", near(0.1)),
        maybe("audio", near(1000)),
    )
        .prop_map(|(a, b, c, d)| {
            Value::Object(object([a, b, c, d].into_iter().flatten().collect()))
        });
    let more = (
        maybe("weights", weights),
        maybe("temperatureSensitivity", near(10)),
    );
    (window, more)
        .prop_map(|((capacity, refill), (weights, sensitivity))| {
            let mut fields = object(vec![("capacity", capacity), ("refillPerSecond", refill)]);
            fields.extend(
                [weights, sensitivity]
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| (k.to_owned(), v)),
            );
            Value::Object(fields)
        })
        .boxed()
}

fn semantic() -> BoxedStrategy<Value> {
    let row =
        (near(100), maybe("temperatureSensitivity", near(1.2))).prop_map(|(base, sensitivity)| {
            let mut fields = object(vec![("baseCapacity", base)]);
            fields.extend(sensitivity.map(|(k, v)| (k.to_owned(), v)));
            Value::Object(fields)
        });
    let id = mostly(vec!["gpt-4", "Llama_3.1"], vec!["-bad", "a b", ""]);
    let rows = prop::collection::btree_map(id.prop_map(str::to_owned), row, 0..2)
        .prop_map(|rows| json!(rows));
    (
        maybe("minCapacity", near(20)),
        maybe("referenceMaxTokens", near(512)),
        maybe("fillRatio", near(0.3)),
        maybe("models", rows),
    )
        .prop_map(|(a, b, c, d)| {
            Value::Object(object([a, b, c, d].into_iter().flatten().collect()))
        })
        .boxed()
}

fn bucket() -> impl Strategy<Value = Value> {
    let key = select(vec![
        json!([]),
        json!(["tenant"]),
        json!(["tenant", "model", "version", "header:x-team"]),
    ]);
    let profile = prop_oneof![
        8 => tokens().prop_map(|t| vec![("profile", json!("tokens")), ("tokens", t)]),
        6 => semantic().prop_map(|s| vec![("profile", json!("semantic")), ("semantic", s)]),
        4 => Just(vec![("profile", json!("semantic"))]),
        1 => tokens().prop_map(|t| vec![("profile", json!("semantic")), ("tokens", t)]),
        1 => Just(vec![("profile", json!("tokens"))]),
    ];
    let rest = (
        maybe("bytesPerToken", near(4)),
        maybe("maxDebt", near(1)),
        maybe("maxKeys", near(64)),
        maybe(
            "onContention",
            select(vec![json!("admit"), json!("refuse")]),
        ),
        maybe(
            "settleOn",
            select(vec![json!("usage"), json!("reservation")]),
        ),
        maybe(
            "unreadable",
            select(vec![json!("bytes"), json!("reservation")]),
        ),
    );
    let own = (
        maybe("mode", select(vec![json!("enforce"), json!("shadow")])),
        maybe("overrides", overrides("capacity", "scale")),
        maybe("overrides", overrides("scale", "capacity")),
    );
    (key, profile, rest, own, failures()).prop_map(
        |(key, mut fields, (a, b, c, d, e, f), (mode, tokens, scales), more)| {
            let profile = fields
                .iter()
                .any(|field| *field == ("profile", json!("tokens")));
            let overrides = if profile { tokens } else { scales };
            // Only the parser checks which parts of the key an override matches.
            let overrides = overrides.filter(|_| key.to_string().contains("tenant"));
            fields.push(("key", key));
            fields.extend([a, b, c, d, e, f, mode, overrides].into_iter().flatten());
            fields.extend(more);
            Value::Object(object(fields))
        },
    )
}

/// Overrides of different tenants. Only the parser checks that none is there twice.
fn overrides(field: &'static str, wrong: &'static str) -> BoxedStrategy<Value> {
    let entry = (
        mostly(vec![field], vec![wrong]),
        prop_oneof![2 => near(1000), 1 => Just(json!(0))],
        prop::option::weighted(0.1, near(1)),
        prop::option::weighted(
            0.2,
            mostly(vec!["late"], vec!["x"]).prop_map(|text| match text {
                "x" => json!("x".repeat(257)),
                text => json!(text),
            }),
        ),
    );
    let entry = entry.prop_map(|(field, amount, refill, reason)| {
        let reason = reason.filter(|_| amount == json!(0));
        let mut fields = vec![(field, amount)];
        fields.extend(refill.map(|value| ("refillPerSecond", value)));
        fields.extend(reason.map(|value| ("reason", value)));
        Value::Object(object(fields))
    });
    prop::collection::vec(entry, 0..3)
        .prop_map(|mut entries| {
            for (i, entry) in entries.iter_mut().enumerate() {
                entry["match"] = json!({"tenant": format!("t{i}")});
            }
            json!(entries)
        })
        .boxed()
}

/// The settings of a bucket for failed requests and for waits.
fn failures() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let charge = || {
        let valid = vec!["nothing", "prompt", "reservation", "elapsed"];
        mostly(valid, vec!["usage", ""]).prop_map(|text| json!(text))
    };
    let on_failure = (
        maybe("clientError", charge()),
        maybe("reset", charge()),
        maybe("timeout", charge()),
    )
        .prop_map(|(a, b, c)| Value::Object(object([a, b, c].into_iter().flatten().collect())));
    let abandoned = mostly(vec!["elapsed", "prompt", "reservation"], vec!["nothing"]);
    (
        maybe("onFailure", on_failure),
        maybe("abandoned", abandoned.prop_map(|text| json!(text))),
        maybe("usage", select(vec![json!("ask"), json!("observe")])),
        maybe("maxClientWait", duration()),
    )
        .prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect())
}

/// Mostly up to a day.
fn duration() -> impl Strategy<Value = Value> {
    let valid = vec!["0s", "60s", "1m30s", "500ms", "24h", "1440m", "23h59m60s"];
    let invalid = vec![
        "",
        "60",
        "24h1ms",
        "1441m",
        "99999h",
        "1.5h",
        "-1s",
        "1d",
        "1s1s1s1s1s",
    ];
    mostly(valid, invalid).prop_map(|text| json!(text))
}

/// The CORS settings.
fn cors() -> impl Strategy<Value = Value> {
    let long = || "a".repeat(71);
    let origin = prop_oneof![
        12 => select(vec!["https://a.example", "*", "https://*.a.example", "http://[::1]:8080", "null://x"])
            .prop_map(str::to_owned),
        1 => select(vec!["a.example", "https://", "https://A.example", "https://a.example/", "https://*", "https://a.*.b", ""])
            .prop_map(str::to_owned),
        1 => select(vec![format!("https://{}", long()), format!("https://*.{}", &long()[1..]), format!("https://*.{}", long())]),
    ];
    let header = mostly(vec!["*", "x-own", "Content-Type"], vec!["a b", "", "*x"]);
    (
        prop::collection::vec(origin, 0..4).prop_map(|list| ("allowOrigins", json!(list))),
        maybe(
            "allowHeaders",
            prop::collection::vec(header, 0..3).prop_map(|list| json!(list)),
        ),
        maybe(
            "allowCredentials",
            any::<bool>().prop_map(|flag| json!(flag)),
        ),
        maybe("maxAge", duration()),
    )
        .prop_map(|(origins, a, b, c)| {
            let rest = [a, b, c].into_iter().flatten();
            Value::Object(object(std::iter::once(origins).chain(rest).collect()))
        })
}

fn tagging() -> impl Strategy<Value = Map<String, Value>> {
    let header = mostly(
        vec!["x-tenant-id", "a"],
        vec!["x-headgate-tenant", "X-Upper", ""],
    );
    let tenant_source = prop_oneof![
        header.prop_map(|name| format!("header:{name}")),
        mostly(
            vec!["peerSpiffeId", "apiKeySha256", "jwtClaim:org"],
            vec!["jwtClaim:", "jwtClaim:a b", "peer", ""],
        )
        .prop_map(String::from),
    ];
    let keys = select(vec![
        json!([]),
        json!([
            "header:x-session-id",
            "body:prompt_cache_key",
            "body:metadata.user_id",
            "fingerprint",
            "fingerprint"
        ]),
        json!(["body:user", "body:conversation", "body:safety_identifier"]),
    ]);
    let value = mostly(
        vec!["demo", "!#+-:<~"],
        vec!["a,b", "a;b", "\"", "a b", "ü", ""],
    );
    let tag = (
        mostly(
            vec!["environment", "team"],
            vec!["lane", "Team", "te_am", "rule"],
        ),
        any::<bool>(),
        value,
    )
        .prop_map(|(name, fixed, value)| {
            if fixed {
                json!({"name": name, "value": value})
            } else {
                json!({"name": name, "header": "x-team"})
            }
        });
    (
        maybe(
            "tenantFrom",
            prop::collection::vec(tenant_source, 0..3).prop_map(|sources| json!(sources)),
        ),
        maybe(
            "trustedHops",
            prop::collection::vec(
                mostly(
                    vec!["any", "spiffe://a/*", "spiffe://"],
                    vec!["*", "ANY", "spiffe://a b"],
                ),
                0..2,
            )
            .prop_map(|hops| json!(hops)),
        ),
        maybe("sessionKeys", keys),
        maybe(
            "unknownVersion",
            select(vec![json!("refuse"), json!("weights")]),
        ),
        maybe("baggage", Just(json!(false))),
        maybe("filterState", Just(json!(false))),
        maybe("responseHeaders", Just(json!(false))),
        maybe(
            "tags",
            prop::collection::vec(tag, 0..2).prop_map(|tags| json!(tags)),
        ),
        maybe("cors", cors()),
        maybe("schemas", schemas()),
        maybe(
            "tenantMetrics",
            select(vec![1, 1000, 1001, 0]).prop_map(|n| json!({ "maxTenants": n })),
        ),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i, j, k)| {
            object(
                [a, b, c, d, e, f, g, h, i, j, k]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        })
}

/// A random edit.
#[derive(Debug, Clone)]
enum Edit {
    /// Replaces a value.
    Replace(Index, Value),
    /// Removes a field or an item.
    Remove(Index),
    /// Adds a field to an object.
    Add(Index, &'static str, Value),
    /// Repeats the first item of a list.
    Repeat(Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let odd = select(vec![
        Value::Null,
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!("x"),
        json!("-x"),
        json!("x\n"),
        json!("a".repeat(63)),
        json!("a".repeat(64)),
        json!("a".repeat(128)),
        json!("a".repeat(129)),
        json!("a".repeat(253)),
        json!("a".repeat(254)),
        json!("model"),
        json!("header:"),
        json!("header:x-Y"),
        json!("x-headgate-lane"),
        json!("tokens"),
        json!([null]),
        json!({"a": null}),
        json!("ä"),
    ]);
    let odd = prop_oneof![odd, number()];
    // Not null: the parser accepts a null in place of a missing field.
    let field = select(vec![
        ("models", json!(["m"])),
        ("models", json!([])),
        ("selector", json!({"matchLabels": {"a": "b"}})),
        ("selector", json!({"matchLabels": {}})),
        ("targetRefs", json!([{"kind": "Service", "name": "a"}])),
        ("override", json!(false)),
        ("at", json!("follow")),
        ("burst", json!(1)),
        ("tokens", json!({"capacity": 1, "refillPerSecond": 1})),
        ("value", json!("v")),
        ("header", json!("h")),
        ("Name", json!("x")),
        ("required", json!(true)),
        ("uri", json!("https://a/")),
        ("issuer", json!("i")),
    ]);
    prop_oneof![
        4 => (any::<Index>(), odd).prop_map(|(at, value)| Edit::Replace(at, value)),
        2 => any::<Index>().prop_map(Edit::Remove),
        2 => (any::<Index>(), field).prop_map(|(at, (name, value))| Edit::Add(at, name, value)),
        1 => (any::<Index>(), select(vec![2usize, 8, 9, 32, 33, 64, 65, 256, 257])).prop_map(|(at, n)| Edit::Repeat(at, n)),
    ]
}

impl Edit {
    fn apply(self, spec: &mut Value) {
        let mut places = Vec::new();
        pointers(spec, String::new(), &mut places);
        let Some(at) = (match &self {
            Self::Replace(index, _)
            | Self::Remove(index)
            | Self::Add(index, ..)
            | Self::Repeat(index, _) => (!places.is_empty()).then(|| index.get(&places).clone()),
        }) else {
            return;
        };
        let Some(place) = spec.pointer_mut(&at) else {
            return;
        };
        match self {
            Self::Replace(_, value) => *place = value,
            Self::Add(_, name, value) => {
                if let Some(fields) = place.as_object_mut() {
                    fields.insert(name.to_owned(), value);
                } else if let Some(fields) = spec.as_object_mut() {
                    fields.insert(name.to_owned(), value);
                }
            }
            Self::Repeat(_, n) => {
                if let Some(items) = place.as_array_mut()
                    && let Some(first) = items.first().cloned()
                {
                    *items = vec![first; n];
                }
            }
            Self::Remove(_) => {
                let Some((parent, last)) = at.rsplit_once('/') else {
                    return;
                };
                match spec.pointer_mut(parent) {
                    Some(Value::Object(fields)) => _ = fields.remove(last),
                    Some(Value::Array(items)) => {
                        let i: usize = last.parse().unwrap();
                        items.remove(i);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The JSON pointers of all values, except keys that need an escape.
fn pointers(value: &Value, at: String, into: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => Vec::new(),
    };
    for (key, value) in inner {
        if !key.contains(['/', '~']) {
            let at = format!("{at}/{key}");
            into.push(at.clone());
            pointers(value, at, into);
        }
    }
}
