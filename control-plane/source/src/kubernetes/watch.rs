//! One watch: lists all objects of a kind, follows their changes, and starts over where the history is lost.
//!
//! Invariant: from the first whole list on, what it tells is at every moment what the API server had at some moment, and a
//! failure of any kind ends in another try. What is lost is asked for again from the version that was seen last.
//!
//! It stands on kube's client, and not on `kube::runtime::watcher`, for what that keeps to itself: when a watch that
//! failed is established again (so that `status` knows since when the API is away, and that it is back), bookmarks, what to do where
//! streaming lists are refused, a 410 that comes as the answer's status, and `Retry-After`.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use kube::Client;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::fault::{ANSWER, Backoff, Fault};
use super::objects::{Nameless, resource_version};
use super::picked::{Picked, Shape};
use super::pulse::{Pulse, is_ready};
use crate::access::Watchable;

/// How long the API server lets a watch run. It ends a watch silently when the connection is gone, so a client finds out
/// after this long at most; a new watch costs one request, and goes on from a bookmark of two seconds before.
const WATCH_SECONDS: u32 = 20;
/// No word from the API server for longer than a watch runs: the connection is dead.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);
/// All watches wake when the API server is back; each of them up to a half of this later.
const SPREAD: Duration = Duration::from_millis(400);
/// Objects of a page, where lists are not streamed.
const PAGE: u32 = 500;
/// The annotation of the bookmark that ends a streamed list.
const LIST_ENDS: &str = "k8s.io/initial-events-end";

/// One watch: of a namespace, or of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchId<W> {
    pub(crate) what: W,
    pub(crate) namespace: Option<String>,
}

impl<W: Clone> WatchId<W> {
    /// These kinds in each of the namespaces, or with none in the cluster.
    pub(crate) fn all(whats: &[W], namespaces: &[String]) -> Vec<Self> {
        let mut namespaces: Vec<Option<String>> = namespaces.iter().cloned().map(Some).collect();
        namespaces.sort();
        namespaces.dedup();
        if namespaces.is_empty() {
            namespaces.push(None);
        }
        let of = |namespace: Option<String>| {
            whats.iter().cloned().map(move |what| Self {
                what,
                namespace: namespace.clone(),
            })
        };
        namespaces.into_iter().flat_map(of).collect()
    }
}

/// What a watch tells of objects.
#[derive(Debug, Clone)]
pub(crate) enum Event<T> {
    /// A list begins. What an earlier one, cut short, has listed does not count.
    Begin,
    /// An object of the list.
    Listed(T),
    /// The list is whole: what is not in it is gone.
    Done,
    /// An object was added or changed.
    Applied(T),
    /// The object is gone.
    Deleted(T),
    /// The API server has no such kind.
    Absent,
}

/// What a watch has to say.
#[derive(Debug)]
// Nearly all news are events, so there is nothing to be saved.
#[allow(clippy::large_enum_variant)]
pub(crate) enum News<T> {
    /// About objects.
    Event(Event<T>),
    /// The API server answers it.
    Found,
    /// The API server does not, and why.
    Lost(String),
}

/// Reads what was kept of an object.
pub(crate) type Read<S, T> = Box<dyn Fn(&Picked<S>) -> Result<T, Nameless> + Send + Sync>;

type Events<S> = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Picked<S>>>> + Send>>;

/// A watch and its wires.
pub(crate) struct Watch<S, W, T> {
    client: Client,
    id: WatchId<W>,
    /// The path of the kind, in a namespace or in all.
    path: Request,
    /// Whether metadata are enough.
    metadata: bool,
    read: Read<S, T>,
    /// How often the API server is asked again for a kind that it does not have, and how long one that was there must be
    /// missing until it is taken for removed: an API server that starts may serve its kinds later than it listens.
    absent_retry: Duration,
    pulse: Pulse,
    tell: mpsc::Sender<(WatchId<W>, News<T>)>,
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(bound = "S: Shape")]
struct Page<S> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default = "Vec::new")]
    items: Vec<Picked<S>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    rest: Option<String>,
}

/// Where a watch is.
enum At<S> {
    /// It knows nothing, or lost the thread.
    Nothing,
    /// It knows the objects as of this version.
    Version(String),
    /// It follows changes since this version.
    Following(String, Events<S>),
}

