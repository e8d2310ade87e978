//! Utterances → Events at the API server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_model::{LabelKeys, Subject, Transitions, reachable_finding};
use k8s_openapi::Resource as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch;

use super::render::{event, states};
use super::{EventQueue, PendingEvent};
use crate::counts::Complaints;
use crate::writer::Known;
use headgate_kubernetes::access::EVENTS;
use headgate_kubernetes::fault::{Backoff, Fault};
use headgate_kubernetes::faults::Faults;
use headgate_model::reference::Reference;

/// What an Event that cannot be written means.
const LOST: &str = "Events are not written to objects";
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The task that writes Events.
pub(crate) struct EventRecorder {
    pub(crate) client: Client,
    /// What stands for the control plane itself: the Lease of its replicas, by name.
    pub(crate) own: (Api<Lease>, String),
    /// The name of this replica.
    pub(crate) replica: String,
    pub(crate) keys: LabelKeys,
    pub(crate) faults: Faults,
    pub(crate) begun: Instant,
}

/// Why an Event was not written.
enum Untold {
    /// The same would happen again with any other one: wait.
    Away(String),
    /// It may be so with any other one, or with this one for ever: wait, but not without end.
    Failed(String),
    /// This one is refused; others may not be.
    Refused(String),
}

/// What Events follow from.
///
/// Invariant: every plan that comes is followed, also while an Event is written: of two plans at once, what happened between
/// them would be lost.
struct Inputs {
    plans: watch::Receiver<Option<Arc<Known>>>,
    complaints: watch::Receiver<Arc<Complaints>>,
    leading: watch::Receiver<bool>,
    transitions: Transitions,
    /// The complaints that were followed last.
    before: Arc<Complaints>,
    /// Nobody sends any more.
    ended: bool,
}

impl Inputs {
    fn new(
        mut plans: watch::Receiver<Option<Arc<Known>>>,
        complaints: watch::Receiver<Arc<Complaints>>,
        leading: watch::Receiver<bool>,
    ) -> Self {
        plans.mark_changed();
        Self {
            plans,
            complaints,
            leading,
            transitions: Transitions::default(),
            before: Arc::default(),
            ended: false,
        }
    }

    /// Waits for a change; never returns after the end of the senders was noted.
    async fn changed(&mut self) {
        if self.ended {
            return std::future::pending().await;
        }
        let heard = tokio::select! {
            heard = self.plans.changed() => heard,
            heard = self.complaints.changed() => heard,
            heard = self.leading.changed() => heard,
        };
        self.ended = heard.is_err();
    }

    /// Follows the inputs as they are now.
    fn take(&mut self, speech: &mut EventQueue, keys: &LabelKeys, clock: Duration) {
        let Some(now) = self.plans.borrow_and_update().clone() else {
            return;
        };
        let complained = self.complaints.borrow_and_update().clone();
        let states = states(&now.plan, &complained);
        let mut happened = self.transitions.follow(&now.plan, keys);
        let over = self.before.unreachable.difference(&complained.unreachable);
        happened.extend(over.filter_map(|variant| reachable_finding(&now.plan, variant)));
        self.before = complained;
        // Before the lead changes: what is heard now is no old news to who led until now.
        speech.hear(states, happened, clock);
        speech.lead(*self.leading.borrow_and_update(), clock);
    }

    /// What is known now, where this replica leads.
    fn writable(&self) -> Option<Arc<Known>> {
        let leads = *self.leading.borrow();
        self.plans.borrow().clone().filter(|_| leads)
    }
}

