//! `headgate version`: the versions of the client and of the control planes.

use serde::Serialize;

use super::{Credentials, Failure, HostPort, Outcome, fetch};
use crate::output::{Format, print};

/// Options of `headgate version`.
#[derive(Debug, Clone)]
pub struct VersionOptions {
    /// Admin addresses of the control planes; empty for the version of the client only.
    pub hosts: Vec<HostPort>,
    /// What the client presents to them.
    pub credentials: Credentials,
    /// Output format.
    pub format: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: ClientVersion,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    servers: Vec<ServerVersion>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientVersion {
    version: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerVersion {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints the versions. The outcome is negative if a control plane does not answer.
///
/// # Errors
/// Standard output cannot be written.
pub fn version(options: &VersionOptions) -> Result<Outcome, Failure> {
    let servers = if options.hosts.is_empty() {
        Vec::new()
    } else {
        servers(&options.hosts, &options.credentials)
    };
    let versions = Versions {
        client: ClientVersion {
            version: env!("CARGO_PKG_VERSION"),
        },
        servers,
    };
    let output = options.format.document(&versions)?;
    print(&output.unwrap_or_else(|| text(&versions)))?;
    let failed = versions.servers.iter().any(|server| server.error.is_some());
    Ok(if failed {
        Outcome::Negative
    } else {
        Outcome::Success
    })
}

fn servers(hosts: &[HostPort], credentials: &Credentials) -> Vec<ServerVersion> {
    let failed = |address: String, error: String| ServerVersion {
        address,
        version: None,
        error: Some(error),
    };
    let addresses = match fetch::resolve(hosts) {
        Ok(addresses) => addresses,
        Err(error) => {
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            return vec![failed(hosts.join(","), error)];
        }
    };
    let one = |address| match fetch::fetch_version(address, credentials) {
        Ok(version) => ServerVersion {
            address: address.to_string(),
            version: Some(version),
            error: None,
        },
        Err(error) => failed(address.to_string(), error),
    };
    addresses.into_iter().map(one).collect()
}

fn text(versions: &Versions) -> String {
    let mut out = format!("client: {}\n", versions.client.version);
    for server in &versions.servers {
        let answer = match (&server.version, &server.error) {
            (Some(version), _) => version.clone(),
            (None, error) => {
                let error = error.as_deref().unwrap_or_default();
                format!("does not answer: {error}")
            }
        };
        out.push_str(&format!("server {}: {answer}\n", server.address));
    }
    out
}
