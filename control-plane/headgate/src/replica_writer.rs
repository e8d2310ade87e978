//! Wiring of the writer: its options, and the state of this replica that it writes to the Kubernetes API.
//!
//! It follows publications and proxies. Nothing that serves proxies waits for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use headgate_kubernetes::Client;
use headgate_kubernetes::models::ModelObjects;
use headgate_model::{Planned, RoutedVersions};
use headgate_writer::{Options, ReplicaState, Sources, Times, Writer};
use headgate_xds::{Fleet, Loads};
use tokio::sync::watch;

use crate::config::ServeConfig;
use crate::names::parse_name;
use crate::source::PolicyObjects;
use headgate_publisher::Published;
use headgate_publisher::SnapshotStore;
use headgate_publisher::count_proxies;

/// Time during which changes of proxies are collected before the state is computed again.
const BATCH: Duration = Duration::from_millis(300);

/// Options of the writer.
fn options(config: &ServeConfig) -> Options {
    let writer = &config.writer;
    Options {
        lease: writer.lease_name.clone(),
        namespace: writer.lease_namespace.clone(),
        replica: writer.replica_name.clone().unwrap_or_else(default_name),
        admin: reachable_address(config),
        times: Times::lasting(writer.lease_duration),
        keys: config.input.labels.clone(),
        controller: writer.controller.clone(),
    }
}

/// The admin address as other machines reach it, if known.
fn reachable_address(config: &ServeConfig) -> Option<SocketAddr> {
    let listen = config.admin.address;
    let own = Some(listen.ip()).filter(|ip| !ip.is_unspecified());
    let ip = own.or(config.writer.replica_address)?;
    Some(SocketAddr::new(ip, listen.port()))
}

/// Host name and process id, as an object name.
fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.or_else(|_| std::env::var("HOSTNAME"));
    let host = host.unwrap_or_default().trim().to_ascii_lowercase();
    let own = format!("{host}-{}", std::process::id());
    parse_name(&own).unwrap_or_else(|_| format!("replica-{}", std::process::id()))
}

/// Each plan that is published; `None` before the first.
pub(crate) type Plans = watch::Receiver<Option<Arc<Planned>>>;

/// Inputs of the writer.
pub(crate) struct Inputs {
    /// The versions that have their routes in a mesh; `None` where they are not known yet.
    pub routed: watch::Receiver<Option<Arc<RoutedVersions>>>,
    pub published: watch::Receiver<Option<Arc<Published>>>,
    pub scopes: SnapshotStore,
    pub fleet: Fleet,
    pub loads: Loads,
    /// The stored policies, if they are objects.
    pub policies: Option<PolicyObjects>,
    /// The `ServedModel`s.
    pub models: ModelObjects,
    /// True once the process is shutting down.
    pub shutting_down: watch::Receiver<bool>,
}

/// Starts writing.
pub(crate) fn start(client: &Client, config: &ServeConfig, inputs: Inputs) -> Writer {
    let (sender, state) = watch::channel(None);
    let plans = plans(inputs.published.clone());
    let sources = Sources {
        state,
        plans,
        policies: inputs.policies.clone(),
        models: inputs.models.clone(),
        routed: inputs.routed.clone(),
        shutting_down: inputs.shutting_down.clone(),
    };
    tokio::spawn(publish_state(inputs, sender));
    let options = options(config);
    tracing::info!(replica = %options.replica, object = format!("Lease {}", options.lease), "joining leader election");
    Writer::start(client, &options, sources)
}

/// Each plan that is published.
pub(crate) fn plans(published: watch::Receiver<Option<Arc<Published>>>) -> Plans {
    let (forward, plans) = watch::channel(None);
    tokio::spawn(follow(published, forward));
    plans
}

/// Forwards each plan without delay: `Converged` must turn False as soon as a weight is edited.
async fn follow(
    mut published: watch::Receiver<Option<Arc<Published>>>,
    plans: watch::Sender<Option<Arc<Planned>>>,
) {
    loop {
        let published_now = published.borrow_and_update().clone();
        if let Some(now) = published_now {
            plans.send_replace(Some(Arc::new(Planned {
                plan: now.plan.clone(),
                observed: now.observed.clone(),
            })));
        }
        if published.changed().await.is_err() {
            return;
        }
    }
}

/// Publishes the state of this replica after each change of publications, proxies or load reports.
async fn publish_state(mut inputs: Inputs, sender: watch::Sender<Option<Arc<ReplicaState>>>) {
    let mut changes = inputs.fleet.changes();
    let mut reports = inputs.loads.changes();
    loop {
        let published = inputs.published.borrow_and_update().clone();
        changes.borrow_and_update();
        reports.borrow_and_update();
        if let Some(published) = published {
            let proxies = inputs.fleet.proxies();
            let reporters = inputs.loads.reporters(SystemTime::now());
            let counts = count_proxies(&published.plan, &inputs.scopes, &proxies, &reporters);
            sender.send_replace(Some(Arc::new(ReplicaState {
                plan: published.plan.clone(),
                observed: published.observed.clone(),
                counts: Arc::new(counts),
            })));
        }
        let changed = tokio::select! {
            changed = inputs.published.changed() => changed,
            changed = changes.changed() => changed,
            changed = reports.changed() => changed,
            () = report_expired(&inputs.loads) => Ok(()),
        };
        if changed.is_err() {
            return;
        }
        tokio::time::sleep(BATCH).await;
    }
}

/// Waits until a load report expires.
pub(crate) async fn report_expired(loads: &Loads) {
    match loads.expires_in(SystemTime::now()) {
        // The system clock may not advance: a minimum prevents a busy loop.
        Some(after) => tokio::time::sleep(after.max(BATCH)).await,
        None => std::future::pending().await,
    }
}
