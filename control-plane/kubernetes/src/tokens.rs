//! Bearer tokens of clients: the API server says whose they are (`TokenReview`), and what that user may do (`SubjectAccessReview` of a
//! path that is no resource).
//!
//! Invariant: a token is never stored, logged or sent anywhere but to the API server. Answers are kept for [`KEPT`], so a revoked token or
//! right counts for that long.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::fault::{Fault, REQUEST_TIMEOUT};

/// The audience that a token must have: one that is stolen from a plaintext connection is of no use at the API server.
pub const AUDIENCE: &str = "headgate.dev";
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(10);
/// Most answers that are kept.
const MAX_KEPT: usize = 1024;
/// Concurrent reviews. Clients with wrong tokens must not occupy the API server.
const AT_ONCE: usize = 4;
/// How long a request waits for its review to begin.
const QUEUE: Duration = Duration::from_secs(5);

/// What the API server says of a request with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This user may send the request.
    Allowed(String),
    /// This user may not.
    Forbidden(String),
    /// The token is nobody's, is expired, or has another audience.
    Unauthenticated,
}

/// Asks the API server about tokens.
#[derive(Debug)]
pub struct TokenReviewer {
    api: Reviews,
    permits: Semaphore,
    answers: Mutex<HashMap<[u8; 32], (Instant, Verdict)>>,
}

#[derive(Debug)]
struct Reviews {
    tokens: Api<TokenReview>,
    access: Api<SubjectAccessReview>,
}

impl TokenReviewer {
    /// Asks by this client, which needs the right to create both reviews.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            api: Reviews {
                tokens: Api::all(client.clone()),
                access: Api::all(client.clone()),
            },
            permits: Semaphore::new(AT_ONCE),
            answers: Mutex::default(),
        }
    }

    /// Whose token this is, and whether they may send a request with this verb (`get`, `post`) to this path.
    ///
    /// # Errors
    /// The API server does not answer, or this client may not ask it: its message. Or too many reviews are under way.
    pub async fn review(&self, token: &str, verb: &str, path: &str) -> Result<Verdict, String> {
        let key = key(&[token, verb, path]);
        if let Some(verdict) = self.kept(&key) {
            return Ok(verdict);
        }
        let permit = timeout(QUEUE, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(format!(
                "too many tokens wait for a review, longer than {QUEUE:?}"
            ));
        };
        // Another request with this token may have been answered meanwhile.
        if let Some(verdict) = self.kept(&key) {
            return Ok(verdict);
        }
        let verdict = self.api.review(token, verb, path).await;
        let verdict = verdict.map_err(|fault| fault.message())?;
        self.keep(key, verdict.clone());
        Ok(verdict)
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Verdict> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, verdict) = answers.get(key)?;
        (at.elapsed() < KEPT).then(|| verdict.clone())
    }

    fn keep(&self, key: [u8; 32], verdict: Verdict) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_KEPT {
            answers.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        if answers.len() < MAX_KEPT {
            answers.insert(key, (Instant::now(), verdict));
        }
    }
}

impl Reviews {
    async fn review(&self, token: &str, verb: &str, path: &str) -> Result<Verdict, Fault> {
        let question = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: token.to_owned(),
            },
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let answer = timeout(REQUEST_TIMEOUT, self.tokens.create(&params, &question)).await??;
        let status = answer.status.unwrap_or_default();
        // An API server that knows nothing of audiences accepts its own tokens, and lists none.
        let audiences = status.audiences.unwrap_or_default();
        let is_for_us = audiences.iter().any(|audience| audience == AUDIENCE);
        let Some(user) = status
            .user
            .filter(|_| status.authenticated == Some(true) && is_for_us)
        else {
            return Ok(Verdict::Unauthenticated);
        };
        let name = user.username.clone().unwrap_or_default();
        let question = SubjectAccessReview {
            spec: access(user, verb, path),
            ..SubjectAccessReview::default()
        };
        let answer = timeout(REQUEST_TIMEOUT, self.access.create(&params, &question)).await??;
        let is_allowed = answer.status.is_some_and(|status| status.allowed);
        Ok(if is_allowed {
            Verdict::Allowed(name)
        } else {
            Verdict::Forbidden(name)
        })
    }
}

fn access(user: UserInfo, verb: &str, path: &str) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: user.username,
        groups: user.groups,
        uid: user.uid,
        extra: user.extra,
        non_resource_attributes: Some(NonResourceAttributes {
            path: Some(path.to_owned()),
            verb: Some(verb.to_owned()),
        }),
        ..SubjectAccessReviewSpec::default()
    }
}

/// A key for a question that does not reveal its token.
fn key(parts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}
