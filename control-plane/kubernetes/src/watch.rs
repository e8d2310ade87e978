//! The watch of one kind: lists all objects, follows their changes, and lists again where the history is lost.
//!
//! Invariant: after the first complete list, the updates describe states that the API server had. Every failure is followed by
//! another attempt, which resumes from the last version that was seen.
//!
//! It uses kube's client and not `kube::runtime::watcher`, because the latter does not expose when a watch recovers (`headgate status`
//! reports outages and recoveries), bookmarks, a fallback for API servers that refuse streaming lists, status 410 as the answer
//! of a watch request, and `Retry-After`.

mod steps;

use std::time::{Duration, Instant};

use kube::Client;
use kube::core::Request;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::access::Watchable;
use crate::discovery::{Discovery, KindLookup, Served};
use crate::fault::{Backoff, Fault, REQUEST_TIMEOUT};
use crate::log_limit::LogLimit;
use crate::probe::{ApiServerProbe, is_ready};
use crate::pruning::Shape;
use crate::update::{Event, Parse, WatchId, WatchUpdate};
use steps::Position;

/// When the API server recovers, each watch waits for a random part of up to a half of this.
const SPREAD: Duration = Duration::from_millis(400);
/// The shortest time between two log lines on objects that are skipped.
const SKIPPED_LOG: Duration = Duration::from_secs(60);

/// A watch of one kind.
pub struct Watch<S, K, T> {
    pub(super) client: Client,
    id: WatchId<K>,
    /// Name of the kind in logs: `deployments.apps`.
    name: String,
    /// The path of the kind, in one namespace or in all.
    pub(super) path: Request,
    /// Lookup of the served version; `None` if the version is given.
    lookup: Option<KindLookup>,
    /// Whether only the metadata of objects is read.
    pub(super) metadata: bool,
    pub(super) parse: Parse<S, T>,
    /// The period of attempts for a kind that the API server does not serve, and the time after which a kind that was served counts as
    /// removed: an API server that starts may listen before it serves all its kinds.
    absent_retry: Duration,
    probe: ApiServerProbe,
    sender: mpsc::Sender<(WatchId<K>, WatchUpdate<T>)>,
    pub(super) skipped_log: LogLimit,
}

/// Progress of a watch.
pub(super) struct Progress<S> {
    position: Position<S>,
    /// Whether the API server supports streaming lists.
    pub(super) streams: bool,
    /// Whether the next list is paged because the API server failed to stream it.
    pub(super) in_pages: bool,
    /// Whether the kind was listed at least once.
    listed: bool,
    /// Since when the kind is missing.
    missing: Option<Instant>,
    /// Whether the API server was ready while the kind was missing.
    ready_without_kind: bool,
    pub(super) backoff: Backoff,
}

