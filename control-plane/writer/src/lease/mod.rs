//! The Lease: which replica writes.
//!
//! Place in the flow: beside it. What it decides is a `bool` that the writers look at; nothing that serves proxies does.

mod election;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::watch;

pub use self::election::{Election, Step, Times};
use headgate_kubernetes::access::LEASES;
use headgate_kubernetes::fault::{Backoff, Fault};
use headgate_kubernetes::faults::Faults;

/// What a Lease that cannot be written means.
const LOST: &str = "this replica cannot lead, so it writes neither status nor Events";
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The shortest wait between two tries.
const SOON: Duration = Duration::from_millis(100);

/// Tells whether this replica leads.
fn set(leading: &watch::Sender<bool>, leads: bool, lease: &str) {
    leading.send_if_modified(|leading| {
        let changed = *leading != leads;
        match (changed, leads) {
            (true, true) => {
                tracing::info!(lease, "this replica leads: it writes status and Events")
            }
            (true, false) => tracing::info!(lease, "this replica leads no more"),
            (false, _) => {}
        }
        *leading = leads;
        changed
    });
}

/// Waits until it is told to resign, or nobody can tell it any more.
async fn told(resign: &mut watch::Receiver<bool>) {
    let _ = resign.wait_for(|resign| *resign).await;
}

/// A candidate and the Lease it wants.
pub(super) struct LeaderElector {
    pub(super) api: Api<Lease>,
    pub(super) name: String,
    pub(super) election: Election,
    pub(super) leading: watch::Sender<bool>,
    pub(super) faults: Faults,
    /// The clock that only goes forward.
    pub(super) begun: Instant,
}

impl LeaderElector {
    /// Tries to lead, until `resign` says so (or has no sender any more); then lets another one lead.
    pub(super) async fn run(mut self, mut resign: watch::Receiver<bool>) {
        let jitter = Backoff::new();
        loop {
            let end = tokio::select! {
                () = self.round() => false,
                () = told(&mut resign) => true,
            };
            if end {
                return self.resign().await;
            }
            self.tell();
            let mut wait = self.election.retry() + jitter.jitter(self.election.retry());
            if let Some(vacant) = self.election.vacant() {
                let soon = vacant.saturating_sub(self.clock());
                // One that is overdue is not asked for without a pause.
                wait = wait.min(soon.max(SOON));
            }
            let lapse = self.lapse();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = lapse => self.tell(),
                () = told(&mut resign) => return self.resign().await,
            }
        }
    }

    fn clock(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits until this one leads no more, for want of a renewal.
    fn lapse(&self) -> impl Future<Output = ()> + use<> {
        let at = self.election.lapses().map(|lapses| self.begun + lapses);
        let led = *self.leading.borrow();
        async move {
            match at {
                Some(at) if led => tokio::time::sleep_until(at.into()).await,
                _ => std::future::pending().await,
            }
        }
    }

    fn tell(&self) {
        set(&self.leading, self.election.leads(self.clock()), &self.name);
    }

    /// One try to take or to renew it. Should the answer not come, the lead may lapse while it is waited for.
    async fn round(&mut self) {
        let lapse = self.lapse();
        let (leading, name) = (self.leading.clone(), self.name.clone());
        let faults = self.faults.clone();
        let attempt = tokio::time::timeout(ANSWER, self.attempt());
        tokio::pin!(attempt);
        let outcome = tokio::select! {
            outcome = &mut attempt => outcome,
            () = lapse => {
                set(&leading, false, &name);
                attempt.await
            }
        };
        match outcome.map_err(|_| format!("no answer within {ANSWER:?}")) {
            Ok(Ok(())) => faults.well(&LEASES.name()),
            Ok(Err(error)) => faults.failed(&LEASES.name(), LOST, &Fault::from(error).message()),
            Err(silence) => faults.failed(&LEASES.name(), LOST, &silence),
        }
    }

    async fn attempt(&mut self) -> Result<(), kube::Error> {
        let stored = self.api.get_opt(&self.name).await?;
        let asked = self.clock();
        let step = self
            .election
            .judge(stored.as_ref(), asked, Timestamp::now());
        if self.perform(step).await? {
            self.election.renewed(asked);
        }
        Ok(())
    }

    /// Whether the Lease was written; `false` where another one was faster.
    async fn perform(&self, step: Step) -> Result<bool, kube::Error> {
        let lease = |spec, resource_version| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version,
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        let params = PostParams::default();
        let written = match step {
            Step::Wait => return Ok(false),
            Step::Create(spec) => self.api.create(&params, &lease(spec, None)).await,
            Step::Replace(spec, version) => {
                let lease = lease(spec, Some(version));
                self.api.replace(&self.name, &params, &lease).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn resign(mut self) {
        set(&self.leading, false, &self.name);
        // A try that was cut short may have taken it all the same.
        let freed = async {
            let stored = self.api.get_opt(&self.name).await?;
            let step = stored.and_then(|stored| self.election.resign(&stored, Timestamp::now()));
            match step {
                Some(step) => self.perform(step).await,
                None => Ok(false),
            }
        };
        match tokio::time::timeout(ANSWER, freed).await {
            Ok(Ok(true)) => tracing::info!("another replica may lead"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                let error: kube::Error = error;
                tracing::warn!(%error, "the Lease is not released: others wait until it expires");
            }
            Err(_) => tracing::warn!("the Lease is not released: others wait until it expires"),
        }
    }
}
