//! One watch: lists all objects of a kind, follows their changes, and starts over where the history is lost.
//!
//! Invariant: from the first whole list on, what it tells is at every moment what the API server had at some moment, and a
//! failure of any kind ends in another try. What is lost is asked for again from the version that was seen last.
//!
//! It stands on kube's client, and not on `kube::runtime::watcher`, for what that keeps to itself: when a watch that
//! failed is established again (so that `status` knows since when the API is away, and that it is back), bookmarks, what to do where
//! streaming lists are refused, a 410 that comes as the answer's status, and `Retry-After`.

mod steps;

use std::time::{Duration, Instant};

use kube::Client;
use kube::core::Request;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::access::Watchable;
use crate::discovery::{Catalogue, Lookup, Place};
use crate::fault::{ANSWER, Backoff, Fault};
use crate::probe::{ApiServerProbe, is_ready};
use crate::pruning::Shape;
use crate::update::{Event, News, Read, WatchId};
use steps::At;

/// All watches wake when the API server is back; each of them up to a half of this later.
const SPREAD: Duration = Duration::from_millis(400);

/// A watch and its wires.
pub struct Watch<S, W, T> {
    pub(super) client: Client,
    id: WatchId<W>,
    /// The path of the kind, in a namespace or in all.
    pub(super) path: Request,
    /// Where its version is asked for, if it is not given.
    lookup: Option<Lookup>,
    /// Whether metadata are enough.
    pub(super) metadata: bool,
    pub(super) read: Read<S, T>,
    /// How often the API server is asked again for a kind that it does not have, and how long one that was there must be
    /// missing until it is taken for removed: an API server that starts may serve its kinds later than it listens.
    absent_retry: Duration,
    pulse: ApiServerProbe,
    tell: mpsc::Sender<(WatchId<W>, News<T>)>,
}

/// How far a watch is.
pub(super) struct Progress<S> {
    at: At<S>,
    /// Whether the API server may stream lists.
    pub(super) streams: bool,
    /// Whether it failed to stream this one.
    pub(super) in_pages: bool,
    /// Whether all objects were told at least once.
    listed: bool,
    /// Since when its kind is not there.
    missing: Option<Instant>,
    /// Whether the API server was ready while it was missing.
    serves: bool,
    pub(super) backoff: Backoff,
}

