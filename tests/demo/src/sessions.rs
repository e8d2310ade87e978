//! Chat sessions with several turns, as clients send them.
//!
//! Invariant: a turn contains what an ordinary client sends and nothing specific to Headgate. Half of the sessions send a session
//! header; the other half send only the growing conversation.

use std::time::Duration;

use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport, OpenAiRequest};
use headgate_testkit::deadline::TimedOut;
use headgate_testkit::testbed::Testbed;
use serde_json::{Value, json};

/// The model with several versions.
pub const MODEL: &str = "llama3-70b";
/// Number of tenants of the sessions; enough that no budget is exhausted.
const TENANTS: u64 = 40;
/// Number of requests in flight.
const CONCURRENCY: usize = 16;
/// `max_tokens` of a turn.
const MAX_TOKENS: u64 = 16;
/// Deadline of one round.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A set of sessions, numbered `0..count`, with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    name: String,
    count: u64,
}

impl Sessions {
    /// A set of `count` sessions. Sets with different names have no session in common.
    #[must_use]
    pub fn new(name: &str, count: u64) -> Self {
        Self {
            name: name.to_owned(),
            count,
        }
    }

    /// Number of sessions.
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

    /// A load of all sessions, one turn after the other, repeated.
    #[must_use]
    pub fn load(&self, testbed: &Testbed, concurrency: usize) -> LoadOptions {
        let (sessions, server) = (self.clone(), testbed.url().to_owned());
        LoadOptions::new(concurrency, move |n| {
            let (number, turn) = (n % sessions.count, n / sessions.count);
            Job {
                session: sessions.key(number),
                // The conversation has a limit; otherwise the bodies of a long load would grow without bound.
                request: sessions.turn(number, turn % 4).to(&server),
            }
        })
    }

    /// Sends `turns` requests of each session.
    ///
    /// # Errors
    /// [`TimedOut`].
    pub async fn send_all(&self, testbed: &Testbed, turns: u64) -> Result<LoadReport, TimedOut> {
        let load = Load::start(self.load(testbed, CONCURRENCY));
        let requests = usize::try_from(self.count * turns).unwrap_or(usize::MAX);
        load.wait_for(requests, TIMEOUT).await?;
        Ok(load.stop().await)
    }

    fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }
}

/// The body of a chat client: the whole conversation so far and the next question.
fn conversation(key: &str, turn: u64) -> Value {
    let message = |role: &str, content: String| json!({"role": role, "content": content});
    let mut messages = vec![message("user", format!("question 0 of {key}"))];
    for n in 1..=turn {
        messages.push(message("assistant", format!("answer {n}")));
        messages.push(message("user", format!("question {n}")));
    }
    messages.into()
}
