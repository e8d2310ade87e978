//! The Envoys of a testbed: the shipped bootstrap with other addresses, everything else over delta ADS.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use super::addresses::reachable;
use super::{TestbedError, artifacts};
use crate::envoy::{AdminAddress, Envoy, EnvoyOptions};
use crate::process::Log;

/// Interval at which Envoy writes its access log to the file, in ms. Its default of 10 s is too long for tests.
const LOG_FLUSH_MS: &str = "100";

/// Addresses and options of one Envoy.
#[derive(Debug, Clone)]
pub(super) struct EnvoyPlacement {
    pub(super) id: String,
    pub(super) xds: SocketAddr,
    pub(super) traffic: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    pub(super) workers: u32,
    pub(super) log: PathBuf,
}

/// An Envoy of a testbed.
#[derive(Debug)]
pub struct TestbedEnvoy {
    /// The process and its admin interface.
    pub envoy: Envoy,
    id: String,
    url: String,
    log: Log,
}

impl TestbedEnvoy {
    pub(super) async fn start(place: &EnvoyPlacement) -> Result<Self, TestbedError> {
        let envoy = Envoy::start(place.options()?).await?;
        Ok(Self {
            envoy,
            id: place.id.clone(),
            url: format!("http://{}", reachable(place.traffic)),
            log: Log::new(place.log.clone()),
        })
    }

    /// Its node id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// URL for traffic.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its log and its access log, in one file.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl EnvoyPlacement {
    fn options(&self) -> Result<EnvoyOptions, TestbedError> {
        let mut options = EnvoyOptions::new(bootstrap(self.xds, self.admin)?);
        options.name.clone_from(&self.id);
        options.node_id = Some(self.id.clone());
        options.node_cluster = Some("testbed".into());
        options.concurrency = self.workers;
        options.log = Some(self.log.clone());
        options.log_level = "warning".into();
        options.args = vec!["--file-flush-interval-msec".into(), LOG_FLUSH_MS.into()];
        if self.admin.is_some() {
            options.admin = AdminAddress::FromBootstrap;
        }
        let listen = Value::from(self.traffic.to_string());
        options
            .node_metadata
            .insert("headgate.listen".into(), listen);
        Ok(options)
    }
}

/// The shipped bootstrap with other addresses.
///
/// # Errors
/// [`TestbedError::Bootstrap`] when the shipped file does not have the expected form.
pub fn bootstrap(xds: SocketAddr, admin: Option<SocketAddr>) -> Result<String, TestbedError> {
    let file = artifacts::checkout()?.join("envoy-config/bootstrap.yaml");
    let text = std::fs::read_to_string(&file)
        .map_err(|source| TestbedError::files(file.display(), source))?;
    let text = moved(&text, 18000, reachable(xds))?;
    match admin {
        Some(admin) => moved(&text, 9901, admin),
        None => Ok(text),
    }
}

/// The shipped bootstrap with several control plane replicas: Envoy uses one that responds.
///
/// # Errors
/// As [`bootstrap`].
pub fn bootstrap_with_replicas(planes: &[SocketAddr]) -> Result<String, TestbedError> {
    let [first, more @ ..] = planes else {
        return Err(TestbedError::Bootstrap("a control plane".to_owned()));
    };
    let text = bootstrap(*first, None)?;
    let list = "      - lb_endpoints:\n";
    if text.matches(list).count() != 1 {
        return Err(TestbedError::Bootstrap(list.to_owned()));
    }
    let endpoint = |addr: &SocketAddr| {
        let address = address(reachable(*addr));
        format!("        - endpoint: {{ address: {{ socket_address: {address} }} }}\n")
    };
    let more: String = more.iter().map(endpoint).collect();
    Ok(text.replace(list, &format!("{list}{more}")))
}

fn address(addr: SocketAddr) -> String {
    let (ip, port) = (addr.ip(), addr.port());
    format!("{{ address: \"{ip}\", port_value: {port} }}")
}

fn moved(text: &str, port: u16, to: SocketAddr) -> Result<String, TestbedError> {
    let shipped = format!("{{ address: 127.0.0.1, port_value: {port} }}");
    if text.matches(&shipped).count() != 1 {
        return Err(TestbedError::Bootstrap(shipped));
    }
    Ok(text.replace(&shipped, &address(to)))
}
