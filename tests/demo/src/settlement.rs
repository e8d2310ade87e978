//! The final charge of a stream: its usage, also when the client disconnects before it is reported.
//!
//! The bucket refills one token per second and a stream takes one or two seconds, so the balances before and after show the charge.
//! (A bucket that refills faster than the requests come would show nothing.)

use std::time::{Duration, Instant};

use headgate_testkit::client::{OpenAiRequest, StreamedReply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::mock_model::StatsSnapshot;
use headgate_testkit::testbed::Testbed;

use crate::budget::{MODEL, remaining_tokens};
use crate::claim::{Claim, ClaimResult};

/// The claim of [`stream_settles_on_usage`].
pub const STREAMED: Claim =
    Claim("a streamed response reserves its max_tokens and is settled on its actual usage");
/// The claim of [`cut_stream_is_charged`].
pub const CUT: Claim = Claim(
    "a stream that the client cuts is still charged: at least the tokens read, at most the tokens generated",
);
/// The Deployment and the version of the model.
const SERVED_BY: (&str, &str) = ("phi-3", "mini-4k");
/// Refill rate, tokens per second.
const REFILL: f64 = 1.0;
/// Tokens that a balance probe reserves and uses.
const PROBE: u64 = 64;
/// Tokens of the prompt `Hello`.
const PROMPT: u64 = 2;
const TIMEOUT: Duration = Duration::from_secs(10);

/// The figures of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Tokens in the bucket before.
    pub before: u64,
    /// Reserved tokens: prompt and `max_tokens`.
    pub reserved: u64,
    /// Tokens in the bucket while the stream ran, from its response headers.
    pub during: u64,
    /// Tokens in the bucket after.
    pub after: u64,
    /// Used tokens: as reported, or, for a cut stream, the prompt and the tokens that the client read.
    pub used: u64,
    /// The largest correct charge: as reported, or, for a cut stream, the prompt and the tokens that the model server generated.
    pub most: u64,
    /// Time between the two balances.
    pub elapsed: Duration,
}

impl Settlement {
    /// The charge.
    #[must_use]
    pub fn charged(&self) -> u64 {
        self.before.saturating_sub(self.after)
    }

    /// Possible refill in the meantime, plus one token for the rounding of each balance.
    fn slack(&self) -> u64 {
        (self.elapsed.as_secs_f64() * REFILL).ceil() as u64 + 2
    }
}

/// Streams a response that uses `tokens` of its reserved `max_tokens`.
///
/// # Errors
/// The claim does not hold.
pub async fn stream_settles_on_usage(
    testbed: &Testbed,
    tenant: &str,
    max_tokens: u64,
    tokens: u64,
) -> ClaimResult<Settlement> {
    let claim = STREAMED;
    let before = balance(claim, testbed, tenant).await?;
    let began = Instant::now();
    let request = stream(tenant, max_tokens).header("x-mock-tokens", tokens.to_string());
    let answer = open(claim, testbed, &request).await?;
    let during = remaining(claim, &answer)?;
    let events = claim.require_ok("the stream", answer.events().await)?;
    let used = claim.require_some("usage in the stream", reported(&events))?;
    claim.ensure(used == PROMPT + tokens, || format!("usage is {used}"))?;
    let opened = Opened {
        before,
        began,
        reserved: PROMPT + max_tokens,
        during,
    };
    settle(claim, testbed, tenant, opened, used, used).await
}

/// Disconnects from a stream after `read` tokens.
///
/// # Errors
/// The claim does not hold.
pub async fn cut_stream_is_charged(
    testbed: &Testbed,
    tenant: &str,
    max_tokens: u64,
    read: u64,
) -> ClaimResult<Settlement> {
    let claim = CUT;
    let before = balance(claim, testbed, tenant).await?;
    let began = Instant::now();
    let at_model = generated(claim, testbed)?;
    let request = stream(tenant, max_tokens)
        .header("x-mock-tokens", max_tokens.to_string())
        .header("x-mock-delay-ms", "5");
    let mut answer = open(claim, testbed, &request).await?;
    let during = remaining(claim, &answer)?;
    let mut received = 0;
    while received < read {
        let event = claim.require_ok("the stream", answer.event().await)?;
        let event = claim.require_some("the rest of the stream", event)?;
        received += u64::from(is_delta(&event));
    }
    answer.disconnect();
    let most = PROMPT + generated_until_cut(claim, testbed, at_model).await?;
    let opened = Opened {
        before,
        began,
        reserved: PROMPT + max_tokens,
        during,
    };
    let settled = settle(claim, testbed, tenant, opened, PROMPT + received, most).await?;
    claim.ensure(settled.most < settled.reserved, || {
        format!("all tokens were generated before the cut: {settled:?}")
    })?;
    Ok(settled)
}

/// A stream that was reserved and not settled yet.
struct Opened {
    before: u64,
    began: Instant,
    reserved: u64,
    during: u64,
}

