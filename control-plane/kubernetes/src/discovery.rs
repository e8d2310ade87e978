//! Discovery of the versions of kinds that the API server serves and prefers. One task asks for all kinds, so a kind that is not
//! installed costs no request of its own.
//!
//! Invariant: an answer counts only if the API server was ready before the request: one that starts does not know all its
//! kinds. Where discovery is refused, the assumed versions stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT;
use kube::Client;
use kube::core::ApiResource;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use crate::fault::{Backoff, Cause, Failure, Fault, REQUEST_TIMEOUT};
use crate::probe::{ApiServerProbe, is_ready};

/// Aggregated discovery of all groups where the API server supports it, else the list of groups.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// The wait before the second request, and after a recovery: a kind is published a moment after it is served.
const FIRST_REFRESH: Duration = Duration::from_secs(2);

/// A group and a kind of it.
type GroupKind = (String, String);

/// The kinds that the API server serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ServedKinds {
    /// The resource of the most preferred version that has the kind.
    served: BTreeMap<GroupKind, ApiResource>,
    /// Groups whose kinds the API server did not list.
    unknown_groups: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct Answer {
    /// The last answer; `None` before the first.
    kinds: Option<Arc<ServedKinds>>,
    /// The failure of a later request.
    failed: Option<Failure>,
}

/// The discovery of one API server. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    answer: watch::Sender<Answer>,
    refresh: Arc<Notify>,
}

/// Whether a kind is served.
#[derive(Debug, PartialEq, Eq)]
pub enum Served {
    /// As this resource.
    As(ApiResource),
    /// Not at all.
    No,
    /// The API server did not answer yet, and why.
    Unknown(Option<Failure>),
}

/// The discovery of one kind.
#[derive(Debug)]
pub struct KindLookup {
    /// The resource as it is given, or assumed.
    assumed: ApiResource,
    /// Whether the version is given, so that no other one is used.
    given: bool,
    answer: watch::Receiver<Answer>,
    refresh: Arc<Notify>,
}

impl Discovery {
    /// The lookup of a kind whose version is `given` or only assumed.
    pub fn lookup(&self, assumed: &ApiResource, given: bool) -> KindLookup {
        KindLookup {
            assumed: assumed.clone(),
            given,
            answer: self.answer.subscribe(),
            refresh: self.refresh.clone(),
        }
    }

    /// Keeps the kinds of these groups up to date: asks at least once in `period`.
    pub async fn run(
        self,
        client: Client,
        groups: BTreeSet<String>,
        period: Duration,
        probe: ApiServerProbe,
    ) {
        let mut backoff = Backoff::new();
        let mut ready = false;
        let mut next = FIRST_REFRESH.min(period);
        loop {
            let recovery = probe.recovery();
            match ask(&client, &groups, &mut ready).await {
                Ok(kinds) => {
                    backoff.reset();
                    self.set(kinds);
                    let refresh = self.refresh.notified();
                    tokio::select! {
                        () = tokio::time::sleep(next) => next = period,
                        () = refresh => {}
                        () = recovery => next = FIRST_REFRESH.min(period),
                    }
                }
                Err(fault) => {
                    if fault.is_outage() {
                        probe.report_outage();
                        ready = false;
                    }
                    next = FIRST_REFRESH.min(period);
                    self.answer
                        .send_modify(|answer| answer.failed = Some(fault.failure()));
                    let wait = backoff.next_wait().max(fault.retry_after());
                    if tokio::time::timeout(wait, recovery).await.is_ok() {
                        backoff.reset();
                    }
                }
            }
        }
    }

    fn set(&self, kinds: ServedKinds) {
        self.answer.send_if_modified(|answer| {
            let changed = answer.failed.take().is_some() || answer.kinds.as_deref() != Some(&kinds);
            if changed {
                answer.kinds = Some(Arc::new(kinds));
            }
            changed
        });
    }
}

impl KindLookup {
    /// Whether the kind is served, by the last answer.
    pub fn served(&mut self) -> Served {
        if self.given {
            return Served::As(self.assumed.clone());
        }
        let answer = self.answer.borrow_and_update();
        let Some(kinds) = &answer.kinds else {
            return Served::Unknown(answer.failed.clone());
        };
        let assumed = &self.assumed;
        let kind = (assumed.group.clone(), assumed.kind.clone());
        match kinds.served.get(&kind) {
            Some(resource) => Served::As(resource.clone()),
            None if kinds.unknown_groups.contains(&assumed.group) => Served::As(assumed.clone()),
            None => Served::No,
        }
    }

