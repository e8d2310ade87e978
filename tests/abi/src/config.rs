//! Filter configurations as JSON.

use serde_json::{Value, json};

/// One model `m`, versions `v1` (base) and `v2` (a canary of 50 %), and these buckets.
#[must_use]
pub fn with_buckets(buckets: &[Value]) -> Value {
    let carrier = |name: &str, weight: u32, version: &str| json!({"carrier": name, "weight": weight, "versions": [{"version": version, "endpoints": 1}]});
    let rules: Vec<Value> = buckets
        .iter()
        .map(|bucket| json!({"policy": "p", "bucket": bucket}))
        .collect();
    json!({
        "namespaces": {"default": {
            "models": {"m": {
                "names": ["Org/M-Instruct"],
                "canaries": [carrier("deployment/m-v2", 50, "v2")],
                "base": [carrier("deployment/m-v1", 1, "v1")],
            }},
            "buckets": rules,
        }}
    })
}

/// The same with only `v1`, so that it serves every request.
#[must_use]
pub fn one_version(buckets: &[Value]) -> Value {
    let mut config = with_buckets(buckets);
    config["namespaces"]["default"]["models"]["m"]["canaries"] = json!([]);
    config
}

/// Adds a tagging for all models to a configuration.
#[must_use]
pub fn tagged(mut config: Value, tagging: &Value) -> Value {
    config["namespaces"]["default"]["tagging"] = json!([{"policy": "p", "tagging": tagging}]);
    config
}

/// A bucket of tokens per tenant with these further fields.
#[must_use]
pub fn tokens(capacity: u64, refill_per_second: f64, more: &Value) -> Value {
    let mut bucket = json!({
        "name": "tokens",
        "key": ["tenant"],
        "profile": "tokens",
        "tokens": {"capacity": capacity, "refillPerSecond": refill_per_second},
    });
    if let (Some(bucket), Some(more)) = (bucket.as_object_mut(), more.as_object()) {
        bucket.extend(more.clone());
    }
    bucket
}

/// A bucket of tokens per tenant that holds `capacity` and takes a day to fill.
#[must_use]
pub fn slow_tokens(capacity: u64) -> Value {
    json!({
        "name": "tokens",
        "key": ["tenant"],
        "profile": "tokens",
        "tokens": {"capacity": capacity, "refillPerSecond": refill_of_a_day(capacity)},
    })
}

/// The same, with settlement on the reservation.
#[must_use]
pub fn slow_tokens_by_reservation(capacity: u64) -> Value {
    let mut bucket = slow_tokens(capacity);
    bucket["settleOn"] = "reservation".into();
    bucket
}

#[allow(clippy::cast_precision_loss)]
fn refill_of_a_day(capacity: u64) -> f64 {
    // A configuration may have six digits after the point.
    ((capacity as f64 / 86_400.0) * 1e6).round() / 1e6
}
