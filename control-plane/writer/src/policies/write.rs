//! Writer of policy status: the only code that changes the status of policies at the API server.
//!
//! Invariant: only the leader writes, as [`StatusScheduler`] schedules. A replica that is no longer the leader starts no further write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use headgate_contract::{POLICY_DEFINITIONS, PolicyDefinition, PolicyKind};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::json;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::scheduler::{Due, PolicyStates, StatusScheduler, Write};
use headgate_kubernetes::access::{self, status_of};
use headgate_kubernetes::fault::Fault;
use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::policies::{Controller, PolicyCache};

/// Consequence of a status that cannot be written.
const CONSEQUENCE: &str = "the conditions of policies are not written";
/// Timeout of a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay of the retry after a conflict. Usually the watch shows the newer object earlier.
const CONFLICT_RETRY: Duration = Duration::from_secs(1);
/// Largest number of concurrent writes.
const CONCURRENCY: usize = 8;

/// Writes statuses as `controller` while `leading` is true, and reports failures to `faults`. Ends when all senders of
/// `states` or of `cache` are dropped.
pub async fn write_statuses(
    client: Client,
    controller: Controller,
    mut states: watch::Receiver<Arc<PolicyStates>>,
    mut cache: watch::Receiver<Option<Arc<PolicyCache>>>,
    mut leading: watch::Receiver<bool>,
    faults: Faults,
) {
    let started = Instant::now();
    let mut scheduler = StatusScheduler::default();
    states.mark_changed();
    cache.mark_changed();
    let mut next = None;
    loop {
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until((started + at).into()).await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            changed = states.changed() => changed,
            changed = cache.changed() => changed,
            changed = leading.changed() => changed,
            () = wait => Ok(()),
        };
        if changed.is_err() {
            return;
        }
        scheduler.want(states.borrow_and_update().as_ref().clone());
        if let Some(cache) = cache.borrow_and_update().as_ref() {
            scheduler.stored(cache.stored.clone(), Timestamp::now(), started.elapsed());
        }
        next = None;
        if !*leading.borrow_and_update() {
            continue;
        }
        let due = scheduler.due(Timestamp::now(), started.elapsed());
        next = due.next;
        if due == Due::default() {
            // Everything is written, including earlier failures.
            POLICY_DEFINITIONS
                .iter()
                .for_each(|definition| faults.succeeded(&status_of(definition).name()));
        }
        let writes = due.writes.into_iter().map(|due| {
            let (client, leading, controller) = (client.clone(), leading.clone(), &controller);
            async move {
                // Another replica may have become the leader during the batch.
                if !*leading.borrow() {
                    return (None, due.id);
                }
                let (object, namespace) = (&due.id, &due.id.namespace);
                let span = tracing::info_span!("write_status", %object, namespace);
                let outcome = write(&client, controller, &due).instrument(span).await;
                (Some(outcome), due.id)
            }
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(CONCURRENCY);
        // The first failure of each resource in this batch. A failure persists even if other writes succeed.
        let mut tried: BTreeMap<String, Option<String>> = BTreeMap::new();
        while let Some((outcome, id)) = writes.next().await {
            let Some(outcome) = outcome else {
                scheduler.skipped(&id);
                continue;
            };
            let failed = tried.entry(status_name(&id.kind)).or_default();
            let after = match outcome {
                Outcome::Written => continue,
                Outcome::Conflict => {
                    scheduler.skipped(&id);
                    CONFLICT_RETRY
                }
                Outcome::Failed(why) => {
                    scheduler.failed(&id);
                    failed.get_or_insert(why);
                    super::scheduler::MIN_INTERVAL
                }
            };
            let again = started.elapsed() + after;
            next = Some(next.map_or(again, |next| next.min(again)));
        }
        for (resource, failed) in tried {
            match failed {
                Some(why) => faults.failed(&resource, CONSEQUENCE, &why),
                None => faults.succeeded(&resource),
            }
        }
    }
}

/// Result of a write.
enum Outcome {
    Written,
    /// Conflict: the object was edited, written by another installation, or recreated.
    Conflict,
    Failed(String),
}

/// The status of a kind, as `headgate status` names it.
fn status_name(kind: &PolicyKind) -> String {
    let definition = PolicyDefinition::find(kind.as_str());
    definition.map_or_else(|| kind.to_string(), |found| status_of(found).name())
}

async fn write(client: &Client, controller: &Controller, due: &Write) -> Outcome {
    let id = &due.id;
    let Some(definition) = PolicyDefinition::find(id.kind.as_str()) else {
        // No object of this kind is known to this release, so there is no status to write.
        return Outcome::Written;
    };
    let watchable = access::policy(definition);
    let resource = watchable.resource();
    let status = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        // The API server compares the `resourceVersion` of an applied status, but not the UID.
        "metadata": {"name": id.name, "resourceVersion": due.version},
        "status": controller.status(due.conditions.clone()),
    });
    let params = PatchParams::apply(&controller.manager()).force();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &id.namespace, resource);
    let patch = Patch::Apply(&status);
    let patched = api.patch_status(&id.name, &params, &patch);
    match tokio::time::timeout(WRITE_TIMEOUT, patched).await {
        Ok(Ok(_)) => {
            tracing::debug!("status written");
            Outcome::Written
        }
        // The object was deleted meanwhile.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Outcome::Written,
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Outcome::Conflict,
        Ok(Err(error)) => Outcome::Failed(Fault::from(error).message()),
        Err(_) => Outcome::Failed(format!("no answer within {WRITE_TIMEOUT:?}")),
    }
}
