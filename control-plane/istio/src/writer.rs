//! The writer of Istio's objects: performs the steps while this replica leads, and publishes what it finds.
//!
//! Invariant: an object of another person is never changed, and a write that fails is retried and reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use headgate_kubernetes::access::{DESTINATION_RULES, ENVOY_FILTERS};
use headgate_kubernetes::fault::Fault;
use headgate_kubernetes::faults::Faults;
use headgate_model::{Finding, ModelKey, Planned, RoutedVersions};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::desired::desired;
use crate::foreign_findings::all;
use crate::manifest::{IstioKind, manifest};
use crate::object::{Desired, ObjectKey};
use crate::options::Options;
use crate::steps::{Ages, Input, Steps, Write};
use crate::stored::Stored;

/// The field manager of the objects.
const MANAGER: &str = "headgate-istio";
/// Timeout of a write.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay that batches changes.
const BATCH: Duration = Duration::from_millis(100);
/// How long the watch may take to show a write, before it is written again; also the wait after a failure.
const ECHO: Duration = Duration::from_secs(2);
/// Largest number of concurrent writes.
const CONCURRENCY: usize = 4;
/// Consequence of objects that cannot be written.
const CONSEQUENCE: &str = "proxies of the mesh do not get new versions";

/// Whether objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The lease holder writes them.
    Write,
    /// Another tool writes them, such as Argo CD with the output of `translate --istio`.
    Watch,
}

/// What the writer finds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeshState {
    /// The routed versions; `None` before the objects are known, and on replicas that do not lead.
    pub routed: Option<Arc<RoutedVersions>>,
    /// Versions without a route, and objects of other people in the way.
    pub findings: Arc<Vec<Finding>>,
}

/// Inputs of the writer.
pub struct Writer {
    /// Client of the API server.
    pub client: Client,
    /// Settings of the objects.
    pub options: Options,
    /// Whether objects are written.
    pub mode: Mode,
    /// How long a route stays after its version left the plan.
    pub linger: Duration,
    /// Each plan.
    pub plans: watch::Receiver<Option<Arc<Planned>>>,
    /// The stored objects.
    pub stored: watch::Receiver<Option<Arc<Stored>>>,
    /// The models whose plan some proxies have not acknowledged.
    pub unacknowledged: watch::Receiver<Arc<BTreeSet<ModelKey>>>,
    /// Whether this replica leads.
    pub leading: watch::Receiver<bool>,
    /// Failing writes.
    pub faults: Faults,
    /// Receives what the writer finds.
    pub state: watch::Sender<MeshState>,
}

/// Decides and writes until the senders of its inputs are dropped.
pub async fn write(mut writer: Writer) {
    let started = Instant::now();
    let mut ages = Ages::default();
    let mut attempts: BTreeMap<(IstioKind, ObjectKey), (Value, Duration)> = BTreeMap::new();
    let mut overdue: BTreeSet<ModelKey> = BTreeSet::new();
    let mut next: Option<Duration> = None;
    writer.plans.mark_changed();
    loop {
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until((started + at).into()).await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            changed = writer.plans.changed() => changed,
            changed = writer.stored.changed() => changed,
            changed = writer.unacknowledged.changed() => changed,
            changed = writer.leading.changed() => changed,
            () = wait => Ok(()),
        };
        if changed.is_err() {
            return;
        }
        tokio::time::sleep(BATCH).await;
        next = None;
        let plan = writer.plans.borrow_and_update().clone();
        let stored = writer.stored.borrow_and_update().clone();
        let leads = *writer.leading.borrow_and_update();
        let (Some(plan), Some(stored)) = (plan, stored) else {
            continue;
        };
        let desired = desired(
            &plan.plan,
            &plan.observed.objects,
            &stored.gateways,
            &writer.options,
        );
        let unacknowledged = writer.unacknowledged.borrow_and_update().clone();
        let now = started.elapsed();
        let steps = ages.steps(&Input {
            desired: &desired,
            stored: &stored,
            objects: &plan.observed.objects,
            options: &writer.options,
            linger: writer.linger,
            unacknowledged: &unacknowledged,
            now,
        });
        writer.publish(&desired, &stored, &steps, leads);
        next = steps.next;
        if !leads || writer.mode == Mode::Watch {
            continue;
        }
        for (namespace, id) in steps.overdue.difference(&overdue) {
            tracing::warn!(
                namespace = namespace.as_str(),
                model = id.as_str(),
                "removing routes of removed versions, although some proxies have not acknowledged the plan for 10 times --linger"
            );
        }
        overdue.clone_from(&steps.overdue);
        let due = due(steps, &mut attempts, now);
        next = next.into_iter().chain(due.next).min();
        writer.perform(due.writes).await;
    }
}

