//! Flags of `headgate serve`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Args;
use headgate_kubernetes::policies::Controller;

use super::admin::AdminArgs;
use super::identity::IdentityArgs;
use super::input::InputArgs;
use crate::config::{ListenerSource, ServeConfig, WriterConfig};
use crate::listen::parse_listen;
use crate::names::{parse_name, parse_namespace};

/// `headgate serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The source.
    #[command(flatten)]
    input: InputArgs,
    /// Listen address of the xDS server, for proxies. `:PORT` listens on all interfaces, IPv4 and IPv6.
    #[arg(
        long,
        value_name = "IP:PORT|:PORT",
        value_parser = parse_listen,
        default_value = "127.0.0.1:18000",
        env = "HEADGATE_XDS_ADDRESS"
    )]
    xds_address: SocketAddr,
    /// The admin server.
    #[command(flatten)]
    admin: AdminArgs,
    /// Identity of proxies.
    #[command(flatten)]
    identity: IdentityArgs,
    /// How long a cluster stays after the last route to it is removed, in seconds (2–3600). With --istio, also how long the route of a
    /// removed version stays.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=3600))]
    linger: u64,
    /// Interval of the load reports of a proxy, in seconds (1–60). They show which versions the proxy cannot connect to. The bootstrap
    /// of the proxy needs `load_stats_config`.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    load_report_interval: u64,
    /// Duration of the drain after SIGTERM, in seconds (0–3600): connected proxies are moved to other replicas one after another; 0 moves
    /// all at once. During the drain /readyz answers 503 and new proxies are rejected. A second SIGTERM, or SIGINT, ends the process at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=3600), env = "HEADGATE_DRAIN_TIME")]
    drain_time: u64,
    /// Largest number of open connections on the xDS port (at least 1). Further ones are closed, counted as `connection_limit` and logged.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = parse_limit)]
    max_connections: usize,
    /// Largest number of open connections on the xDS port for each identity, or for each IP address if the connection has no identity (at
    /// least 1). All proxies behind one sidecar share its address. Further connections are closed, counted as `peer_connection_limit`
    /// and logged.
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000, value_parser = parse_limit)]
    max_connections_per_peer: usize,
    /// Largest number of open streams on each connection of the xDS port (at least 1). Clients that need more open another connection.
    #[arg(long, value_name = "NUMBER", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_streams: u32,
    /// Largest number of open streams on the xDS port for each identity, over all its connections; 0 for no limit. A proxy has one or two.
    /// Further streams end with RESOURCE_EXHAUSTED, are counted as `identity_stream_limit` and logged.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    max_streams_per_identity: usize,
    /// Longest TLS handshake of a connection to the xDS port or the admin port, in seconds (1–300). A slower one is closed, counted as
    /// `handshake_timeout` and logged.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    handshake_timeout: u64,
    /// Writes to a Kubernetes API.
    #[command(flatten)]
    writer: WriterArgs,
}

fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a number of at least 1".to_owned()),
        Ok(limit) => Ok(limit),
    }
}

impl ServeArgs {
    /// The configuration.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn config(&self) -> Result<ServeConfig, String> {
        let input = self.input.config()?;
        let identity = self.identity.config(self.admin.clients())?;
        let admin = self
            .admin
            .config(&self.identity, input.cluster().is_some())?;
        let sends_key = input
            .listener_tls
            .as_ref()
            .is_some_and(|tls| matches!(tls.source, ListenerSource::Files(_)));
        if sends_key && !identity.has_identities() && !self.xds_address.ip().is_loopback() {
            return Err(
                "--listener-tls sends a private key to proxies, so the xDS port must authenticate them: add --xds-tls, --spiffe-socket or \
                 --trust-xfcc-from, or listen on loopback with --xds-address"
                    .to_owned(),
            );
        }
        Ok(ServeConfig {
            input,
            xds_address: self.xds_address,
            admin,
            identity,
            linger: Duration::from_secs(self.linger),
            load_report_interval: Duration::from_secs(self.load_report_interval),
            drain_time: Duration::from_secs(self.drain_time),
            max_connections: self.max_connections,
            max_connections_per_peer: self.max_connections_per_peer,
            max_streams: self.max_streams,
            max_streams_per_identity: self.max_streams_per_identity,
            handshake_timeout: Duration::from_secs(self.handshake_timeout),
            writer: self.writer.config(),
        })
    }
}

/// Leader election, and the writes of status and Events.
#[derive(Debug, Args, Clone)]
struct WriterArgs {
    /// Name of the Lease that the replicas share. Its holder writes status and Events. Each installation needs its own Lease.
    #[arg(long, value_name = "NAME", default_value = "headgate", env = "HEADGATE_LEASE_NAME", value_parser = parse_name)]
    lease_name: String,
    /// Name of this installation, the same for all its replicas: a domain and a path. An installation manages the
    /// `ServedModels` whose `spec.controllerName` is its name. The installation with the default name also manages those without
    /// this field. It writes `status.conditions` of a policy; any other installation writes its own entry in `status.controllers`.
    #[arg(
        long,
        value_name = "DOMAIN/PATH",
        default_value_t,
        env = "HEADGATE_CONTROLLER_NAME"
    )]
    controller_name: Controller,
    /// Namespace of the Lease and of the ConfigMaps with the proxy counts of the replicas; the default is the namespace of the pod or
    /// of the kubeconfig.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", value_parser = parse_namespace)]
    lease_namespace: Option<String>,
    /// How long a Lease is valid without renewal, in seconds (3–240).
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=240))]
    lease_duration: u64,
    /// Name of this replica, unique among those that share the Lease; the default is the name of the pod, or host name and process id.
    #[arg(long, value_name = "NAME", env = "POD_NAME", value_parser = parse_name)]
    replica_name: Option<String>,
    /// Address of this replica, needed if --admin-address listens on all interfaces. Replicas publish it, so that
    /// `headgate status` can query all of them.
    #[arg(long, value_name = "IP", env = "POD_IP")]
    replica_address: Option<IpAddr>,
}

impl WriterArgs {
    fn config(&self) -> WriterConfig {
        WriterConfig {
            lease_name: self.lease_name.clone(),
            lease_namespace: self.lease_namespace.clone(),
            lease_duration: Duration::from_secs(self.lease_duration),
            replica_name: self.replica_name.clone(),
            replica_address: self.replica_address,
            controller: self.controller_name.clone(),
        }
    }
}
