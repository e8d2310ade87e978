//! Authentication of connections: TLS 1.3 servers whose client certificates have a SPIFFE id, and the client of the admin port.
//!
//! ```text
//! files, or Workload API ──▶ server identity (newest good one) ──▶ handshakes ──▶ connections with an identity ──▶ xds, admin
//! ```
//!
//! - [`files`], [`workload_api`]: the sources of the server's certificate and of the trust bundles.
//! - [`listener`]: the files of the certificate that proxies present to their clients.
//! - [`server_identity`]: the TLS configuration that is made from them, and what `status` shows of it.
//! - [`certificate`]: the SPIFFE id in a certificate. `verifier`: the check of a client certificate against the bundle of its
//!   trust domain.
//! - [`client`]: the TLS of a client of the admin port.
//! - [`handshakes`]: TLS on the connections of a listener. `refusal_log`: the log lines about failed ones.
//!
//! Invariant: a certificate counts only against the bundle of its own trust domain, and a source that breaks keeps the last good
//! identity.

pub mod certificate;
pub mod client;
pub mod files;
pub mod handshakes;
pub mod listener;
mod refusal_log;
pub mod server_identity;
pub mod stable;
pub mod validity;
mod verifier;
pub mod workload_api;

pub use self::client::{ClientOptions, ExpectedServer, client_config};
pub use self::files::{CertificateFiles, FileOptions};
pub use self::handshakes::{Authenticated, HandshakeOptions, tls};
pub use self::listener::{ListenerFileOptions, ListenerFiles, ListenerPem};
pub use self::server_identity::{
    ClientCertificates, IdentityError, PortTls, Problem, ServerIdentity, TrustBundles,
};
pub use self::validity::Validity;
pub use self::workload_api::WorkloadApi;
pub use spiffe::{SpiffeId, TrustDomain};
pub use tokio_rustls::rustls;
