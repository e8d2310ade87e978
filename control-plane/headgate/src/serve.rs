//! `headgate serve`: source → publisher → xDS server and admin server, until a signal ends the process.
//!
//! Invariant: the admin server outlives the xDS server, so that probes and people can follow a drain.

use std::sync::Arc;

use headgate_source::files::keep_state;
use headgate_writer::Writer;
use headgate_xds::XdsServer;
use tokio::sync::oneshot;

use crate::admin::{Admin, AdminPort, Client, StatusAges, log_problems, observe};
use crate::config::{Failure, ServeConfig};
use crate::listen::bind;
use crate::listener_tls::ListenerTlsSource;
use crate::logging::LogLevel;
use crate::mesh::{self, Mesh, MeshInputs};
use crate::modules::ModuleWatcher;
use crate::replica_writer;
use crate::shutdown::Shutdown;
use crate::source::Source;
use crate::translation;
use crate::xds_port::XdsPort;
use headgate_publisher::Publisher;
use headgate_publisher::ScopeRules;
use headgate_publisher::SnapshotStore;
use headgate_report::metrics::{Metrics, Port};

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// It cannot start: a flag, a directory, a port or a module is invalid.
pub(crate) fn run(config: &ServeConfig, log_level: LogLevel) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(config, log_level))
}

async fn serve(config: &ServeConfig, log_level: LogLevel) -> Result<(), Failure> {
    let input = &config.input;
    let modules = ModuleWatcher::new(&input.wasm, &input.delivery)?;
    let first = modules.offered().borrow().module.clone();
    let listener = ListenerTlsSource::open(input.listener_tls.as_ref())?;
    let options = translation::options(input, first, config.linger, listener.tls())?;
    let namespaces: Vec<String> = options.domains.keys().cloned().collect();
    let rules = ScopeRules {
        mesh: input.istio.mode.is_some(),
        ..ScopeRules::loopback(namespaces.clone(), input.listen)
    };
    let timeout = config.handshake_timeout;
    let mut xds_port = XdsPort::open(&config.identity, rules, timeout)?;
    let mut admin_port = AdminPort::open(&config.admin, timeout)?;
    let xds_listener = bind("--xds-address", config.xds_address).await?;
    let admin_listener = bind("--admin-address", config.admin.address).await?;

    if let Some(directory) = input.state() {
        // If this fails, the file source reports the reason and serves without it.
        let _ = std::fs::create_dir_all(directory);
    }
    let source = Source::start(input, &config.writer.controller).await?;
    let own = config.writer.lease_namespace.as_deref();
    source.review(input, own, config.admin.tokens);
    let rules = xds_port.rules();
    let mesh = match source.api() {
        Some((client, health)) => {
            let inputs = MeshInputs {
                modules: modules.offered(),
                rules: rules.clone(),
            };
            Mesh::start(config, inputs, client, health)?
        }
        None => None,
    };
    let scopes = SnapshotStore::new(rules.borrow().clone(), options);
    let publisher = Publisher::new(scopes.clone(), modules.offered(), input.labels.clone())
        .rooted(input.root_namespace.clone())
        .serving(namespaces)
        .in_mesh(mesh::host_rules(input)?, mesh.is_some());
    let published = publisher.published();
    let server = XdsServer::new(
        scopes.clone(),
        headgate_xds::Options {
            linger: config.linger,
            drain: config.drain_time,
            load_interval: config.load_report_interval,
            max_connections: config.max_connections,
            max_connections_per_peer: config.max_connections_per_peer,
            max_streams: config.max_streams,
            max_streams_per_identity: config.max_streams_per_identity,
            trusted_forwarders: config.identity.trusted_forwarders.clone(),
            ..headgate_xds::Options::default()
        },
    );
    let shutdown = Shutdown::on_signals()?;
    let shutting_down = shutdown.started();
    let writer = source.writer_inputs().map(|(client, policies, models)| {
        let inputs = replica_writer::Inputs {
            published: published.clone(),
            scopes: scopes.clone(),
            fleet: server.fleet(),
            loads: server.loads(),
            policies,
            models,
            routed: Mesh::routed(mesh.as_ref()),
            shutting_down: shutting_down.clone(),
        };
        replica_writer::start(&client, config, inputs)
    });
    let faults = writer.as_ref().map(Writer::faults).unwrap_or_default();
    if let Some(directory) = input.state().cloned() {
        let plans = replica_writer::plans(published.clone());
        tokio::spawn(keep_state(directory, plans, faults.clone()));
    }
    let mesh_state = mesh.as_ref().map(Mesh::state);
    if let (Some(mesh), Some(writer)) = (mesh, &writer) {
        let plans = replica_writer::plans(published.clone());
        let (weights, leading) = (writer.weights(), writer.leading());
        tokio::spawn(mesh.run(plans, weights, leading, config.linger, faults.clone()));
    }
    xds_port.follow(&scopes, &faults);
    admin_port.follow(&faults);
    let ages = StatusAges::default();
    let metrics = Metrics::new(ages.started)
        .counting(Port::Xds, server.refusals())
        .counting(Port::Admin, admin_port.refusals());
    let metrics = Arc::new(metrics);
    listener.follow(scopes.clone(), faults.clone(), metrics.clone());
    let admin = Admin {
        published,
        api: source.state(),
        faults: faults.clone(),
        peers: writer.as_ref().map(Writer::peers),
        mesh: mesh_state,
        keys: input.labels.clone(),
        ages,
        log_level,
        identity: xds_port.identity(),
        tokens: source.token_reviewer().filter(|_| config.admin.tokens),
        admin_identity: admin_port.identity(),
        identities: config.admin.identities.clone(),
        scopes,
        fleet: server.fleet(),
        loads: server.loads(),
        metrics: metrics.clone(),
        shutting_down: shutting_down.clone(),
    };
    tokio::spawn(observe(admin.clone()));
    tokio::spawn(log_problems(admin.clone()));
    let events = server.fleet().events();
    tokio::spawn(async move { metrics.follow(events).await });
    tokio::spawn(async move { publisher.run(source.synced().await).await });
    tokio::spawn(modules.run());
    let (immediate, closing) = (shutdown.clone().wait_immediate(), server.clone());
    tokio::spawn(async move {
        immediate.await;
        closing.close();
    });
    tracing::info!(
        xds = %xds_listener.local_addr()?,
        admin = %admin_listener.local_addr()?,
        file = input.model_directory().map(|directory| directory.display().to_string()),
        "serving"
    );
    let pages = admin
        .router()
        .into_make_service_with_connect_info::<Client>();
    let (drained, served) = oneshot::channel::<()>();
    let admin = axum::serve(admin_port.listen(admin_listener)?, pages)
        .with_graceful_shutdown(async move { drop(served.await) });
    let xds = async {
        let until = shutdown.clone().wait_started();
        let served = xds_port.serve(&server, xds_listener, until).await;
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
        () = shutdown.clone().wait_overdue(config.drain_time) => {
            tracing::warn!("a connection did not close in time");
            Ok(())
        }
    };
    if let Some(writer) = writer {
        writer.end().await;
    }
    outcome
}
