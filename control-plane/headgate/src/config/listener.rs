//! Configuration of the TLS of the listener of proxies.

use headgate_identity::{ListenerFileOptions, TrustDomain};
use headgate_translate::{ClientCertificates, Http3};

/// TLS of the listener of proxies.
#[derive(Debug, Clone)]
pub(crate) struct ListenerTlsConfig {
    /// Where the certificate comes from.
    pub source: ListenerSource,
    /// Whether clients present certificates.
    pub clients: ClientCertificates,
    /// Trust domains of clients, as given.
    pub trust_domains: Vec<TrustDomain>,
    /// HTTP/3.
    pub http3: Option<Http3>,
}

/// Where the certificate of the listener comes from.
#[derive(Debug, Clone)]
pub(crate) enum ListenerSource {
    /// Files.
    Files(ListenerFileOptions),
    /// The SPIRE agent of each proxy.
    Agent,
}
