//! The writer of statuses: the only code that changes the status of policies at the API server.
//!
//! Invariant: a status is written by the leader only, at the pace of [`StatusScheduler`]. Who does not lead any more writes nothing more
//! than what is under way.

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

use super::scheduler::{Due, Standings, StatusScheduler, Write};
use headgate_kubernetes::access::{self, status_of};
use headgate_kubernetes::fault::Fault;
use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::policies::{Controller, PolicyCache};

/// What a status that cannot be written means.
const LOST: &str = "the conditions of policies are not written";
/// How long a write may take.
const WRITE: Duration = Duration::from_secs(10);
/// Delay of the retry after a conflict. The watch usually shows the newer object before.
const CHANGED: Duration = Duration::from_secs(1);
/// Writes under way at once.
const AT_ONCE: usize = 8;

/// Writes statuses as `controller` while `leading` is true, and reports failures to `faults`. Ends when all senders of
/// `standings` or of `seen` are dropped.
pub async fn write_statuses(
    client: Client,
    controller: Controller,
    mut standings: watch::Receiver<Arc<Standings>>,
    mut seen: watch::Receiver<Option<Arc<PolicyCache>>>,
    mut leading: watch::Receiver<bool>,
    faults: Faults,
) {
    let begun = Instant::now();
    let mut desk = StatusScheduler::default();
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
            desk.stored(seen.stored.clone(), Timestamp::now(), begun.elapsed());
        }
        next = None;
        if !*leading.borrow_and_update() {
            continue;
        }
        let due = desk.due(Timestamp::now(), begun.elapsed());
        next = due.next;
        if due == Due::default() {
            // All is written, also what failed before.
            POLICY_DEFINITIONS
                .iter()
                .for_each(|definition| faults.well(&status_of(definition).name()));
        }
        let writes = due.writes.into_iter().map(|due| {
            let (client, leading, controller) = (client.clone(), leading.clone(), &controller);
            async move {
                // A batch takes its time, in which another replica may have begun to lead.
                if !*leading.borrow() {
                    return (None, due.id);
                }
                (Some(write(&client, controller, &due).await), due.id)
            }
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
        // Of each resource, why one of the batch could not be written: others that could are no end of it.
        let mut tried: BTreeMap<String, Option<String>> = BTreeMap::new();
        while let Some((outcome, id)) = writes.next().await {
            let Some(outcome) = outcome else {
                desk.untried(&id);
                continue;
            };
            let failed = tried.entry(status_name(&id.kind)).or_default();
            let after = match outcome {
                Outcome::Written => continue,
                Outcome::Changed => {
                    desk.untried(&id);
                    CHANGED
                }
                Outcome::Failed(why) => {
                    desk.failed(&id);
                    failed.get_or_insert(why);
                    super::scheduler::PACE
                }
            };
            let again = begun.elapsed() + after;
            next = Some(next.map_or(again, |next| next.min(again)));
        }
        for (resource, failed) in tried {
            match failed {
                Some(why) => faults.failed(&resource, LOST, &why),
                None => faults.well(&resource),
            }
        }
    }
}

/// Result of a write.
enum Outcome {
    Written,
    /// Conflict: the object was edited, written by another installation, or recreated since it was seen.
    Changed,
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
        // The API server does not compare the UID of an applied status; it does compare the `resourceVersion`.
        "metadata": {"name": id.name, "resourceVersion": due.version},
        "status": controller.status(&due.conditions),
    });
    let params = PatchParams::apply(&controller.manager()).force();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &id.namespace, resource);
    let patch = Patch::Apply(&status);
    let patched = api.patch_status(&id.name, &params, &patch);
    match tokio::time::timeout(WRITE, patched).await {
        Ok(Ok(_)) => Outcome::Written,
        // Gone meanwhile: nobody reads its status.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Outcome::Written,
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Outcome::Changed,
        Ok(Err(error)) => Outcome::Failed(Fault::from(error).message()),
        Err(_) => Outcome::Failed(format!("no answer within {WRITE:?}")),
    }
}
