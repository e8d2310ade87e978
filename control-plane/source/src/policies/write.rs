//! The writer of statuses: the only code that changes the status of policies at the API server.
//!
//! Invariant: a status is written by the leader only, at the pace of [`Desk`]. Who does not lead any more writes nothing more
//! than what is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use headgate_model::{PolicyId, PolicyKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, CustomResourceExt as _};
use serde_json::json;
use tokio::sync::watch;

use super::desk::{Desk, Due, Standings};
use super::seen::Seen;
use super::{TokenBucketPolicy, TrafficTagPolicy};
use crate::access::status_of;
use crate::kubernetes::fault::Fault;
use crate::writes::Faults;

/// Who owns the statuses' fields.
pub(super) const MANAGER: &str = "headgate-status";
/// What a status that cannot be written means.
const LOST: &str = "the conditions of policies are not written";
/// How long a write may take.
const WRITE: Duration = Duration::from_secs(10);
/// The kinds that have a status.
const KINDS: [PolicyKind; 2] = [PolicyKind::TokenBucket, PolicyKind::TrafficTag];
/// Writes under way at once.
const AT_ONCE: usize = 8;

/// Writes statuses while `leading` says so, tells `faults` what cannot be written, until `standings` or `seen` has no sender any more.
pub async fn write_statuses(
    client: Client,
    mut standings: watch::Receiver<Arc<Standings>>,
    mut seen: watch::Receiver<Option<Arc<Seen>>>,
    mut leading: watch::Receiver<bool>,
    faults: Faults,
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
            desk.written(seen.written.clone(), Timestamp::now(), begun.elapsed());
        }
        next = None;
        if !*leading.borrow_and_update() {
            continue;
        }
        let due = desk.due(Timestamp::now(), begun.elapsed());
        next = due.next;
        if due == Due::default() {
            // All is written, also what failed before.
            KINDS
                .into_iter()
                .for_each(|kind| faults.well(&status_of(kind).name()));
        }
        let writes = due.writes.into_iter().map(|(id, conditions)| {
            let (client, leading) = (client.clone(), leading.clone());
            async move {
                // A batch takes its time, in which another replica may have begun to lead.
                if !*leading.borrow() {
                    return (None, id);
                }
                (Some(write(&client, &id, &conditions).await), id)
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
            let failed = tried.entry(status_of(id.kind).name()).or_default();
            if let Err(why) = outcome {
                desk.failed(&id);
                failed.get_or_insert(why);
                let again = begun.elapsed() + super::desk::PACE;
                next = Some(next.map_or(again, |next| next.min(again)));
            }
        }
        for (resource, failed) in tried {
            match failed {
                Some(why) => faults.failed(&resource, LOST, &why),
                None => faults.well(&resource),
            }
        }
    }
}

async fn write(client: &Client, id: &PolicyId, conditions: &[Condition]) -> Result<(), String> {
    let resource: ApiResource = match id.kind {
        PolicyKind::TokenBucket => TokenBucketPolicy::api_resource(),
        PolicyKind::TrafficTag => TrafficTagPolicy::api_resource(),
    };
    let status = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": id.name},
        "status": {"conditions": conditions},
    });
    let params = PatchParams::apply(MANAGER).force();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &id.namespace, &resource);
    let patch = Patch::Apply(&status);
    let patched = api.patch_status(&id.name, &params, &patch);
    match tokio::time::timeout(WRITE, patched).await {
        // Gone meanwhile: nobody reads its status.
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        Ok(Err(error)) => Err(Fault::from(error).message()),
        Err(_) => Err(format!("no answer within {WRITE:?}")),
    }
}
