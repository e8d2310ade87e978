//! What a stream is finally charged: what it used, also when nobody stays to read the usage.
//!
//! The bucket refills one token a second and a stream takes a second or two, so the balance before and after tells
//! the charge. (On an idle bucket that refills faster than answers come there would be nothing to see.)

use std::time::{Duration, Instant};

use headgate_testkit::client::{OpenAiRequest, Streamed};
use headgate_testkit::deadline::eventually;
use headgate_testkit::mock_model::StatsSnapshot;
use headgate_testkit::stage::Stage;

use crate::budget::{MODEL, remaining_tokens};
use crate::claim::{Claim, Claimed};

/// What [`stream_settles_on_usage`] claims.
pub const STREAMED: Claim =
    Claim("a streamed answer reserves its max_tokens and is settled on what it really used");
/// What [`cut_stream_is_charged`] claims.
pub const CUT: Claim = Claim(
    "a stream that the client cuts is still charged: at least what was read of it, at most what was generated",
);
/// The Deployment and the version of the model.
const SERVED_BY: (&str, &str) = ("phi-3", "mini-4k");
/// Tokens per second that flow back.
const REFILL: f64 = 1.0;
/// Tokens that a balance probe reserves and uses.
const PROBE: u64 = 64;
/// Tokens of the prompt `Hello`.
const PROMPT: u64 = 2;
const SETTLED: Duration = Duration::from_secs(10);

/// What became of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Tokens in the bucket before.
    pub before: u64,
    /// Tokens reserved: prompt and `max_tokens`.
    pub reserved: u64,
    /// Tokens in the bucket while the stream ran, as its own response headers say.
    pub during: u64,
    /// Tokens in the bucket after.
    pub after: u64,
    /// Tokens used: as reported, or, of a stream that was cut, prompt and deltas that the client read.
    pub used: u64,
    /// The most that may be charged: as reported, or, of a stream that was cut, prompt and what the model server generated.
    pub most: u64,
    /// Between the two balances.
    pub elapsed: Duration,
}

impl Settled {
    /// What the bucket lost.
    #[must_use]
    pub fn charged(&self) -> u64 {
        self.before.saturating_sub(self.after)
    }

    /// What may have flowed back meanwhile, and one token for each balance being rounded down.
    fn slack(&self) -> u64 {
        (self.elapsed.as_secs_f64() * REFILL).ceil() as u64 + 2
    }
}

/// Streams an answer that uses `tokens` of the `max_tokens` it reserves.
///
/// # Errors
/// The claim does not hold.
pub async fn stream_settles_on_usage(
    stage: &Stage,
    tenant: &str,
    max_tokens: u64,
    tokens: u64,
) -> Claimed<Settled> {
    let claim = STREAMED;
    let before = balance(claim, stage, tenant).await?;
    let began = Instant::now();
    let request = stream(tenant, max_tokens).header("x-mock-tokens", tokens.to_string());
    let answer = open(claim, stage, &request).await?;
    let during = remaining(claim, &answer)?;
    let events = claim.seen("the stream", answer.events().await)?;
    let used = claim.found("usage in the stream", reported(&events))?;
    claim.ensure(used == PROMPT + tokens, || format!("usage is {used}"))?;
    let reserved = PROMPT + max_tokens;
    let least = during + reserved.saturating_sub(used);
    let after = settled_balance(claim, stage, tenant, least).await?;
    let settled = Settled {
        before,
        reserved,
        during,
        after,
        used,
        most: used,
        elapsed: began.elapsed(),
    };
    reserved_first(claim, &settled)?;
    charged_right(claim, &settled)?;
    Ok(settled)
}