impl EventRecorder {
    /// Writes Events while `leading` is true, until all senders of `known` are dropped. `complaints` come from the proxies of all
    /// replicas.
    pub(crate) async fn run(
        self,
        plans: watch::Receiver<Option<Arc<Known>>>,
        complaints: watch::Receiver<Arc<Complaints>>,
        leading: watch::Receiver<bool>,
    ) {
        let mut inputs = Inputs::new(plans, complaints, leading);
        let mut speech = EventQueue::default();
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
            inputs.take(&mut speech, &self.keys, self.begun.elapsed());
            if retry.is_none() && !self.tell(&mut speech, &mut inputs).await {
                retry = Some(tokio::time::Instant::now() + backoff.next_wait());
            } else if retry.is_none() {
                backoff.reset();
            }
        }
    }

    /// Writes what waits; `false` where some of it must be tried again.
    async fn tell(&self, speech: &mut EventQueue, inputs: &mut Inputs) -> bool {
        let mut failed = Vec::new();
        let mut why = None;
        while let Some(known) = inputs.writable()
            && let Some(mut utterance) = speech.next(self.begun.elapsed())
        {
            match self.write(&known, &utterance, speech, inputs).await {
                Ok(()) => {}
                Err(Untold::Refused(said)) => {
                    why = Some(said);
                    failed.push(utterance);
                }
                Err(Untold::Failed(said)) => {
                    utterance.tries += 1;
                    why = Some(said);
                    failed.push(utterance);
                    break;
                }
                Err(Untold::Away(said)) => {
                    why = Some(said);
                    failed.push(utterance);
                    break;
                }
            }
        }
        let dropped = speech.dropped();
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "too many Events of one object: `headgate status` has it all"
            );
        }
        match &why {
            Some(why) => self.faults.failed(&EVENTS.name(), LOST, why),
            None => self.faults.well(&EVENTS.name()),
        }
        let well = failed.is_empty();
        for PendingEvent { finding, tries, .. } in speech.again(failed) {
            let (said, why) = (finding.message, why.as_deref());
            tracing::warn!(object = %finding.object, said, tries, why, "an Event is given up");
        }
        well
    }

    /// Writes one Event, and follows the inputs meanwhile.
    async fn write(
        &self,
        known: &Known,
        utterance: &PendingEvent,
        speech: &mut EventQueue,
        inputs: &mut Inputs,
    ) -> Result<(), Untold> {
        let mut written = std::pin::pin!(self.request(known, utterance));
        loop {
            tokio::select! {
                done = &mut written => return done,
                () = inputs.changed() => {}
            }
            inputs.take(speech, &self.keys, self.begun.elapsed());
        }
    }

    async fn request(&self, known: &Known, utterance: &PendingEvent) -> Result<(), Untold> {
        let told = async {
            match self.called(&utterance.finding.object, known).await? {
                Some(object) => self.put(&object, utterance).await,
                None => {
                    tracing::debug!(object = %utterance.finding.object, "no object to say it of");
                    Ok(())
                }
            }
        };
        let error = match tokio::time::timeout(ANSWER, told).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(Untold::Away(format!("no answer within {ANSWER:?}"))),
        };
        let fault = Fault::from(error);
        match fault.code() {
            // The namespace is going, and its objects with it.
            404 => Ok(()),
            403 if fault.message().contains("being terminated") => Ok(()),
            // By an admission webhook, not for want of a right.
            403 if fault.message().contains("denied the request") => {
                Err(Untold::Failed(fault.message()))
            }
            401 | 403 => Err(Untold::Refused(fault.message())),
            400 | 422 => {
                tracing::warn!(
                    object = %utterance.finding.object,
                    why = fault.message(),
                    "an Event is no Event"
                );
                Ok(())
            }
            // Nobody answers, or it has too much to do.
            0 | 429 | 503 => Err(Untold::Away(fault.message())),
            _ => Err(Untold::Failed(fault.message())),
        }
    }

    /// What the API server calls the object that something is said of; `None` if there is none.
    async fn called(
        &self,
        object: &Subject,
        known: &Known,
    ) -> Result<Option<Reference>, kube::Error> {
        if *object != Subject::ControlPlane {
            return Ok(known.observed.references.get(object).cloned());
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

    async fn put(&self, object: &Reference, utterance: &PendingEvent) -> Result<(), kube::Error> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &object.namespace);
        let now = MicroTime(Timestamp::now());
        let event = event(object, &utterance.finding, &self.replica, now.clone());
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        if !utterance.anew {
            return Ok(());
        }
        // Gone since: it was an hour old, and is said by the next one.
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
