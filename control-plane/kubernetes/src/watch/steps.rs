//! Steps of a watch: list, watch from a version, check that the API server still has that version.
//!
//! An API server that was restored from a backup is at an older version than the watch. It accepts a watch from a future version and
//! stays silent until it reaches that version. Its version proves nothing once more was written than the backup was behind.
//! Invariant: after an outage, and after a watch that ends early, everything is listed again, from etcd and not from the watch cache.
//! Lists are streamed or paged, and start at different moments; unchanged objects cost nothing more. A silent watch continues only if
//! the API server is known to have reached its version. An idle watch gets a bookmark shortly before its end, unless its kind has not
//! changed since the API server started; then the check costs a list of one object.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use kube::core::WatchEvent;
use kube::core::params::{ListParams, WatchParams};
use serde::{Deserialize, Deserializer};
use tokio::time::timeout;

use super::{Progress, Watch};
use crate::fault::{Backoff, Fault};
use crate::object::resource_version;
use crate::pruning::{Pruned, Shape};
use crate::update::{Event, News};

/// How long the API server lets a watch run. It ends a watch silently when the connection is gone, so a client finds out
/// after this long at most; a new watch costs one request, and goes on from a bookmark of two seconds before.
const WATCH_SECONDS: u32 = 20;
/// No word from the API server for longer than a watch runs: the connection is dead.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);
/// A watch that ends sooner ended with the API server, or with what stands before it.
const EARLY: Duration = Duration::from_secs(WATCH_SECONDS as u64 - 5);
/// Objects of a page, where lists are not streamed.
const PAGE: u32 = 500;
/// The annotation of the bookmark that ends a streamed list.
const LIST_ENDS: &str = "k8s.io/initial-events-end";

type Events<S> = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Pruned<S>>>> + Send>>;

/// Where a watch is.
pub(super) enum At<S> {
    /// It knows nothing, or lost the thread.
    Nothing,
    /// It knows the objects as of this version.
    Version { version: String, trust: Trust },
    /// It follows changes since this version, by a watch that was asked for at this moment.
    Following(String, Events<S>, Instant),
}

/// Whether a version may be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// The API server was there all the time.
    Whole,
    /// It said nothing: it may not have got so far.
    Asks,
    /// It was away, and may have another history.
    Lost,
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(bound = "S: Shape")]
struct Page<S> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default = "Vec::new", deserialize_with = "or_none")]
    items: Vec<Pruned<S>>,
}

/// The API server writes `null` for a list of metadata that is empty.
fn or_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    rest: Option<String>,
}

