//! `/syncz`: the document, at once or as soon as it differs from the one that the asker has.
//!
//! Who follows a model asks with the `ETag` of what it has and `wait`: the answer comes when something of it changed, or
//! as 304 when the time is over. So a canary is followed without asking every second, and nothing is lost in between: the
//! next answer is made of what is then. So many may wait at once; who comes then is told so, and can ask without waiting.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::Admin;
use super::report_cache::{Changes, ReportCache};
use headgate_report::Asked;

/// The longest wait.
const LONGEST: u64 = 60;
/// How often a document is made anew, at most, for one who waits: a rollout of thousands of pods is a change every few
/// milliseconds.
const PACE: Duration = Duration::from_millis(50);
/// The longest wait while the process ends: it waits for its answers.
const AT_THE_END: Duration = Duration::from_secs(1);
/// How many may wait at once, each of which holds a connection.
pub(super) const WAITERS: usize = 256;

/// The page.
pub(super) struct Syncz {
    admin: Admin,
    desk: ReportCache,
    seats: Semaphore,
}

impl Syncz {
    /// At which so many may wait.
    pub(super) fn new(admin: Admin, waiters: usize) -> Self {
        Self {
            desk: ReportCache::of(&admin),
            seats: Semaphore::new(waiters),
            admin,
        }
    }
}

/// How long the answer may take, in seconds.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Patience {
    #[serde(default)]
    wait: u64,
}

/// Answers with the document, or 304 if it is the one that the asker has.
pub(super) async fn syncz(
    State(page): State<Arc<Syncz>>,
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
    let mut changes = Changes::of(&page.admin);
    let mut seat = None;
    loop {
        changes.begin();
        let document = match page.desk.document(&page.admin, &asked).await {
            Ok(document) => document,
            Err(error) => {
                return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
            }
        };
        let etag = (header::ETAG, format!("\"{}\"", document.tag));
        if has.as_ref() != Some(&document.tag) {
            let json = (header::CONTENT_TYPE, "application/json".to_owned());
            return ([etag, json], document.body.clone()).into_response();
        }
        if seat.is_none() && !wait.is_zero() {
            match page.seats.try_acquire() {
                Ok(free) => seat = Some(free),
                Err(_) => return crowded(),
            }
        }
        let wait = if *page.admin.closing.borrow() {
            wait.min(AT_THE_END)
        } else {
            wait
        };
        let ended = tokio::select! {
            ended = changes.next() => ended,
            () = tokio::time::sleep_until(begin + wait) => true,
        };
        if ended {
            return (StatusCode::NOT_MODIFIED, [etag]).into_response();
        }
        tokio::time::sleep(PACE).await;
    }
}

/// As many wait as may.
fn crowded() -> Response {
    let later = [(header::RETRY_AFTER, "1")];
    let why =
        "as many wait for a change of the document as may: try again, or ask without `wait`\n";
    (StatusCode::SERVICE_UNAVAILABLE, later, why).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_kubernetes::faults::Faults;
    use headgate_model::LabelKeys;
    use headgate_translate::{Code, Options};
    use headgate_xds::{Fleet, Loads};
    use tokio::sync::watch;

    use super::*;
    use crate::admin::Seen;
    use crate::metrics::Metrics;
    use headgate_publisher::Published;
    use headgate_publisher::ScopeRules;
    use headgate_publisher::SnapshotStore;

    /// The other ends of what the page looks at: what is sent there changes the document.
    struct Ends {
        ending: watch::Sender<bool>,
        _published: watch::Sender<Option<Arc<Published>>>,
    }

    /// The page with so many seats.
    fn page(waiters: usize) -> (Arc<Syncz>, Ends) {
        let rules = ScopeRules {
            allow: Vec::new(),
            follow: Vec::new(),
            reach: Vec::new(),
            namespaces: Vec::new(),
            listen: "127.0.0.1:10000".parse().unwrap(),
        };
        let module = Code::File("/m.wasm".to_owned());
        let (ending, closing) = watch::channel(false);
        let (_published, published) = watch::channel(None);
        let admin = Admin {
            published,
            api: None,
            faults: Faults::default(),
            keys: LabelKeys::default(),
            scopes: SnapshotStore::new(rules, Options::new(module, [])),
            fleet: Fleet::default(),
            loads: Loads::default(),
            metrics: Arc::new(Metrics::default()),
            closing,
            peers: None,
            seen: Seen::default(),
        };
        let page = Arc::new(Syncz::new(admin, waiters));
        (page, Ends { ending, _published })
    }

    async fn ask(page: &Arc<Syncz>, wait: u64, has: Option<&str>) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(tag) = has {
            headers.insert(header::IF_NONE_MATCH, tag.parse().unwrap());
        }
        let patience = Query(Patience { wait });
        syncz(
            State(page.clone()),
            Query(Asked::default()),
            patience,
            headers,
        )
        .await
    }

    fn tag(response: &Response) -> String {
        response.headers()[header::ETAG]
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[tokio::test]
    async fn a_document_is_made_once_for_each_change_and_shared() {
        let (page, ends) = page(1);
        let asked = Asked::default();
        let make = async || page.desk.document(&page.admin, &asked).await.unwrap();
        let (first, same) = (make().await, make().await);
        assert!(Arc::ptr_eq(&first, &same));
        ends.ending.send_replace(true);
        let (other, same) = (make().await, make().await);
        assert!(!Arc::ptr_eq(&first, &other) && Arc::ptr_eq(&other, &same));
        assert_ne!(first.tag, other.tag);
        let model = Asked {
            model: Some("llama".to_owned()),
            ..Asked::default()
        };
        let part = page.desk.document(&page.admin, &model).await.unwrap();
        assert!(!Arc::ptr_eq(&part, &make().await));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_beyond_the_bound_is_told_so_and_may_ask_without_waiting() {
        let (page, ends) = page(2);
        let first = ask(&page, 0, None).await;
        let tag = tag(&first);
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let (page, tag) = (page.clone(), tag.clone());
                tokio::spawn(async move { ask(&page, 60, Some(&tag)).await })
            })
            .collect();
        while page.seats.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let crowded = ask(&page, 60, Some(&tag)).await;
        assert_eq!(crowded.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(crowded.headers().contains_key(header::RETRY_AFTER));
        // Whose document is old, or who does not wait, needs no seat.
        assert_eq!(
            ask(&page, 60, Some("\"old\"")).await.status(),
            StatusCode::OK
        );
        assert_eq!(
            ask(&page, 0, Some(&tag)).await.status(),
            StatusCode::NOT_MODIFIED
        );
        ends.ending.send_replace(true);
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap().status(), StatusCode::OK);
        }
        assert_eq!(page.seats.available_permits(), 2);
    }
}
