//! The client: its subscriptions, its resources, and its requests.

mod responses;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Protocol, Request, Response, SubscriptionUpdate};
use headgate_xds::{Kind, Resource, ResourceKey, Snapshot};

/// Envoy's default wait for a cluster's first endpoints.
const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub version: String,
    pub text: String,
    pub bad: bool,
    pub clusters: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct ClientKind {
    pub wildcard: bool,
    pub names: BTreeSet<String>,
    pub applied: BTreeMap<String, Body>,
    version_info: String,
    nonce: String,
}

#[derive(Debug)]
pub struct Client {
    pub protocol: Protocol,
    pub kinds: BTreeMap<Kind, ClientKind>,
    /// Clusters that take traffic.
    pub active: BTreeSet<String>,
    /// Clusters that wait for their endpoints, and since when.
    warming: BTreeMap<String, Instant>,
    withheld: Vec<Request>,
    pub outbox: VecDeque<Request>,
    /// Every version of a cluster that it rejected.
    rejected: BTreeSet<(String, String)>,
    /// By nonce: clusters whose version wanted at the time of that response is one that the client rejected.
    wanted_rejected: BTreeMap<String, BTreeSet<String>>,
    /// Clusters that it was sent a route to before it acknowledged them, because it had no other route.
    routed_early: BTreeSet<String>,
    last_used: BTreeMap<String, Instant>,
    pub connected_at: Instant,
    pub reconnected: bool,
    pub violations: Vec<String>,
}

impl Client {
    pub fn new(protocol: Protocol, now: Instant) -> Self {
        let kinds = Kind::PUSH_ORDER.map(|kind| {
            let wildcard = matches!(kind, Kind::Cluster | Kind::Listener);
            (
                kind,
                ClientKind {
                    wildcard,
                    ..ClientKind::default()
                },
            )
        });
        Self {
            protocol,
            kinds: kinds.into(),
            active: BTreeSet::new(),
            warming: BTreeMap::new(),
            withheld: Vec::new(),
            outbox: VecDeque::new(),
            rejected: BTreeSet::new(),
            wanted_rejected: BTreeMap::new(),
            routed_early: BTreeSet::new(),
            last_used: BTreeMap::new(),
            connected_at: now,
            reconnected: false,
            violations: Vec::new(),
        }
    }

    pub fn applied(&self, kind: Kind, name: &str) -> Option<&str> {
        self.kinds[&kind]
            .applied
            .get(name)
            .map(|body| body.text.as_str())
    }

    /// Opens a stream: one request per kind, with what the client already holds.
    pub fn open(&mut self, now: Instant) {
        self.outbox.clear();
        self.withheld.clear();
        self.wanted_rejected.clear();
        self.connected_at = now;
        for kind in Kind::PUSH_ORDER {
            let state = self.kinds.get_mut(&kind).unwrap();
            state.nonce.clear();
            let names: Vec<String> = state.names.iter().cloned().collect();
            if names.is_empty() && !state.wildcard {
                continue;
            }
            let applied = state.applied.iter();
            let subscription = match self.protocol {
                Protocol::StateOfTheWorld => SubscriptionUpdate::Replace {
                    names,
                    version_info: state.version_info.clone(),
                },
                Protocol::Delta => SubscriptionUpdate::Change {
                    subscribe: names,
                    unsubscribe: Vec::new(),
                    initial_versions: applied
                        .map(|(name, body)| (name.clone(), body.version.clone()))
                        .collect(),
                },
            };
            self.outbox.push_back(Request {
                kind,
                nonce: String::new(),
                error: None,
                subscription,
            });
        }
    }

    /// Changes what it subscribes to by name.
    pub fn resubscribe(&mut self, kind: Kind, subscribe: &[String], unsubscribe: &[String]) {
        let state = self.kinds.get_mut(&kind).unwrap();
        state.names.extend(subscribe.iter().cloned());
        for name in unsubscribe {
            state.names.remove(name);
            state.applied.remove(name);
        }
        let subscription = match self.protocol {
            Protocol::StateOfTheWorld => state.whole(),
            Protocol::Delta => SubscriptionUpdate::Change {
                subscribe: subscribe.to_vec(),
                unsubscribe: unsubscribe.to_vec(),
                initial_versions: Vec::new(),
            },
        };
        let nonce = match self.protocol {
            Protocol::StateOfTheWorld => state.nonce.clone(),
            Protocol::Delta => String::new(),
        };
        self.outbox.push_back(Request {
            kind,
            nonce,
            error: None,
            subscription,
        });
    }

