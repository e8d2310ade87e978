//! Writer of Events at the API server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_model::{Finding, LabelKeys, Subject, Transitions, reachable_finding};
use k8s_openapi::Resource as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::render::{event, findings};
use super::{EventQueue, PendingEvent};
use crate::counts::ProxyProblems;
use crate::state::ReplicaState;
use headgate_kubernetes::access::EVENTS;
use headgate_kubernetes::fault::{Backoff, Fault};
use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::log_limit::LogLimit;
use headgate_model::reference::Reference;

/// Consequence of Events that cannot be written.
const CONSEQUENCE: &str = "Events are not written to objects";
/// The shortest time between two log lines on Events that are lost for one reason.
const LOST_LOG: Duration = Duration::from_secs(60);
/// Timeout of an Event.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The task that writes Events.
pub(crate) struct EventRecorder {
    pub(crate) client: Client,
    /// The Lease, which is the object of Events on the control plane.
    pub(crate) own: (Api<Lease>, String),
    /// The name of this replica.
    pub(crate) replica: String,
    pub(crate) keys: LabelKeys,
    pub(crate) faults: Faults,
    pub(crate) started: Instant,
    pub(crate) limits: LogLimits,
}

/// The limits of the log lines on Events that are lost.
pub(crate) struct LogLimits {
    dropped: LogLimit,
    discarded: LogLimit,
    rejected: LogLimit,
}

impl Default for LogLimits {
    fn default() -> Self {
        let limit = || LogLimit::new(LOST_LOG);
        Self {
            dropped: limit(),
            discarded: limit(),
            rejected: limit(),
        }
    }
}

/// An Event that was not written.
enum WriteError {
    /// The API server does not answer, so every other Event would fail too: wait.
    Unavailable(String),
    /// The API server answered with an error: wait, and limit the number of attempts.
    Failed(String),
    /// The permission is missing for this namespace; others may succeed.
    Forbidden(String),
}

/// Inputs of the recorder.
///
/// Invariant: every plan is observed, also during a write. Otherwise the transitions between two plans would be lost.
struct Inputs {
    states: watch::Receiver<Option<Arc<ReplicaState>>>,
    proxy_problems: watch::Receiver<Arc<ProxyProblems>>,
    leading: watch::Receiver<bool>,
    transitions: Transitions,
    /// The last observed problems of proxies.
    before: Arc<ProxyProblems>,
    /// Whether a sender was dropped.
    ended: bool,
}

impl Inputs {
    fn new(
        mut states: watch::Receiver<Option<Arc<ReplicaState>>>,
        proxy_problems: watch::Receiver<Arc<ProxyProblems>>,
        leading: watch::Receiver<bool>,
    ) -> Self {
        states.mark_changed();
        Self {
            states,
            proxy_problems,
            leading,
            transitions: Transitions::default(),
            before: Arc::default(),
            ended: false,
        }
    }

    /// Waits for a change. Never returns after `ended` was set.
    async fn changed(&mut self) {
        if self.ended {
            return std::future::pending().await;
        }
        let changed = tokio::select! {
            changed = self.states.changed() => changed,
            changed = self.proxy_problems.changed() => changed,
            changed = self.leading.changed() => changed,
        };
        self.ended = changed.is_err();
    }

    /// Observes the current inputs.
    fn observe(&mut self, queue: &mut EventQueue, keys: &LabelKeys, clock: Duration) {
        let Some(now) = self.states.borrow_and_update().clone() else {
            return;
        };
        let problems = self.proxy_problems.borrow_and_update().clone();
        let findings = findings(&now.plan, &problems);
        let mut transitions = self.transitions.follow(&now.plan, keys);
        let ended = self.before.unreachable.difference(&problems.unreachable);
        transitions.extend(ended.filter_map(|variant| reachable_finding(&now.plan, variant)));
        self.before = problems;
        // Before the leadership changes, so that the last leader still writes these transitions.
        queue.observe(findings, transitions, clock);
        queue.set_leading(*self.leading.borrow_and_update(), clock);
    }

    /// The current state, if this replica is the leader.
    fn writable(&self) -> Option<Arc<ReplicaState>> {
        let leads = *self.leading.borrow();
        self.states.borrow().clone().filter(|_| leads)
    }
}

impl EventRecorder {
    /// Writes Events while `leading` is true, until a sender is dropped. `proxy_problems` come from the proxies of all replicas.
    pub(crate) async fn run(
        self,
        states: watch::Receiver<Option<Arc<ReplicaState>>>,
        proxy_problems: watch::Receiver<Arc<ProxyProblems>>,
        leading: watch::Receiver<bool>,
    ) {
        let mut inputs = Inputs::new(states, proxy_problems, leading);
        let mut queue = EventQueue::default();
        let mut backoff = Backoff::new();
        let mut retry: Option<tokio::time::Instant> = None;
        while !inputs.ended {
            let again = async {
                match retry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = inputs.changed() => {}
                () = again => retry = None,
            }
            inputs.observe(&mut queue, &self.keys, self.started.elapsed());
            if retry.is_none() && !self.write_pending(&mut queue, &mut inputs).await {
                retry = Some(tokio::time::Instant::now() + backoff.next_wait());
            } else if retry.is_none() {
                backoff.reset();
            }
        }
    }