/// Hangs up a stream after `read` tokens of it were read.
///
/// # Errors
/// The claim does not hold.
pub async fn cut_stream_is_charged(
    stage: &Stage,
    tenant: &str,
    max_tokens: u64,
    read: u64,
) -> Claimed<Settled> {
    let claim = CUT;
    let before = balance(claim, stage, tenant).await?;
    let began = Instant::now();
    let at_model = generated(claim, stage)?;
    let request = stream(tenant, max_tokens)
        .header("x-mock-tokens", max_tokens.to_string())
        .header("x-mock-delay-ms", "5");
    let mut answer = open(claim, stage, &request).await?;
    let during = remaining(claim, &answer)?;
    let mut flowed = 0;
    while flowed < read {
        let event = claim.seen("the stream", answer.event().await)?;
        let event = claim.found("the rest of the stream", event)?;
        flowed += u64::from(is_delta(&event));
    }
    answer.cut();
    let most = PROMPT + generated_until_cut(claim, stage, at_model).await?;
    let reserved = PROMPT + max_tokens;
    let least = during + reserved.saturating_sub(most);
    let after = settled_balance(claim, stage, tenant, least).await?;
    let settled = Settled {
        before,
        reserved,
        during,
        after,
        used: PROMPT + flowed,
        most,
        elapsed: began.elapsed(),
    };
    reserved_first(claim, &settled)?;
    charged_right(claim, &settled)?;
    claim.ensure(settled.most < settled.reserved, || {
        format!("all of it was generated before it was cut: {settled:?}")
    })?;
    Ok(settled)
}

/// Not less than was used and not more than may be charged. (Each balance is rounded down.)
fn charged_right(claim: Claim, settled: &Settled) -> Claimed<()> {
    let (charged, slack) = (settled.charged(), settled.slack());
    claim.ensure(
        charged <= settled.most + 1 && charged + slack >= settled.used,
        || format!("{charged} tokens were charged: {settled:?}"),
    )
}

/// What the model's servers have counted so far.
fn generated(claim: Claim, stage: &Stage) -> Claimed<StatsSnapshot> {
    let (workload, version) = SERVED_BY;
    let stats = stage.stats_of(workload, MODEL, version);
    claim.found("the model server", stats)
}

/// Tokens that the model's servers generated since, up to where they saw the client go.
async fn generated_until_cut(claim: Claim, stage: &Stage, since: StatsSnapshot) -> Claimed<u64> {
    let seen = eventually(
        SETTLED,
        "the model server to see the client go",
        async || {
            let now = generated(claim, stage).map_err(|broken| broken.why)?;
            if now.client_aborts > since.client_aborts {
                Ok(now.tokens_produced - since.tokens_produced)
            } else {
                Err(format!("{now:?}"))
            }
        },
    );
    claim.seen("the end of the stream", seen.await)
}

fn reserved_first(claim: Claim, settled: &Settled) -> Claimed<()> {
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

async fn open(claim: Claim, stage: &Stage, request: &OpenAiRequest) -> Claimed<Streamed> {
    let opened = stage.client().open(request.to(stage.url())).await;
    let answer = claim.seen("the stream", opened)?;
    claim.ensure(answer.status == 200, || {
        format!("the stream is answered {}", answer.status)
    })?;
    Ok(answer)
}

fn remaining(claim: Claim, answer: &Streamed) -> Claimed<u64> {
    let name = "x-ratelimit-remaining-tokens";
    let value = answer.header(name).and_then(|value| value.parse().ok());
    claim.found(name, value)
}

/// Asks for the balance: what is left after the question itself was paid for.
async fn balance(claim: Claim, stage: &Stage, tenant: &str) -> Claimed<u64> {
    let tokens = PROBE - PROMPT;
    let request = OpenAiRequest::chat(MODEL)
        .max_tokens(tokens)
        .header("x-tenant-id", tenant)
        .header("x-mock-tokens", tokens.to_string());
    let reply = claim.seen("the balance", stage.send(&request).await)?;
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

/// The balance once the stream is settled, which its client does not see: all that is not charged is back then, `least` tokens
/// are there. (One less, for a balance is rounded down.)
async fn settled_balance(claim: Claim, stage: &Stage, tenant: &str, least: u64) -> Claimed<u64> {
    let mut asked = 0;
    let back = eventually(SETTLED, "the settlement", async || {
        let now = balance(claim, stage, tenant).await;
        asked += PROBE;
        let now = now.map_err(|broken| broken.why)? + asked;
        match now + 1 >= least {
            true => Ok(now),
            false => Err(format!("{now} tokens are left, not {least}")),
        }
    });
    claim.seen("the balance", back.await)
}
