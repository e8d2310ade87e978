//! A tenant spends what it has and is told so; nobody else is.

use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::stage::Stage;

use crate::claim::{Claim, Claimed};

/// What [`tenant_runs_out`] claims.
pub const CLAIM: Claim = Claim(
    "a tenant out of budget gets a 429 that says when to come back, and other tenants are served",
);
/// The model of the free tier, whose bucket is small: 2000 tokens.
pub const MODEL: &str = "phi-3";
/// Tokens in the bucket.
pub const CAPACITY: u64 = 2000;
/// Completion tokens of each request; with the prompt's two, 400.
const TOKENS: u64 = 398;
/// Headers of a refusal that are shown, and must be there.
const TOLD: [&str; 6] = [
    "retry-after",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "ratelimit-policy",
    "ratelimit",
];

/// How the budget ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RanOut {
    /// Tokens that each request used.
    pub each: u64,
    /// `x-ratelimit-remaining-tokens` of each 200.
    pub remaining: Vec<u64>,
    /// Headers of the 429.
    pub headers: Vec<(String, String)>,
    /// `error.message` of the 429.
    pub message: String,
    /// The status that another tenant gets at the same moment.
    pub other_tenant: u16,
}

/// Spends the whole bucket of `tenant`, which must be full, then asks once more, and once as somebody else.
///
/// # Errors
/// The claim does not hold, also when more was admitted than the bucket held.
pub async fn tenant_runs_out(stage: &Stage, tenant: &str) -> Claimed<RanOut> {
    let mut remaining = Vec::new();
    let mut each = 0;
    let refusal = loop {
        let reply = CLAIM.seen("a request", stage.send(&request(tenant)).await)?;
        if reply.status != 200 {
            break reply;
        }
        let body = CLAIM.seen("the answer", reply.json())?;
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
    let headers = TOLD
        .into_iter()
        .map(|name| {
            let value = CLAIM.found(name, refusal.header(name))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect::<Claimed<Vec<_>>>()?;
    let wait = refusal
        .header("retry-after")
        .and_then(|v| v.parse::<u64>().ok());
    CLAIM.ensure(wait.is_some_and(|s| (1..=each).contains(&s)), || {
        format!("retry-after is {wait:?} where {each} tokens come back in {each} s")
    })?;
    let body = CLAIM.seen("the refusal", refusal.json())?;
    CLAIM.ensure(body["error"]["code"] == "rate_limit_exceeded", || {
        body.to_string()
    })?;
    let other = stage.send(&request(&format!("not-{tenant}"))).await;
    let other_tenant = CLAIM.seen("another tenant's request", other)?.status;
    CLAIM.ensure(other_tenant == 200, || {
        format!("another tenant gets {other_tenant}")
    })?;
    Ok(RanOut {
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

/// What the bucket holds after the reserve of this request.
pub(crate) fn remaining_tokens(claim: Claim, reply: &Reply) -> Claimed<u64> {
    let name = "x-ratelimit-remaining-tokens";
    let value = reply.header(name).and_then(|value| value.parse().ok());
    claim.found(name, value)
}
