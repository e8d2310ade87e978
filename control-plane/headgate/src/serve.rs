//! `headgate serve`: source → publisher → xDS and admin, until a signal ends it.
//!
//! Invariant: the admin port outlives the xDS port, so that a drain can be watched and probes learn of it.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headgate_source::files::keep_state;
use headgate_writer::Writer;
use headgate_xds::XdsServer;
use headgate_xds::connection::tcp;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::admin::{Admin, Seen};
use crate::cli::{Cli, LogFormat, ServeArgs};
use crate::metrics::Metrics;
use crate::modules::Watched;
use crate::settings::{self, Failure};
use crate::shutdown::Shutdown;
use crate::source::Source;
use crate::writing;
use headgate_publisher::Publisher;
use headgate_publisher::ScopeRules;
use headgate_publisher::SnapshotStore;

/// Sets up logging.
///
/// # Errors
/// A filter that cannot be parsed, with the flag's name.
pub(crate) fn log_to_stderr(cli: &Cli) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(cli.log()).map_err(|e| format!("--log {:?}: {e}", cli.log()))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: a flag, a directory, a port, a module.
pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(args))
}

async fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let modules = Watched::new(&args.input.wasm, args.input.wasm_inline)?;
    let first = modules.offered().borrow().module.clone();
    let options = settings::options(&args.input, first, args.linger())?;
    let rules = ScopeRules {
        allow: args.allow_nodes.clone(),
        follow: args.follow_nodes.clone(),
        reach: args.node_namespaces.clone(),
        namespaces: options.domains.keys().cloned().collect(),
        listen: args.input.listen,
    };
    rules.check()?;
    let xds_listener = bind("--xds-address", args.xds_address).await?;
    let admin_listener = bind("--admin-address", args.admin_address).await?;

    if let Some(directory) = &args.input.state {
        // Where it fails, the files' source says why, and goes on.
        let _ = std::fs::create_dir_all(directory);
    }
    let source = Source::start(&args.input, args.writing.controller()).await?;
    source.review(&args.input, args.writing.lease_namespace.as_deref());
    let served = options.domains.keys().cloned().collect::<Vec<_>>();
    let scopes = SnapshotStore::new(rules, options);
    let publisher = Publisher::new(scopes.clone(), modules.offered(), args.input.labels.keys())
        .rooted(args.input.root_namespace.clone())
        .serving(served);
    let published = publisher.published();
    let server = XdsServer::new(
        scopes.clone(),
        headgate_xds::Options {
            linger: args.linger(),
            drain: args.drain_time(),
            load_interval: Duration::from_secs(args.load_report_interval),
            ..headgate_xds::Options::default()
        },
    );
    let ending = Shutdown::on_signals()?;
    let closing = ending.closing();
    let writer = source.writes_to().map(|(client, policies, models)| {
        let watched = writing::Watched {
            published: published.clone(),
            scopes: scopes.clone(),
            fleet: server.fleet(),
            loads: server.loads(),
            policies,
            models,
            closing: closing.clone(),
        };
        writing::start(&client, args, watched)
    });
    let faults = writer.as_ref().map(Writer::faults).unwrap_or_default();
    if let Some(directory) = args.input.state.clone() {
        let plans = writing::plans(published.clone());
        tokio::spawn(keep_state(directory, plans, faults.clone()));
    }
    let metrics = Arc::new(Metrics::default());
    let admin = Admin {
        published,
        api: source.state(),
        faults: faults.clone(),
        peers: writer.as_ref().map(Writer::peers),
        keys: args.input.labels.keys(),
        seen: Seen::default(),
        scopes,
        fleet: server.fleet(),
        loads: server.loads(),
        metrics: metrics.clone(),
        closing: closing.clone(),
    };
    let events = server.fleet().events();
    tokio::spawn(async move { metrics.follow(events).await });
    tokio::spawn(async move { publisher.run(source.synced().await).await });
    tokio::spawn(modules.run());
    let (hurried, hurry) = (ending.clone().hurried(), server.clone());
    tokio::spawn(async move {
        hurried.await;
        hurry.close();
    });
    tracing::info!(
        xds = %xds_listener.local_addr()?,
        admin = %admin_listener.local_addr()?,
        models = args.input.models.as_ref().filter(|_| !args.input.cluster.wanted()).map(|dir| dir.display().to_string()),
        "serving"
    );
    let (drained, served) = oneshot::channel::<()>();
    let admin = axum::serve(admin_listener, admin.router())
        .with_graceful_shutdown(async move { drop(served.await) });
    let xds = async {
        let served = server
            .serve(tcp(xds_listener), ending.clone().begun())
            .await;
        drop(drained);
        served
    };
    let both = async {
        let (xds, admin) = tokio::join!(xds, admin.into_future());
        xds?;
        admin?;
        Ok::<(), Failure>(())
    };
    let outcome = tokio::select! {
        outcome = both => outcome,
        () = ending.clone().overdue(args.drain_time()) => {
            tracing::warn!("a connection did not end in time");
            Ok(())
        }
    };
    if let Some(writer) = writer {
        writer.end().await;
    }
    outcome
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| {
        format!("{flag} {address}: {e}: end what listens there, or choose another address").into()
    })
}
