//! HTTP clients of the admin port: plaintext, or TLS on the transport of ureq.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headgate_identity::rustls::pki_types::ServerName;
use headgate_identity::rustls::{
    CertificateError, ClientConfig, ClientConnection, Error as TlsError, StreamOwned,
};
use headgate_identity::{ClientOptions, ExpectedServer, client_config};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};
use ureq::{Agent, Error};

use super::Credentials;

/// Timeout of a request, in addition to the duration of its long poll.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a connection. The address that a replica published may be unreachable from here.
const CONNECT: Duration = Duration::from_secs(2);
/// Characters of an error page that a message shows.
const MAX_SHOWN: usize = 300;

/// An HTTP client whose requests may take this long in addition to the usual timeout. Certificates are read now, so replaced files
/// count.
///
/// # Errors
/// A file of the credentials cannot be used.
pub(super) fn agent(credentials: &Credentials, wait: Duration) -> Result<Agent, String> {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT + wait))
        .timeout_connect(Some(CONNECT))
        .http_status_as_error(false)
        .build();
    let Some(options) = &credentials.tls else {
        return Ok(config.into());
    };
    let connector = DefaultConnector::default().chain(TlsConnector {
        config: Arc::new(client_config(options)?),
        name: indicated(options),
    });
    let resolver = DefaultResolver::default();
    Ok(Agent::with_parts(config, connector, resolver))
}

/// The URL of a page.
pub(super) fn url(credentials: &Credentials, address: SocketAddr, path: &str) -> String {
    let scheme = credentials.tls.as_ref().map_or("http", |_| "https");
    format!("{scheme}://{address}{path}")
}

/// Why a request failed, and the fix if it is known.
pub(super) fn cause(error: &Error) -> String {
    let Error::Io(io) = error else {
        return error.to_string();
    };
    let tls = io.get_ref().and_then(|e| e.downcast_ref::<TlsError>());
    let fix = match tls {
        Some(TlsError::InvalidMessage(_)) => {
            return "the admin port does not speak TLS: remove --admin-ca, or start the control plane with --admin-tls".to_owned();
        }
        Some(TlsError::InvalidCertificate(error)) => match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                return "the certificate of the control plane has none of the expected names: write one of its DNS names, or its SPIFFE id, into --admin-server-name".to_owned();
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "--admin-ca does not contain the authority of this certificate: use the `ca.crt` of the admin port"
            }
            _ => return io.to_string(),
        },
        Some(TlsError::AlertReceived(_)) => {
            "the log of the control plane has the reason; check --client-cert"
        }
        _ => return error.to_string(),
    };
    format!("{io}: {fix}")
}

/// An answer that is an error: its status, and the first line of its page.
pub(super) fn refused(status: u16, page: &str) -> String {
    let line = page.lines().next().unwrap_or_default();
    let line: String = line.chars().take(MAX_SHOWN).collect();
    match line.as_str() {
        "" => format!("http status: {status}"),
        line => format!("http status: {status}: {}", line.escape_debug()),
    }
}

/// The name that the client indicates (SNI): the first expected DNS name.
fn indicated(options: &ClientOptions) -> Option<ServerName<'static>> {
    let mut names = options
        .expected
        .iter()
        .filter_map(|expected| match expected {
            ExpectedServer::Name(name @ ServerName::DnsName(_)) => Some(name.clone()),
            _ => None,
        });
    names.next()
}

/// TLS over the connection of another connector.
struct TlsConnector {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

impl<T: Transport> Connector<T> for TlsConnector {
    type Out = TlsTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<T>,
    ) -> Result<Option<TlsTransport>, Error> {
        let Some(inner) = chained else {
            return Ok(None);
        };
        let host = details.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = self.name.clone().map_or_else(
            || ServerName::try_from(host.to_owned()).map_err(io::Error::other),
            Ok,
        )?;
        let session = ClientConnection::new(self.config.clone(), name);
        let mut session = session.map_err(io::Error::other)?;
        let mut socket = TransportAdapter::new(inner.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        session.complete_io(&mut socket)?;
        let config = &details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(TlsTransport {
            buffers,
            stream: StreamOwned::new(session, socket),
        }))
    }
}

struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
