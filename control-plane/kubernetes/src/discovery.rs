//! Which version of a kind the API server serves and prefers: one asks for all kinds, so that one that is not installed costs
//! no request of its own.
//!
//! Invariant: an answer counts only if the API server was ready before it was asked: one that starts does not know all its
//! kinds. Where it may not be asked, the versions that are assumed stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT;
use kube::Client;
use kube::core::ApiResource;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use super::fault::{ANSWER, Backoff, Cause, Fault, Loss};
use crate::probe::{ApiServerProbe, is_ready};

/// All groups in one answer where the API server offers that, else the list of groups.
const ALL_IN_ONE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// Asked once more so soon after the first answer, and after a return: kinds are told a moment later than they are served.
const ONCE_MORE: Duration = Duration::from_secs(2);

/// A group and a kind of it.
type Named = (String, String);

/// What the API server says that it serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Kinds {
    /// The resource of the version that is preferred of those that have the kind.
    served: BTreeMap<Named, ApiResource>,
    /// Groups of which it did not say what they hold.
    untold: BTreeSet<String>,
}

#[derive(Debug, Clone, Default)]
struct Told {
    /// The last answer; `None` before the first.
    kinds: Option<Arc<Kinds>>,
    /// Why there is no newer one.
    failed: Option<Loss>,
}

/// Where the answers are. Clones have the same.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    told: watch::Sender<Told>,
    asked: Arc<Notify>,
}

/// Where a kind is.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Served as this.
    At(ApiResource),
    /// The API server does not serve it.
    Nowhere,
    /// It did not answer yet, and why.
    Unknown(Option<Loss>),
}

/// One kind in it.
#[derive(Debug)]
pub struct Lookup {
    /// As it is given, or assumed.
    assumed: ApiResource,
    /// Whether the version is given, so that no other will do.
    given: bool,
    told: watch::Receiver<Told>,
    asked: Arc<Notify>,
}

impl Catalogue {
    /// A kind; its version is `given`, or only assumed.
    pub fn of(&self, assumed: &ApiResource, given: bool) -> Lookup {
        Lookup {
            assumed: assumed.clone(),
            given,
            told: self.told.subscribe(),
            asked: self.asked.clone(),
        }
    }

    /// Asks for the kinds of these groups, at least once in `every`.
    pub async fn keep(
        self,
        client: Client,
        groups: BTreeSet<String>,
        every: Duration,
        pulse: ApiServerProbe,
    ) {
        let mut backoff = Backoff::new();
        let mut ready = false;
        let mut next = ONCE_MORE.min(every);
        loop {
            let back = pulse.back();
            match ask(&client, &groups, &mut ready).await {
                Ok(kinds) => {
                    backoff.reset();
                    self.tell(kinds);
                    let asked = self.asked.notified();
                    tokio::select! {
                        () = tokio::time::sleep(next) => next = every,
                        () = asked => {}
                        () = back => next = ONCE_MORE.min(every),
                    }
                }
                Err(fault) => {
                    if fault.is_absence() {
                        pulse.missed();
                        ready = false;
                    }
                    next = ONCE_MORE.min(every);
                    self.told
                        .send_modify(|told| told.failed = Some(fault.loss()));
                    let wait = backoff.next().max(fault.retry_after());
                    if tokio::time::timeout(wait, back).await.is_ok() {
                        backoff.reset();
                    }
                }
            }
        }
    }

    fn tell(&self, kinds: Kinds) {
        self.told.send_if_modified(|told| {
            let news = told.failed.take().is_some() || told.kinds.as_deref() != Some(&kinds);
            if news {
                told.kinds = Some(Arc::new(kinds));
            }
            news
        });
    }
}

