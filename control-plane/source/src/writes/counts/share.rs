//! The tallies as ConfigMaps: one's own is written, the others' are watched, the dead ones' removed by the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::json;
use tokio::sync::watch;

use super::board::BEAT;
use super::{Board, Pace, Tally, parse, render};
use crate::kubernetes::fault::Fault;
use crate::writes::faults::Faults;

/// Who owns the fields.
const MANAGER: &str = "headgate-counts";
/// Label of the ConfigMaps of the replicas that share a Lease: its name.
const LABEL: &str = "headgate.dev/counts-of";
/// The key of the tally.
const KEY: &str = "counts.json";
/// Makes every publication another one.
const BEAT_KEY: &str = "beat";
/// What is written here, as the API server calls it.
const RESOURCE: &str = "configmaps";
/// What is read here.
const WATCH: &str = "configmaps (watch)";
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the tallies are.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) api: Api<ConfigMap>,
    /// The Lease that the replicas share.
    pub(crate) lease: String,
    /// The ConfigMap of this one.
    pub(crate) own: String,
    pub(crate) faults: Faults,
    pub(crate) begun: Instant,
    pub(crate) board: Arc<Mutex<Board>>,
}

impl Share {
    /// The board as it is; it is held for no longer than it takes to look.
    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When to look at the board again if nobody says anything: when one was silent for too long, and while what such
    /// ones left is to be removed.
    pub(crate) fn next(&self, sweeps: bool) -> Option<Duration> {
        let (board, clock) = (self.board(), self.begun.elapsed());
        let again = sweeps && !board.dead(clock).is_empty();
        let again = again.then(|| clock + BEAT);
        board.next(clock).into_iter().chain(again).min()
    }

    /// Publishes the own tally at its pace, until it has no sender any more.
    pub(crate) async fn publish(self, mut own: watch::Receiver<Arc<Tally>>) {
        let mut pace = Pace::default();
        loop {
            let tally = own.borrow_and_update().clone();
            let due = self.begun + pace.due(&tally, self.begun.elapsed());
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {
                    self.put(&tally).await;
                    pace.published(Tally::clone(&tally), self.begun.elapsed());
                }
                changed = own.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn put(&self, tally: &Tally) {
        let text = match render(tally) {
            Ok(text) => text,
            Err(error) => return tracing::error!(%error, "a bug"),
        };
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.own, "labels": {LABEL: self.lease}},
            "data": {KEY: text, BEAT_KEY: self.begun.elapsed().as_millis().to_string()},
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&map);
        let written = self.api.patch(&self.own, &params, &patch);
        let lost = "the proxies of this replica are not counted in the status of policies";
        match tokio::time::timeout(ANSWER, written).await {
            Ok(Ok(_)) => self.faults.well(RESOURCE),
            Ok(Err(error)) => {
                let why = Fault::from(error).message();
                self.faults.failed(RESOURCE, lost, &why);
            }
            Err(_) => {
                let why = format!("no answer within {ANSWER:?}");
                self.faults.failed(RESOURCE, lost, &why);
            }
        }
    }

    /// Takes the own tally away: this process ends.
    pub(crate) async fn withdraw(&self) {
        let params = DeleteParams::default();
        let gone = self.api.delete(&self.own, &params);
        if let Ok(Err(error)) = tokio::time::timeout(ANSWER, gone).await {
            tracing::debug!(%error, "the counts stay until the leader removes them");
        }
    }

    /// Removes what replicas left that were silent for too long. One that is heard of meanwhile keeps its own.
    pub(crate) async fn sweep(&self) {
        let dead = self.board().dead(self.begun.elapsed());
        for (name, version) in dead {
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    resource_version: Some(version),
                    uid: None,
                }),
                ..DeleteParams::default()
            };
            let gone = self.api.delete(&name, &params);
            match tokio::time::timeout(ANSWER, gone).await {
                Ok(Ok(_)) => tracing::info!(name, "removed the counts of a replica that is gone"),
                // It was heard of meanwhile, or somebody else was faster.
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
                Ok(Err(error)) => {
                    tracing::warn!(name, %error, "the counts of a replica that is gone stay: to be tried again")
                }
                Err(_) => return,
            }
        }
    }
}

/// Follows the tallies of the other replicas; `changed` counts.
pub(crate) async fn follow(share: Share, changed: watch::Sender<u64>) {
    let labels = Config::default().labels(&format!("{LABEL}={}", share.lease));
    let mut events = watcher(share.api.clone(), labels).default_backoff().boxed();
    let mut listed: BTreeSet<String> = BTreeSet::new();
    let lost = "the proxies of other replicas are not counted in the status of policies";
    while let Some(event) = events.next().await {
        // One's own counts are among them, so that it is seen within a beat that they can be read again.
        if event.is_ok() {
            share.faults.well(WATCH);
        }
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(map)) => {
                listed.insert(map.name_any());
                hear(&share, &map);
            }
            Ok(Event::InitDone) => share.board().keep(|name| listed.contains(name)),
            Ok(Event::Apply(map)) => hear(&share, &map),
            Ok(Event::Delete(map)) => share.board().forget(&map.name_any()),
            Err(error) => {
                let mut why = error.to_string();
                if let Some(cause) = std::error::Error::source(&error) {
                    why = format!("{why}: {cause}");
                }
                share.faults.failed(WATCH, lost, &why);
            }
        }
        changed.send_modify(|n| *n += 1);
    }
}

fn hear(share: &Share, map: &ConfigMap) {
    let name = map.name_any();
    if name == share.own {
        return;
    }
    let data: &BTreeMap<String, String> = match &map.data {
        Some(data) => data,
        None => return,
    };
    let tally = data.get(KEY).map_or("{}", String::as_str);
    match parse(tally) {
        Ok(tally) => {
            let version = map.resource_version().unwrap_or_default();
            share
                .board()
                .hear(&name, &version, tally, share.begun.elapsed());
        }
        Err(error) => tracing::warn!(name, %error, "they count as none"),
    }
}
