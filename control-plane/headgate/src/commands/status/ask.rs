//! Asks control planes for their document. Every address of a name is a replica of its own, as behind a headless Service; and
//! replicas that share a Lease know of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::cli::Place;
use headgate_report::view::peers;
use headgate_report::{Asked, Report};

/// How long a control plane may take to answer, beyond the time it was asked to wait.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take: a replica's own address may lead nowhere from here.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection to this machine may take.
const NEAR: Duration = Duration::from_millis(500);
/// The largest document that is read: some 1 KB a model and proxy.
const LARGEST: u64 = 1 << 30;

/// Where to ask: every address of every place, each once.
///
/// # Errors
/// If no place has an address: the name, and why.
pub(super) fn addresses(places: &[Place]) -> Result<BTreeSet<SocketAddr>, String> {
    let mut found = BTreeSet::new();
    let mut failed = Vec::new();
    for place in places {
        match (place.host.as_str(), place.port).to_socket_addrs() {
            Ok(addresses) => found.extend(of_one_machine(addresses.collect())),
            Err(error) => failed.push(format!("{place}: {error}")),
        }
    }
    if found.is_empty() {
        let failed = failed.join("; ");
        return Err(format!("--admin-address has no address to ask: {failed}"));
    }
    Ok(found)
}

/// `localhost` has an address in each family, behind which is one server: the one that listens there.
fn of_one_machine(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.len() < 2 || !addresses.iter().all(|a| a.ip().is_loopback()) {
        return addresses;
    }
    let listens = |address: &&SocketAddr| TcpStream::connect_timeout(address, NEAR).is_ok();
    let one = addresses.iter().find(listens).or(addresses.first());
    one.copied().into_iter().collect()
}

/// What a control plane answers.
pub(super) enum Answer {
    /// The document, and the tag that tells it from others.
    Changed(Box<Report>, Option<String>),
    /// The document that the asker has.
    Same,
}

/// Asks one. With `tag` it answers when its document differs from that one, or after `wait`.
///
/// # Errors
/// Why there is no document.
pub(super) fn ask(
    address: SocketAddr,
    asked: &Asked,
    tag: Option<&str>,
    wait: Duration,
) -> Result<Answer, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT + wait))
        .timeout_connect(Some(CONNECT))
        .build()
        .into();
    let mut request = agent.get(format!("http://{address}/syncz"));
    let queries = [("model", &asked.model), ("namespace", &asked.namespace)];
    for (key, value) in queries {
        if let Some(value) = value {
            request = request.query(key, value);
        }
    }
    if let Some(tag) = tag {
        request = request
            .query("wait", wait.as_secs().to_string())
            .header("if-none-match", tag);
    }
    let mut answer = request.call().map_err(|error| error.to_string())?;
    if answer.status() == 304 {
        return Ok(Answer::Same);
    }
    let tag = answer.headers().get("etag");
    let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let body = answer
        .body_mut()
        .with_config()
        .limit(LARGEST)
        .read_to_string();
    let body = body.map_err(|error| error.to_string())?;
    let report = serde_json::from_str(&body)
        .map_err(|error| format!("answers, but not as a control plane of this version: {error}"))?;
    Ok(Answer::Changed(Box::new(report), tag))
}

/// Asks all at once, each once, and then those that they know of besides.
pub(super) fn everyone(
    addresses: &BTreeSet<SocketAddr>,
    asked: &Asked,
) -> Vec<(String, Result<Report, String>)> {
    let mut answers = all(addresses, asked);
    let told = answers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().ok());
    let unasked = peers::unasked(told);
    let known: BTreeSet<SocketAddr> = unasked.values().flatten().copied().collect();
    let mut further: BTreeMap<String, _> = all(&known, asked).into_iter().collect();
    for (replica, address) in unasked {
        let answer = address.map(|address| address.to_string());
        let answer = answer.and_then(|address| further.remove_entry(&address));
        answers.push(match answer {
            Some((address, answer)) => (address, peers::its_own(&replica, answer)),
            None => peers::nowhere(&replica),
        });
    }
    answers
}

/// Asks all at once, each once.
fn all(addresses: &BTreeSet<SocketAddr>, asked: &Asked) -> Vec<(String, Result<Report, String>)> {
    std::thread::scope(|scope| {
        let asks: Vec<_> = addresses
            .iter()
            .map(|address| {
                let one = move || ask(*address, asked, None, Duration::ZERO);
                (address.to_string(), scope.spawn(one))
            })
            .collect();
        let answers = asks.into_iter().map(|(address, thread)| {
            let answer = match thread.join() {
                Ok(Ok(Answer::Changed(report, _))) => Ok(*report),
                Ok(Ok(Answer::Same)) => Err("answers without a document".to_owned()),
                Ok(Err(error)) => Err(error),
                Err(_) => Err("could not be asked".to_owned()),
            };
            (address, answer)
        });
        answers.collect()
    })
}