impl Lookup {
    /// Where the kind is, as far as is known.
    pub fn place(&mut self) -> Place {
        if self.given {
            return Place::At(self.assumed.clone());
        }
        let told = self.told.borrow_and_update();
        let Some(kinds) = &told.kinds else {
            return Place::Unknown(told.failed.clone());
        };
        let assumed = &self.assumed;
        let named = (assumed.group.clone(), assumed.kind.clone());
        match kinds.served.get(&named) {
            Some(resource) => Place::At(resource.clone()),
            None if kinds.untold.contains(&assumed.group) => Place::At(assumed.clone()),
            None => Place::Nowhere,
        }
    }

    /// Why a kind is not there in the version that is given, if it is in another.
    pub fn elsewhere(&self) -> Option<Loss> {
        let told = self.told.borrow();
        let assumed = &self.assumed;
        let named = (assumed.group.clone(), assumed.kind.clone());
        let served = told.kinds.as_ref()?.served.get(&named)?;
        let other = self.given && served.version != assumed.version;
        other.then(|| Loss {
            message: format!(
                "the Kubernetes API does not serve {}, but {}: give that version to --owner-kind",
                assumed.api_version, served.api_version
            ),
            cause: Cause::Refused,
            code: 404,
        })
    }

    /// Returns when that may be another.
    pub async fn changed(&mut self) {
        // Nobody asks any more: nothing changes.
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Says that the answer seems to be outdated.
    pub fn doubt(&self) {
        self.asked.notify_one();
    }
}

/// Asks; `ready` is whether the API server is known to know all its kinds.
async fn ask(client: &Client, groups: &BTreeSet<String>, ready: &mut bool) -> Result<Kinds, Fault> {
    let first = discover(client, groups).await;
    if first.as_ref().is_err_and(Fault::is_absence) {
        return first;
    }
    let was_ready = std::mem::replace(ready, true);
    if !was_ready && !is_ready(client, ANSWER).await {
        *ready = false;
        return Err(Fault::Unready);
    }
    let answer = match first {
        Ok(kinds) if was_ready => return Ok(kinds),
        _ => discover(client, groups).await,
    };
    match answer {
        // It may not be asked, or knows no discovery.
        Err(fault) if !fault.is_absence() => {
            tracing::debug!(
                why = fault.message(),
                "no discovery: the usual versions are asked for"
            );
            Ok(Kinds {
                untold: groups.clone(),
                ..Kinds::default()
            })
        }
        answer => answer,
    }
}

async fn discover(client: &Client, groups: &BTreeSet<String>) -> Result<Kinds, Fault> {
    let answer: Groups = get(client, "/apis").await?;
    let mut kinds = Kinds::default();
    for item in answer.items {
        let group = item.metadata.name;
        if !groups.contains(&group) {
            continue;
        }
        for version in item.versions {
            for resource in version.resources {
                kinds.offer(
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
                        kinds.offer(&listed.name, &version, named.name, named.kind);
                    }
                }
                Err(fault) if fault.code() == 0 => return Err(fault),
                Err(_) => _ = kinds.untold.insert(listed.name.clone()),
            }
        }
    }
    Ok(kinds)
}

async fn get<A: for<'a> Deserialize<'a>>(client: &Client, path: &str) -> Result<A, Fault> {
    let request = http::Request::get(path).header(ACCEPT, ALL_IN_ONE);
    let request = request
        .body(Vec::new())
        .map_err(|error| Fault::Broken(kube::Error::HttpError(error)))?;
    Ok(tokio::time::timeout(ANSWER, client.request(request)).await??)
}

impl Kinds {
    /// A version, after those that are preferred to it.
    fn offer(&mut self, group: &str, version: &str, plural: String, kind: String) {
        // A part of another resource, such as its status.
        if plural.contains('/') {
            return;
        }
        let named = (group.to_owned(), kind.clone());
        self.served.entry(named).or_insert_with(|| ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind,
            plural,
        });
    }
}

/// Either of the two answers to `/apis`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Groups {
    /// All in one, versions in order of preference.
    items: Vec<Discovered>,
    /// The groups alone.
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

/// What a version of a group holds.
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
