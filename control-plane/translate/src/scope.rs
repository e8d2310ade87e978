//! The scope of a snapshot, and the settings that all scopes share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headgate_contract::names;
use headgate_contract::pattern::matches_any;
use headgate_model::Plan;

use crate::listener_tls::ListenerTls;

/// A proxy's scope: proxies with equal scopes share one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScopeSpec {
    /// Whether the filter of its listener follows the decisions of an earlier hop. Filters of both roles are served to every proxy.
    pub follow: bool,
    /// The namespaces that it may reach, sorted; only those with a domain get a virtual host.
    pub namespaces: Vec<String>,
    /// If its proxies are of a service mesh: patterns of the namespaces that they may reach, with or without a domain. The mesh has the
    /// routes of versions, so they get versions that have a route.
    pub mesh: Option<Vec<String>>,
    /// The address of its listener.
    pub listen: SocketAddr,
    /// Whether its proxies can ask clients for certificates over QUIC: Envoy 1.40 or newer. Older ones refuse a listener that does, so they
    /// offer no HTTP/3 if the listener asks.
    pub asks_over_quic: bool,
}

impl ScopeSpec {
    /// The namespaces that it may reach in a plan.
    #[must_use]
    pub fn reach<'a>(&'a self, plan: &'a Plan) -> BTreeSet<&'a String> {
        let declared = plan
            .namespaces
            .keys()
            .filter(|name| self.reaches_in_mesh(name));
        self.namespaces.iter().chain(declared).collect()
    }

    /// Whether its proxies reach a namespace because they are of a mesh.
    #[must_use]
    pub fn reaches_in_mesh(&self, namespace: &str) -> bool {
        let patterns = self.mesh.as_ref();
        patterns.is_some_and(|patterns| matches_any(patterns, namespace))
    }

    /// The ECDS name of the filter of its listener.
    pub(crate) fn filter(&self) -> &'static str {
        if self.follow {
            names::ECDS_FUSED_FOLLOW
        } else {
            names::ECDS_FUSED
        }
    }
}

/// Settings of the translation.
#[derive(Debug, Clone)]
pub struct Options {
    /// Domains of each namespace's virtual host. One namespace may own `*`; configured, never inferred.
    pub domains: BTreeMap<String, Vec<String>>,
    /// Where Envoy finds the filters.
    pub module: Code,
    /// File of the access log as the proxy sees it; `None` for no log.
    pub access_log: Option<String>,
    /// Largest request body the filter reads, in bytes; the listener's buffers are twice that.
    pub max_body_bytes: u32,
    /// Key of the label that names a pod's version.
    pub version_label: String,
    /// Time within which a whole request must arrive. It must be shorter than the linger time of a removed cluster.
    pub request_timeout: Duration,
    /// Time to connect to an endpoint.
    pub connect_timeout: Duration,
    /// Time for which a stream may be silent. The first token of a long prompt takes a while.
    pub idle_timeout: Duration,
    /// Path on the proxy of the CA file that verifies certificates of endpoints.
    pub upstream_ca: String,
    /// TLS of the listener; `None` for plain HTTP.
    pub listener_tls: Option<ListenerTls>,
}

impl Options {
    /// The settings that `headgate serve` has without a flag, for this module and these domains.
    #[must_use]
    pub fn new(module: Code, domains: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        Self {
            domains: domains.into_iter().collect(),
            module,
            access_log: None,
            max_body_bytes: 8 << 20,
            version_label: names::LABEL_VERSION.to_owned(),
            request_timeout: Duration::from_secs(50),
            connect_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(300),
            upstream_ca: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
            listener_tls: None,
        }
    }
}

/// Where the code of the module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// A file on the proxy's machine. Its name must contain the module's SHA-256, or a swap is no change to Envoy.
    File(String),
    /// The module itself.
    Inline(Bytes),
}
