//! The replicas as ConfigMaps: one's own is written, with where its replica answers people; the others' are watched, the dead ones'
//! removed by the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::json;
use tokio::sync::watch;

use super::peer_counts::HEARTBEAT;
use super::{Pace, Peer, PeerCounts, parse, render};
use headgate_kubernetes::access::COUNTS;
use headgate_kubernetes::fault::{Backoff, Fault};
use headgate_kubernetes::faults::Faults;
use headgate_model::ReplicaCounts;

/// Who owns the fields.
const MANAGER: &str = "headgate-counts";
/// Label of the ConfigMaps of the replicas that share a Lease: its name.
const LABEL: &str = "headgate.dev/counts-of";
/// The key of the tally.
const KEY: &str = "counts.json";
/// The keys of the replica's name, and of where it answers people.
const REPLICA_KEY: &str = "replica";
const ADMIN_KEY: &str = "admin";
/// Makes every publication another one.
const BEAT_KEY: &str = "beat";
/// What is read here.
const WATCH: &str = "watch";
/// What is removed here.
const SWEEP: &str = "delete";
/// What others wrote and cannot be read.
const OTHERS: &str = "counts of other replicas";
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the API server lets a watch run, in seconds.
const WATCH_SECONDS: u32 = 15;
/// No word for so long: the connection may be dead. One's own beat is among what is heard, so that there is one sooner, and
/// two such waits are shorter than the silence after which a replica counts no more.
const SILENT: Duration = Duration::from_secs(15);

/// Where the replicas are.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) api: Api<ConfigMap>,
    /// The Lease that the replicas share.
    pub(crate) lease: String,
    /// The ConfigMap of this one.
    pub(crate) own: String,
    /// This one, as the others are to know it.
    pub(crate) peer: Peer,
    pub(crate) faults: Faults,
    pub(crate) begun: Instant,
    pub(crate) board: Arc<Mutex<PeerCounts>>,
}

/// The other replicas, as they are heard of.
#[derive(Clone, Debug)]
pub struct Peers {
    own: String,
    begun: Instant,
    board: Arc<Mutex<PeerCounts>>,
}

impl Peers {
    /// The name of this one.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// The others that live now.
    #[must_use]
    pub fn now(&self) -> Vec<Peer> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.peers(self.begun.elapsed())
    }
}

impl Share {
    /// The other replicas, to be asked for now and later.
    pub(crate) fn peers(&self) -> Peers {
        Peers {
            own: self.peer.replica.clone(),
            begun: self.begun,
            board: self.board.clone(),
        }
    }

    /// The board as it is; it is held for no longer than it takes to look.
    pub(crate) fn board(&self) -> MutexGuard<'_, PeerCounts> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When to look at the board again if nobody says anything: when one was silent for too long, and while what such
    /// ones left is to be removed.
    pub(crate) fn next(&self, sweeps: bool) -> Option<Duration> {
        let (board, clock) = (self.board(), self.begun.elapsed());
        let again = sweeps && !board.dead(clock).is_empty();
        let again = again.then(|| clock + HEARTBEAT);
        board.next(clock).into_iter().chain(again).min()
    }

