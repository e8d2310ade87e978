//! TLS on the connections of a listener.
//!
//! Invariant: connections are accepted whatever the handshakes do. Each handshake is a task of its own, has a time limit and uses
//! the newest identity of the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, stream};
use headgate_xds::connection::canonical;
use headgate_xds::counts::OpenCounts;
use headgate_xds::{Connection, ConnectionInfo, PeerIdentity, Refusal, Refusals};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{CertificateError, Error, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::certificate::spiffe_id;
use crate::refusal_log::RefusalLog;
use crate::server_identity::{PortTls, ServerIdentity};
use crate::verifier::Refused;

/// Most handshakes at one time. A new connection above this limit is closed.
const MAX_HANDSHAKES: usize = 1024;
/// Most handshakes at one time from one address, so that one machine cannot keep out all others, such as the probes of a kubelet.
const MAX_HANDSHAKES_PER_ADDRESS: usize = 256;
/// Pause after the listener fails, as it does without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The first byte of a TLS connection: the type of a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// The answer to plaintext HTTP.
const NOT_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    this port speaks TLS: use https, or `headgate status --admin-ca FILE`\n";

/// A connection whose handshake succeeded, with the SPIFFE id of the client's certificate, if it has one.
pub type Authenticated = Connection<TlsStream<TcpStream>>;

/// The settings of the handshakes of a port.
#[derive(Debug)]
pub struct HandshakeOptions {
    /// The port.
    pub tls: PortTls,
    /// Longest duration of a handshake.
    pub timeout: Duration,
    /// Counts those that fail.
    pub refusals: Refusals,
}

/// The connections that `listener` accepts and whose handshakes succeed. Refused ones are logged and counted.
pub fn tls(
    listener: TcpListener,
    identity: watch::Receiver<ServerIdentity>,
    options: HandshakeOptions,
) -> impl Stream<Item = io::Result<Authenticated>> + Send {
    let listener = TlsListener {
        listener,
        identity,
        options,
        handshakes: JoinSet::new(),
        under_way: Arc::default(),
        log: RefusalLog::default(),
    };
    stream::unfold(listener, |mut listener| async {
        let connection = listener.next().await;
        Some((Ok(connection), listener))
    })
}

/// A listener and its handshakes. Dropping it ends them.
struct TlsListener {
    listener: TcpListener,
    identity: watch::Receiver<ServerIdentity>,
    options: HandshakeOptions,
    handshakes: JoinSet<Result<Authenticated, Failure>>,
    /// The number of them by address.
    under_way: Arc<OpenCounts>,
    log: RefusalLog,
}

/// A handshake that failed.
struct Failure {
    peer: SocketAddr,
    refusal: Refusal,
    detail: String,
}

impl TlsListener {
    /// The next connection whose handshake succeeds.
    async fn next(&mut self) -> Authenticated {
        loop {
            let done = tokio::select! {
                accepted = self.listener.accept() => {
                    match accepted {
                        Ok((io, peer)) => self.begin(io, canonical(peer)),
                        Err(error) => {
                            tracing::debug!(%error, "a connection cannot be accepted");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                    continue;
                }
                Some(done) = self.handshakes.join_next() => done,
            };
            match done {
                Ok(Ok(connection)) => return connection,
                Ok(Err(failure)) => self.refuse(&failure),
                Err(error) => tracing::error!(%error, "a handshake failed unexpectedly"),
            }
        }
    }

    fn begin(&mut self, io: TcpStream, peer: SocketAddr) {
        let refuse = |refusal, detail: &str| Failure {
            peer,
            refusal,
            detail: detail.to_owned(),
        };
        if self.handshakes.len() >= MAX_HANDSHAKES {
            let detail = "too many handshakes are under way";
            return self.refuse(&refuse(Refusal::HandshakeLimit, detail));
        }
        let check = |_, of_address| match of_address < MAX_HANDSHAKES_PER_ADDRESS {
            true => Ok(()),
            false => Err("too many handshakes of this address are under way"),
        };
        let counted = match self.under_way.add(peer.ip().to_string(), check) {
            Ok(counted) => counted,
            Err(detail) => return self.refuse(&refuse(Refusal::HandshakeLimit, detail)),
        };
        let Some(config) = self.identity.borrow().config.clone() else {
            let detail = "this server has no certificate yet";
            return self.refuse(&refuse(Refusal::NotReady, detail));
        };
        let (tls, timeout) = (self.options.tls, self.options.timeout);
        self.handshakes.spawn(async move {
            let _counted = counted;
            let connecting = handshake(io, peer, config, tls);
            let late = |_| {
                let detail = format!(
                    "the TLS handshake took longer than {timeout:?}, the limit of --handshake-timeout"
                );
                (Refusal::HandshakeTimeout, detail)
            };
            let connected = tokio::time::timeout(timeout, connecting).await;
            let connected = connected.map_err(late).flatten();
            connected.map_err(|(refusal, detail)| Failure {
                peer,
                refusal,
                detail,
            })
        });
    }

    fn refuse(&mut self, failure: &Failure) {
        let Failure {
            peer,
            refusal,
            detail,
        } = failure;
        self.options.refusals.count(*refusal);
        let (port, now) = (self.options.tls.port, Instant::now());
        self.log.refused(port, *peer, *refusal, detail, now);
    }
}

async fn handshake(
    io: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    tls: PortTls,
) -> Result<Authenticated, (Refusal, String)> {
    // Only latency depends on it.
    let _ = io.set_nodelay(true);
    let io = match tls.protocols.contains(&"http/1.1") {
        true => refuse_plaintext(io).await?,
        false => io,
    };
    let io = TlsAcceptor::from(config).accept(io).await;
    let io = io.map_err(|error| cause(&error))?;
    let leaf = io.get_ref().1.peer_certificates().and_then(|c| c.first());
    let id = leaf.map(|leaf| spiffe_id(leaf)).transpose();
    // The verifier has refused such certificates already, and clients without one if it is required.
    let id = id.map_err(|error| (Refusal::UriSan, error.to_string()))?;
    let identity = id.map(|id| PeerIdentity {
        uris: vec![id.to_string()],
        is_forwarded: false,
    });
    let info = ConnectionInfo {
        address: Some(peer),
        identity,
    };
    Ok(Connection::new(io, info))
}

/// Answers a client that speaks HTTP without TLS, as people and probes with a wrong scheme do.
async fn refuse_plaintext(mut io: TcpStream) -> Result<TcpStream, (Refusal, String)> {
    let failed = |why: String| (Refusal::HandshakeFailed, why);
    let mut first = [0];
    let read = io.peek(&mut first).await;
    match read.map_err(|error| failed(error.to_string()))? {
        0 => return Err(failed("the client closed the connection".to_owned())),
        _ if first == [TLS_HANDSHAKE] => return Ok(io),
        _ => {}
    }
    // Data that is not read would reset the connection, and the client would lose the answer.
    let mut request = [0; 4096];
    let _ = io.read(&mut request).await;
    let _ = io.write_all(NOT_TLS.as_bytes()).await;
    let _ = io.shutdown().await;
    Err(failed("the client does not speak TLS".to_owned()))
}

/// Why a handshake failed.
fn cause(error: &io::Error) -> (Refusal, String) {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    match tls {
        Some(Error::NoCertificatesPresented) => {
            let detail = "the client sent no certificate; this server requires one";
            (Refusal::NoCertificate, detail.to_owned())
        }
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => {
            match other.0.downcast_ref::<Refused>() {
                Some(refused) => (refused.refusal, refused.detail.clone()),
                None => (Refusal::CertificateInvalid, other.to_string()),
            }
        }
        Some(error @ Error::InvalidCertificate(_)) => {
            (Refusal::CertificateInvalid, error.to_string())
        }
        _ => (Refusal::HandshakeFailed, error.to_string()),
    }
}
