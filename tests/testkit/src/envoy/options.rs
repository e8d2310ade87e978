//! How to start an Envoy, and the command line that follows from it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Where the admin interface listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminAddress {
    /// 127.0.0.1 on a port that the kernel chooses, whatever the bootstrap says.
    #[default]
    Ephemeral,
    /// As the bootstrap says; it must have an `admin` section then.
    FromBootstrap,
}

/// When [`super::Envoy::start`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadyWhen {
    /// `/ready` says LIVE.
    #[default]
    Live,
    /// The admin interface listens: for an Envoy that is not expected to get its configuration soon, or ever.
    AdminAnswers,
}

/// How to start an Envoy.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// Its name in messages.
    pub name: String,
    /// The bootstrap, YAML or JSON.
    pub bootstrap: String,
    /// Worker threads.
    pub concurrency: u32,
    /// `node.id`, instead of the bootstrap's.
    pub node_id: Option<String>,
    /// `node.cluster`, instead of the bootstrap's.
    pub node_cluster: Option<String>,
    /// Merged into `node.metadata`.
    pub node_metadata: Map<String, Value>,
    /// `trace` … `off`.
    pub log_level: String,
    /// As for `--component-log-level`, such as `wasm:debug`.
    pub component_log_level: Option<String>,
    /// Where the log goes (appended); a temporary file that ends with this Envoy if none.
    pub log: Option<PathBuf>,
    /// Further arguments.
    pub args: Vec<OsString>,
    /// Variables added to the inherited environment.
    pub env: BTreeMap<OsString, OsString>,
    /// The binary; found by [`super::find_envoy`] if none.
    pub binary: Option<PathBuf>,
    /// The admin address.
    pub admin: AdminAddress,
    /// When it counts as started.
    pub ready: ReadyWhen,
    /// How long that may take.
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

    /// The command line, given where the bootstrap is and where the admin address shall be written.
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

    /// What Envoy merges over the bootstrap (JSON is YAML).
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
