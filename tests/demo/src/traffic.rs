//! Chat sessions of many turns, as clients hold them.
//!
//! Invariant: every turn of a session carries what a client would send, and nothing that a client would have to learn
//! about Headgate: half of the sessions send a session header of their own, the other half nothing but the
//! growing conversation.

use std::time::Duration;

use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport, OpenAiRequest};
use headgate_testkit::deadline::TimedOut;
use headgate_testkit::stage::Stage;
use serde_json::{Value, json};

/// The model with several versions.
pub const MODEL: &str = "llama3-70b";
/// Tenants among whom sessions are spread, so that no budget runs out.
const TENANTS: u64 = 40;
/// Requests in flight.
const CONCURRENCY: usize = 16;
/// Tokens a turn may cost.
const MAX_TOKENS: u64 = 16;
/// How long a pass may take.
const PASS: Duration = Duration::from_secs(120);

/// A set of sessions: numbers `0..count` under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    name: String,
    count: u64,
}

impl Sessions {
    /// So many sessions. Sets of different names have no session in common.
    #[must_use]
    pub fn new(name: &str, count: u64) -> Self {
        Self {
            name: name.to_owned(),
            count,
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The request of turn `turn` (from 0) of session `number`.
    #[must_use]
    pub fn turn(&self, number: u64, turn: u64) -> OpenAiRequest {
        let request = OpenAiRequest::chat(MODEL)
            .field("messages", conversation(&self.key(number), turn))
            .max_tokens(MAX_TOKENS)
            .header("x-tenant-id", format!("tenant-{}", number % TENANTS));
        if number.is_multiple_of(2) {
            request.header("x-session-id", self.key(number))
        } else {
            request
        }
    }

    /// Load that holds all sessions, one turn after the other, over and over.
    #[must_use]
    pub fn load(&self, stage: &Stage, concurrency: usize) -> LoadOptions {
        let (sessions, server) = (self.clone(), stage.url().to_owned());
        LoadOptions::new(concurrency, move |n| {
            let (number, turn) = (n % sessions.count, n / sessions.count);
            Job {
                session: sessions.key(number),
                // A conversation has an end: the body of a long load must not grow for ever.
                request: sessions.turn(number, turn % 4).to(&server),
            }
        })
    }

    /// Holds all sessions for so many turns each.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub async fn pass(&self, stage: &Stage, turns: u64) -> Result<LoadReport, TimedOut> {
        let load = Load::start(self.load(stage, CONCURRENCY));
        let requests = usize::try_from(self.count * turns).unwrap_or(usize::MAX);
        load.wait_for(requests, PASS).await?;
        Ok(load.stop().await)
    }

    fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }
}

/// What a chat client sends: the whole conversation so far and the next question.
fn conversation(key: &str, turn: u64) -> Value {
    let said = |role: &str, content: String| json!({"role": role, "content": content});
    let mut messages = vec![said("user", format!("question 0 of {key}"))];
    for n in 1..=turn {
        messages.push(said("assistant", format!("answer {n}")));
        messages.push(said("user", format!("question {n}")));
    }
    messages.into()
}