    /// Publishes the own tally at its pace, until it has no sender any more.
    pub(crate) async fn publish(self, mut own: watch::Receiver<Arc<ReplicaCounts>>) {
        let mut pace = Pace::default();
        loop {
            let tally = own.borrow_and_update().clone();
            let due = self.begun + pace.due(&tally, self.begun.elapsed());
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {
                    self.put(&tally).await;
                    pace.published(ReplicaCounts::clone(&tally), self.begun.elapsed());
                }
                changed = own.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn put(&self, tally: &ReplicaCounts) {
        let lost = "the proxies of this replica are not counted in the status of policies";
        let text = match render(tally) {
            Ok(text) => text,
            Err(error) => return self.faults.failed(&COUNTS.name(), lost, &error.to_string()),
        };
        let mut map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.own, "labels": {LABEL: self.lease}},
            "data": {
                KEY: text,
                BEAT_KEY: self.begun.elapsed().as_millis().to_string(),
                REPLICA_KEY: self.peer.replica,
            },
        });
        if let Some(admin) = self.peer.admin {
            map["data"][ADMIN_KEY] = admin.to_string().into();
        }
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&map);
        let written = self.api.patch(&self.own, &params, &patch);
        match tokio::time::timeout(ANSWER, written).await {
            Ok(Ok(_)) => self.faults.well(&COUNTS.name()),
            Ok(Err(error)) => {
                let why = Fault::from(error).message();
                self.faults.failed(&COUNTS.name(), lost, &why);
            }
            Err(_) => {
                let why = format!("no answer within {ANSWER:?}");
                self.faults.failed(&COUNTS.name(), lost, &why);
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

    /// Removes what replicas left that were silent for too long, if this one `leads`. One that is heard of meanwhile keeps
    /// its own.
    pub(crate) async fn sweep(&self, leads: bool) {
        let dead = leads.then(|| self.board().dead(self.begun.elapsed()));
        let mut refused: Option<String> = None;
        for (name, version) in dead.unwrap_or_default() {
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
                // The first is told of: the same one each time, as long as it is there.
                Ok(Err(error)) => {
                    refused.get_or_insert_with(|| Fault::from(error).message());
                }
                Err(_) => {
                    refused.get_or_insert_with(|| format!("no answer within {ANSWER:?}"));
                    break;
                }
            }
        }
        match refused {
            Some(why) => {
                let lost = "what replicas that are gone left is not removed";
                self.faults.failed(&COUNTS.part(SWEEP), lost, &why);
            }
            None => self.faults.well(&COUNTS.part(SWEEP)),
        }
    }
}

/// Follows the replicas of the other replicas; `changed` counts.
pub(crate) async fn follow(share: Share, changed: watch::Sender<u64>) {
    follow_within(SILENT, share, changed).await;
}

/// The same; what says nothing for `silent` is asked anew.
async fn follow_within(silent: Duration, share: Share, changed: watch::Sender<u64>) {
    let labels = format!("{LABEL}={}", share.lease);
    let config = Config::default().labels(&labels).timeout(WATCH_SECONDS);
    let lost = "the proxies of other replicas are not counted in the status of policies";
    let mut follower = Follower {
        share: share.clone(),
        listed: BTreeSet::new(),
        unreadable: BTreeMap::new(),
    };
    let mut backoff = Backoff::new();
    loop {
        let mut events = watcher(share.api.clone(), config.clone()).boxed();
        let mut answered = false;
        while let Ok(Some(event)) = tokio::time::timeout(silent, events.next()).await {
            match event {
                Ok(event) => {
                    // It says that it begins before it asks for anything.
                    if !matches!(event, Event::Init) {
                        answered = true;
                        backoff.reset();
                        share.faults.well(&COUNTS.part(WATCH));
                    }
                    follower.hear(event);
                }
                Err(error) => {
                    answered = true;
                    let mut why = error.to_string();
                    if let Some(cause) = std::error::Error::source(&error) {
                        why = format!("{why}: {cause}");
                    }
                    share.faults.failed(&COUNTS.part(WATCH), lost, &why);
                    tokio::time::sleep(backoff.next_wait()).await;
                }
            }
            changed.send_modify(|n| *n += 1);
        }
        // Nothing is lost yet where one that was answered fell silent: a new list says what was missed.
        if !answered {
            let why = format!("no answer within {silent:?}");
            share.faults.failed(&COUNTS.part(WATCH), lost, &why);
        }
    }
}

/// What is heard of the other replicas.
struct Follower {
    share: Share,
    /// What the list that is being told has so far.
    listed: BTreeSet<String>,
    /// Whose counts cannot be read, and why.
    unreadable: BTreeMap<String, String>,
}

