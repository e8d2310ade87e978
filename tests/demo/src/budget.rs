//! A tenant spends its budget and gets a 429; other tenants are served.

use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::testbed::Testbed;

use crate::claim::{Claim, ClaimResult};

/// The claim of [`tenant_runs_out`].
pub const CLAIM: Claim =
    Claim("a tenant without budget gets a 429 with the time to wait, and other tenants are served");
/// The model of the free tier. Its bucket holds 2000 tokens.
pub const MODEL: &str = "phi-3";
/// Tokens in a full bucket.
pub const CAPACITY: u64 = 2000;
/// Completion tokens of each request; 400 with the two prompt tokens.
const TOKENS: u64 = 398;
/// Headers of the refusal that are shown and must be present.
const REFUSAL_HEADERS: [&str; 6] = [
    "retry-after",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "ratelimit-policy",
    "ratelimit",
];

/// The figures of a budget that ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExhaustedBudget {
    /// Tokens that each request used.
    pub each: u64,
    /// `x-ratelimit-remaining-tokens` of each 200.
    pub remaining: Vec<u64>,
    /// Headers of the 429.
    pub headers: Vec<(String, String)>,
    /// `error.message` of the 429.
    pub message: String,
    /// The status for another tenant at the same time.
    pub other_tenant: u16,
}

/// Spends the full bucket of `tenant`, then sends one more request, and one as another tenant.
///
/// # Errors
/// The claim does not hold, also when more tokens were admitted than the bucket held.
pub async fn tenant_runs_out(testbed: &Testbed, tenant: &str) -> ClaimResult<ExhaustedBudget> {
    let mut remaining = Vec::new();
    let mut each = 0;
    let refusal = loop {
        let reply = CLAIM.require_ok("a request", testbed.send(&request(tenant)).await)?;
        if reply.status != 200 {
            break reply;
        }
        let body = CLAIM.require_ok("the answer", reply.json())?;
        each = body["usage"]["total_tokens"].as_u64().unwrap_or_default();
        remaining.push(remaining_tokens(CLAIM, &reply)?);
        CLAIM.ensure(remaining.len() as u64 * each <= CAPACITY + each, || {
            format!(
                "{} requests of {each} tokens were admitted from {CAPACITY}",
                remaining.len()
            )
        })?;
    };
    let spent = remaining.len() as u64 * each;
    CLAIM.ensure(
        refusal.status == 429 && spent <= CAPACITY + 2 && spent + each > CAPACITY,
        || {
            format!(
                "{} after {spent} tokens: {}",
                refusal.status,
                refusal.text()
            )
        },
    )?;
    let headers = REFUSAL_HEADERS
        .into_iter()
        .map(|name| {
            let value = CLAIM.require_some(name, refusal.header(name))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect::<ClaimResult<Vec<_>>>()?;
    let wait = refusal
        .header("retry-after")
        .and_then(|v| v.parse::<u64>().ok());
    CLAIM.ensure(wait.is_some_and(|s| (1..=each).contains(&s)), || {
        format!("retry-after is {wait:?} where {each} tokens come back in {each} s")
    })?;
    let body = CLAIM.require_ok("the refusal", refusal.json())?;
    CLAIM.ensure(body["error"]["code"] == "rate_limit_exceeded", || {
        body.to_string()
    })?;
    let other = testbed.send(&request(&format!("not-{tenant}"))).await;
    let other_tenant = CLAIM.require_ok("another tenant's request", other)?.status;
    CLAIM.ensure(other_tenant == 200, || {
        format!("another tenant gets {other_tenant}")
    })?;
    Ok(ExhaustedBudget {
        each,
        remaining,
        headers,
        message: body["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        other_tenant,
    })
}

fn request(tenant: &str) -> OpenAiRequest {
    OpenAiRequest::chat(MODEL)
        .max_tokens(TOKENS)
        .header("x-tenant-id", tenant)
        .header("x-mock-tokens", TOKENS.to_string())
}

/// The balance of the bucket after this request's reservation.
pub(crate) fn remaining_tokens(claim: Claim, reply: &Reply) -> ClaimResult<u64> {
    let name = "x-ratelimit-remaining-tokens";
    let value = reply.header(name).and_then(|value| value.parse().ok());
    claim.require_some(name, value)
}