    /// The failure of a kind whose given version is not served, if another version is.
    pub fn other_version(&self) -> Option<Failure> {
        let answer = self.answer.borrow();
        let assumed = &self.assumed;
        let kind = (assumed.group.clone(), assumed.kind.clone());
        let served = answer.kinds.as_ref()?.served.get(&kind)?;
        let other = self.given && served.version != assumed.version;
        other.then(|| Failure {
            message: format!(
                "the Kubernetes API does not serve {}, but {}: give that version to --owner-kind",
                assumed.api_version, served.api_version
            ),
            cause: Cause::Refused,
            code: 404,
        })
    }

    /// Returns when the result may have changed.
    pub async fn changed(&mut self) {
        // Without a sender nothing changes.
        if self.answer.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Requests a new answer, because the last one seems outdated.
    pub fn request_refresh(&self) {
        self.refresh.notify_one();
    }
}

/// Sends the request. `ready`: whether the API server is known to know all its kinds.
async fn ask(
    client: &Client,
    groups: &BTreeSet<String>,
    ready: &mut bool,
) -> Result<ServedKinds, Fault> {
    let first = discover(client, groups).await;
    if first.as_ref().is_err_and(Fault::is_outage) {
        return first;
    }
    let was_ready = std::mem::replace(ready, true);
    if !was_ready && !is_ready(client, REQUEST_TIMEOUT).await {
        *ready = false;
        return Err(Fault::NotReady);
    }
    let answer = match first {
        Ok(kinds) if was_ready => return Ok(kinds),
        _ => discover(client, groups).await,
    };
    match answer {
        // Discovery is forbidden or not supported.
        Err(fault) if !fault.is_outage() => {
            tracing::debug!(
                error = fault.message(),
                "discovery is unavailable; using the default versions of kinds"
            );
            Ok(ServedKinds {
                unknown_groups: groups.clone(),
                ..ServedKinds::default()
            })
        }
        answer => answer,
    }
}

async fn discover(client: &Client, groups: &BTreeSet<String>) -> Result<ServedKinds, Fault> {
    let answer: Groups = get(client, "/apis").await?;
    let mut kinds = ServedKinds::default();
    for item in answer.items {
        let group = item.metadata.name;
        if !groups.contains(&group) {
            continue;
        }
        for version in item.versions {
            for resource in version.resources {
                kinds.add(
                    &group,
                    &version.version,
                    resource.plural,
                    resource.kind.kind,
                );
            }
        }
    }
    for listed in answer.groups {
        if !groups.contains(&listed.name) {
            continue;
        }
        let preferred = listed.preferred.version;
        let others = listed.versions.into_iter().map(|named| named.version);
        let others = others.filter(|version| *version != preferred);
        for version in std::iter::once(preferred.clone()).chain(others) {
            let path = format!("/apis/{}/{version}", listed.name);
            match get::<Resources>(client, &path).await {
                Ok(answer) => {
                    for named in answer.resources {
                        kinds.add(&listed.name, &version, named.name, named.kind);
                    }
                }
                Err(fault) if fault.code() == 0 => return Err(fault),
                Err(_) => _ = kinds.unknown_groups.insert(listed.name.clone()),
            }
        }
    }
    Ok(kinds)
}

async fn get<A: for<'a> Deserialize<'a>>(client: &Client, path: &str) -> Result<A, Fault> {
    let request = http::Request::get(path).header(ACCEPT, AGGREGATED);
    let request = request
        .body(Vec::new())
        .map_err(|error| Fault::Transport(kube::Error::HttpError(error)))?;
    Ok(tokio::time::timeout(REQUEST_TIMEOUT, client.request(request)).await??)
}

impl ServedKinds {
    /// Adds a kind of a version. Preferred versions come first.
    fn add(&mut self, group: &str, version: &str, plural: String, kind: String) {
        // A subresource, such as the status.
        if plural.contains('/') {
            return;
        }
        let group_kind = (group.to_owned(), kind.clone());
        self.served
            .entry(group_kind)
            .or_insert_with(|| ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: format!("{group}/{version}"),
                kind,
                plural,
            });
    }
}

/// Either form of the answer to `/apis`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Groups {
    /// Aggregated: versions in order of preference.
    items: Vec<Discovered>,
    /// Not aggregated: the groups only.
    groups: Vec<Listed>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Discovered {
    metadata: Metadata,
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Version {
    version: String,
    resources: Vec<Resource>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    #[serde(rename = "resource")]
    plural: String,
    #[serde(rename = "responseKind")]
    kind: KindOf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KindOf {
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    name: String,
    #[serde(rename = "preferredVersion")]
    preferred: Version,
    versions: Vec<Version>,
}

/// The resources of one version of a group.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    resources: Vec<NamedKind>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedKind {
    name: String,
    kind: String,
}
