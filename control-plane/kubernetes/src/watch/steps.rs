//! Steps of a watch: list, watch from a version, check that the API server has reached that version.
//!
//! An API server that was restored from a backup is at an older version than the watch. It accepts a watch from a future version and
//! stays silent until it reaches that version. The version proves nothing once more was written than the backup was behind.
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
use crate::update::{Event, WatchUpdate};

/// The duration of a watch, in seconds. A watch whose connection is gone ends silently, so this bounds the time until the client
/// notices. A new watch costs one request, and continues from a bookmark that is two seconds old.
const WATCH_SECONDS: u32 = 20;
/// Silence after which the connection counts as dead: longer than a watch lasts.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);
/// A watch that ends sooner was ended by the API server, or by a proxy before it.
const EARLY: Duration = Duration::from_secs(WATCH_SECONDS as u64 - 5);
/// Objects per page, where lists are not streamed.
const PAGE: u32 = 500;
/// The annotation of the bookmark that ends a streamed list.
const LIST_ENDS: &str = "k8s.io/initial-events-end";

type Events<S> = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Pruned<S>>>> + Send>>;

/// Position of a watch in the history of its kind.
pub(super) enum Position<S> {
    /// No version is known, or the history is lost: the next step is a list.
    Start,
    /// The objects are known as of this version.
    Version {
        version: String,
        continuity: Continuity,
    },
    /// Follows changes since this version, on a watch that was requested at this moment.
    Following(String, Events<S>, Instant),
}

/// Whether the API server still has the history that led to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuity {
    /// It does: it answered all the time.
    Confirmed,
    /// Unknown: the watch was silent, and the API server may not have reached the version.
    Unconfirmed,
    /// The API server was away, and may have another history.
    Broken,
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(bound = "S: Shape")]
struct Page<S> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default = "Vec::new", deserialize_with = "null_as_empty")]
    items: Vec<Pruned<S>>,
}

/// The API server writes `null` for an empty list of metadata.
fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    rest: Option<String>,
}

