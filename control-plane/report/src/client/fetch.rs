//! Requests to the admin API. Each address of a host name is a replica of its own, as behind a headless Service. Replicas that share
//! a Lease know each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

use super::transport::{agent, cause, refused, url};
use super::{Credentials, HostPort};
use crate::view::peers;
use crate::{Query, Report};

/// The answers of the replicas, by address.
pub(super) type Answers = Vec<(String, Result<Report, String>)>;

/// Timeout of a connection to this machine.
const LOCAL_CONNECT: Duration = Duration::from_millis(500);
/// Largest accepted document, in bytes. A document has about 1 KB for each model and proxy.
const MAX_DOCUMENT: u64 = 1 << 30;

/// Resolves the hosts to addresses without duplicates.
///
/// # Errors
/// No host has an address: the names and the errors.
pub(super) fn resolve(hosts: &[HostPort]) -> Result<BTreeSet<SocketAddr>, String> {
    let mut found = BTreeSet::new();
    let mut failed = Vec::new();
    for host in hosts {
        match (host.host.as_str(), host.port).to_socket_addrs() {
            Ok(addresses) => found.extend(one_loopback(addresses.collect())),
            Err(error) => failed.push(format!("{host}: {error}")),
        }
    }
    if found.is_empty() {
        let failed = failed.join("; ");
        return Err(format!("--admin-address: no host has an address: {failed}"));
    }
    Ok(found)
}

/// `localhost` has an address in each family and usually one server. Keeps the address that accepts connections.
fn one_loopback(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.len() < 2 || !addresses.iter().all(|a| a.ip().is_loopback()) {
        return addresses;
    }
    let accepts =
        |address: &&SocketAddr| TcpStream::connect_timeout(address, LOCAL_CONNECT).is_ok();
    let one = addresses.iter().find(accepts).or(addresses.first());
    one.copied().into_iter().collect()
}

/// Answer of a control plane.
pub(super) enum Answer {
    /// A document and its `ETag`.
    Changed(Box<Report>, Option<String>),
    /// 304: the client has the current document.
    Unchanged,
}

/// Fetches the document of a control plane. With `tag`, the control plane answers as soon as its document differs from that one, or
/// after `wait`.
///
/// # Errors
/// The request failed, or the answer is not a document of this version.
pub(super) fn fetch(
    address: SocketAddr,
    query: &Query,
    credentials: &Credentials,
    tag: Option<&str>,
    wait: Duration,
) -> Result<Answer, String> {
    let mut request = agent(credentials, wait)?.get(url(credentials, address, "/syncz"));
    let parameters = [("model", &query.model), ("namespace", &query.namespace)];
    for (key, value) in parameters {
        if let Some(value) = value {
            request = request.query(key, value);
        }
    }
    if let Some(authorization) = credentials.authorization()? {
        request = request.header("authorization", authorization);
    }
    if let Some(tag) = tag {
        request = request
            .query("wait", wait.as_secs().to_string())
            .header("if-none-match", tag);
    }
    let mut answer = request.call().map_err(|error| cause(&error))?;
    if answer.status() == 304 {
        return Ok(Answer::Unchanged);
    }
    let tag = answer.headers().get("etag");
    let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let body = page(&mut answer)?;
    let report = serde_json::from_str(&body).map_err(|error| {
        format!("the answer is not a status document of this version ({error}): compare `headgate version`")
    })?;
    Ok(Answer::Changed(Box::new(report), tag))
}

/// The page of an answer.
fn page(answer: &mut Response<Body>) -> Result<String, String> {
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(MAX_DOCUMENT);
    let body = body.read_to_string().map_err(|error| cause(&error))?;
    if status.is_success() {
        return Ok(body);
    }
    Err(refused(status.as_u16(), &body))
}

/// Fetches the version of a control plane.
///
/// # Errors
/// The request failed, or the answer has no version.
pub(super) fn fetch_version(
    address: SocketAddr,
    credentials: &Credentials,
) -> Result<String, String> {
    let agent = agent(credentials, Duration::ZERO)?;
    let mut request = agent.get(url(credentials, address, "/version"));
    if let Some(authorization) = credentials.authorization()? {
        request = request.header("authorization", authorization);
    }
    let mut answer = request.call().map_err(|error| cause(&error))?;
    let body = page(&mut answer)?;
    let parsed: serde_json::Value =
        serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let version = parsed["version"].as_str();
    version.map_or_else(
        || Err("the answer has no field `version`".to_owned()),
        |version| Ok(version.to_owned()),
    )
}

/// Queries all addresses in parallel, then the replicas that they know.
pub(super) fn fetch_all(
    addresses: &BTreeSet<SocketAddr>,
    query: &Query,
    credentials: &Credentials,
) -> Answers {
    let mut answers = fetch_each(addresses, query, credentials);
    let reports = answers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().ok());
    let unqueried = peers::unqueried(reports);
    let known: BTreeSet<SocketAddr> = unqueried.values().flatten().copied().collect();
    let mut further: BTreeMap<String, _> =
        fetch_each(&known, query, credentials).into_iter().collect();
    for (replica, address) in unqueried {
        let answer = address.map(|address| address.to_string());
        let answer = answer.and_then(|address| further.remove_entry(&address));
        answers.push(match answer {
            Some((address, answer)) => (address, peers::check_replica(&replica, answer)),
            None => peers::without_address(&replica),
        });
    }
    answers
}

/// Queries all addresses in parallel.
fn fetch_each(
    addresses: &BTreeSet<SocketAddr>,
    query: &Query,
    credentials: &Credentials,
) -> Answers {
    std::thread::scope(|scope| {
        let requests: Vec<_> = addresses
            .iter()
            .map(|address| {
                let one = move || fetch(*address, query, credentials, None, Duration::ZERO);
                (address.to_string(), scope.spawn(one))
            })
            .collect();
        let answers = requests.into_iter().map(|(address, thread)| {
            let answer = match thread.join() {
                Ok(Ok(Answer::Changed(report, _))) => Ok(*report),
                Ok(Ok(Answer::Unchanged)) => Err("the answer has no document".to_owned()),
                Ok(Err(error)) => Err(error),
                Err(_) => Err("the request panicked".to_owned()),
            };
            (address, answer)
        });
        answers.collect()
    })
}
