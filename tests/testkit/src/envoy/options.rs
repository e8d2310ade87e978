//! Options of an Envoy and its command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Address of the admin interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminAddress {
    /// 127.0.0.1 on a port that the kernel chooses, whatever the bootstrap says.
    #[default]
    Ephemeral,
    /// The address in the bootstrap, which must have an `admin` section.
    FromBootstrap,
}

/// The condition for [`super::Envoy::start`] to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadyWhen {
    /// `/ready` says LIVE.
    #[default]
    Live,
    /// The admin interface responds: for an Envoy that gets its configuration late or never.
    AdminAnswers,
}

/// Options of an Envoy.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// Its name in messages.
    pub name: String,
    /// The bootstrap, YAML or JSON.
    pub bootstrap: String,
    /// Number of worker threads.
    pub concurrency: u32,
    /// `node.id`, overriding the bootstrap.
    pub node_id: Option<String>,
    /// `node.cluster`, overriding the bootstrap.
    pub node_cluster: Option<String>,
    /// Merged into `node.metadata`.
    pub node_metadata: Map<String, Value>,
    /// Log level, `trace` to `off`.
    pub log_level: String,
    /// Value of `--component-log-level`, such as `wasm:debug`.
    pub component_log_level: Option<String>,
    /// Log file (appended); by default a temporary file that is removed with this Envoy.
    pub log: Option<PathBuf>,
    /// Further arguments.
    pub args: Vec<OsString>,
    /// Variables added to the inherited environment.
    pub env: BTreeMap<OsString, OsString>,
    /// The binary; by default the one of [`super::find_envoy`].
    pub binary: Option<PathBuf>,
    /// The admin address.
    pub admin: AdminAddress,
    /// The condition for a finished start.
    pub ready: ReadyWhen,
    /// Deadline of the start.
    pub within: Duration,
}

impl EnvoyOptions {
    /// One worker, log level `info`, live within 20 s.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            name: "envoy".into(),
            bootstrap: bootstrap.into(),
            concurrency: 1,
            node_id: None,
            node_cluster: None,
            node_metadata: Map::new(),
            log_level: "info".into(),
            component_log_level: None,
            log: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            binary: None,
            admin: AdminAddress::default(),
            ready: ReadyWhen::default(),
            within: Duration::from_secs(20),
        }
    }

    /// The command line, given the path of the bootstrap and the path to which Envoy writes its admin address.
    pub(super) fn args(&self, bootstrap: &Path, address: &Path) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            "--config-path".into(),
            bootstrap.into(),
            "--admin-address-path".into(),
            address.into(),
            "--disable-hot-restart".into(),
            "--concurrency".into(),
            self.concurrency.to_string().into(),
            "--log-level".into(),
            self.log_level.clone().into(),
        ];
        if let Some(levels) = &self.component_log_level {
            args.extend(["--component-log-level".into(), levels.clone().into()]);
        }
        args.extend(self.args.iter().cloned());
        let overlay = self.overlay();
        if !overlay.is_empty() {
            args.extend([
                "--config-yaml".into(),
                Value::Object(overlay).to_string().into(),
            ]);
        }
        args
    }

    /// The configuration that Envoy merges over the bootstrap (JSON is YAML).
    fn overlay(&self) -> Map<String, Value> {
        let mut overlay = Map::new();
        if self.admin == AdminAddress::Ephemeral {
            let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
            overlay.insert("admin".into(), json!({ "address": address }));
        }
        let mut node = Map::new();
        if let Some(id) = &self.node_id {
            node.insert("id".into(), id.clone().into());
        }
        if let Some(cluster) = &self.node_cluster {
            node.insert("cluster".into(), cluster.clone().into());
        }
        if !self.node_metadata.is_empty() {
            node.insert("metadata".into(), self.node_metadata.clone().into());
        }
        if !node.is_empty() {
            overlay.insert("node".into(), node.into());
        }
        overlay
    }
}