    fn end_warming(&mut self) {
        if self.warming.is_empty() {
            self.outbox.extend(self.withheld.drain(..));
        }
    }

    /// When the next cluster stops waiting for its endpoints.
    pub fn deadline(&self) -> Option<Instant> {
        self.warming
            .values()
            .min()
            .map(|since| *since + INITIAL_FETCH_TIMEOUT)
    }

    /// Clusters whose endpoints did not come in time take traffic without endpoints.
    pub fn tick(&mut self, now: Instant) -> bool {
        let late = self
            .warming
            .iter()
            .filter(|(_, since)| now >= **since + INITIAL_FETCH_TIMEOUT);
        let late: Vec<String> = late.map(|(name, _)| name.clone()).collect();
        for name in &late {
            self.warming.remove(name);
            self.active.insert(name.clone());
        }
        self.end_warming();
        !late.is_empty()
    }

    /// Notes the clusters that a response may route to although the client does not have them.
    pub fn note_rejected_clusters(&mut self, response: &Response, snapshot: &Snapshot) {
        let rejects = |c: &&Arc<Resource>| {
            let version = (c.name().to_owned(), c.version().to_owned());
            self.rejected.contains(&version)
        };
        let clusters = snapshot.of(Kind::Cluster).filter(rejects);
        let names = clusters.map(|c| c.name().to_owned()).collect();
        self.wanted_rejected.insert(response.nonce.clone(), names);
    }

    /// Whether the server cannot know everything that the client routes to: it runs another version than is wanted (one that
    /// left the snapshot, was rejected, came on an earlier stream, or was applied from a rejected response). In state of the
    /// world it does not say what it has from an earlier stream, and a resource that waits for a rejected cluster is not sent
    /// again.
    pub fn routes_unknown(&self, snapshot: &Snapshot) -> bool {
        let rejected = |key: &ResourceKey| {
            let cluster = snapshot.get(key.kind, &key.name);
            cluster.is_some_and(|c| c.body().starts_with(b"bad"))
        };
        let unknown = |kind: &Kind| {
            let state = &self.kinds[kind];
            let sotw = self.reconnected && self.protocol == Protocol::StateOfTheWorld;
            let mut names = state
                .names
                .iter()
                .filter(|_| sotw)
                .chain(state.applied.keys());
            names.any(|name| {
                let applied = state.applied.get(name).map(|body| body.version.as_str());
                snapshot.get(*kind, name).is_none_or(|wanted| {
                    let waits = sotw && wanted.requires().iter().any(rejected);
                    waits || Some(wanted.version()) != applied
                })
            })
        };
        [Kind::Listener, Kind::Route, Kind::Extension]
            .iter()
            .any(unknown)
    }

    pub fn routes_to(&self, cluster: &str) -> bool {
        [Kind::Route, Kind::Extension]
            .iter()
            .flat_map(|kind| self.kinds[kind].applied.values())
            .any(|body| body.clusters.iter().any(|c| c == cluster))
    }

    fn note_use(&mut self, now: Instant) {
        let used: Vec<String> = self
            .active
            .iter()
            .filter(|cluster| self.routes_to(cluster))
            .cloned()
            .collect();
        self.last_used
            .extend(used.into_iter().map(|cluster| (cluster, now)));
    }

    fn answer(&mut self, response: &Response, error: Option<String>) -> Request {
        let state = self.kinds.get_mut(&response.kind).unwrap();
        state.nonce.clone_from(&response.nonce);
        if error.is_none() {
            state.version_info = response.version.to_string();
        }
        let subscription = match self.protocol {
            Protocol::StateOfTheWorld => state.whole(),
            Protocol::Delta => SubscriptionUpdate::Change {
                subscribe: Vec::new(),
                unsubscribe: Vec::new(),
                initial_versions: Vec::new(),
            },
        };
        Request {
            kind: response.kind,
            nonce: response.nonce.clone(),
            error,
            subscription,
        }
    }
}

impl ClientKind {
    fn whole(&self) -> SubscriptionUpdate {
        SubscriptionUpdate::Replace {
            names: self.names.iter().cloned().collect(),
            version_info: self.version_info.clone(),
        }
    }
}
