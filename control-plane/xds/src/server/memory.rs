//! What is remembered of proxies between their streams, bounded over all of them.
//!
//! A proxy is known by node id, address (without the port, which is another on every connection), agent and
//! protocol: another binary, or another machine under the same id, is another proxy and starts with a clean slate.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::fleet::StreamId;
use crate::resource::Kind;
use crate::session::{Past, Protocol};
use crate::world::Peer;

/// Names remembered over all proxies; beyond it the proxies heard of longest ago are forgotten.
const NAMES: usize = 200_000;

/// One proxy, from one stream to the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    id: String,
    agent: String,
    address: Option<IpAddr>,
    delta: bool,
    only: Option<Kind>,
}

impl Identity {
    pub(super) fn of(peer: &Peer, protocol: Protocol, only: Option<Kind>) -> Self {
        Self {
            id: peer.id.clone(),
            agent: peer.agent.clone(),
            address: peer.address.map(|a| a.ip()),
            delta: protocol == Protocol::Delta,
            only,
        }
    }
}

/// The memory. Invariant: what a proxy's newest stream said is never overwritten by an older one that ends late.
#[derive(Debug, Default)]
pub(super) struct Memory {
    proxies: Mutex<BTreeMap<Identity, (StreamId, Past)>>,
}

impl Memory {
    pub(super) fn recall(&self, who: &Identity) -> Past {
        let proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        proxies
            .get(who)
            .map(|(_, past)| past.clone())
            .unwrap_or_default()
    }

    pub(super) fn keep(&self, who: &Identity, stream: StreamId, past: Past) {
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        if proxies.get(who).is_some_and(|(newest, _)| *newest > stream) {
            return;
        }
        if past.is_empty() {
            proxies.remove(who);
            return;
        }
        proxies.insert(who.clone(), (stream, past));
        let mut names: usize = proxies.values().map(|(_, past)| past.size()).sum();
        while names > NAMES {
            let oldest = proxies.iter().min_by_key(|(_, (stream, _))| *stream);
            let Some(oldest) = oldest.map(|(who, _)| who.clone()) else {
                return;
            };
            names -= proxies.remove(&oldest).map_or(0, |(_, past)| past.size());
        }
    }
}
