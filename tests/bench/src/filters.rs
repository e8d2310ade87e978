//! The compared filters, as Envoy's JSON.

use std::path::Path;

use headgate_contract::names;
use serde_json::{Value, json};

use crate::requests::{MODEL, TEAM, TENANT};

/// Prefix of a type URL.
pub(crate) const TYPES: &str = "type.googleapis.com/";

/// The metadata namespace where `json_to_metadata` stores the model and `local_ratelimit` reads it.
const METADATA: &str = "headgate.bench";

/// The fill level of a row's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Ample, as for a tenant well within its budget.
    Ample,
    /// Exhausted: every request is refused.
    Spent,
}

/// Tag rules on a header, each with another value. Only the last one matches.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rules {
    /// None.
    None,
    /// As many with the test `equal`.
    Equal(usize),
    /// As many with the test `regex`.
    Regex(usize),
}

impl Rules {
    fn config(self) -> Value {
        let (test, count) = match self {
            Self::None => return json!([]),
            Self::Equal(count) => ("equal", count),
            Self::Regex(count) => ("regex", count),
        };
        let rule = |i: usize| {
            let value = match i + 1 == count {
                true => TEAM.to_owned(),
                false => format!("team-{i:03}"),
            };
            let value = match self {
                Self::Regex(_) => format!("^{value}$"),
                _ => value,
            };
            json!({
                "name": format!("rule-{i}"),
                "when": {"all": [{"attribute": "header:x-team", test: value}]},
                "tags": {"cohort": "b"},
            })
        };
        (0..count).map(rule).collect()
    }
}

/// The configuration of our filter in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilterSetup {
    /// Key of the bucket: `tenant` or `model`.
    pub key: &'static str,
    /// Fill level of the bucket.
    pub budget: Budget,
    /// Whether tags are also written to filter state, not only to headers and `baggage`.
    pub state: bool,
    /// The tag rules.
    pub rules: Rules,
    /// Whether responses carry the model tag and the balance is settled on reported usage.
    pub extras: bool,
}

impl FilterSetup {
    /// Request tags in headers and `baggage`, and an ample bucket.
    pub(crate) fn by(key: &'static str) -> Self {
        Self {
            key,
            budget: Budget::Ample,
            state: false,
            rules: Rules::None,
            extras: false,
        }
    }

    /// The same with another budget.
    pub(crate) fn with(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }
}

/// Our filter with the configuration of one row.
pub(crate) fn headgate(row: &str, module: &Path, what: FilterSetup) -> Value {
    wasm(row, module, &config(row, what).to_string())
}

/// The fused module with any configuration. Each filter needs its own name; all share one module and one VM.
pub(crate) fn wasm(row: &str, module: &Path, config: &str) -> Value {
    json!({
        "name": row,
        "typed_config": {
            "@type": format!("{TYPES}envoy.extensions.filters.http.wasm.v3.Wasm"),
            "config": {
                "name": row,
                "vm_config": {
                    "vm_id": names::VM_ID,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
                "allow_on_headers_stop_iteration": true,
                "failure_policy": "FAIL_RELOAD",
                "configuration": {"@type": format!("{TYPES}google.protobuf.StringValue"), "value": config},
            },
        },
    })
}

/// A stable version, a canary of 10 %, and one bucket. The namespace is the row, so the filter's own counters identify the row of
/// a request.
fn config(row: &str, what: FilterSetup) -> Value {
    let carrier = |name: &str, weight: u32, version: &str| json!({"carrier": name, "weight": weight, "versions": [{"version": version, "endpoints": 1}]});
    json!({
        "namespaces": {row: {
            "models": {MODEL: {
                "canaries": [carrier("deployment/canary", 10, "v2")],
                "base": [carrier("deployment/stable", 1, "v1")],
            }},
            "buckets": [{"policy": "bench", "bucket": bucket(what)}],
            "tagging": [{"policy": "bench", "tagging": {"filterState": what.state, "responseHeaders": what.extras, "rules": what.rules.config()}}],
        }}
    })
}

/// The bucket of a row, as in a policy.
pub(crate) fn bucket(what: FilterSetup) -> Value {
    // A request reserves up to 512 tokens plus the prompt; the refill exceeds what all workers can spend.
    let (capacity, refill) = match what.budget {
        Budget::Ample => (1_000_000_000_u64, 1_000_000_000.0),
        Budget::Spent => (512, 0.0001),
    };
    json!({
        "name": "tokens",
        "key": [what.key],
        "profile": "tokens",
        "tokens": {"capacity": capacity, "refillPerSecond": refill},
        "settleOn": if what.extras { "usage" } else { "reservation" },
    })
}

/// The descriptor of Envoy's native rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// The tenant's header.
    Tenant,
    /// The model that `json_to_metadata` found in the body.
    Model,
}

impl Descriptor {
    /// The route's `rate_limits`.
    pub(crate) fn actions(self) -> Value {
        let action = match self {
            Self::Tenant => {
                json!({"request_headers": {"header_name": "x-tenant-id", "descriptor_key": "tenant"}})
            }
            Self::Model => json!({"metadata": {
                "descriptor_key": "model",
                "source": "DYNAMIC",
                "metadata_key": {"key": METADATA, "path": [{"key": "model"}]},
            }}),
        };
        json!([{"actions": [action]}])
    }

    fn entry(self) -> Value {
        match self {
            Self::Tenant => json!({"key": "tenant", "value": TENANT}),
            Self::Model => json!({"key": "model", "value": MODEL}),
        }
    }
}

/// Envoy's own rate limit, with one descriptor that allows `requests` per hour.
///
/// The default bucket for requests without the descriptor holds a single request: if the descriptor were not found, the row would
/// respond 429 and fail. A matched descriptor does not consume the default bucket, which is Envoy's cheaper mode.
pub(crate) fn local_ratelimit(row: &str, descriptor: Descriptor, requests: u32) -> Value {
    let always = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    let bucket = |n: u32| json!({"max_tokens": n, "tokens_per_fill": n, "fill_interval": "3600s"});
    json!({
        "name": "local_ratelimit",
        "typed_config": {
            "@type": format!("{TYPES}envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"),
            "stat_prefix": row,
            "token_bucket": bucket(1),
            "filter_enabled": always,
            "filter_enforced": always,
            "always_consume_default_token_bucket": false,
            "descriptors": [{"entries": [descriptor.entry()], "token_bucket": bucket(requests)}],
        },
    })
}

/// Envoy's own JSON body parser: stores the model in dynamic metadata.
pub(crate) fn json_to_metadata() -> Value {
    json!({
        "name": "json_to_metadata",
        "typed_config": {
            "@type": format!("{TYPES}envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata"),
            "request_rules": {"rules": [{
                "selectors": [{"key": "model"}],
                "on_present": {"metadata_namespace": METADATA, "key": "model"},
            }]},
        },
    })
}
