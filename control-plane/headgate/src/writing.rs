//! What is written to a Kubernetes API while serving: the flags, and what the writer is told.
//!
//! Place in the flow: beside it. It looks at what was published and at the proxies, and nothing waits for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use headgate_source::kubernetes::Client;
use headgate_source::writes::{Known, Options, Times, Writer};
use headgate_xds::Fleet;
use tokio::sync::watch;

use crate::cli::ServeArgs;
use crate::cli::names::{parse_name, parse_namespace};
use crate::publisher::Published;
use crate::source::SeenPolicies;
use crate::tally::tally;
use crate::world::Scopes;

/// Changes of proxies come in crowds; what is written of them is written once in a while.
const GATHER: Duration = Duration::from_millis(300);

/// Which of several replicas writes status and Events.
#[derive(Debug, Args, Clone)]
pub(crate) struct WriteArgs {
    /// Lease that the replicas share: its holder writes status and Events. An installation beside this one needs another.
    #[arg(long, value_name = "NAME", default_value = "headgate", env = "HEADGATE_LEASE_NAME", value_parser = parse_name)]
    pub lease_name: String,
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
    pub scopes: Scopes,
    pub fleet: Fleet,
    /// The policies, if they are objects.
    pub policies: Option<SeenPolicies>,
    /// True once the process is asked to end.
    pub closing: watch::Receiver<bool>,
}

/// Starts writing.
pub(crate) fn start(client: &Client, args: &ServeArgs, watched: Watched) -> Writer {
    let (tell, known) = watch::channel(None);
    let policies = watched.policies.clone();
    let closing = watched.closing.clone();
    tokio::spawn(look(watched, tell));
    let options = args.writing.options(args);
    tracing::info!(replica = %options.replica, lease = %options.lease, "may write status and Events");
    Writer::start(client, &options, known, policies, closing)
}

async fn look(mut watched: Watched, tell: watch::Sender<Option<Arc<Known>>>) {
    let mut changes = watched.fleet.changes();
    loop {
        let published = watched.published.borrow_and_update().clone();
        changes.borrow_and_update();
        if let Some(published) = published {
            let proxies = watched.fleet.proxies();
            let tally = tally(&published.plan, &watched.scopes, &proxies);
            tell.send_replace(Some(Arc::new(Known {
                plan: published.plan.clone(),
                observed: published.observed.clone(),
                tally: Arc::new(tally),
            })));
        }
        let heard = tokio::select! {
            heard = watched.published.changed() => heard,
            heard = changes.changed() => heard,
        };
        if heard.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
    }
}
