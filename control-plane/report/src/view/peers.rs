//! Replicas that were not queried, but that queried replicas know: one address is enough to reach all replicas.
//!
//! Invariant: a document belongs to a replica only if its `replica` field says so. An address that a replica published may lead to
//! another process here, as 127.0.0.1 does.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::{PeerReport, Report};

/// Replicas that were not queried, by name, with their admin addresses.
pub type UnqueriedPeers = BTreeMap<String, Option<SocketAddr>>;

/// The replicas that these documents mention and that none of them comes from.
pub fn unqueried<'a>(reports: impl Iterator<Item = &'a Report> + Clone) -> UnqueriedPeers {
    let is = |peer: &PeerReport| {
        let mut queried = reports.clone();
        queried.any(|report| report.head.replica.as_ref() == Some(&peer.replica))
    };
    let known = reports.clone().flat_map(|report| &report.peers);
    known
        .filter(|peer| !is(peer))
        .map(|peer| (peer.replica.clone(), peer.admin_address))
        .collect()
}

/// The error of a replica without a published address.
pub fn without_address(replica: &str) -> (String, Result<Report, String>) {
    let why = "it does not publish its admin address: start it with --replica-address (POD_IP), or name it with --admin-address";
    (format!("replica {replica}"), Err(why.to_owned()))
}

/// The answer from the address of a replica; an error if another process answered.
pub fn check_replica(replica: &str, answer: Result<Report, String>) -> Result<Report, String> {
    let report = answer.map_err(|why| format!("replica {replica}: {why}"))?;
    if report.head.replica.as_deref() == Some(replica) {
        return Ok(report);
    }
    Err(format!(
        "another control plane than replica {replica} answers at this address: name the replica with --admin-address as it is \
         reachable from here"
    ))
}
