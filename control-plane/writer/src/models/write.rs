//! Writer of `ServedModel`s: the only code that creates, changes and deletes them.
//!
//! Invariant: only the leader writes, as [`StatusScheduler`] schedules, and with the `resourceVersion` that the write is based on. Of a
//! carrier only names and versions are copied, and no owner or finalizer is set, so the object outlives the carriers of its base.

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
use tracing::Instrument as _;

use super::scheduler::{Annotations, Due, SchedulerInput, StatusScheduler, Write};
use crate::counts::WeightCounts;
use headgate_kubernetes::access::{MODEL_STATUS, MODELS};
use headgate_kubernetes::fault::Fault;
use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::models::ModelCache;
use headgate_kubernetes::models::ServedModel;
use headgate_kubernetes::models::{MANAGER, ModelObjects};
use headgate_model::{ModelKey, RoutedVersions};
use headgate_model::{Planned, same_weights};

/// Consequence of objects that cannot be written, for the problem's message.
const CONSEQUENCE: &str = "the base of models is not saved, so for a replica that starts the oldest carrier of a model is its base";
/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest number of concurrent writes.
const CONCURRENCY: usize = 8;
/// Delay that batches changes other than of weights, such as the pods of a rollout. No write that waits for the watch to show the
/// one before it is delayed.
pub(super) const BATCH: Duration = Duration::from_millis(300);
/// Least and most time between two passes over all models: a pass takes time.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(50));

/// Inputs of the writer.
pub(crate) struct ModelWriter {
    pub(crate) client: Client,
    pub(crate) objects: ModelObjects,
    pub(crate) plans: watch::Receiver<Option<Arc<Planned>>>,
    pub(crate) counts: watch::Receiver<Option<Arc<WeightCounts>>>,
    /// The routed versions of each model; `None` where they are not known yet.
    pub(crate) routed: watch::Receiver<Option<Arc<RoutedVersions>>>,
    pub(crate) leading: watch::Receiver<bool>,
    pub(crate) faults: Faults,
}

/// When to plan writes again without a change.
struct Wakeup {
    at: Option<Duration>,
    /// As [`Due::awaits_echo`]; also where another writer came first and its object is not seen yet.
    awaits_echo: bool,
}

/// A write that failed.
struct Failure {
    /// The permission that was used.
    resource: String,
    why: String,
    code: u16,
}

/// Writes while this replica leads, until all senders of its inputs are dropped.
pub(crate) async fn write_models(mut writer: ModelWriter) {
    let started = Instant::now();
    let mut scheduler = StatusScheduler::default();
    writer.plans.mark_changed();
    let mut next: Option<Duration> = None;
    let mut last_plan: Option<Arc<Planned>> = None;
    let mut awaits_echo = false;
    loop {
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until((started + at).into()).await,
                None => std::future::pending().await,
            }
        };
        let (changed, is_urgent) = tokio::select! {
            changed = writer.plans.changed() => (changed, false),
            changed = writer.objects.cache.changed() => (changed, awaits_echo),
            changed = writer.counts.changed() => (changed, true),
            // Without a mesh there are no further ones.
            Ok(()) = writer.routed.changed() => (Ok(()), true),
            changed = writer.leading.changed() => (changed, true),
            () = wait => (Ok(()), true),
        };
        if changed.is_err() {
            return;
        }
        if !is_urgent {
            let cache = awaits_echo.then_some(&mut writer.objects.cache);
            collect_changes(&mut writer.plans, last_plan.as_deref(), cache).await;
        }
        let began = Instant::now();
        (next, awaits_echo) = (None, false);
        let plan = writer.plans.borrow_and_update().clone();
        let cache = writer.objects.cache.borrow_and_update().clone();
        let counts = writer.counts.borrow_and_update().clone();
        let routed = writer.routed.borrow_and_update().clone();
        last_plan.clone_from(&plan);
        if !*writer.leading.borrow_and_update() {
            continue;
        }
        let (Some(plan), Some(cache)) = (plan, cache) else {
            continue;
        };
        let due = plan_writes(
            &mut scheduler,
            &plan,
            &cache,
            (counts.as_deref(), routed.as_deref()),
            &writer.objects.controller,
            started,
        );
        let pause = began.elapsed().clamp(PAUSE.0, PAUSE.1);
        Wakeup {
            at: next,
            awaits_echo,
        } = writer.perform(&mut scheduler, due, started).await;
        tokio::time::sleep(pause).await;
    }
}

