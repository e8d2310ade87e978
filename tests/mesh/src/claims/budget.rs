//! A tenant without budget, and others.

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{HttpClient, OpenAiRequest, Reply};

use crate::testbed::{CLIENT, HOST, MeshTestbed};
use crate::traffic::MODEL;

/// The claim of [`tenant_runs_out`].
pub const CLAIM: Claim = Claim::new(
    "a tenant without budget gets a 429 that SDKs understand, and other tenants are served",
);
/// Completion tokens of each request. The shipped policy gives a tenant 100 000 tokens.
const TOKENS: u64 = 40_000;

/// The figures of a budget that ran out.
#[derive(Debug, Clone)]
pub struct Exhausted {
    /// `x-ratelimit-remaining-tokens` of each response with status 200.
    pub remaining: Vec<String>,
    /// `retry-after` of the 429, in seconds.
    pub retry_after: String,
    /// `error.message` of the 429.
    pub message: String,
}

/// Spends the budget of a tenant through the client's sidecar.
///
/// # Errors
/// The claim does not hold.
pub async fn tenant_runs_out(testbed: &MeshTestbed, tenant: &str) -> ClaimResult<Exhausted> {
    let mut remaining = Vec::new();
    let refusal = loop {
        let reply = send(testbed, tenant).await?;
        if !reply.is_success() {
            break reply;
        }
        let left = reply.header("x-ratelimit-remaining-tokens");
        let left = CLAIM.require_some("x-ratelimit-remaining-tokens", left)?;
        remaining.push(left.to_owned());
        CLAIM.ensure(remaining.len() < 4, || {
            format!(
                "{} requests of {TOKENS} tokens were admitted",
                remaining.len()
            )
        })?;
    };
    let body = CLAIM.require_ok("the refusal", refusal.json())?;
    let error = &body["error"];
    CLAIM.ensure(
        refusal.status == 429 && error["code"] == "rate_limit_exceeded",
        || format!("{} {}", refusal.status, refusal.text()),
    )?;
    for field in ["message", "type", "param", "code"] {
        CLAIM.ensure(error.get(field).is_some(), || {
            format!("error has no {field}: {body}")
        })?;
    }
    let header = |name: &str| {
        CLAIM
            .require_some(name, refusal.header(name))
            .map(str::to_owned)
    };
    let retry_after = header("retry-after")?;
    header("x-ratelimit-limit-tokens")?;
    let other = send(testbed, &format!("not-{tenant}")).await?;
    CLAIM.ensure(other.is_success(), || {
        format!("another tenant gets {}", other.status)
    })?;
    Ok(Exhausted {
        remaining,
        retry_after,
        message: error["message"].as_str().unwrap_or_default().to_owned(),
    })
}

async fn send(testbed: &MeshTestbed, tenant: &str) -> ClaimResult<Reply> {
    let server = CLAIM.require_ok("the sidecar", testbed.outbound(CLIENT))?;
    let request = OpenAiRequest::chat(MODEL)
        .max_tokens(TOKENS)
        .header("host", HOST)
        .header("x-tenant-id", tenant)
        .header("x-mock-usage", format!("completion_tokens={TOKENS}"));
    let reply = HttpClient::new().send(request.to(&server)).await;
    CLAIM.require_ok("a request", reply)
}
