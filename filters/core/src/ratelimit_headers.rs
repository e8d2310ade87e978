//! Balances → the headers clients know: `x-ratelimit-*` (OpenAI) and `RateLimit-Policy` / `RateLimit` (IETF).
//!
//! `x-ratelimit-*` tell the tightest bucket of each kind; the IETF pair names every one. Amounts are whole
//! units, rounded down; times are rounded up.

use crate::effects::Name;

const NS: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// A bucket as a client is status about it. Amounts in thousandths of its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketStatus {
    /// The bucket's name.
    pub bucket: String,
    /// `tokens` or `requests`.
    pub kind: &'static str,
    /// What a full bucket holds.
    pub limit: u64,
    /// What is left.
    pub remaining: u64,
    /// Until it is full again, ns.
    pub reset_ns: u64,
    /// Its window, ns.
    pub window_ns: u64,
}

/// The headers of these buckets.
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
        list(|t| {
            format!(
                "\"{}\";q={};w={}",
                t.bucket,
                t.limit / 1000,
                seconds(t.window_ns).max(1)
            )
        }),
    ));
    out.push((
        "ratelimit".into(),
        list(|t| {
            format!(
                "\"{}\";r={};t={}",
                t.bucket,
                t.remaining / 1000,
                seconds(t.reset_ns)
            )
        }),
    ));
    out
}

/// The one with the least share left; the first of equals.
fn tightest<'a>(buckets: &'a [BucketStatus], kind: &str) -> Option<&'a BucketStatus> {
    let share = |t: &BucketStatus| {
        u128::from(t.remaining) * u128::from(u64::MAX) / u128::from(t.limit.max(1))
    };
    buckets
        .iter()
        .filter(|t| t.kind == kind)
        .min_by_key(|t| share(t))
}

fn units(milli: u64) -> String {
    (milli / 1000).to_string()
}

/// Seconds after which a client that waits is admitted, if nobody else spends: rounded up, however little is left over.
#[must_use]
pub fn retry_after(ns: u64) -> u64 {
    ns.div_ceil(NS)
}

/// Whole seconds, rounded up from a millisecond on: costs are rounded up to cells, which is no second more.
fn seconds(ns: u64) -> u64 {
    (ns / MS).div_ceil(NS / MS)
}

/// As OpenAI writes it: `12ms`, `1s`, `6m0s`, `1h0m0s`.
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
