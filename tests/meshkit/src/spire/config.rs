//! The configuration files of a SPIRE server and of its agent, as pure functions of names, addresses and paths.
//!
//! Invariant: loopback only; keys stay in memory; nothing but the directory of one trust domain is written.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Interval in which an agent asks its server for new entries and bundles, and in which the server reads them from its datastore. The
/// defaults are 5 s, which each test would wait for.
const SYNC: &str = "500ms";

/// The addresses of one trust domain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) server: SocketAddr,
    pub(super) server_health: SocketAddr,
    pub(super) bundle: SocketAddr,
    pub(super) agent_health: SocketAddr,
}

/// The files of one trust domain.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) dir: PathBuf,
}

impl Files {
    pub(super) fn server_config(&self) -> PathBuf {
        self.dir.join("server.conf")
    }

    pub(super) fn agent_config(&self) -> PathBuf {
        self.dir.join("agent.conf")
    }

    /// The server's own API, for its command line.
    pub(super) fn server_socket(&self) -> PathBuf {
        self.dir.join("server.sock")
    }

    /// The Workload API.
    pub(super) fn agent_socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    pub(super) fn bundle(&self) -> PathBuf {
        self.dir.join("bundle.pem")
    }

    pub(super) fn programs(&self) -> PathBuf {
        self.dir.join("programs")
    }
}

/// The server: SQLite, join tokens, and a bundle endpoint that other trust domains authenticate by SPIFFE (`https_spiffe`).
pub(super) fn server(domain: &str, ttl: Duration, addresses: &Addresses, files: &Files) -> String {
    let Addresses {
        server,
        server_health,
        bundle,
        ..
    } = addresses;
    format!(
        r#"server {{
  trust_domain = "{domain}"
  bind_address = "{}"
  bind_port = "{}"
  socket_path = {}
  data_dir = {}
  log_level = "INFO"
  default_x509_svid_ttl = "{}s"
  ca_ttl = "24h"
  experimental {{ cache_reload_interval = "{SYNC}" }}
  federation {{
    bundle_endpoint {{
      address = "{}"
      port = {}
      refresh_hint = "60s"
      profile "https_spiffe" {{}}
    }}
  }}
}}
plugins {{
  DataStore "sql" {{
    plugin_data {{
      database_type = "sqlite3"
      connection_string = {}
    }}
  }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
}}
{}"#,
        server.ip(),
        server.port(),
        quoted(&files.server_socket()),
        quoted(&files.dir),
        ttl.as_secs(),
        bundle.ip(),
        bundle.port(),
        quoted(&files.dir.join("datastore.sqlite3")),
        health(*server_health),
    )
}

/// The agent: it knows a program by the path of its executable, because all programs of a test run as one user.
pub(super) fn agent(domain: &str, token: &str, addresses: &Addresses, files: &Files) -> String {
    format!(
        r#"agent {{
  trust_domain = "{domain}"
  server_address = "{}"
  server_port = "{}"
  socket_path = {}
  data_dir = {}
  trust_bundle_path = {}
  join_token = "{token}"
  log_level = "INFO"
  experimental {{ sync_interval = "{SYNC}" }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{
    plugin_data {{ discover_workload_path = true }}
  }}
}}
{}"#,
        addresses.server.ip(),
        addresses.server.port(),
        quoted(&files.agent_socket()),
        quoted(&files.dir),
        quoted(&files.bundle()),
        health(addresses.agent_health),
    )
}

fn health(at: SocketAddr) -> String {
    format!(
        r#"health_checks {{
  listener_enabled = true
  bind_address = "{}"
  bind_port = "{}"
}}
"#,
        at.ip(),
        at.port()
    )
}

/// A string of HCL, which quotes as JSON does.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}
