//! The writer of `ServedModel`s: the only code that creates, changes and removes them.
//!
//! Invariant: only the leader writes, when [`StatusScheduler`] says so, and with the `resourceVersion` that it saw. Of a carrier only names
//! and versions are copied, and no owner or finalizer is set, so the object outlives the carriers of its base.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use headgate_contract::{ModelId, names};
use headgate_model::{Plan, PlannedModel, next_memories, next_memory_change};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Client, CustomResourceExt as _, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::scheduler::{Annotations, Due, Now, StatusScheduler, Write};
use crate::counts::WeightCounts;
use headgate_kubernetes::access::{MODEL_STATUS, MODELS};
use headgate_kubernetes::fault::Fault;
use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::models::ModelCache;
use headgate_kubernetes::models::ServedModel;
use headgate_kubernetes::models::{MANAGER, Writable};
use headgate_model::ModelKey;
use headgate_model::{Planned, same_weights};

/// Consequence of objects that cannot be written, for the problem's message.
const LOST: &str = "the base of models is not saved, so for a replica that starts the oldest carrier of a model is its base";
/// Timeout of a request.
const ANSWER: Duration = Duration::from_secs(10);
/// Most concurrent writes.
const AT_ONCE: usize = 8;
/// Delay that batches changes other than of weights, such as the pods of a rollout. No write that waits for the watch to show the
/// one before it is delayed.
pub(super) const GATHER: Duration = Duration::from_millis(300);
/// Least and most time between two passes over all models: a pass takes time.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(50));

/// What the writer looks at.
pub(crate) struct ModelWriter {
    pub(crate) client: Client,
    pub(crate) objects: Writable,
    pub(crate) plans: watch::Receiver<Option<Arc<Planned>>>,
    pub(crate) counts: watch::Receiver<Option<Arc<WeightCounts>>>,
    pub(crate) leading: watch::Receiver<bool>,
    pub(crate) faults: Faults,
}

/// When to look again, if nothing else happens.
struct Next {
    at: Option<Duration>,
    /// As [`Due::awaits_echo`]; also where another writer came first and its object is not seen yet.
    awaits_echo: bool,
}

/// Why a write did not happen.
struct Failure {
    /// Which right was used.
    resource: String,
    why: String,
    code: u16,
}

/// Writes while this replica leads, until all senders of its inputs are dropped.
pub(crate) async fn write_models(mut writer: ModelWriter) {
    let begun = Instant::now();
    let mut desk = StatusScheduler::default();
    writer.plans.mark_changed();
    let mut next: Option<Duration> = None;
    let mut looked_at: Option<Arc<Planned>> = None;
    let mut awaits_echo = false;
    loop {
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until((begun + at).into()).await,
                None => std::future::pending().await,
            }
        };
        let (heard, hurries) = tokio::select! {
            heard = writer.plans.changed() => (heard, false),
            heard = writer.objects.seen.changed() => (heard, awaits_echo),
            heard = writer.counts.changed() => (heard, true),
            heard = writer.leading.changed() => (heard, true),
            () = wait => (Ok(()), true),
        };
        if heard.is_err() {
            return;
        }
        if !hurries {
            let seen = awaits_echo.then_some(&mut writer.objects.seen);
            gather(&mut writer.plans, looked_at.as_deref(), seen).await;
        }
        let looked = Instant::now();
        (next, awaits_echo) = (None, false);
        let plan = writer.plans.borrow_and_update().clone();
        let seen = writer.objects.seen.borrow_and_update().clone();
        let counts = writer.counts.borrow_and_update().clone();
        looked_at.clone_from(&plan);
        if !*writer.leading.borrow_and_update() {
            continue;
        }
        let (Some(plan), Some(seen)) = (plan, seen) else {
            continue;
        };
        let due = look(
            &mut desk,
            &plan,
            &seen,
            counts.as_deref(),
            &writer.objects.controller,
            begun,
        );
        let rest = looked.elapsed().clamp(REST.0, REST.1);
        Next {
            at: next,
            awaits_echo,
        } = writer.perform(&mut desk, due, begun).await;
        tokio::time::sleep(rest).await;
    }
}

