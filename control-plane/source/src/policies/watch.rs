//! The watch of both kinds, and the writer of their statuses: the only code here that asks the API server.
//!
//! Invariant: nothing is published before both kinds were listed once, or are not known to the API server; while it is away the
//! last policies stay. A status is written by the leader only, at the pace of [`Desk`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{StreamExt as _, select_all};
use headgate_model::{PolicyId, PolicyKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Client, CustomResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::desk::{Desk, Standings};
use super::seen::{Seen, identity};
use super::{TokenBucketPolicy, TrafficTagPolicy};
use crate::files::Observed;

/// Who owns the statuses' fields.
const MANAGER: &str = "headgate-status";
/// How long a write may take.
const WRITE: Duration = Duration::from_secs(10);
/// How long a kind that was there must be missing until its policies are taken for removed: an API server that starts may
/// serve its kinds later than it listens, and no limit is lifted by that.
const ABSENT_AFTER: Duration = Duration::from_secs(30);
/// Writes under way at once.
const AT_ONCE: usize = 8;

/// A running watch of policies; dropping it ends it.
#[derive(Debug)]
pub struct Policies {
    seen: watch::Receiver<Option<Arc<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Policies {
    /// Starts watching on the current runtime: these namespaces, or with none the cluster.
    #[must_use]
    pub fn start(client: &Client, namespaces: &[String]) -> Self {
        let (publish, seen) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(observe(client.clone(), namespaces.to_vec(), publish));
        Self {
            seen,
            _tasks: tasks,
        }
    }

    /// The policies as a world of their own, once all of them are known, and the task that keeps it up to date.
    pub async fn observed(
        &self,
    ) -> (
        watch::Receiver<Arc<Observed>>,
        impl Future<Output = ()> + Send + use<>,
    ) {
        let mut seen = self.seen.clone();
        // The sender lives as long as this watch.
        let first = seen.wait_for(Option::is_some).await;
        let first = first.ok().and_then(|seen| seen.clone()).unwrap_or_default();
        let (publish, observed) = watch::channel(Arc::new(first.observe(&Observed::default())));
        let task = async move {
            while seen.changed().await.is_ok() {
                let Some(now) = seen.borrow_and_update().clone() else {
                    continue;
                };
                let next = now.observe(&publish.borrow());
                publish.send_if_modified(|before| {
                    let news = before.objects != next.objects || before.findings != next.findings;
                    if news {
                        *before = Arc::new(next);
                    }
                    news
                });
            }
        };
        (observed, task)
    }

    /// The policies as they are now; `None` until all of them are known.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Option<Arc<Seen>>> {
        self.seen.clone()
    }
}

fn resource(kind: PolicyKind) -> ApiResource {
    match kind {
        PolicyKind::TokenBucket => TokenBucketPolicy::api_resource(),
        PolicyKind::TrafficTag => TrafficTagPolicy::api_resource(),
    }
}

fn api(client: &Client, kind: PolicyKind, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(kind)),
        None => Api::all_with(client.clone(), &resource(kind)),
    }
}

/// A watch: of a kind, in a namespace or in all.
type Scope = (PolicyKind, Option<String>);

