//! Table of all statistics: kind, name, label keys and meaning of each.

use super::MetricKind;

/// A statistic with its label keys, before any value is known. A proxy that freezes its statistics once it is configured
/// creates all families of [`FAMILIES`] at that point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Counter or histogram.
    pub kind: MetricKind,
    /// The name without the prefix `headgate_`.
    pub name: &'static str,
    /// Label keys, in the order of a series' label values.
    pub labels: &'static [&'static str],
    /// The counted event, in one sentence, with its unit.
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        kind: MetricKind::Counter,
        name,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        kind: MetricKind::Histogram,
        name,
        labels,
        help,
    }
}

const RULE: &[&str] = &["rule", "model", "version"];
const RULE_OUTCOME: &[&str] = &["rule", "model", "version", "outcome"];
const VERSION: &[&str] = &["model", "version"];

/// Every statistic that the filters keep. Debug builds check each [`Metric`](super::Metric) against this table.
pub const FAMILIES: &[Family] = &[
    counter(
        "requests_total",
        &["model_namespace", "model", "version", "lane", "outcome"],
        "Requests by outcome: `admitted`, `listed`, `aborted` (the client left before a decision), `unmetered` (passed: to a \
         host that serves no model, or with `bodies: never` without a model in a header), or the code of the refusal.",
    ),
    counter(
        "reserves_total",
        RULE_OUTCOME,
        "Reserves by rule (`namespace/policy/bucket`) and outcome: `reserved`, `owed`, `would_limit` (a bucket \
         in `mode: shadow` would have refused the request), or the code of the refusal.",
    ),
    counter(
        "settlements_total",
        RULE_OUTCOME,
        "Settlements by rule and by what they were based on: reported `usage`, `observed` text, `unreadable` bytes, `unobserved` \
         (an empty answer), `never_sent`; for failed requests `client_error`, `rate_limited`, `server_error`, `reset`, `timeout`, \
         `abandoned`.",
    ),
    histogram(
        "charged_milli",
        RULE,
        "The final charge of a request, in thousandths of the bucket's unit.",
    ),
    counter(
        "refunded_milli_total",
        RULE,
        "Reserved and given back at settlement, in thousandths of the bucket's unit.",
    ),
    counter(
        "debited_milli_total",
        RULE,
        "Taken at settlement beyond the reserve, in thousandths of the bucket's unit.",
    ),
    counter(
        "evaporated_milli_total",
        RULE,
        "Reserved and not used, but already refilled by time at settlement, in thousandths of the bucket's unit.",
    ),
    counter(
        "debt_clipped_milli_total",
        RULE,
        "Used but not charged, because the bucket's debt has a limit (`maxDebt`), in thousandths of the bucket's unit.",
    ),
    counter(
        "unwritten_milli_total",
        RULE,
        "Settled but not written yet, because other workers won every compare-and-swap, in thousandths of the bucket's unit.",
    ),
    counter(
        "carried_writes_total",
        &["rule"],
        "Unwritten settlements that a later write of the worker carried out.",
    ),
    counter(
        "evictions_total",
        &["rule"],
        "Keys that lost their balance to another key, because more keys are active than `maxKeys`.",
    ),
    counter(
        "bucket_tries_lost_total",
        &[],
        "Compare-and-swap attempts on a bucket that another worker won, and that were repeated.",
    ),
    counter(
        "fingerprints_total",
        &["model_namespace", "model", "outcome"],
        "Requests whose session key is the fingerprint of the conversation: `shared` with a sixteenth of the model's recent \
         requests (they all go to one version, so shares are skewed), or `own`.",
    ),
    counter(
        "tenant_requests_total",
        &["model_namespace", "tenant", "outcome"],
        "Requests of a tenant by outcome. `other`: tenants without statistics of their own; `none`: requests without a tenant.",
    ),
    counter(
        "tenant_tokens_total",
        &["model_namespace", "tenant", "kind"],
        "Tokens that a tenant used, as settled: `input` of prompts, `output` generated.",
    ),
    histogram(
        "input_tokens",
        VERSION,
        "Prompt tokens of a request, as settled.",
    ),
    histogram(
        "output_tokens",
        VERSION,
        "Generated tokens of a request, as settled.",
    ),
    counter(
        "token_parts_total",
        &["model", "version", "kind"],
        "Tokens of `input_tokens` that the version reported as `cached_input`, `cache_write`, `input_audio` or `input_image`, and \
         of `output_tokens` as `reasoning`, `output_audio` or `output_image`. A token is of one kind.",
    ),
    counter(
        "served_elsewhere_total",
        VERSION,
        "Answers from an endpoint of another version than the one picked.",
    ),
    counter(
        "passed_over_total",
        VERSION,
        "Requests that the filter sent to another version, because this proxy could not reach the version of the session.",
    ),
    counter(
        "outages_total",
        VERSION,
        "Periods in which this proxy passed the version over.",
    ),
    counter(
        "accept_encoding_removed_total",
        VERSION,
        "Requests whose `accept-encoding` was removed, so that the answer can be read.",
    ),
    counter(
        "usage_requests_refused_total",
        VERSION,
        "Requests that the version refused because `stream_options.include_usage` was added.",
    ),
    counter(
        "baggage_members_left_out_total",
        VERSION,
        "Tags that did not fit into `baggage`.",
    ),
    counter(
        "tag_values_left_out_total",
        VERSION,
        "Tags of rules that were not written, because their value was empty, longer than 128 bytes, or had characters that a tag cannot have.",
    ),
    counter(
        "rule_versions_not_ready_total",
        VERSION,
        "Requests whose rule names this version, which had no ready endpoint or does not exist: weights picked their version.",
    ),
];
