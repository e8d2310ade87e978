//! Settings of the rendered objects.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use headgate_contract::pattern::matches_any;
use headgate_model::{HostRules, LabelKeys, Labels};

use crate::object::Context;

/// The namespaces of proxies, each with patterns of the namespaces of models that its proxies may see.
pub type ProxyNamespaces = BTreeMap<String, Vec<String>>;

/// The namespaces of proxies that may see a namespace of models.
pub(crate) fn seeing<'a>(
    proxies: &'a ProxyNamespaces,
    models: &'a str,
) -> impl Iterator<Item = &'a String> {
    let seeing = proxies.iter();
    let seeing = seeing.filter(move |(_, seen)| matches_any(seen, models));
    seeing.map(|(namespace, _)| namespace)
}

/// Settings of the rendered objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Namespaces of sidecars that call models. An object in Istio's root namespace applies to the whole mesh.
    pub clients: ProxyNamespaces,
    /// Namespaces of ingress gateways.
    pub gateways: ProxyNamespaces,
    /// Istio's root namespace.
    pub root_namespace: String,
    /// Labels of the pods whose sidecars run the filter; empty for all pods of the namespaces.
    pub client_labels: Labels,
    /// Labels of the gateways that run the filter; empty for all gateways of the namespaces.
    pub gateway_labels: Labels,
    /// The rules of hosts.
    pub hosts: HostRules,
    /// The Service by which proxies reach the xDS server.
    pub xds: XdsService,
    /// The file of the filter's module as proxies see it; `None` if proxies get the code from the control plane only.
    pub module: Option<String>,
    /// Largest request body that the filter reads, in bytes; buffers of listeners are twice that.
    pub max_body_bytes: u32,
    /// Keys of the labels.
    pub keys: LabelKeys,
    /// Name of the installation.
    pub controller: String,
}

impl Options {
    /// The DNS domain of Services.
    #[must_use]
    pub fn cluster_domain(&self) -> &str {
        self.hosts.cluster_domain.as_deref().unwrap_or_default()
    }

    /// The labels of the clients or gateways that run the filter; empty for all.
    #[must_use]
    pub fn labels_of(&self, context: Context) -> &Labels {
        match context {
            Context::SidecarOutbound | Context::SidecarInbound => &self.client_labels,
            Context::Gateway => &self.gateway_labels,
        }
    }
}

/// The Service of the xDS server: `NAME.NAMESPACE:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XdsService {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The number of its port.
    pub port: u16,
}

impl XdsService {
    /// Its DNS name in a cluster domain.
    #[must_use]
    pub fn host(&self, cluster_domain: &str) -> String {
        format!("{}.{}.svc.{cluster_domain}", self.name, self.namespace)
    }
}

impl fmt::Display for XdsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.name, self.namespace, self.port)
    }
}

impl FromStr for XdsService {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(host, port)| {
            let (name, namespace) = host.split_once('.')?;
            let is_label = |part: &str| {
                let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                (1..=63).contains(&part.len()) && part.chars().all(inner)
            };
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (is_label(name) && is_label(namespace)).then(|| Self {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                port,
            })
        });
        parsed.ok_or_else(|| {
            format!("{text:?} is not a Service: write NAME.NAMESPACE:PORT, such as headgate.headgate-system:18000")
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_back_as_written_and_other_text_is_refused_with_an_example() {
        let service: XdsService = "headgate.headgate-system:18000".parse().unwrap();
        assert_eq!(service.to_string(), "headgate.headgate-system:18000");
        assert_eq!(
            service.host("cluster.local"),
            "headgate.headgate-system.svc.cluster.local"
        );
        for bad in [
            "",
            "headgate:18000",
            "headgate.ns",
            "headgate.ns:0",
            "a.b.c:1",
            "A.ns:1",
        ] {
            let error = bad.parse::<XdsService>().unwrap_err();
            assert!(error.contains("headgate.headgate-system:18000"), "{error}");
        }
    }
}