/// The writes to perform now.
struct Due {
    writes: Vec<Write>,
    next: Option<Duration>,
}

/// Leaves out writes that were performed a moment ago and that the watch does not show yet.
fn due(
    steps: Steps,
    attempts: &mut BTreeMap<(IstioKind, ObjectKey), (Value, Duration)>,
    now: Duration,
) -> Due {
    attempts.retain(|_, (_, until)| *until > now);
    let mut due = Due {
        writes: Vec::new(),
        next: None,
    };
    for write in steps.writes {
        let (place, content) = match &write {
            Write::Apply(kind, key, spec) => ((*kind, key.clone()), spec.clone()),
            Write::Delete(kind, key, version) => {
                ((*kind, key.clone()), Value::from(version.as_str()))
            }
        };
        match attempts.get(&place) {
            Some((last, until)) if *last == content => {
                due.next = due.next.into_iter().chain([*until]).min();
            }
            _ => {
                due.next = due.next.into_iter().chain([now + ECHO]).min();
                attempts.insert(place, (content, now + ECHO));
                due.writes.push(write);
            }
        }
    }
    due
}

impl Writer {
    fn publish(&self, desired: &Desired, stored: &Stored, steps: &Steps, leads: bool) {
        let findings = all(
            desired,
            stored,
            &steps.taken,
            &steps.conflicts,
            &self.options,
        );
        let state = MeshState {
            routed: leads.then(|| Arc::new(steps.routed.clone())),
            findings: Arc::new(findings.into_iter().collect()),
        };
        self.state.send_if_modified(|before| {
            let changed = *before != state;
            *before = state;
            changed
        });
    }

    async fn perform(&self, writes: Vec<Write>) {
        let done = futures::stream::iter(writes.into_iter().map(|write| self.perform_one(write)));
        done.buffer_unordered(CONCURRENCY)
            .collect::<Vec<()>>()
            .await;
    }

    async fn perform_one(&self, write: Write) {
        let (Write::Apply(kind, key, _) | Write::Delete(kind, key, _)) = &write;
        let permission = match kind {
            IstioKind::DestinationRule => &DESTINATION_RULES,
            IstioKind::EnvoyFilter => &ENVOY_FILTERS,
        };
        let (what, object) = (kind.as_str(), key.to_string());
        let resource = format!("{} in {}", permission.name(), key.namespace);
        let span =
            tracing::info_span!("write", kube_resource = %permission.name(), object = %object);
        let written = tokio::time::timeout(REQUEST_TIMEOUT, self.request(&write))
            .instrument(span)
            .await;
        let failure = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Fault::from(error).to_string()),
            Err(_) => Some(format!("no answer within {REQUEST_TIMEOUT:?}")),
        };
        match failure {
            None => {
                self.faults.succeeded(&resource);
                let verb = match write {
                    Write::Apply(..) => "applied",
                    Write::Delete(..) => "deleted",
                };
                tracing::info!(object = format!("{what} {object}"), "{verb}");
            }
            Some(why) => {
                let why = format!("{what} {object}: {why}");
                self.faults.failed(&resource, CONSEQUENCE, &why);
            }
        }
    }

    async fn request(&self, write: &Write) -> Result<(), kube::Error> {
        match write {
            Write::Apply(kind, key, spec) => {
                let object = manifest(*kind, key, spec, &self.options);
                // The object is Headgate's by its label, also where a person applied it. A field that this Istio does not know is an
                // error: dropped from a match, it would apply the patch to every virtual host.
                let params = PatchParams::apply(MANAGER).force().validation_strict();
                let api = self.api(*kind, &key.namespace);
                api.patch(&key.name, &params, &Patch::Apply(&object))
                    .await?;
            }
            Write::Delete(kind, key, version) => {
                let params = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: None,
                        resource_version: Some(version.clone()),
                    }),
                    ..DeleteParams::default()
                };
                self.api(*kind, &key.namespace)
                    .delete(&key.name, &params)
                    .await?;
            }
        }
        Ok(())
    }

    fn api(&self, kind: IstioKind, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = kind.api_version().split_once('/').unwrap_or_default();
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: kind.api_version().to_owned(),
            kind: kind.as_str().to_owned(),
            plural: kind.plural().to_owned(),
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}
