//! Balances → rate limit headers: `x-ratelimit-*` (OpenAI), and `RateLimit-Policy` and `RateLimit` (IETF draft).
//!
//! `x-ratelimit-*` show the tightest bucket of each unit. The IETF headers name every bucket. Amounts are whole units,
//! rounded down. Times are rounded up.

use crate::effects::Name;

const NS: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// The status of a bucket. Amounts are in thousandths of its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketStatus {
    /// The bucket's name.
    pub bucket: String,
    /// `tokens` or `requests`.
    pub kind: &'static str,
    /// The capacity.
    pub limit: u64,
    /// The amount that is left.
    pub remaining: u64,
    /// The time until the bucket is full again, in ns.
    pub reset_ns: u64,
    /// The window, in ns.
    pub window_ns: u64,
}

/// The rate limit headers for these buckets.
#[must_use]
pub fn headers(buckets: &[BucketStatus]) -> Vec<(Name, String)> {
    if buckets.is_empty() {
        return Vec::new();
    }
    let mut out: Vec<(Name, String)> = Vec::with_capacity(8);
    if let Some(status) = tightest(buckets, "tokens") {
        out.push(("x-ratelimit-limit-tokens".into(), units(status.limit)));
        out.push((
            "x-ratelimit-remaining-tokens".into(),
            units(status.remaining),
        ));
        out.push(("x-ratelimit-reset-tokens".into(), duration(status.reset_ns)));
    }
    if let Some(status) = tightest(buckets, "requests") {
        out.push(("x-ratelimit-limit-requests".into(), units(status.limit)));
        out.push((
            "x-ratelimit-remaining-requests".into(),
            units(status.remaining),
        ));
        out.push((
            "x-ratelimit-reset-requests".into(),
            duration(status.reset_ns),
        ));
    }
    let list = |item: fn(&BucketStatus) -> String| {
        let items: Vec<_> = buckets.iter().map(item).collect();
        items.join(", ")
    };
    out.push((
        "ratelimit-policy".into(),
        list(|status| {
            format!(
                "\"{}\";q={};w={}",
                status.bucket,
                status.limit / 1000,
                seconds(status.window_ns).max(1)
            )
        }),
    ));
    out.push((
        "ratelimit".into(),
        list(|status| {
            format!(
                "\"{}\";r={};t={}",
                status.bucket,
                status.remaining / 1000,
                seconds(status.reset_ns)
            )
        }),
    ));
    out
}

/// The bucket with the least share left; the first of equal ones.
fn tightest<'a>(buckets: &'a [BucketStatus], kind: &str) -> Option<&'a BucketStatus> {
    let share = |status: &BucketStatus| {
        u128::from(status.remaining) * u128::from(u64::MAX) / u128::from(status.limit.max(1))
    };
    buckets
        .iter()
        .filter(|status| status.kind == kind)
        .min_by_key(|status| share(status))
}

fn units(milli: u64) -> String {
    (milli / 1000).to_string()
}

/// Seconds until a request is admitted, if nobody else spends. Always rounded up.
#[must_use]
pub fn retry_after(ns: u64) -> u64 {
    ns.div_ceil(NS)
}

/// Whole seconds, rounded up. A rest below one millisecond is ignored: it comes from costs in whole cells.
fn seconds(ns: u64) -> u64 {
    (ns / MS).div_ceil(NS / MS)
}

/// A time as OpenAI writes it: `12ms`, `1s`, `6m0s`, `1h0m0s`.
fn duration(ns: u64) -> String {
    if ns < NS {
        let ms = ns.div_ceil(1_000_000);
        return if ms < 1000 {
            format!("{ms}ms")
        } else {
            "1s".into()
        };
    }
    let s = seconds(ns);
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}
