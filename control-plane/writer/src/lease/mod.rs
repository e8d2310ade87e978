//! Leader election through a Lease: the leader writes for all replicas.
//!
//! The result is a `bool` for the writers. Nothing that serves proxies depends on it.

mod election;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tracing::Instrument as _;

pub use self::election::{Election, Step, Times};
use headgate_kubernetes::access::LEASES;
use headgate_kubernetes::fault::{Backoff, Fault};
use headgate_kubernetes::faults::Faults;

/// Consequence of a Lease that cannot be written.
const CONSEQUENCE: &str =
    "this replica cannot become the leader, so it writes neither status nor Events";
/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest wait between two attempts.
const MIN_RETRY: Duration = Duration::from_millis(100);

/// A Lease in log lines.
fn object(lease: &str) -> String {
    format!("Lease {lease}")
}

/// Sets whether this replica leads.
fn set_leading(leading: &watch::Sender<bool>, leads: bool, lease: &str) {
    let object = object(lease);
    leading.send_if_modified(|leading| {
        let changed = *leading != leads;
        match (changed, leads) {
            (true, true) => {
                tracing::info!(object, "elected as leader; writing status and Events")
            }
            (true, false) => tracing::info!(object, "no longer the leader"),
            (false, _) => {}
        }
        *leading = leads;
        changed
    });
}

/// Waits until the elector must resign, or its owner was dropped.
async fn resigned(resign: &mut watch::Receiver<bool>) {
    let _ = resign.wait_for(|resign| *resign).await;
}

/// A candidate for a Lease.
pub(super) struct LeaderElector {
    pub(super) api: Api<Lease>,
    pub(super) name: String,
    pub(super) election: Election,
    pub(super) leading: watch::Sender<bool>,
    pub(super) faults: Faults,
    /// Origin of the monotonic clock.
    pub(super) started: Instant,
}

impl LeaderElector {
    /// Takes part in the election until `resign` is true or its sender is dropped. Then releases the Lease.
    pub(super) async fn run(mut self, mut resign: watch::Receiver<bool>) {
        let jitter = Backoff::new();
        loop {
            let end = tokio::select! {
                () = self.round() => false,
                () = resigned(&mut resign) => true,
            };
            if end {
                return self.resign().await;
            }
            self.update_leading();
            let mut wait = self.election.retry() + jitter.jitter(self.election.retry());
            if let Some(vacant) = self.election.vacant() {
                let soon = vacant.saturating_sub(self.clock());
                // An expired Lease must not cause a busy loop.
                wait = wait.min(soon.max(MIN_RETRY));
            }
            let lapse = self.lapse();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = lapse => self.update_leading(),
                () = resigned(&mut resign) => return self.resign().await,
            }
        }
    }

    fn clock(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until the leadership of this replica lapses without a renewal.
    fn lapse(&self) -> impl Future<Output = ()> + use<> {
        let at = self.election.lapses().map(|lapses| self.started + lapses);
        let led = *self.leading.borrow();
        async move {
            match at {
                Some(at) if led => tokio::time::sleep_until(at.into()).await,
                _ => std::future::pending().await,
            }
        }
    }

    fn update_leading(&self) {
        set_leading(&self.leading, self.election.leads(self.clock()), &self.name);
    }

    /// One attempt to take or renew the Lease. The leadership may lapse while the answer is awaited.
    async fn round(&mut self) {
        let lapse = self.lapse();
        let (leading, name) = (self.leading.clone(), self.name.clone());
        let faults = self.faults.clone();
        let attempt = tokio::time::timeout(REQUEST_TIMEOUT, self.attempt());
        tokio::pin!(attempt);
        let outcome = tokio::select! {
            outcome = &mut attempt => outcome,
            () = lapse => {
                set_leading(&leading, false, &name);
                attempt.await
            }
        };
        match outcome.map_err(|_| format!("no answer within {REQUEST_TIMEOUT:?}")) {
            Ok(Ok(())) => faults.succeeded(&LEASES.name()),
            Ok(Err(error)) => {
                faults.failed(&LEASES.name(), CONSEQUENCE, &Fault::from(error).message())
            }
            Err(timeout) => faults.failed(&LEASES.name(), CONSEQUENCE, &timeout),
        }
    }

    async fn attempt(&mut self) -> Result<(), kube::Error> {
        let stored = self.api.get_opt(&self.name).await?;
        let sent = self.clock();
        let step = self
            .election
            .next_step(stored.as_ref(), sent, Timestamp::now());
        if self.perform(step).await? {
            self.election.renewed(sent);
        }
        Ok(())
    }

    /// Whether the Lease was written; `false` if another candidate was faster.
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
        let span = tracing::info_span!("write_lease", object = object(&self.name));
        let written = match step {
            Step::Wait => return Ok(false),
            Step::Create(spec) => {
                let lease = lease(spec, None);
                let created = self.api.create(&params, &lease);
                created.instrument(span.clone()).await
            }
            Step::Replace(spec, version) => {
                let lease = lease(spec, Some(version));
                let replaced = self.api.replace(&self.name, &params, &lease);
                replaced.instrument(span.clone()).await
            }
        };
        match written {
            Ok(_) => {
                tracing::debug!(parent: &span, "Lease written");
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn resign(mut self) {
        set_leading(&self.leading, false, &self.name);
        let object = object(&self.name);
        // An attempt that was cancelled may have succeeded.
        let freed = async {
            let stored = self.api.get_opt(&self.name).await?;
            let step = stored.and_then(|stored| self.election.resign(&stored, Timestamp::now()));
            match step {
                Some(step) => self.perform(step).await,
                None => Ok(false),
            }
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, freed).await {
            Ok(Ok(true)) => tracing::info!(object, "released the Lease"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                let error: kube::Error = error;
                tracing::warn!(object, %error, "the Lease cannot be released; other replicas wait until it expires");
            }
            Err(_) => tracing::warn!(
                object,
                "the Lease cannot be released in time; other replicas wait until it expires"
            ),
        }
    }
}
