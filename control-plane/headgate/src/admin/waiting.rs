//! `/syncz`: the document, at once or as soon as it differs from the one that the asker has.
//!
//! Who follows a model asks with the `ETag` of what it has and `wait`: the answer comes when something of it changed, or
//! as 304 when the time is over. So a canary is followed without asking every second, and nothing is lost in between: the
//! next answer is made of what is then.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headgate_source::writes::Failing;
use serde::Deserialize;
use tokio::sync::watch;

use super::Admin;
use crate::report::{Asked, fingerprint};

/// The longest wait.
const LONGEST: u64 = 60;
/// How often a document is made anew, at most, for one who waits: a rollout of thousands of pods is a change every few
/// milliseconds.
const PACE: Duration = Duration::from_millis(50);

/// The longest wait while the process ends: it waits for its answers.
const AT_THE_END: Duration = Duration::from_secs(1);

/// How long the answer may take, in seconds.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Patience {
    #[serde(default)]
    wait: u64,
}

/// Answers with the document, or 304 if it is the one that the asker has.
pub(super) async fn syncz(
    State(admin): State<Admin>,
    Query(asked): Query<Asked>,
    Query(patience): Query<Patience>,
    headers: HeaderMap,
) -> Response {
    let has = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tag| tag.to_str().ok())
        .map(|tag| tag.trim_matches('"').to_owned());
    let begin = tokio::time::Instant::now();
    let wait = Duration::from_secs(patience.wait.min(LONGEST));
    let mut changes = Changes::of(&admin);
    loop {
        changes.begin();
        let report = admin.report(&asked);
        let tag = match fingerprint(&report, &asked) {
            Ok(tag) => tag,
            Err(error) => {
                return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
            }
        };
        let etag = [(header::ETAG, format!("\"{tag}\""))];
        if has.as_ref() != Some(&tag) {
            return (etag, Json(report)).into_response();
        }
        let wait = if *admin.closing.borrow() {
            wait.min(AT_THE_END)
        } else {
            wait
        };
        let ended = tokio::select! {
            ended = changes.next() => ended,
            () = tokio::time::sleep_until(begin + wait) => true,
        };
        if ended {
            return (StatusCode::NOT_MODIFIED, etag).into_response();
        }
        tokio::time::sleep(PACE).await;
    }
}

/// What a change of the document can come from.
struct Changes {
    admin: Admin,
    fleet: watch::Receiver<u64>,
    faults: watch::Receiver<BTreeMap<String, Failing>>,
}

impl Changes {
    fn of(admin: &Admin) -> Self {
        Self {
            admin: admin.clone(),
            fleet: admin.fleet.changes(),
            faults: admin.faults.watch(),
        }
    }

    /// What happens from now on is a change.
    fn begin(&mut self) {
        self.admin.published.mark_unchanged();
        self.admin.closing.mark_unchanged();
        self.fleet.mark_unchanged();
        self.faults.mark_unchanged();
        if let Some(api) = &mut self.admin.api {
            api.mark_unchanged();
        }
    }

    /// Waits for one; true if there will be none any more.
    async fn next(&mut self) -> bool {
        let Self {
            admin,
            fleet,
            faults,
        } = self;
        let api = async {
            match &mut admin.api {
                Some(api) => api.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let went_on = tokio::select! {
            changed = admin.closing.changed() => changed.is_ok(),
            changed = admin.published.changed() => changed.is_ok(),
            changed = fleet.changed() => changed.is_ok(),
            changed = faults.changed() => changed.is_ok(),
            changed = api => changed,
        };
        !went_on
    }
}