/// Lets changes come together, but for [`GATHER`] at most, and neither after an edit of weights nor once the watch shows a write
/// that is `awaited`.
pub(super) async fn gather<S>(
    plans: &mut watch::Receiver<Option<Arc<Planned>>>,
    before: Option<&Planned>,
    awaited: Option<&mut watch::Receiver<S>>,
) {
    let shown = async {
        let changed = match awaited {
            Some(seen) => seen.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            // Nothing is awaited, or the reducer ended; the caller's next wait on it returns.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = edited(plans, before) => {}
        () = shown => {}
        () = tokio::time::sleep(GATHER) => {}
    }
}

/// Waits until the published plan has other weights for some model than this one. Returns at once if it has them already.
async fn edited(plans: &mut watch::Receiver<Option<Arc<Planned>>>, before: Option<&Planned>) {
    let weighs_otherwise = |plan: &Option<Arc<Planned>>| match (plan, before) {
        (Some(plan), Some(before)) => !same_plan_weights(&plan.plan, &before.plan),
        (plan, _) => plan.is_some(),
    };
    if plans.wait_for(weighs_otherwise).await.is_err() {
        // The publisher ended; the caller's next wait on it returns.
        std::future::pending::<()>().await;
    }
}

fn same_plan_weights(one: &Plan, other: &Plan) -> bool {
    let models =
        |plan: &'_ Plan| -> usize { plan.namespaces.values().map(|view| view.models.len()).sum() };
    let in_other = |namespace: &String, id: &ModelId, model: &PlannedModel| {
        let theirs = other.namespaces.get(namespace);
        let theirs = theirs.and_then(|view| view.models.get(id));
        theirs.is_some_and(|theirs| same_weights(theirs, model))
    };
    models(one) == models(other)
        && one.namespaces.iter().all(|(namespace, view)| {
            let mut models = view.models.iter();
            models.all(|(id, model)| in_other(namespace, id, model))
        })
}

fn look(
    desk: &mut StatusScheduler,
    plan: &Planned,
    seen: &ModelCache,
    counts: Option<&WeightCounts>,
    controller: &str,
    begun: Instant,
) -> Due {
    let (time, clock) = (Timestamp::now(), begun.elapsed());
    let objects = &plan.observed.objects;
    let memories = next_memories(&plan.plan, objects, time.as_second());
    let mut due = desk.due(&Now {
        plan: &plan.plan,
        objects,
        memories: &memories,
        counts,
        seen,
        controller,
        time,
        clock,
    });
    let by_time = next_memory_change(&plan.plan, objects, time.as_second()).map(|at| {
        let left = u64::try_from(at - time.as_second()).unwrap_or(0).max(1);
        clock + Duration::from_secs(left)
    });
    due.next = due.next.into_iter().chain(by_time).min();
    due
}

impl ModelWriter {
    /// Writes what is due, and says when to look again.
    async fn perform(&mut self, desk: &mut StatusScheduler, due: Due, begun: Instant) -> Next {
        let mut next = Next {
            at: due.next,
            awaits_echo: due.awaits_echo,
        };
        let writes = due.writes.into_iter().map(|(key, write)| {
            let (client, leading) = (self.client.clone(), self.leading.clone());
            async move {
                // Another replica may have become the leader during the batch.
                if !*leading.borrow() {
                    return (key, None);
                }
                let done = perform(&client, &key, &write).await;
                (key, Some(done))
            }
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
        // The last failure for each right that the batch used.
        let mut tried: BTreeMap<String, Option<Failure>> = BTreeMap::new();
        while let Some((key, done)) = writes.next().await {
            let clock = begun.elapsed();
            match done {
                Some(Ok(())) => {
                    desk.written(&key);
                    for row in [&MODELS, &MODEL_STATUS] {
                        tried.entry(row.name()).or_default();
                    }
                }
                None => _ = desk.failed(&key, false, clock),
                Some(Err(failure)) => {
                    let conflict = failure.code == 409;
                    let again = desk.failed(&key, conflict, clock);
                    next.at = Some(next.at.map_or(again, |next| next.min(again)));
                    next.awaits_echo |= conflict;
                    if !conflict {
                        let first = tried.entry(failure.resource.clone()).or_default();
                        first.get_or_insert(failure);
                    }
                }
            }
        }
        self.tell(&tried);
        next
    }

    fn tell(&self, tried: &BTreeMap<String, Option<Failure>>) {
        for (resource, failure) in tried {
            match failure {
                Some(failure) => self.faults.failed(resource, LOST, &failure.why),
                None => self.faults.well(resource),
            }
        }
        if tried.is_empty() {
            return;
        }
        let refused = tried.values().flatten().find(|failure| failure.code == 403);
        let refused = refused.map(|failure| failure.why.clone());
        self.objects.unwritable.send_if_modified(|unwritable| {
            let changed = *unwritable != refused;
            *unwritable = refused;
            changed
        });
    }
}

async fn perform(client: &Client, key: &ModelKey, write: &Write) -> Result<(), Failure> {
    let resource = ServedModel::api_resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.0, &resource);
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    match write {
        Write::Create {
            name,
            spec,
            annotations,
            status,
        } => {
            let mut object = manifest(name, &json!({}));
            object["spec"] = json!(spec);
            object["metadata"]["annotations"] = written(annotations);
            if let Some(all) = object["metadata"]["annotations"].as_object_mut() {
                all.retain(|_, text| !text.is_null());
            }
            let object = dynamic(object)?;
            let made = answer(&MODELS.name(), api.create(&params, &object)).await?;
            let version = made.resource_version().unwrap_or_default();
            put_status(&api, name, &version, &json!(status), &params).await
        }
        Write::Update {
            name,
            resource_version,
            annotations,
            status,
        } => {
            let mut version = resource_version.clone();
            if let Some(annotations) = annotations {
                let patch = json!({"metadata": {
                    "resourceVersion": version,
                    "annotations": written(annotations),
                }});
                let params = PatchParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let patch = Patch::Merge(&patch);
                let patched = api.patch(name, &params, &patch);
                let patched = answer(&MODELS.name(), patched).await?;
                version = patched.resource_version().unwrap_or_default();
            }
            match status {
                Some(status) => put_status(&api, name, &version, &json!(status), &params).await,
                None => Ok(()),
            }
        }
        Write::Delete {
            name,
            uid,
            resource_version,
        } => {
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    resource_version: Some(resource_version.clone()),
                    uid: Some(uid.clone()),
                }),
                ..DeleteParams::default()
            };
            tracing::info!(
                namespace = key.0,
                name,
                "nothing declares the model any more: its ServedModel is removed"
            );
            answer(&MODELS.name(), api.delete(name, &params)).await?;
            Ok(())
        }
    }
}

