//! The replicas that were not asked, as those that were know them: what `status` is told of one address is all there is.
//!
//! Invariant: a document is taken for a replica's only if it says so itself. An address may mean another machine than the one that
//! told it, as 127.0.0.1 does.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::{PeerReport, Report};

/// A replica that was not asked.
pub type Unasked = BTreeMap<String, Option<SocketAddr>>;

/// Those that any of these knows of, and that none of them is.
pub fn unasked<'a>(told: impl Iterator<Item = &'a Report> + Clone) -> Unasked {
    let is = |peer: &PeerReport| {
        let mut asked = told.clone();
        asked.any(|report| report.head.replica.as_ref() == Some(&peer.replica))
    };
    let known = told.clone().flat_map(|report| &report.peers);
    known
        .filter(|peer| !is(peer))
        .map(|peer| (peer.replica.clone(), peer.admin_address))
        .collect()
}

/// What is said of a replica of which nobody says where it answers.
pub fn nowhere(replica: &str) -> (String, Result<Report, String>) {
    let why = "it does not say where it answers: start it with --replica-address (POD_IP), or name it with --admin-address";
    (format!("replica {replica}"), Err(why.to_owned()))
}

/// The answer at a replica's address, if it is that replica's.
pub fn its_own(replica: &str, answer: Result<Report, String>) -> Result<Report, String> {
    let report = answer.map_err(|why| format!("replica {replica}: {why}"))?;
    if report.head.replica.as_deref() == Some(replica) {
        return Ok(report);
    }
    Err(format!(
        "another control plane answers here than replica {replica}, whose address this is on its own machine: name it with \
         --admin-address as it is reached from here"
    ))
}
