//! The histories of proxies between their streams. Their total size is bounded.
//!
//! A proxy is recognised by node id, identity, address (without the port, which changes with every connection), agent and
//! protocol. Another binary, or another machine under the same id, is another proxy and starts without a history.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::connection::PeerIdentity;
use crate::fleet::StreamId;
use crate::peer::Peer;
use crate::resource::Kind;
use crate::session::{Protocol, StreamHistory};

/// Names that are kept over all proxies; beyond it the proxies with the oldest streams are forgotten.
const MAX_NAMES: usize = 200_000;

/// The identity of a proxy from one stream to the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProxyKey {
    id: String,
    identity: Option<PeerIdentity>,
    address: Option<IpAddr>,
    agent: String,
    delta: bool,
    only: Option<Kind>,
}

impl ProxyKey {
    pub(super) fn new(peer: &Peer, protocol: Protocol, only: Option<Kind>) -> Self {
        Self {
            id: peer.id.clone(),
            identity: peer.identity.clone(),
            address: peer.address.map(|a| a.ip()),
            agent: peer.agent.clone(),
            delta: protocol == Protocol::Delta,
            only,
        }
    }
}

/// The histories. Invariant: an older stream of a proxy that ends late never overwrites the history of a newer one.
#[derive(Debug, Default)]
pub(super) struct StreamHistories {
    proxies: Mutex<BTreeMap<ProxyKey, (StreamId, StreamHistory)>>,
}

impl StreamHistories {
    /// The history of a proxy; empty if there is none.
    pub(super) fn get(&self, proxy: &ProxyKey) -> StreamHistory {
        let proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        let known = proxies.get(proxy);
        known
            .map(|(_, history)| history.clone())
            .unwrap_or_default()
    }

    /// Stores the history of a proxy, as its stream leaves it.
    pub(super) fn store(&self, proxy: &ProxyKey, stream: StreamId, history: StreamHistory) {
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        let known = proxies.get(proxy);
        if known.is_some_and(|(newest, _)| *newest > stream) {
            return;
        }
        if history.is_empty() {
            proxies.remove(proxy);
            return;
        }
        proxies.insert(proxy.clone(), (stream, history));
        let mut names: usize = proxies.values().map(|(_, history)| history.size()).sum();
        while names > MAX_NAMES {
            let oldest = proxies.iter().min_by_key(|(_, (stream, _))| *stream);
            let Some(oldest) = oldest.map(|(proxy, _)| proxy.clone()) else {
                return;
            };
            let forgotten = proxies.remove(&oldest);
            names -= forgotten.map_or(0, |(_, history)| history.size());
        }
    }
}