    /// Writes all pending Events; `false` if some must be retried.
    async fn write_pending(&self, queue: &mut EventQueue, inputs: &mut Inputs) -> bool {
        let mut failed = Vec::new();
        let mut why = None;
        while let Some(state) = inputs.writable()
            && let Some(mut event) = queue.next(self.started.elapsed())
        {
            match self.write(&state, &event, queue, inputs).await {
                Ok(()) => {}
                Err(WriteError::Forbidden(error)) => {
                    why = Some(error);
                    failed.push(event);
                }
                Err(WriteError::Failed(error)) => {
                    event.tries += 1;
                    why = Some(error);
                    failed.push(event);
                    break;
                }
                Err(WriteError::Unavailable(error)) => {
                    why = Some(error);
                    failed.push(event);
                    break;
                }
            }
        }
        // Dropped Events are counted until the next line.
        if queue.has_dropped()
            && let Some(suppressed) = self.limits.dropped.pass()
        {
            tracing::warn!(
                dropped = queue.take_dropped(),
                suppressed,
                "Events dropped by the rate limit of an object; `headgate status` shows all findings"
            );
        }
        match &why {
            Some(why) => self.faults.failed(&EVENTS.name(), CONSEQUENCE, why),
            None => self.faults.succeeded(&EVENTS.name()),
        }
        let all_written = failed.is_empty();
        for PendingEvent { finding, tries, .. } in queue.retry(failed) {
            if let Some(suppressed) = self.limits.discarded.pass() {
                let (reason, detail, error) = (finding.reason, finding.message, why.as_deref());
                let namespace = finding.object.namespace();
                tracing::warn!(reason, object = %finding.object, namespace, detail, tries, error, suppressed, "Event discarded after repeated errors");
            }
        }
        all_written
    }

    /// Writes an Event, and observes the inputs meanwhile.
    async fn write(
        &self,
        state: &ReplicaState,
        event: &PendingEvent,
        queue: &mut EventQueue,
        inputs: &mut Inputs,
    ) -> Result<(), WriteError> {
        let mut written = std::pin::pin!(self.request(state, event));
        loop {
            tokio::select! {
                done = &mut written => return done,
                () = inputs.changed() => {}
            }
            inputs.observe(queue, &self.keys, self.started.elapsed());
        }
    }

    async fn request(&self, state: &ReplicaState, event: &PendingEvent) -> Result<(), WriteError> {
        let Finding { object, reason, .. } = &event.finding;
        let span =
            tracing::info_span!("write_event", %object, namespace = object.namespace(), reason);
        let written = async {
            match self.reference(&event.finding.object, state).await? {
                Some(object) => self.put(&object, event).await,
                None => {
                    tracing::debug!("the object of an Event does not exist");
                    Ok(())
                }
            }
        };
        let error = match tokio::time::timeout(REQUEST_TIMEOUT, written.instrument(span)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => {
                return Err(WriteError::Unavailable(format!(
                    "no answer within {REQUEST_TIMEOUT:?}"
                )));
            }
        };
        let fault = Fault::from(error);
        match fault.code() {
            // The namespace is being deleted with its objects.
            404 => Ok(()),
            403 if fault.message().contains("being terminated") => Ok(()),
            // An admission webhook denied the Event; the permission exists.
            403 if fault.message().contains("denied the request") => {
                Err(WriteError::Failed(fault.message()))
            }
            401 | 403 => Err(WriteError::Forbidden(fault.message())),
            400 | 422 => {
                if let Some(suppressed) = self.limits.rejected.pass() {
                    tracing::warn!(
                        reason = event.finding.reason,
                        object = %event.finding.object,
                        namespace = event.finding.object.namespace(),
                        error = fault.message(),
                        suppressed,
                        "the API server rejected the Event"
                    );
                }
                Ok(())
            }
            // The API server does not answer or is overloaded.
            0 | 429 | 503 => Err(WriteError::Unavailable(fault.message())),
            _ => Err(WriteError::Failed(fault.message())),
        }
    }

    /// The reference to the object of an Event; `None` if it does not exist.
    async fn reference(
        &self,
        object: &Subject,
        state: &ReplicaState,
    ) -> Result<Option<Reference>, kube::Error> {
        if *object != Subject::ControlPlane {
            return Ok(state.observed.references.get(object).cloned());
        }
        let (api, name) = &self.own;
        let lease = api.get_opt(name).await?;
        Ok(lease.and_then(|lease| {
            Some(Reference {
                api_version: Lease::API_VERSION.to_owned(),
                kind: Lease::KIND.to_owned(),
                namespace: lease.metadata.namespace?,
                name: lease.metadata.name?,
                uid: lease.metadata.uid?,
            })
        }))
    }

    async fn put(&self, object: &Reference, pending: &PendingEvent) -> Result<(), kube::Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &object.namespace);
        let now = MicroTime(Timestamp::now());
        let event = event(object, &pending.finding, &self.replica, now.clone());
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        if !pending.is_new {
            return Ok(());
        }
        // The Event has expired meanwhile, so it is created again.
        let Some(stored) = api.get_opt(&name).await? else {
            return api.create(&PostParams::default(), &event).await.map(|_| ());
        };
        let count = stored.series.map_or(1, |series| series.count);
        let series = EventSeries {
            count: count.saturating_add(1),
            last_observed_time: now,
        };
        let patch = Patch::Merge(json!({"series": series}));
        api.patch(&name, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}