impl<S, K, T> Watch<S, K, T>
where
    S: Shape,
    K: Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    /// A watch of a row of the access table that sends its updates to `sender`.
    pub fn new(
        client: &Client,
        id: WatchId<K>,
        kind: &Watchable,
        parse: Parse<S, T>,
        absent_retry: Duration,
        probe: &ApiServerProbe,
        sender: &mpsc::Sender<(WatchId<K>, WatchUpdate<T>)>,
    ) -> Self {
        Self {
            client: client.clone(),
            name: kind.name(None),
            path: kind.path(id.namespace.as_deref()),
            lookup: None,
            id,
            metadata: false,
            parse,
            absent_retry,
            probe: probe.clone(),
            sender: sender.clone(),
            skipped_log: LogLimit::new(SKIPPED_LOG),
        }
    }

    /// Reads the version that the API server prefers, unless the configuration gives one.
    pub fn discovered_by(self, discovery: &Discovery, kind: &Watchable) -> Self {
        let lookup = Some(discovery.lookup(kind.resource(), !kind.discovered));
        Self { lookup, ..self }
    }

    /// Reads only the metadata of objects.
    pub fn metadata_only(self, metadata: bool) -> Self {
        Self { metadata, ..self }
    }

    /// Watches until the receiver of the updates is dropped.
    pub async fn run(mut self) {
        let namespace = self.id.namespace.clone();
        let span = tracing::info_span!("watch", kube_resource = %self.name, namespace);
        // The only error that ends the loop is a closed receiver.
        let _closed = self.watch().instrument(span).await;
    }

    async fn watch(&mut self) -> Result<(), Fault> {
        let mut progress = Progress {
            position: Position::Start,
            streams: true,
            in_pages: false,
            listed: false,
            missing: None,
            ready_without_kind: false,
            backoff: Backoff::new(),
        };
        loop {
            if !self.locate(&mut progress).await? {
                continue;
            }
            // Subscribed before the request: the API server may recover while a refusal is on its way.
            let recovery = self.probe.recovery();
            match self.step(&mut progress).await {
                Ok(()) => {
                    progress.listed |= !matches!(progress.position, Position::Start);
                    progress.missing = None;
                    progress.in_pages = false;
                }
                Err(Fault::ReceiverClosed) => return Err(Fault::ReceiverClosed),
                Err(fault) => self.failed(&mut progress, &fault, recovery).await?,
            }
        }
    }

    /// Sets the path of the kind. Returns false after it waited for a change of the discovery.
    async fn locate(&mut self, progress: &mut Progress<S>) -> Result<bool, Fault> {
        let Some(lookup) = &mut self.lookup else {
            return Ok(true);
        };
        match lookup.served() {
            Served::As(resource) => {
                let path = Watchable::path_of(&resource, self.id.namespace.as_deref());
                if path.url_path != self.path.url_path {
                    tracing::info!(
                        before = self.path.url_path,
                        now = path.url_path,
                        "the Kubernetes API prefers another version of the kind"
                    );
                    self.path = path;
                    progress.position = Position::Start;
                    self.send(WatchUpdate::Version(resource.version)).await?;
                }
                Ok(true)
            }
            // The next request finds out whether the kind is gone for good.
            Served::No if progress.listed => Ok(true),
            Served::No => {
                self.send_absent().await?;
                while let Some(lookup) = &mut self.lookup {
                    lookup.changed().await;
                    if lookup.served() != Served::No {
                        break;
                    }
                }
                Ok(false)
            }
            Served::Unknown(failure) => {
                if let Some(failure) = failure {
                    self.send(WatchUpdate::Lost(failure)).await?;
                }
                if let Some(lookup) = &mut self.lookup {
                    lookup.changed().await;
                }
                Ok(false)
            }
        }
    }

    async fn send_absent(&self) -> Result<(), Fault> {
        self.send(WatchUpdate::Event(Event::Absent)).await?;
        self.send(WatchUpdate::Answered).await
    }

    /// Reports a failure and waits until the next attempt is due.
    async fn failed(
        &self,
        progress: &mut Progress<S>,
        fault: &Fault,
        recovery: impl Future<Output = ()>,
    ) -> Result<(), Fault> {
        // An API server that starts answers 404 for kinds that it serves a moment later, and without policies there are no limits.
        let missing = fault.code() == 404 && is_ready(&self.client, REQUEST_TIMEOUT).await;
        if fault.code() == 404
            && let Some(lookup) = &self.lookup
        {
            lookup.request_refresh();
        }
        let wait = match (&progress.position, fault.code()) {
            (Position::Start, 404) => {
                let since = *progress.missing.get_or_insert_with(Instant::now);
                let absent = match progress.listed {
                    true => missing && since.elapsed() >= self.absent_retry,
                    false => progress.ready_without_kind,
                };
                if absent {
                    progress.listed = false;
                    match self.lookup.as_ref().and_then(KindLookup::other_version) {
                        Some(failure) => self.send(WatchUpdate::Lost(failure)).await?,
                        None => self.send_absent().await?,
                    }
                    tokio::time::sleep(self.absent_retry).await;
                    return Ok(());
                }
                progress.ready_without_kind |= missing;
                if progress.ready_without_kind && !progress.listed {
                    return Ok(());
                }
                progress.backoff.next_wait()
            }
            // This API server does not support streaming lists.
            (Position::Start, 400 | 422) if progress.streams => {
                progress.streams = false;
                return Ok(());
            }
            // A paged list may succeed or report the reason: for a kind that it cannot convert, a stream reports only a timeout.
            (Position::Start, 500..) if progress.streams && !progress.in_pages => {
                progress.in_pages = true;
                tokio::time::sleep(fault.retry_after()).await;
                return Ok(());
            }
            // The history is lost, or the kind is gone: list again.
            (_, 404 | 410) => {
                progress.position = Position::Start;
                progress.backoff.next_wait()
            }
            _ => {
                // A paged list may succeed where a streamed list times out.
                let timed_out = matches!(
                    (&progress.position, fault),
                    (Position::Start, Fault::Timeout(_))
                );
                progress.streams &= !timed_out;
                progress.backoff.next_wait().max(fault.retry_after())
            }
        };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(error = %fault.message(), wait_ms, "watch attempt failed");
        if missing && progress.listed {
            self.send(WatchUpdate::KindMissing).await?;
        } else if fault.code() != 410 {
            // Compacted history is normal.
            self.send(WatchUpdate::Lost(fault.failure())).await?;
        }
        self.rest(wait, fault, recovery, &mut progress.backoff)
            .await;
        Ok(())
    }

    /// Waits until the next attempt is due or, after the time that the API server asked for, until it recovers.
    async fn rest(
        &self,
        wait: Duration,
        fault: &Fault,
        recovery: impl Future<Output = ()>,
        backoff: &mut Backoff,
    ) {
        if fault.is_outage() {
            self.probe.report_outage();
        }
        let retry_after = fault.retry_after();
        tokio::time::sleep(retry_after).await;
        let rest = wait.saturating_sub(retry_after);
        if timeout(rest, recovery).await.is_ok() {
            backoff.reset();
            tokio::time::sleep(backoff.jitter(SPREAD)).await;
        }
    }

    /// The answer to a request, within the timeout.
    pub(super) async fn answer<A>(&self, request: impl Future<Output = A>) -> Result<A, Fault> {
        tokio::select! {
            answer = timeout(REQUEST_TIMEOUT, request) => Ok(answer?),
            () = self.probe.superseded() => Err(Fault::SentBeforeReady),
        }
    }

    pub(super) async fn send(&self, update: WatchUpdate<T>) -> Result<(), Fault> {
        self.sender
            .send((self.id.clone(), update))
            .await
            .map_err(|_| Fault::ReceiverClosed)
    }
}