impl<S, W, T> Watch<S, W, T>
where
    S: Shape,
    W: Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    /// A watch of a row of the table; `tell` hears of it.
    pub fn new(
        client: &Client,
        id: WatchId<W>,
        of: &Watchable,
        read: Read<S, T>,
        absent_retry: Duration,
        pulse: &ApiServerProbe,
        tell: &mpsc::Sender<(WatchId<W>, News<T>)>,
    ) -> Self {
        Self {
            client: client.clone(),
            path: of.path(id.namespace.as_deref()),
            lookup: None,
            id,
            metadata: false,
            read,
            absent_retry,
            pulse: pulse.clone(),
            tell: tell.clone(),
        }
    }

    /// The same, of the version that the API server prefers, unless one is given.
    pub fn found_by(self, catalogue: &Catalogue, of: &Watchable) -> Self {
        let lookup = Some(catalogue.of(of.resource(), !of.discovered));
        Self { lookup, ..self }
    }

    /// The same, where metadata are enough.
    pub fn of_metadata(self, metadata: bool) -> Self {
        Self { metadata, ..self }
    }

    /// Watches until nobody wants to know any more.
    pub async fn run(mut self) {
        // It ends only where nobody listens.
        let _unheard = self.watch().await;
    }

    async fn watch(&mut self) -> Result<(), Fault> {
        let mut so = Progress {
            at: At::Nothing,
            streams: true,
            in_pages: false,
            listed: false,
            missing: None,
            serves: false,
            backoff: Backoff::new(),
        };
        loop {
            if !self.located(&mut so).await? {
                continue;
            }
            // From before it is asked: it may be back while a refusal is on its way.
            let back = self.pulse.back();
            match self.step(&mut so).await {
                Ok(()) => {
                    so.listed |= !matches!(so.at, At::Nothing);
                    so.missing = None;
                    so.in_pages = false;
                }
                Err(Fault::Unheard) => return Err(Fault::Unheard),
                Err(fault) => self.failed(&mut so, &fault, back).await?,
            }
        }
    }

    /// Whether it is known where to ask; waits until it may be.
    async fn located(&mut self, so: &mut Progress<S>) -> Result<bool, Fault> {
        let Some(lookup) = &mut self.lookup else {
            return Ok(true);
        };
        match lookup.place() {
            Place::At(resource) => {
                let path = Watchable::path_of(&resource, self.id.namespace.as_deref());
                if path.url_path != self.path.url_path {
                    tracing::info!(
                        before = self.path.url_path,
                        now = path.url_path,
                        "the Kubernetes API prefers another version"
                    );
                    self.path = path;
                    so.at = At::Nothing;
                    self.tell(News::Version(resource.version)).await?;
                }
                Ok(true)
            }
            // Who asks for it finds out whether it is gone for good.
            Place::Nowhere if so.listed => Ok(true),
            Place::Nowhere => {
                self.absent().await?;
                while let Some(lookup) = &mut self.lookup {
                    lookup.changed().await;
                    if lookup.place() != Place::Nowhere {
                        break;
                    }
                }
                Ok(false)
            }
            Place::Unknown(loss) => {
                if let Some(loss) = loss {
                    self.tell(News::Lost(loss)).await?;
                }
                if let Some(lookup) = &mut self.lookup {
                    lookup.changed().await;
                }
                Ok(false)
            }
        }
    }

    async fn absent(&self) -> Result<(), Fault> {
        self.tell(News::Event(Event::Absent)).await?;
        self.tell(News::Found).await
    }

    /// Says what is wrong, and waits until another try is due.
    async fn failed(
        &self,
        so: &mut Progress<S>,
        fault: &Fault,
        back: impl Future<Output = ()>,
    ) -> Result<(), Fault> {
        // One that starts answers 404 for kinds that it serves a moment later, and a world without them would have no limits.
        let missing = fault.code() == 404 && is_ready(&self.client, ANSWER).await;
        if fault.code() == 404
            && let Some(lookup) = &self.lookup
        {
            lookup.doubt();
        }
        let wait = match (&so.at, fault.code()) {
            (At::Nothing, 404) => {
                let since = *so.missing.get_or_insert_with(Instant::now);
                let absent = match so.listed {
                    true => missing && since.elapsed() >= self.absent_retry,
                    false => so.serves,
                };
                if absent {
                    so.listed = false;
                    match self.lookup.as_ref().and_then(Lookup::elsewhere) {
                        Some(loss) => self.tell(News::Lost(loss)).await?,
                        None => self.absent().await?,
                    }
                    tokio::time::sleep(self.absent_retry).await;
                    return Ok(());
                }
                so.serves |= missing;
                if so.serves && !so.listed {
                    return Ok(());
                }
                so.backoff.next()
            }
            // Not what a streaming list is called by this API server.
            (At::Nothing, 400 | 422) if so.streams => {
                so.streams = false;
                return Ok(());
            }
            // Page by page it may do better, or say why not: of a kind that it cannot convert, a stream says only that it is late.
            (At::Nothing, 500..) if so.streams && !so.in_pages => {
                so.in_pages = true;
                tokio::time::sleep(fault.retry_after()).await;
                return Ok(());
            }
            // Its history is lost, or the kind itself: what there is now, a list says.
            (_, 404 | 410) => {
                so.at = At::Nothing;
                so.backoff.next()
            }
            _ => {
                // A list that nothing comes of may come page by page.
                so.streams &= !matches!((&so.at, fault), (At::Nothing, Fault::Silent(_)));
                so.backoff.next().max(fault.retry_after())
            }
        };
        tracing::debug!(watch = %self.path.url_path, why = %fault.message(), "to be tried again");
        if missing && so.listed {
            self.tell(News::Missing).await?;
        } else if fault.code() != 410 {
            // History that was compacted is nobody's failure.
            self.tell(News::Lost(fault.loss())).await?;
        }
        self.rest(wait, fault, back, &mut so.backoff).await;
        Ok(())
    }

    /// Waits until another try is due, or, unless it asked for more time, until the API server is back.
    async fn rest(
        &self,
        wait: Duration,
        fault: &Fault,
        back: impl Future<Output = ()>,
        backoff: &mut Backoff,
    ) {
        if fault.is_absence() {
            self.pulse.missed();
        }
        let asked_for = fault.retry_after();
        tokio::time::sleep(asked_for).await;
        if timeout(wait.saturating_sub(asked_for), back).await.is_ok() {
            backoff.reset();
            tokio::time::sleep(backoff.jitter(SPREAD)).await;
        }
    }

    /// What is asked now, in time.
    pub(super) async fn answer<A>(&self, asked: impl Future<Output = A>) -> Result<A, Fault> {
        tokio::select! {
            answer = timeout(ANSWER, asked) => Ok(answer?),
            () = self.pulse.outlived() => Err(Fault::Owed),
        }
    }

    pub(super) async fn tell(&self, news: News<T>) -> Result<(), Fault> {
        self.tell
            .send((self.id.clone(), news))
            .await
            .map_err(|_| Fault::Unheard)
    }
}