/// Waits for further changes, at most [`BATCH`]. An edit of weights, or an `awaited` write in the watch, ends the wait.
pub(super) async fn collect_changes<S>(
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
        () = tokio::time::sleep(BATCH) => {}
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

fn plan_writes(
    scheduler: &mut StatusScheduler,
    plan: &Planned,
    cache: &ModelCache,
    (counts, routed): (Option<&WeightCounts>, Option<&RoutedVersions>),
    controller: &str,
    started: Instant,
) -> Due {
    let (time, clock) = (Timestamp::now(), started.elapsed());
    let objects = &plan.observed.objects;
    let memories = next_memories(&plan.plan, objects, time.as_second());
    let mut due = scheduler.due(&SchedulerInput {
        plan: &plan.plan,
        objects,
        memories: &memories,
        counts,
        routed,
        cache,
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
    /// Performs the writes that are due, and returns when to plan again.
    async fn perform(
        &mut self,
        scheduler: &mut StatusScheduler,
        due: Due,
        started: Instant,
    ) -> Wakeup {
        let mut next = Wakeup {
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
                let span = tracing::info_span!("write_model", namespace = key.0, model = %key.1);
                let done = perform(&client, &key, &write).instrument(span).await;
                (key, Some(done))
            }
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(CONCURRENCY);
        // The last failure for each right that the batch used.
        let mut tried: BTreeMap<String, Option<Failure>> = BTreeMap::new();
        while let Some((key, done)) = writes.next().await {
            let clock = started.elapsed();
            match done {
                Some(Ok(())) => {
                    scheduler.written(&key);
                    for row in [&MODELS, &MODEL_STATUS] {
                        tried.entry(row.name()).or_default();
                    }
                }
                None => _ = scheduler.failed(&key, false, clock),
                Some(Err(failure)) => {
                    let conflict = failure.code == 409;
                    let again = scheduler.failed(&key, conflict, clock);
                    next.at = Some(next.at.map_or(again, |next| next.min(again)));
                    next.awaits_echo |= conflict;
                    if !conflict {
                        let first = tried.entry(failure.resource.clone()).or_default();
                        first.get_or_insert(failure);
                    }
                }
            }
        }
        self.report(&tried);
        next
    }

    fn report(&self, tried: &BTreeMap<String, Option<Failure>>) {
        for (resource, failure) in tried {
            match failure {
                Some(failure) => self.faults.failed(resource, CONSEQUENCE, &failure.why),
                None => self.faults.succeeded(resource),
            }
        }
        if tried.is_empty() {
            return;
        }
        let refused = tried.values().flatten().find(|failure| failure.code == 403);
        let refused = refused.map(|failure| failure.why.clone());
        self.objects
            .write_failure
            .send_if_modified(|write_failure| {
                let changed = *write_failure != refused;
                *write_failure = refused;
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
            let object = format!("ServedModel {}/{name}", key.0);
            tracing::info!(
                object,
                "no object has the label of the model; deleting its ServedModel"
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
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    let failure = |why: String, code: u16| Failure {
        resource: resource.to_owned(),
        why,
        code,
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let fault = Fault::from(error);
            // The object was deleted meanwhile. The watch shows the current object soon.
            let code = if fault.code() == 404 {
                409
            } else {
                fault.code()
            };
            Err(failure(fault.message(), code))
        }
        Err(_) => Err(failure(format!("no answer within {REQUEST_TIMEOUT:?}"), 0)),
    }
}
