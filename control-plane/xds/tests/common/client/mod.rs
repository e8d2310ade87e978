//! The client.

mod taking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_xds::session::{Interest, Protocol, Request, Response};
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
    pub held: BTreeMap<String, Body>,
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
    /// Every version of a cluster that it refused.
    refused: BTreeSet<(String, String)>,
    /// By nonce: clusters of which the version wanted when that response was made is one it refused.
    without_hope: BTreeMap<String, BTreeSet<String>>,
    /// Clusters it was given a route to before the server knew it to have them, for lack of any
    /// other route.
    without: BTreeSet<String>,
    last_used: BTreeMap<String, Instant>,
    pub connected_at: Instant,
    pub reconnected: bool,
    pub breaches: Vec<String>,
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
            refused: BTreeSet::new(),
            without_hope: BTreeMap::new(),
            without: BTreeSet::new(),
            last_used: BTreeMap::new(),
            connected_at: now,
            reconnected: false,
            breaches: Vec::new(),
        }
    }

    pub fn held(&self, kind: Kind, name: &str) -> Option<&str> {
        self.kinds[&kind]
            .held
            .get(name)
            .map(|body| body.text.as_str())
    }

    /// Opens a stream: one request per kind, with what is already held.
    pub fn open(&mut self, now: Instant) {
        self.outbox.clear();
        self.withheld.clear();
        self.without_hope.clear();
        self.connected_at = now;
        for kind in Kind::PUSH_ORDER {
            let state = self.kinds.get_mut(&kind).unwrap();
            state.nonce.clear();
            let names: Vec<String> = state.names.iter().cloned().collect();
            if names.is_empty() && !state.wildcard {
                continue;
            }
            let held = state.held.iter();
            let interest = match self.protocol {
                Protocol::StateOfTheWorld => Interest::Whole {
                    names,
                    version: state.version_info.clone(),
                },
                Protocol::Delta => Interest::Change {
                    subscribe: names,
                    unsubscribe: Vec::new(),
                    initial: held
                        .map(|(name, body)| (name.clone(), body.version.clone()))
                        .collect(),
                },
            };
            self.outbox.push_back(Request {
                kind,
                nonce: String::new(),
                error: None,
                interest,
            });
        }
    }

    /// Changes what it subscribes to by name.
    pub fn resubscribe(&mut self, kind: Kind, subscribe: &[String], unsubscribe: &[String]) {
        let state = self.kinds.get_mut(&kind).unwrap();
        state.names.extend(subscribe.iter().cloned());
        for name in unsubscribe {
            state.names.remove(name);
            state.held.remove(name);
        }
        let interest = match self.protocol {
            Protocol::StateOfTheWorld => state.whole(),
            Protocol::Delta => Interest::Change {
                subscribe: subscribe.to_vec(),
                unsubscribe: unsubscribe.to_vec(),
                initial: Vec::new(),
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
            interest,
        });
    }

    fn end_warming(&mut self) {
        if self.warming.is_empty() {
            self.outbox.extend(self.withheld.drain(..));
        }
    }

    /// When a cluster stops waiting for its endpoints.
    pub fn deadline(&self) -> Option<Instant> {
        self.warming
            .values()
            .min()
            .map(|since| *since + INITIAL_FETCH_TIMEOUT)
    }

    /// Clusters whose endpoints did not come in time take traffic without any.
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

    /// Notes what a response that is being sent may route to although the client does not have it.
    pub fn note_refused(&mut self, response: &Response, world: &Snapshot) {
        let refuses = |c: &&Arc<Resource>| {
            let version = (c.name().to_owned(), c.version().to_owned());
            self.refused.contains(&version)
        };
        let clusters = world.of(Kind::Cluster).filter(refuses);
        let names = clusters.map(|c| c.name().to_owned()).collect();
        self.without_hope.insert(response.nonce.clone(), names);
    }

    /// Whether the server cannot know everything it routes to: it runs something else than is wanted
    /// (gone, refused, brought from an earlier stream, half applied from a refused response). In state of
    /// the world it does not say what it brought, and what waits for a refused cluster is not sent again.
    pub fn routes_unknown(&self, world: &Snapshot) -> bool {
        let refused = |key: &ResourceKey| {
            let cluster = world.get(key.kind, &key.name);
            cluster.is_some_and(|c| c.body().starts_with(b"bad"))
        };
        let unknown = |kind: &Kind| {
            let state = &self.kinds[kind];
            let sotw = self.reconnected && self.protocol == Protocol::StateOfTheWorld;
            let mut names = state.names.iter().filter(|_| sotw).chain(state.held.keys());
            names.any(|name| {
                let held = state.held.get(name).map(|body| body.version.as_str());
                world.get(*kind, name).is_none_or(|wanted| {
                    let waits = sotw && wanted.requires().iter().any(refused);
                    waits || Some(wanted.version()) != held
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
            .flat_map(|kind| self.kinds[kind].held.values())
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
            state.version_info.clone_from(&response.version);
        }
        let interest = match self.protocol {
            Protocol::StateOfTheWorld => state.whole(),
            Protocol::Delta => Interest::Change {
                subscribe: Vec::new(),
                unsubscribe: Vec::new(),
                initial: Vec::new(),
            },
        };
        Request {
            kind: response.kind,
            nonce: response.nonce.clone(),
            error,
            interest,
        }
    }
}

impl ClientKind {
    fn whole(&self) -> Interest {
        Interest::Whole {
            names: self.names.iter().cloned().collect(),
            version: self.version_info.clone(),
        }
    }
}
