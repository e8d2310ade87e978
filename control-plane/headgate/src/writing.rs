//! What is written to a Kubernetes API while serving: the flags, and what the writer is told.
//!
//! Place in the flow: beside it. It looks at what was published and at the proxies, and nothing waits for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use headgate_kubernetes::Client;
use headgate_kubernetes::models::Writable;
use headgate_kubernetes::policies::Controller;
use headgate_model::Planned;
use headgate_writer::{Known, Options, Sources, Times, Writer};
use headgate_xds::{Fleet, Loads};
use tokio::sync::watch;

use crate::cli::ServeArgs;
use crate::cli::names::{parse_name, parse_namespace};
use crate::source::SeenPolicies;
use headgate_publisher::Published;
use headgate_publisher::SnapshotStore;
use headgate_publisher::count_proxies;

/// Changes of proxies come in crowds; what is written of them is written once in a while.
const GATHER: Duration = Duration::from_millis(300);

/// Which of several replicas writes status and Events.
#[derive(Debug, Args, Clone)]
pub(crate) struct WriteArgs {
    /// Lease that the replicas share: its holder writes status and Events. An installation beside this one needs another.
    #[arg(long, value_name = "NAME", default_value = "headgate", env = "HEADGATE_LEASE_NAME", value_parser = parse_name)]
    pub lease_name: String,
    /// Name of this installation, the same for all its replicas: a domain and a path. The installation with the default name
    /// writes `status.conditions` of a policy; any other one writes its entry in `status.controllers`. An installation manages
    /// the `ServedModels` that have its name in `spec.controllerName`; the one with the default name, those without the field.
    #[arg(
        long,
        value_name = "DOMAIN/PATH",
        default_value_t,
        env = "HEADGATE_CONTROLLER_NAME"
    )]
    pub controller_name: Controller,
    /// Namespace of the Lease, and of the counts that replicas tell each other; else that of the pod or of the kubeconfig.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", value_parser = parse_namespace)]
    pub lease_namespace: Option<String>,
    /// How long the others wait for a holder that says nothing, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=240))]
    pub lease_duration: u64,
    /// Name of this replica among those that share the Lease; else that of the pod, else of the host and the process.
    #[arg(long, value_name = "NAME", env = "POD_NAME", value_parser = parse_name)]
    pub replica_name: Option<String>,
    /// Address of this replica, where --admin-address is that of no interface (0.0.0.0): the other replicas tell it to `headgate
    /// status`, which asks all of them.
    #[arg(long, value_name = "IP", env = "POD_IP")]
    pub replica_address: Option<IpAddr>,
}

impl WriteArgs {
    /// The installation.
    pub(crate) fn controller(&self) -> &Controller {
        &self.controller_name
    }

    /// Where people reach what listens at `admin`, if that is known.
    fn reached_at(&self, admin: SocketAddr) -> Option<SocketAddr> {
        let own = Some(admin.ip()).filter(|ip| !ip.is_unspecified());
        let ip = own.or(self.replica_address)?;
        Some(SocketAddr::new(ip, admin.port()))
    }

    fn options(&self, args: &ServeArgs) -> Options {
        Options {
            lease: self.lease_name.clone(),
            namespace: self.lease_namespace.clone(),
            replica: self.replica_name.clone().unwrap_or_else(own_name),
            admin: self.reached_at(args.admin_address),
            times: Times::lasting(Duration::from_secs(self.lease_duration)),
            keys: args.input.labels.keys(),
            controller: self.controller_name.clone(),
        }
    }
}

/// Host and process, in what a name may have.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.or_else(|_| std::env::var("HOSTNAME"));
    let host = host.unwrap_or_default().trim().to_ascii_lowercase();
    let own = format!("{host}-{}", std::process::id());
    parse_name(&own).unwrap_or_else(|_| format!("replica-{}", std::process::id()))
}

/// What the writer looks at.
pub(crate) struct Watched {
    pub published: watch::Receiver<Option<Arc<Published>>>,
    pub scopes: SnapshotStore,
    pub fleet: Fleet,
    pub loads: Loads,
    /// The policies, if they are objects.
    pub policies: Option<SeenPolicies>,
    /// The `ServedModel`s.
    pub models: Writable,
    /// True once the process is asked to end.
    pub closing: watch::Receiver<bool>,
}

/// Starts writing.
pub(crate) fn start(client: &Client, args: &ServeArgs, watched: Watched) -> Writer {
    let (tell, known) = watch::channel(None);
    let plans = plans(watched.published.clone());
    let sources = Sources {
        known,
        plans,
        policies: watched.policies.clone(),
        models: watched.models.clone(),
        ending: watched.closing.clone(),
    };
    tokio::spawn(look(watched, tell));
    let options = args.writing.options(args);
    tracing::info!(replica = %options.replica, lease = %options.lease, "may write status and Events");
    Writer::start(client, &options, sources)
}

/// Each plan that is published.
pub(crate) fn plans(
    published: watch::Receiver<Option<Arc<Published>>>,
) -> watch::Receiver<Option<Arc<Planned>>> {
    let (forward, plans) = watch::channel(None);
    tokio::spawn(follow(published, forward));
    plans
}

/// Tells each plan at once: a weight that was edited has not converged from that moment on.
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

async fn look(mut watched: Watched, tell: watch::Sender<Option<Arc<Known>>>) {
    let mut changes = watched.fleet.changes();
    let mut reports = watched.loads.changes();
    loop {
        let published = watched.published.borrow_and_update().clone();
        changes.borrow_and_update();
        reports.borrow_and_update();
        if let Some(published) = published {
            let proxies = watched.fleet.proxies();
            let reporters = watched.loads.reporters(SystemTime::now());
            let tally = count_proxies(&published.plan, &watched.scopes, &proxies, &reporters);
            tell.send_replace(Some(Arc::new(Known {
                plan: published.plan.clone(),
                observed: published.observed.clone(),
                tally: Arc::new(tally),
            })));
        }
        let heard = tokio::select! {
            heard = watched.published.changed() => heard,
            heard = changes.changed() => heard,
            heard = reports.changed() => heard,
            () = grown_old(&watched.loads) => Ok(()),
        };
        if heard.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Waits until something that was reported is too old.
pub(crate) async fn grown_old(loads: &Loads) {
    match loads.expires_in(SystemTime::now()) {
        // Not at once: a clock may stand still.
        Some(after) => tokio::time::sleep(after.max(GATHER)).await,
        None => std::future::pending().await,
    }
}