impl<S, W, T> Watch<S, W, T>
where
    S: Shape,
    W: Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    /// A watch of a row of the table; `tell` hears of it.
    pub(crate) fn new(
        client: &Client,
        id: WatchId<W>,
        of: &Watchable,
        read: Read<S, T>,
        absent_retry: Duration,
        pulse: &Pulse,
        tell: &mpsc::Sender<(WatchId<W>, News<T>)>,
    ) -> Self {
        Self {
            client: client.clone(),
            path: of.path(id.namespace.as_deref()),
            id,
            metadata: false,
            read,
            absent_retry,
            pulse: pulse.clone(),
            tell: tell.clone(),
        }
    }

    /// The same, where metadata are enough.
    pub(crate) fn of_metadata(self, metadata: bool) -> Self {
        Self { metadata, ..self }
    }

    /// Watches until nobody wants to know any more.
    pub(crate) async fn run(self) {
        let mut streams = true;
        let mut listed = false;
        let mut missing: Option<Instant> = None;
        let mut serves = false;
        let mut backoff = Backoff::new();
        let mut at = At::Nothing;
        loop {
            // From before it is asked: it may be back while a refusal is on its way.
            let back = self.pulse.back();
            let fault = match self.step(&mut at, streams, &mut backoff).await {
                Ok(()) => {
                    listed |= matches!(at, At::Version(_) | At::Following(..));
                    missing = None;
                    continue;
                }
                Err(Fault::Unheard) => return,
                Err(fault) => fault,
            };
            let wait = match (&at, fault.code()) {
                (At::Nothing, 404) => {
                    let since = *missing.get_or_insert_with(Instant::now);
                    let absent = match listed {
                        true => since.elapsed() >= self.absent_retry,
                        false => serves,
                    };
                    if absent {
                        listed = false;
                        if self.tell(News::Event(Event::Absent)).await.is_err()
                            || self.tell(News::Found).await.is_err()
                        {
                            return;
                        }
                        tokio::time::sleep(self.absent_retry).await;
                        continue;
                    }
                    // One that starts answers 404 for kinds that it serves a moment later, and a world without them
                    // would have no limits.
                    serves = serves || is_ready(&self.client, ANSWER).await;
                    if serves && !listed {
                        continue;
                    }
                    backoff.next()
                }
                // Not what a streaming list is called by this API server.
                (At::Nothing, 400 | 422) if streams => {
                    streams = false;
                    continue;
                }
                // Its history is lost, or the kind itself: what there is now, a list says.
                (_, 404 | 410) => {
                    at = At::Nothing;
                    backoff.next()
                }
                _ => {
                    // A list that nothing comes of may come page by page.
                    streams &= !matches!((&at, &fault), (At::Nothing, Fault::Silent(_)));
                    backoff.next().max(fault.retry_after())
                }
            };
            tracing::debug!(watch = %self.path.url_path, why = %fault.message(), "to be tried again");
            // History that was compacted is nobody's failure.
            if fault.code() != 410 && self.tell(News::Lost(fault.message())).await.is_err() {
                return;
            }
            self.rest(wait, &fault, back, &mut backoff).await;
        }
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
    async fn answer<A>(&self, asked: impl Future<Output = A>) -> Result<A, Fault> {
        tokio::select! {
            answer = timeout(ANSWER, asked) => Ok(answer?),
            () = self.pulse.outlived() => Err(Fault::Owed),
        }
    }

    async fn tell(&self, news: News<T>) -> Result<(), Fault> {
        self.tell
            .send((self.id.clone(), news))
            .await
            .map_err(|_| Fault::Unheard)
    }

    /// Does what is next. On a fault, `at` is where to go on from.
    async fn step(
        &self,
        at: &mut At<S>,
        streams: bool,
        backoff: &mut Backoff,
    ) -> Result<(), Fault> {
        *at = match std::mem::replace(at, At::Nothing) {
            At::Nothing if streams => self.stream_list().await?,
            At::Nothing => At::Version(self.list().await?),
            At::Version(version) => match self.open(&version, false).await {
                Ok(events) => {
                    self.tell(News::Found).await?;
                    At::Following(version, events)
                }
                Err(fault) => {
                    *at = At::Version(version);
                    return Err(fault);
                }
            },
            At::Following(mut version, events) => {
                let outcome = self.follow(&mut version, events, backoff).await;
                *at = At::Version(version);
                return outcome;
            }
        };
        Ok(())
    }

    async fn open(&self, version: &str, with_list: bool) -> Result<Events<S>, Fault> {
        let params = WatchParams {
            send_initial_events: with_list,
            ..WatchParams::default()
        }
        .timeout(WATCH_SECONDS);
        let request = if self.metadata {
            self.path.watch_metadata(&params, version)
        } else {
            self.path.watch(&params, version)
        };
        let request = request.map_err(kube::Error::BuildRequest)?;
        let events = self.client.request_events::<Picked<S>>(request);
        Ok(Box::pin(self.answer(events).await??))
    }

    /// A list as the first events of a watch. Without a version it is the newest, as a plain list is.
    async fn stream_list(&self) -> Result<At<S>, Fault> {
        let mut events = self.open("", true).await?;
        self.tell(News::Event(Event::Begin)).await?;
        loop {
            match self.answer(events.next()).await? {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    self.tell_of(&object, Event::Listed).await?;
                }
                Some(Ok(WatchEvent::Bookmark(mark)))
                    if mark.metadata.annotations.contains_key(LIST_ENDS) =>
                {
                    self.tell(News::Event(Event::Done)).await?;
                    self.tell(News::Found).await?;
                    return Ok(At::Following(mark.metadata.resource_version, events));
                }
                Some(Ok(WatchEvent::Bookmark(_) | WatchEvent::Deleted(_))) => {}
                Some(Ok(WatchEvent::Error(status))) => return Err(Fault::Refused(status)),
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Fault::Ended),
            }
        }
    }

    async fn list(&self) -> Result<String, Fault> {
        let mut params = ListParams {
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut began = false;
        loop {
            let request = if self.metadata {
                self.path.list_metadata(&params)
            } else {
                self.path.list(&params)
            };
            let request = request.map_err(kube::Error::BuildRequest)?;
            let page: Page<S> = self.answer(self.client.request(request)).await??;
            if !std::mem::replace(&mut began, true) {
                self.tell(News::Event(Event::Begin)).await?;
            }
            for object in &page.items {
                self.tell_of(object, Event::Listed).await?;
            }
            params.continue_token = page.metadata.rest.filter(|rest| !rest.is_empty());
            if params.continue_token.is_none() {
                let version = page
                    .metadata
                    .resource_version
                    .filter(|version| !version.is_empty());
                let version = version.ok_or(Fault::Versionless)?;
                self.tell(News::Event(Event::Done)).await?;
                self.tell(News::Found).await?;
                return Ok(version);
            }
        }
    }

    /// Follows changes to the end of a watch; `version` is the newest that was seen.
    async fn follow(
        &self,
        version: &mut String,
        mut events: Events<S>,
        backoff: &mut Backoff,
    ) -> Result<(), Fault> {
        let began = Instant::now();
        let mut heard = false;
        loop {
            let next = timeout(SILENCE, events.next())
                .await
                .map_err(|_| Fault::Silent(SILENCE))?;
            let Some(event) = next else {
                // A watch that ends as soon as it began must not be asked for again and again.
                let lived = heard || began.elapsed() > Duration::from_secs(1);
                return if lived { Ok(()) } else { Err(Fault::Ended) };
            };
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.tell_of(&object, Event::Applied).await?;
                    newer(version, resource_version(&object.value));
                }
                WatchEvent::Deleted(object) => {
                    self.tell_of(&object, Event::Deleted).await?;
                    newer(version, resource_version(&object.value));
                }
                WatchEvent::Bookmark(mark) => newer(version, &mark.metadata.resource_version),
                WatchEvent::Error(status) => return Err(Fault::Refused(status)),
            }
            heard = true;
            backoff.reset();
        }
    }

    async fn tell_of(
        &self,
        object: &Picked<S>,
        event: impl FnOnce(T) -> Event<T>,
    ) -> Result<(), Fault> {
        match (self.read)(object) {
            Ok(object) => self.tell(News::Event(event(object))).await,
            Err(nameless) => {
                tracing::warn!(watch = %self.path.url_path, "{nameless}");
                Ok(())
            }
        }
    }
}

fn newer(version: &mut String, seen: &str) {
    if !seen.is_empty() {
        seen.clone_into(version);
    }
}
