//! `/syncz`: the status document, at once or by long polling.
//!
//! A client that follows a model sends the `ETag` of its document and `wait`. The answer comes as soon as the document changes, or
//! as 304 after that time. No change is lost in between, because each answer contains the whole state. The number of waiting
//! clients is limited; a client beyond it gets 503 and can ask without `wait`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::Admin;
use super::report_cache::{Changes, ReportCache};
use headgate_report::Query;

/// Longest wait, in seconds.
const MAX_WAIT: u64 = 60;
/// Shortest time between two documents for a waiting client. A rollout of thousands of pods changes the state every few
/// milliseconds.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait during shutdown, which pending answers would delay.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);
/// Largest number of waiting clients. Each of them holds a connection.
pub(super) const MAX_WAITERS: usize = 256;

/// State of the page.
pub(super) struct Syncz {
    admin: Admin,
    cache: ReportCache,
    permits: Semaphore,
}

impl Syncz {
    /// A page at which this number of clients may wait.
    pub(super) fn new(admin: Admin, waiters: usize) -> Self {
        Self {
            cache: ReportCache::new(&admin),
            permits: Semaphore::new(waiters),
            admin,
        }
    }
}

/// Parameters of long polling.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WaitQuery {
    /// Longest wait, in seconds.
    #[serde(default)]
    wait: u64,
}

/// Answers with the document, or with 304 if the client has it.
pub(super) async fn syncz(
    State(page): State<Arc<Syncz>>,
    Parameters(query): Parameters<Query>,
    Parameters(long_poll): Parameters<WaitQuery>,
    headers: HeaderMap,
) -> Response {
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tag| tag.to_str().ok())
        .map(|tag| tag.trim_matches('"').to_owned());
    let begin = tokio::time::Instant::now();
    let wait = Duration::from_secs(long_poll.wait.min(MAX_WAIT));
    let mut changes = Changes::new(&page.admin);
    let mut permit = None;
    loop {
        changes.mark_known();
        let document = match page.cache.document(&page.admin, &query).await {
            Ok(document) => document,
            Err(error) => {
                return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
            }
        };
        let etag = (header::ETAG, format!("\"{}\"", document.tag));
        if known.as_ref() != Some(&document.tag) {
            let json = (header::CONTENT_TYPE, "application/json".to_owned());
            return ([etag, json], document.body.clone()).into_response();
        }
        if permit.is_none() && !wait.is_zero() {
            match page.permits.try_acquire() {
                Ok(free) => permit = Some(free),
                Err(_) => return too_many_waiters(),
            }
        }
        let wait = if *page.admin.shutting_down.borrow() {
            wait.min(SHUTDOWN_WAIT)
        } else {
            wait
        };
        let ended = tokio::select! {
            ended = changes.wait() => ended,
            () = tokio::time::sleep_until(begin + wait) => true,
        };
        if ended {
            return (StatusCode::NOT_MODIFIED, [etag]).into_response();
        }
        tokio::time::sleep(MIN_INTERVAL).await;
    }
}

/// The answer beyond the limit of waiting clients.
fn too_many_waiters() -> Response {
    let retry = [(header::RETRY_AFTER, "1")];
    let why = "too many clients wait for a change of the status: retry, or send the request without `wait`\n";
    (StatusCode::SERVICE_UNAVAILABLE, retry, why).into_response()
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
    use crate::admin::StatusAges;
    use crate::logging::LogLevel;
    use headgate_publisher::Published;
    use headgate_publisher::ScopeRules;
    use headgate_publisher::SnapshotStore;
    use headgate_report::metrics::Metrics;

    /// Senders of the inputs of the page.
    struct Senders {
        shutting_down: watch::Sender<bool>,
        _published: watch::Sender<Option<Arc<Published>>>,
    }

    /// A page with a limit of waiting clients.
    fn page(waiters: usize) -> (Arc<Syncz>, Senders) {
        let listen = "127.0.0.1:10000".parse().unwrap();
        let rules = ScopeRules::loopback(Vec::new(), listen);
        let module = Code::File("/m.wasm".to_owned());
        let (sender, shutting_down) = watch::channel(false);
        let (_published, published) = watch::channel(None);
        let admin = Admin {
            published,
            api: None,
            mesh: None,
            faults: Faults::default(),
            keys: LabelKeys::default(),
            scopes: SnapshotStore::new(rules, Options::new(module, [])),
            fleet: Fleet::default(),
            loads: Loads::default(),
            metrics: Arc::new(Metrics::default()),
            shutting_down,
            peers: None,
            ages: StatusAges::default(),
            log_level: LogLevel::detached(),
            identity: None,
            admin_identity: None,
            tokens: None,
            identities: Vec::new(),
        };
        let page = Arc::new(Syncz::new(admin, waiters));
        let senders = Senders {
            shutting_down: sender,
            _published,
        };
        (page, senders)
    }

    async fn ask(page: &Arc<Syncz>, wait: u64, has: Option<&str>) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(tag) = has {
            headers.insert(header::IF_NONE_MATCH, tag.parse().unwrap());
        }
        let long_poll = Parameters(WaitQuery { wait });
        syncz(
            State(page.clone()),
            Parameters(Query::default()),
            long_poll,
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
        let (page, senders) = page(1);
        let query = Query::default();
        let make = async || page.cache.document(&page.admin, &query).await.unwrap();
        let (first, same) = (make().await, make().await);
        assert!(Arc::ptr_eq(&first, &same));
        senders.shutting_down.send_replace(true);
        let (other, same) = (make().await, make().await);
        assert!(!Arc::ptr_eq(&first, &other) && Arc::ptr_eq(&other, &same));
        assert_ne!(first.tag, other.tag);
        let model = Query {
            model: Some("llama".to_owned()),
            ..Query::default()
        };
        let part = page.cache.document(&page.admin, &model).await.unwrap();
        assert!(!Arc::ptr_eq(&part, &make().await));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_above_the_limit_is_rejected_and_may_request_without_waiting() {
        let (page, senders) = page(2);
        let first = ask(&page, 0, None).await;
        let tag = tag(&first);
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let (page, tag) = (page.clone(), tag.clone());
                tokio::spawn(async move { ask(&page, 60, Some(&tag)).await })
            })
            .collect();
        while page.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let rejected = ask(&page, 60, Some(&tag)).await;
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(rejected.headers().contains_key(header::RETRY_AFTER));
        // A client with an old document, or without `wait`, needs no permit.
        assert_eq!(
            ask(&page, 60, Some("\"old\"")).await.status(),
            StatusCode::OK
        );
        assert_eq!(
            ask(&page, 0, Some(&tag)).await.status(),
            StatusCode::NOT_MODIFIED
        );
        senders.shutting_down.send_replace(true);
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap().status(), StatusCode::OK);
        }
        assert_eq!(page.permits.available_permits(), 2);
    }
}
