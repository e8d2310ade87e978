//! Connections to all replicas: the named ones, and those that they know. Keeps the last answer of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::fetch::Answers;
use super::poll::{self, ClientEvent, Poller};
use super::{Credentials, Failure, HostPort, fetch};
use crate::view::peers::{check_replica, unqueried};
use crate::{Query, Report};

/// The next action of the caller of [`Connections::next`].
pub(super) enum Step {
    /// An answer or the set of replicas changed.
    Changed,
    /// Nothing changed within the given time.
    TimedOut,
    /// The window of the terminal was resized.
    Resized,
    /// A signal asks the process to end.
    Interrupted,
}

/// A replica that is polled.
struct Connection {
    /// Polls until it is dropped.
    _poller: Poller,
    /// The last answer; `None` before the first one.
    answer: Option<Result<Report, String>>,
    /// The name of the replica, if another replica published this address.
    peer: Option<String>,
}

/// The connections of one client.
pub(super) struct Connections {
    query: Query,
    credentials: Credentials,
    sender: Sender<ClientEvent>,
    events: Receiver<ClientEvent>,
    by_address: BTreeMap<SocketAddr, Connection>,
}

impl Connections {
    /// Connects to these addresses, and to the replicas that they know.
    ///
    /// # Errors
    /// No name has an address, or signal handlers cannot be installed.
    pub(super) fn open(
        hosts: &[HostPort],
        credentials: &Credentials,
        query: Query,
    ) -> Result<Self, Failure> {
        let addresses = fetch::resolve(hosts)?;
        let (sender, events) = mpsc::channel();
        poll::forward_signals(sender.clone())?;
        poll::resolve_periodically(hosts.to_vec(), sender.clone());
        let mut connections = Self {
            query,
            credentials: credentials.clone(),
            sender,
            events,
            by_address: BTreeMap::new(),
        };
        for address in addresses {
            connections.connect(address);
        }
        Ok(connections)
    }

    /// Waits for the next event, at most this long.
    pub(super) fn next(&mut self, timeout: Duration) -> Step {
        match self.events.recv_timeout(timeout) {
            Ok(ClientEvent::Interrupted) | Err(RecvTimeoutError::Disconnected) => Step::Interrupted,
            Ok(ClientEvent::Resized) => Step::Resized,
            Err(RecvTimeoutError::Timeout) => Step::TimedOut,
            Ok(ClientEvent::Answered(address, answer)) => {
                self.set_answer(address, *answer);
                Step::Changed
            }
            Ok(ClientEvent::Resolved(addresses)) => {
                self.by_address.retain(|address, connection| {
                    connection.peer.is_some() || addresses.contains(address)
                });
                for address in addresses {
                    self.connect(address);
                }
                Step::Changed
            }
        }
    }

    /// The last answers; `None` until every named replica has answered or failed. Replicas that only other replicas know are not
    /// waited for.
    pub(super) fn answers(&self) -> Option<Answers> {
        let counts =
            |connection: &Connection| connection.peer.is_none() || connection.answer.is_some();
        let connections = self.by_address.iter().filter(|(_, c)| counts(c));
        connections
            .map(|(at, connection)| Some((at.to_string(), connection.answer.clone()?)))
            .collect()
    }

    /// Replicas that others know and that have not answered yet: connecting, or without a published address.
    pub(super) fn missing_peers(&self) -> Vec<String> {
        let silent = self.by_address.values().filter(|c| c.answer.is_none());
        let mut missing: BTreeSet<String> = silent.filter_map(|c| c.peer.clone()).collect();
        let without_address = unqueried(self.reports()).into_iter();
        missing.extend(without_address.filter_map(|(replica, at)| at.is_none().then_some(replica)));
        missing.into_iter().collect()
    }

    /// The addresses of all connections.
    pub(super) fn addresses(&self) -> BTreeSet<SocketAddr> {
        self.by_address.keys().copied().collect()
    }

    fn reports(&self) -> impl Iterator<Item = &Report> + Clone {
        let answers = self.by_address.values();
        answers.filter_map(|connection| connection.answer.as_ref()?.as_ref().ok())
    }

    fn connect(&mut self, address: SocketAddr) {
        let start = || Connection {
            _poller: Poller::start(
                address,
                self.query.clone(),
                self.credentials.clone(),
                self.sender.clone(),
            ),
            answer: None,
            peer: None,
        };
        self.by_address.entry(address).or_insert_with(start);
    }

    /// Connects to the replicas that the answering ones know, and disconnects from those that none of them knows.
    fn connect_peers(&mut self) {
        let peers = self.reports().flat_map(|report| &report.peers);
        let known: BTreeSet<String> = peers.map(|peer| peer.replica.clone()).collect();
        let (any_answer, unqueried) = (self.reports().next().is_some(), unqueried(self.reports()));
        if any_answer {
            let is_known = |peer: &String| known.contains(peer);
            self.by_address
                .retain(|_, connection| connection.peer.as_ref().is_none_or(is_known));
        }
        for (replica, address) in unqueried {
            let Some(address) = address.filter(|at| !self.by_address.contains_key(at)) else {
                continue;
            };
            self.connect(address);
            if let Some(connection) = self.by_address.get_mut(&address) {
                connection.peer = Some(replica);
            }
        }
    }

    fn set_answer(&mut self, address: SocketAddr, answer: Result<Report, String>) {
        // The empty document of a replica that has just started must not look as if all models were deleted.
        let answer = answer.and_then(|report| match report.head.synced {
            true => Ok(report),
            false => Err(not_synced(&report)),
        });
        let Some(connection) = self.by_address.get_mut(&address) else {
            return;
        };
        connection.answer = Some(match &connection.peer {
            Some(replica) => check_replica(replica, answer),
            None => answer,
        });
        self.connect_peers();
    }
}

fn not_synced(report: &Report) -> String {
    let api = report.api.as_ref().and_then(|api| api.message.as_deref());
    let detail = api.map_or_else(String::new, |message| format!(" ({message})"));
    format!("it has started and has not read its source yet{detail}")
}