/// Waits until the stream is settled, and checks its reservation and its charge.
async fn settle(
    claim: Claim,
    testbed: &Testbed,
    tenant: &str,
    opened: Opened,
    used: u64,
    most: u64,
) -> ClaimResult<Settlement> {
    let least = opened.during + opened.reserved.saturating_sub(most);
    let after = settled_balance(claim, testbed, tenant, least).await?;
    let settled = Settlement {
        before: opened.before,
        reserved: opened.reserved,
        during: opened.during,
        after,
        used,
        most,
        elapsed: opened.began.elapsed(),
    };
    check_reservation(claim, &settled)?;
    check_charge(claim, &settled)?;
    Ok(settled)
}

/// Checks that the charge lies between the used and the largest correct number of tokens. (Balances are rounded down.)
fn check_charge(claim: Claim, settled: &Settlement) -> ClaimResult<()> {
    let (charged, slack) = (settled.charged(), settled.slack());
    claim.ensure(
        charged <= settled.most + 1 && charged + slack >= settled.used,
        || format!("{charged} tokens were charged: {settled:?}"),
    )
}

/// The current counters of the model's servers.
fn generated(claim: Claim, testbed: &Testbed) -> ClaimResult<StatsSnapshot> {
    let (workload, version) = SERVED_BY;
    let stats = testbed.stats_of(workload, MODEL, version);
    claim.require_some("the model server", stats)
}

/// Tokens that the model's servers generated since then, up to the disconnect of the client.
async fn generated_until_cut(
    claim: Claim,
    testbed: &Testbed,
    since: StatsSnapshot,
) -> ClaimResult<u64> {
    let seen = eventually(
        TIMEOUT,
        "the model server to see the client go",
        async || {
            let now = generated(claim, testbed).map_err(|broken| broken.why)?;
            if now.client_aborts > since.client_aborts {
                Ok(now.tokens_produced - since.tokens_produced)
            } else {
                Err(format!("{now:?}"))
            }
        },
    );
    claim.require_ok("the end of the stream", seen.await)
}

fn check_reservation(claim: Claim, settled: &Settlement) -> ClaimResult<()> {
    let taken = settled.before.saturating_sub(settled.during);
    claim.ensure(
        taken <= settled.reserved + 1 && taken + settled.slack() >= settled.reserved,
        || format!("{taken} tokens were reserved, not {}", settled.reserved),
    )
}

fn stream(tenant: &str, max_tokens: u64) -> OpenAiRequest {
    OpenAiRequest::chat(MODEL)
        .max_tokens(max_tokens)
        .stream_with_usage()
        .header("x-tenant-id", tenant)
}

async fn open(
    claim: Claim,
    testbed: &Testbed,
    request: &OpenAiRequest,
) -> ClaimResult<StreamedReply> {
    let opened = testbed.client().open(request.to(testbed.url())).await;
    let answer = claim.require_ok("the stream", opened)?;
    claim.ensure(answer.status == 200, || {
        format!("the stream is answered {}", answer.status)
    })?;
    Ok(answer)
}

fn remaining(claim: Claim, answer: &StreamedReply) -> ClaimResult<u64> {
    let name = "x-ratelimit-remaining-tokens";
    let value = answer.header(name).and_then(|value| value.parse().ok());
    claim.require_some(name, value)
}

/// Probes the balance: the tokens left after the probe itself was paid.
async fn balance(claim: Claim, testbed: &Testbed, tenant: &str) -> ClaimResult<u64> {
    let tokens = PROBE - PROMPT;
    let request = OpenAiRequest::chat(MODEL)
        .max_tokens(tokens)
        .header("x-tenant-id", tenant)
        .header("x-mock-tokens", tokens.to_string());
    let reply = claim.require_ok("the balance", testbed.send(&request).await)?;
    claim.ensure(reply.status == 200, || {
        format!("{} {}", reply.status, reply.text())
    })?;
    remaining_tokens(claim, &reply)
}

fn is_delta(event: &str) -> bool {
    event.contains("\"delta\":{\"content\":\"tok ")
}

fn reported(events: &[String]) -> Option<u64> {
    let usage = events
        .iter()
        .rev()
        .find(|event| event.contains("\"total_tokens\""))?;
    let event: serde_json::Value = serde_json::from_str(usage).ok()?;
    event["usage"]["total_tokens"].as_u64()
}

/// The balance once the stream is settled. The client does not see the settlement; it is done when at least `least` tokens are in
/// the bucket. (One fewer, because balances are rounded down.)
async fn settled_balance(
    claim: Claim,
    testbed: &Testbed,
    tenant: &str,
    least: u64,
) -> ClaimResult<u64> {
    let mut probed = 0;
    let back = eventually(TIMEOUT, "the settlement", async || {
        let now = balance(claim, testbed, tenant).await;
        probed += PROBE;
        let now = now.map_err(|broken| broken.why)? + probed;
        match now + 1 >= least {
            true => Ok(now),
            false => Err(format!("{now} tokens are left, not {least}")),
        }
    });
    claim.require_ok("the balance", back.await)
}
