//! The filters that are compared, as Envoy's JSON.

use std::path::Path;

use headgate_contract::names;
use serde_json::{Value, json};

use crate::requests::{MODEL, TENANT};

/// Prefix of a type URL.
pub(crate) const TYPES: &str = "type.googleapis.com/";

/// Where `json_to_metadata` leaves the model, and `local_ratelimit` finds it.
const METADATA: &str = "headgate.bench";

/// How full the buckets of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Ample, as of any tenant well within its budget.
    Ample,
    /// Spent: every request is refused.
    Spent,
}

/// What our filter does in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ours {
    /// Whose bucket it is: `tenant` or `model`.
    pub key: &'static str,
    /// How full it is.
    pub budget: Budget,
    /// Whether the tags are filter state as well, not only headers and `baggage`.
    pub state: bool,
    /// Whether answers carry what served and the balance is settled on the usage they report.
    pub extras: bool,
}

impl Ours {
    /// Request tags in headers and `baggage`, and an ample bucket.
    pub(crate) fn by(key: &'static str) -> Self {
        Self {
            key,
            budget: Budget::Ample,
            state: false,
            extras: false,
        }
    }

    /// The same with another budget.
    pub(crate) fn with(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }
}

/// Our filter, configured for one row.
pub(crate) fn ours(row: &str, module: &Path, what: Ours) -> Value {
    wasm(row, module, &config(row, what).to_string())
}

/// The fused module with any configuration. Filters need names of their own: one module, one VM.
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

/// A stable version and a canary of 10 %, one bucket. The namespace is the row: the filter's own counters then
/// tell which row a request was in.
fn config(row: &str, what: Ours) -> Value {
    let carrier = |name: &str, weight: u32, version: &str| json!({"carrier": name, "weight": weight, "versions": [{"version": version, "endpoints": 1}]});
    json!({
        "namespaces": {row: {
            "models": {MODEL: {
                "canaries": [carrier("deployment/canary", 10, "v2")],
                "base": [carrier("deployment/stable", 1, "v1")],
            }},
            "buckets": [{"policy": "bench", "bucket": bucket(what)}],
            "tagging": [{"policy": "bench", "tagging": {"filterState": what.state, "responseHeaders": what.extras}}],
        }}
    })
}

/// The bucket of a row, as a policy would spell it.
pub(crate) fn bucket(what: Ours) -> Value {
    // A request reserves up to 512 tokens and the prompt's; the refill is beyond what all workers can spend.
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

/// What a native limit looks its bucket up by.
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

/// Envoy's own limit with one descriptor of this many requests an hour.
///
/// The bucket for requests without the descriptor holds a single one: were the descriptor not found, the row
/// would be all 429s and fail. It is not consumed beside the descriptor's, which is the cheaper way for Envoy.
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

/// Envoy's own reading of a JSON body: the model into dynamic metadata.
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