impl Follower {
    fn hear(&mut self, event: Event<ConfigMap>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(map) => {
                self.listed.insert(map.name_any());
                self.read(&map);
            }
            Event::InitDone => {
                let listed = &self.listed;
                self.unreadable.retain(|name, _| listed.contains(name));
                self.share.board().keep(|name| listed.contains(name));
            }
            Event::Apply(map) => self.read(&map),
            Event::Delete(map) => {
                self.unreadable.remove(&map.name_any());
                self.share.board().forget(&map.name_any());
            }
        }
        let why: Vec<&str> = self.unreadable.values().map(String::as_str).collect();
        if why.is_empty() {
            self.share.faults.well(&COUNTS.part(OTHERS));
        } else {
            let lost = "proxies of other replicas are not counted in the status of policies";
            self.share
                .faults
                .failed(&COUNTS.part(OTHERS), lost, &why.join("; "));
        }
    }

    /// What cannot be read counts as none, and is removed like any other once its replica is silent.
    fn read(&mut self, map: &ConfigMap) {
        let name = map.name_any();
        if name == self.share.own {
            return;
        }
        let text = |key: &str| map.data.as_ref()?.get(key).map(String::as_str);
        let peer = Peer {
            replica: text(REPLICA_KEY).unwrap_or(&name).to_owned(),
            admin: text(ADMIN_KEY).and_then(|text| text.parse().ok()),
        };
        let tally = match parse(text(KEY).unwrap_or_default()) {
            Ok(tally) => {
                self.unreadable.remove(&name);
                tally
            }
            Err(error) => {
                let why = format!("{name}: {error}");
                self.unreadable.insert(name.clone(), why);
                ReplicaCounts::default()
            }
        };
        let version = map.resource_version().unwrap_or_default();
        let clock = self.share.begun.elapsed();
        let said = (peer, tally);
        self.share.board().hear(&name, &version, said, clock);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kube::Client;

    use super::*;

    fn share(server: &str) -> Share {
        let config = kube::Config::new(server.parse().unwrap());
        let client = Client::try_from(config).unwrap();
        Share {
            api: Api::namespaced(client, "system"),
            lease: "headgate".to_owned(),
            own: "headgate-counts-a".to_owned(),
            peer: Peer::default(),
            faults: Faults::default(),
            begun: Instant::now(),
            board: Arc::default(),
        }
    }

    fn counts(version: &str, text: &str) -> ConfigMap {
        let map = json!({
            "metadata": {"name": "headgate-counts-b", "resourceVersion": version},
            "data": {KEY: text},
        });
        serde_json::from_value(map).unwrap()
    }

    #[tokio::test]
    async fn a_watch_that_nobody_answers_is_told_of_and_begun_anew() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let share = share(&format!("http://{}", listener.local_addr().unwrap()));
        let mut told = share.faults.watch();
        let (changed, _news) = watch::channel(0);
        let silent = Duration::from_millis(50);
        let following = tokio::spawn(follow_within(silent, share, changed));
        let asked_anew = async {
            // Held open, and never answered.
            let _first = listener.accept().await.unwrap();
            listener.accept().await.unwrap();
            told.wait_for(|faults| faults.contains_key(&COUNTS.part(WATCH)))
                .await
                .unwrap();
        };
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, asked_anew).await.unwrap();
        following.abort();
    }

    #[tokio::test]
    async fn counts_that_cannot_be_read_are_none_are_told_once_and_are_removed_when_they_are_silent()
     {
        let share = share("http://127.0.0.1:1");
        let mut follower = Follower {
            share: share.clone(),
            listed: BTreeSet::new(),
            unreadable: BTreeMap::new(),
        };
        let tally = ReplicaCounts {
            proxies: BTreeMap::from([(BTreeSet::from(["default".to_owned()]), 3)]),
            ..ReplicaCounts::default()
        };
        let readable = render(&tally).unwrap();
        let live = || -> Vec<ReplicaCounts> {
            let board = share.board();
            board.live(share.begun.elapsed()).cloned().collect()
        };
        follower.hear(Event::Apply(counts("1", &readable)));
        assert_eq!(live(), std::slice::from_ref(&tally));
        assert!(share.faults.now().is_empty());
        let mut told = share.faults.watch();
        follower.hear(Event::Apply(counts("2", "{]")));
        assert_eq!(
            live(),
            [ReplicaCounts::default()],
            "what was heard before is over"
        );
        assert!(told.has_changed().unwrap());
        let faults = told.borrow_and_update().clone();
        assert!(
            faults[&COUNTS.part(OTHERS)]
                .message
                .contains("headgate-counts-b"),
            "{faults:?}"
        );
        follower.hear(Event::Apply(counts("3", "{]")));
        assert!(!told.has_changed().unwrap(), "it is known");
        let later = share.begun.elapsed() + Duration::from_secs(60);
        let dead = [("headgate-counts-b".to_owned(), "3".to_owned())];
        assert_eq!(share.board().dead(later), dead);
        follower.hear(Event::Apply(counts("4", &readable)));
        assert!(share.faults.now().is_empty());
        follower.hear(Event::Apply(counts("5", "")));
        assert_eq!(share.faults.now().len(), 1);
        follower.hear(Event::Delete(counts("5", "")));
        assert!(share.faults.now().is_empty() && live().is_empty());
    }
}