impl<S, K, T> Watch<S, K, T>
where
    S: Shape,
    K: Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    /// Takes the next step. After an error, `progress.position` is where the next attempt begins.
    pub(super) async fn step(&self, progress: &mut Progress<S>) -> Result<(), Fault> {
        match std::mem::replace(&mut progress.position, Position::Start) {
            Position::Start => {
                let streams = progress.streams && !progress.in_pages;
                progress.position = self.list(streams, !progress.listed).await?;
            }
            Position::Version {
                version,
                continuity: Continuity::Broken,
            } => match self.list(progress.streams, false).await {
                Ok(position) => progress.position = position,
                // From the start, the watch finds out which form of list the API server supports.
                Err(fault) if !fault.is_unanswered() => return Err(fault),
                Err(fault) => {
                    let continuity = Continuity::Broken;
                    progress.position = Position::Version {
                        version,
                        continuity,
                    };
                    return Err(fault);
                }
            },
            Position::Version {
                version,
                continuity,
            } => match self.resume(&version, continuity).await {
                Ok(Some((events, requested))) => {
                    progress.position = Position::Following(version, events, requested);
                }
                Ok(None) => tracing::info!(
                    resource_version = version,
                    "the Kubernetes API has not reached the version that was seen; listing again"
                ),
                Err(fault) => {
                    let continuity = after(&fault, continuity);
                    progress.position = Position::Version {
                        version,
                        continuity,
                    };
                    return Err(fault);
                }
            },
            Position::Following(mut version, events, requested) => {
                let outcome = self
                    .follow(&mut version, events, &mut progress.backoff)
                    .await;
                let continuity = match &outcome {
                    Ok(_) if requested.elapsed() < EARLY => Continuity::Broken,
                    Ok(true) => Continuity::Confirmed,
                    Ok(false) => Continuity::Unconfirmed,
                    Err(fault) => after(fault, Continuity::Unconfirmed),
                };
                progress.position = Position::Version {
                    version,
                    continuity,
                };
                outcome?;
            }
        }
        Ok(())
    }

    /// Lists all objects, streamed or in pages. `first`: the kind was not listed before.
    async fn list(&self, streams: bool, first: bool) -> Result<Position<S>, Fault> {
        let began = Instant::now();
        let (position, objects) = if streams {
            self.stream_list().await?
        } else {
            let (version, objects) = self.list_pages().await?;
            let continuity = Continuity::Confirmed;
            let position = Position::Version {
                version,
                continuity,
            };
            (position, objects)
        };
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if first {
            tracing::info!(objects, took_ms, "list done");
        } else {
            tracing::debug!(objects, took_ms, "list done");
        }
        Ok(position)
    }

    /// Resumes from a version; `None` if the API server has not reached it, so that its history is another one.
    async fn resume(
        &self,
        version: &str,
        continuity: Continuity,
    ) -> Result<Option<(Events<S>, Instant)>, Fault> {
        let requested = Instant::now();
        let events = self.open(version, false).await?;
        if continuity != Continuity::Confirmed && !self.has_reached(version).await? {
            return Ok(None);
        }
        self.send(WatchUpdate::Answered).await?;
        Ok(Some((events, requested)))
    }

    /// Whether the newest version of the API server is not before this one, by a list of one object. False where listing is
    /// forbidden.
    async fn has_reached(&self, version: &str) -> Result<bool, Fault> {
        let params = ListParams {
            limit: Some(1),
            ..ListParams::default()
        };
        let newest = match self.page(&params).await {
            Ok(page) => page.metadata.resource_version.unwrap_or_default(),
            Err(fault) if matches!(fault.code(), 401 | 403 | 405) => return Ok(false),
            Err(fault) => return Err(fault),
        };
        // Versions that are not numbers cannot be compared.
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

    /// A list as the first events of a watch, with the number of its objects. Without a version it is the newest one, as a plain list
    /// is.
    async fn stream_list(&self) -> Result<(Position<S>, u64), Fault> {
        let requested = Instant::now();
        let mut events = self.open("", true).await?;
        self.send(WatchUpdate::Event(Event::Init)).await?;
        let mut objects = 0;
        loop {
            match self.answer(events.next()).await? {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    objects += 1;
                    self.send_object(&object, Event::InitApply).await?;
                }
                Some(Ok(WatchEvent::Bookmark(mark)))
                    if mark.metadata.annotations.contains_key(LIST_ENDS) =>
                {
                    self.send(WatchUpdate::Event(Event::InitDone)).await?;
                    self.send(WatchUpdate::Answered).await?;
                    let version = mark.metadata.resource_version;
                    return Ok((Position::Following(version, events, requested), objects));
                }
                Some(Ok(WatchEvent::Bookmark(_) | WatchEvent::Deleted(_))) => {}
                Some(Ok(WatchEvent::Error(status))) => return Err(Fault::Refused(status)),
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Fault::EndedEarly),
            }
        }
    }

    /// A list in pages: its version and the number of its objects.
    async fn list_pages(&self) -> Result<(String, u64), Fault> {
        let mut params = ListParams {
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut began = false;
        let mut objects = 0;
        loop {
            let page = self.page(&params).await?;
            if !std::mem::replace(&mut began, true) {
                self.send(WatchUpdate::Event(Event::Init)).await?;
            }
            for object in &page.items {
                objects += 1;
                self.send_object(object, Event::InitApply).await?;
            }
            params.continue_token = page.metadata.rest.filter(|rest| !rest.is_empty());
            if params.continue_token.is_none() {
                let version = page
                    .metadata
                    .resource_version
                    .filter(|version| !version.is_empty());
                let version = version.ok_or(Fault::NoResourceVersion)?;
                self.send(WatchUpdate::Event(Event::InitDone)).await?;
                self.send(WatchUpdate::Answered).await?;
                return Ok((version, objects));
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

    /// Follows changes until the watch ends. Returns whether there was any event; `version` becomes the newest one that was seen.
    async fn follow(
        &self,
        version: &mut String,
        mut events: Events<S>,
        backoff: &mut Backoff,
    ) -> Result<bool, Fault> {
        let began = Instant::now();
        let mut any = false;
        loop {
            let next = timeout(SILENCE, events.next())
                .await
                .map_err(|_| Fault::Timeout(SILENCE))?;
            let Some(event) = next else {
                // A watch that ends at once must not be repeated without a wait.
                let lived = any || began.elapsed() > Duration::from_secs(1);
                return if lived {
                    Ok(any)
                } else {
                    Err(Fault::EndedEarly)
                };
            };
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.send_object(&object, Event::Apply).await?;
                    advance(version, resource_version(&object.value));
                }
                WatchEvent::Deleted(object) => {
                    self.send_object(&object, Event::Delete).await?;
                    advance(version, resource_version(&object.value));
                }
                WatchEvent::Bookmark(mark) => advance(version, &mark.metadata.resource_version),
                WatchEvent::Error(status) => return Err(Fault::Refused(status)),
            }
            any = true;
            backoff.reset();
        }
    }

    async fn send_object(
        &self,
        object: &Pruned<S>,
        event: impl FnOnce(T) -> Event<T>,
    ) -> Result<(), Fault> {
        match (self.parse)(object) {
            Ok(object) => self.send(WatchUpdate::Event(event(object))).await,
            Err(error) => {
                if let Some(suppressed) = self.skipped_log.pass() {
                    tracing::warn!(%error, suppressed, "object skipped");
                }
                Ok(())
            }
        }
    }
}

/// The continuity of a version after a failure.
fn after(fault: &Fault, before: Continuity) -> Continuity {
    match fault {
        // The API server is there, and busy.
        Fault::Refused(status) if status.code == 429 => before,
        fault if fault.is_outage() => Continuity::Broken,
        _ => before,
    }
}

fn advance(version: &mut String, seen: &str) {
    if !seen.is_empty() {
        seen.clone_into(version);
    }
}