async fn observe(
    client: Client,
    namespaces: Vec<String>,
    publish: watch::Sender<Option<Arc<Seen>>>,
) {
    let everywhere: Vec<Option<String>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.into_iter().map(Some).collect()
    };
    let scopes: Vec<Scope> = [PolicyKind::TokenBucket, PolicyKind::TrafficTag]
        .into_iter()
        .flat_map(|kind| {
            everywhere
                .iter()
                .map(move |namespace| (kind, namespace.clone()))
        })
        .collect();
    let mut events = select_all(scopes.iter().map(|(kind, namespace)| {
        let scope = (*kind, namespace.clone());
        let events = watcher(api(&client, *kind, namespace.as_deref()), Config::default());
        events
            .default_backoff()
            .map(move |event| (scope.clone(), event))
            .boxed()
    }));
    let mut seen = Seen::default();
    // The lists that are under way, and those that came to an end once.
    let mut lists: BTreeMap<Scope, Vec<DynamicObject>> = BTreeMap::new();
    let mut synced: BTreeSet<Scope> = BTreeSet::new();
    // Since when their definition is not there.
    let mut missing: BTreeMap<Scope, Instant> = BTreeMap::new();
    while let Some((scope, event)) = events.next().await {
        let kind = scope.0;
        match event {
            Ok(Event::Init) => _ = lists.insert(scope, Vec::new()),
            Ok(Event::InitApply(object)) => lists.entry(scope).or_default().push(object),
            Ok(Event::InitDone) => {
                missing.remove(&scope);
                let listed = lists.remove(&scope).unwrap_or_default();
                seen.replace(kind, scope.1.as_deref(), &listed);
                synced.insert(scope);
            }
            Ok(Event::Apply(object)) => seen.apply(kind, &object),
            Ok(Event::Delete(object)) => seen.delete(&identity(kind, &object)),
            Err(error) if unknown(&error) => {
                let since = *missing.entry(scope.clone()).or_insert_with(Instant::now);
                if !synced.contains(&scope) || since.elapsed() >= ABSENT_AFTER {
                    seen.replace(kind, scope.1.as_deref(), []);
                    synced.insert(scope);
                }
            }
            Err(error) => {
                tracing::warn!(kind = kind.as_str(), %error, "policies cannot be watched: those seen last stay");
            }
        }
        if synced.len() == scopes.len() {
            publish.send_if_modified(|published| {
                let changed = published.as_deref() != Some(&seen);
                if changed {
                    *published = Some(Arc::new(seen.clone()));
                }
                changed
            });
        }
    }
}

fn unknown(error: &kube::runtime::watcher::Error) -> bool {
    use kube::runtime::watcher::Error;
    let api = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    api.code == 404
}

/// Writes statuses while `leading` says so, until `standings` or `seen` has no sender any more.
pub async fn write_statuses(
    client: Client,
    mut standings: watch::Receiver<Arc<Standings>>,
    mut seen: watch::Receiver<Option<Arc<Seen>>>,
    mut leading: watch::Receiver<bool>,
) {
    let begun = Instant::now();
    let mut desk = Desk::default();
    standings.mark_changed();
    seen.mark_changed();
    let mut next = None;
    loop {
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until((begun + at).into()).await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            heard = standings.changed() => heard,
            heard = seen.changed() => heard,
            heard = leading.changed() => heard,
            () = wait => Ok(()),
        };
        if heard.is_err() {
            return;
        }
        desk.want(standings.borrow_and_update().as_ref().clone());
        if let Some(seen) = seen.borrow_and_update().as_ref() {
            desk.stored(seen.stored.clone());
        }
        next = None;
        if !*leading.borrow_and_update() {
            continue;
        }
        let due = desk.due(Timestamp::now(), begun.elapsed());
        next = due.next;
        let writes = due.writes.into_iter().map(|(id, conditions)| {
            let client = client.clone();
            async move { (write(&client, &id, &conditions).await, id) }
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
        while let Some((outcome, id)) = writes.next().await {
            if let Err(why) = outcome {
                tracing::warn!(policy = %id, why, "its status is not written: to be tried again");
                desk.failed(&id);
                next = Some(begun.elapsed() + super::desk::PACE);
            }
        }
    }
}

async fn write(client: &Client, id: &PolicyId, conditions: &[Condition]) -> Result<(), String> {
    let resource = resource(id.kind);
    let status = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": id.name},
        "status": {"conditions": conditions},
    });
    let params = PatchParams::apply(MANAGER).force();
    let api = api(client, id.kind, Some(&id.namespace));
    let patch = Patch::Apply(&status);
    let patched = api.patch_status(&id.name, &params, &patch);
    match tokio::time::timeout(WRITE, patched).await {
        // Gone meanwhile: nobody reads its status.
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {WRITE:?}")),
    }
}
