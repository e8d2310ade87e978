//! Connected proxies: versions wanted, sent and ACKed, rejected resources, and updates that wait.

use headgate_xds::fleet::{Progress, Proxy};
use headgate_xds::session::Wait;

use super::{LastNack, NackReport, ProxyReport, TypeReport, seconds};

pub(super) fn proxy(proxy: &Proxy) -> ProxyReport {
    ProxyReport {
        id: proxy.peer.id.clone(),
        replica: None,
        agent: proxy.peer.agent.clone(),
        address: proxy.peer.address.map(|a| a.to_string()),
        identity: proxy.peer.identity.as_ref().map(ToString::to_string),
        scope: proxy.scope.0.clone(),
        since: seconds(proxy.since),
        current: proxy.is_current(),
        types: proxy
            .kinds
            .iter()
            .map(|(kind, progress)| (kind.as_str().to_owned(), of_type(progress)))
            .collect(),
    }
}

fn of_type(progress: &Progress) -> TypeReport {
    let status = &progress.status;
    TypeReport {
        wanted: status.wanted.to_string(),
        sent: status.sent.to_string(),
        acked: status.acked.to_string(),
        acked_at: progress.last_ack.map(seconds),
        nacked: status
            .nacked
            .iter()
            .map(|(name, n)| {
                let nack = NackReport {
                    version: n.version.clone(),
                    message: n.message.clone(),
                    retries: n.retries,
                };
                (name.to_string(), nack)
            })
            .collect(),
        waiting: status
            .waiting
            .iter()
            .map(|(name, wait)| (name.to_string(), wait_reason(wait)))
            .collect(),
        last_nack: progress.last_nack.as_ref().map(|(at, message)| LastNack {
            at: seconds(*at),
            message: message.clone(),
        }),
    }
}

pub(super) fn wait_reason(wait: &Wait) -> String {
    if wait.clusters.is_empty() {
        return "waits until routes and filters of the proxy no longer refer to it".to_owned();
    }
    let clusters = wait.clusters.join(", ");
    if wait.failed {
        format!("the proxy rejected {clusters}, so it keeps its current version")
    } else {
        format!("waits until the proxy has {clusters}")
    }
}