/// Replaces the whole status of this version of an object, also fields of other writers.
async fn put_status(
    api: &Api<DynamicObject>,
    name: &str,
    version: &str,
    status: &Value,
    params: &PostParams,
) -> Result<(), Failure> {
    let mut object = manifest(name, &json!({"resourceVersion": version}));
    object["spec"] = json!({});
    object["status"] = status.clone();
    let object = dynamic(object)?;
    let put = api.replace_status(name, params, &object);
    answer(&MODEL_STATUS.name(), put).await?;
    Ok(())
}

fn written(annotations: &Annotations) -> Value {
    // Null removes an annotation.
    let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    json!({
        names::ANNOTATION_BASE: filled(&annotations.base),
        names::ANNOTATION_PREVIOUS_BASE: filled(&annotations.previous),
    })
}

fn manifest(name: &str, metadata: &Value) -> Value {
    let resource = ServedModel::api_resource();
    let mut object = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
    });
    object["metadata"]["name"] = json!(name);
    object
}

fn dynamic(object: Value) -> Result<DynamicObject, Failure> {
    serde_json::from_value(object).map_err(|error| Failure {
        resource: MODELS.name(),
        why: error.to_string(),
        code: 0,
    })
}

async fn answer<T>(
    resource: &str,
    asked: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    let failure = |why: String, code: u16| Failure {
        resource: resource.to_owned(),
        why,
        code,
    };
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let fault = Fault::from(error);
            // It was deleted meanwhile; the watch shows the current object soon.
            let code = if fault.code() == 404 {
                409
            } else {
                fault.code()
            };
            Err(failure(fault.message(), code))
        }
        Err(_) => Err(failure(format!("no answer within {ANSWER:?}"), 0)),
    }
}