impl<S, W, T> Watch<S, W, T>
where
    S: Shape,
    W: Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    /// Does what is next. On a fault, `so.at` is where to go on from.
    pub(super) async fn step(&self, so: &mut Progress<S>) -> Result<(), Fault> {
        match std::mem::replace(&mut so.at, At::Nothing) {
            At::Nothing if so.streams && !so.in_pages => so.at = self.stream_list().await?,
            At::Nothing => {
                so.at = At::Version {
                    version: self.list().await?,
                    trust: Trust::Whole,
                };
            }
            At::Version {
                version,
                trust: Trust::Lost,
            } => match self.list_anew(so.streams).await {
                Ok(at) => so.at = at,
                // How a list is best asked for is found out from the start.
                Err(fault) if !fault.is_no_answer() => return Err(fault),
                Err(fault) => {
                    let trust = Trust::Lost;
                    so.at = At::Version { version, trust };
                    return Err(fault);
                }
            },
            At::Version { version, trust } => match self.resume(&version, trust).await {
                Ok(Some((events, asked))) => so.at = At::Following(version, events, asked),
                Ok(None) => tracing::info!(
                    watch = %self.path.url_path,
                    version,
                    "the Kubernetes API does not reach the version that was seen: all is listed anew"
                ),
                Err(fault) => {
                    let trust = after(&fault, trust);
                    so.at = At::Version { version, trust };
                    return Err(fault);
                }
            },
            At::Following(mut version, events, asked) => {
                let outcome = self.follow(&mut version, events, &mut so.backoff).await;
                let trust = match &outcome {
                    Ok(_) if asked.elapsed() < EARLY => Trust::Lost,
                    Ok(true) => Trust::Whole,
                    Ok(false) => Trust::Asks,
                    Err(fault) => after(fault, Trust::Asks),
                };
                so.at = At::Version { version, trust };
                outcome?;
            }
        }
        Ok(())
    }

    /// Lists all that there is; `streams`: as the first events of a watch.
    async fn list_anew(&self, streams: bool) -> Result<At<S>, Fault> {
        if streams {
            return self.stream_list().await;
        }
        Ok(At::Version {
            version: self.list().await?,
            trust: Trust::Whole,
        })
    }

    /// Goes on from a version; `None` if the API server is not there yet, so that its history is another one.
    async fn resume(
        &self,
        version: &str,
        trust: Trust,
    ) -> Result<Option<(Events<S>, Instant)>, Fault> {
        let asked = Instant::now();
        let events = self.open(version, false).await?;
        if trust != Trust::Whole && !self.reaches(version).await? {
            return Ok(None);
        }
        self.tell(News::Found).await?;
        Ok(Some((events, asked)))
    }

    /// Whether the API server's newest version is not before this one, by a list of one object. Where it may not be listed, that
    /// is not known, and so no.
    async fn reaches(&self, version: &str) -> Result<bool, Fault> {
        let params = ListParams {
            limit: Some(1),
            ..ListParams::default()
        };
        let newest = match self.page(&params).await {
            Ok(page) => page.metadata.resource_version.unwrap_or_default(),
            Err(fault) if matches!(fault.code(), 401 | 403 | 405) => return Ok(false),
            Err(fault) => return Err(fault),
        };
        // What is no number cannot be compared.
        Ok(match (newest.parse::<u64>(), version.parse::<u64>()) {
            (Ok(newest), Ok(seen)) => newest >= seen,
            _ => true,
        })
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
        let events = self.client.request_events::<Pruned<S>>(request);
        Ok(Box::pin(self.answer(events).await??))
    }

    /// A list as the first events of a watch. Without a version it is the newest, as a plain list is.
    async fn stream_list(&self) -> Result<At<S>, Fault> {
        let asked = Instant::now();
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
                    return Ok(At::Following(mark.metadata.resource_version, events, asked));
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
            let page = self.page(&params).await?;
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

    async fn page(&self, params: &ListParams) -> Result<Page<S>, Fault> {
        let request = if self.metadata {
            self.path.list_metadata(params)
        } else {
            self.path.list(params)
        };
        let request = request.map_err(kube::Error::BuildRequest)?;
        Ok(self.answer(self.client.request(request)).await??)
    }

    /// Follows changes to the end of a watch, and says whether it heard anything; `version` is the newest that was seen.
    async fn follow(
        &self,
        version: &mut String,
        mut events: Events<S>,
        backoff: &mut Backoff,
    ) -> Result<bool, Fault> {
        let began = Instant::now();
        let mut heard = false;
        loop {
            let next = timeout(SILENCE, events.next())
                .await
                .map_err(|_| Fault::Silent(SILENCE))?;
            let Some(event) = next else {
                // A watch that ends as soon as it began must not be asked for again and again.
                let lived = heard || began.elapsed() > Duration::from_secs(1);
                return if lived { Ok(heard) } else { Err(Fault::Ended) };
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
        object: &Pruned<S>,
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

/// How far a version is to be trusted after a failure.
fn after(fault: &Fault, before: Trust) -> Trust {
    match fault {
        // It is there, and busy.
        Fault::Refused(status) if status.code == 429 => before,
        fault if fault.is_absence() => Trust::Lost,
        _ => before,
    }
}

fn newer(version: &mut String, seen: &str) {
    if !seen.is_empty() {
        seen.clone_into(version);
    }
}
