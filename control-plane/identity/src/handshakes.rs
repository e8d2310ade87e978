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
use headgate_xds::{Connection, ConnectionInfo, PeerIdentity, Refusal, Refusals};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{CertificateError, Error, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::certificate::spiffe_id;
use crate::refusal_log::RefusalLog;
use crate::server_identity::ServerIdentity;
use crate::verifier::Refused;

/// Longest duration of a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way. Beyond it a new connection is closed.
const MAX_HANDSHAKES: usize = 1024;
/// Pause after the listener fails, as it does without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Authenticated = Connection<TlsStream<TcpStream>>;

/// The connections that `listener` accepts and that authenticate themselves. Refused ones are logged and counted in `refusals`.
pub fn tls(
    listener: TcpListener,
    identity: watch::Receiver<ServerIdentity>,
    refusals: Refusals,
) -> impl Stream<Item = io::Result<Authenticated>> {
    let door = Door {
        listener,
        identity,
        refusals,
        handshakes: JoinSet::new(),
        log: RefusalLog::default(),
    };
    stream::unfold(door, |mut door| async {
        let connection = door.next().await;
        Some((Ok(connection), door))
    })
}

/// A listener and its handshakes. Dropping it ends them.
struct Door {
    listener: TcpListener,
    identity: watch::Receiver<ServerIdentity>,
    refusals: Refusals,
    handshakes: JoinSet<Result<Authenticated, Failure>>,
    log: RefusalLog,
}

/// A handshake that failed.
struct Failure {
    peer: SocketAddr,
    refusal: Refusal,
    detail: String,
}

impl Door {
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
        let Some(config) = self.identity.borrow().config.clone() else {
            let detail = "this server has no certificate yet";
            return self.refuse(&refuse(Refusal::NotReady, detail));
        };
        self.handshakes.spawn(handshake(io, peer, config));
    }

    fn refuse(&mut self, failure: &Failure) {
        let Failure {
            peer,
            refusal,
            detail,
        } = failure;
        self.refusals.count(*refusal);
        self.log.refused(*peer, *refusal, detail, Instant::now());
    }
}

async fn handshake(
    io: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
) -> Result<Authenticated, Failure> {
    let failure = |(refusal, detail)| Failure {
        peer,
        refusal,
        detail,
    };
    // Only latency depends on it.
    let _ = io.set_nodelay(true);
    let accepted = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(io)).await;
    let late = |_| {
        let detail = format!("the TLS handshake took longer than {HANDSHAKE:?}");
        failure((Refusal::HandshakeTimeout, detail))
    };
    let io = accepted
        .map_err(late)?
        .map_err(|error| failure(cause(&error)))?;
    let leaf = io.get_ref().1.peer_certificates().and_then(|c| c.first());
    let id = leaf.map(|leaf| spiffe_id(leaf));
    let Some(Ok(id)) = id else {
        // The verifier has refused such a certificate already.
        return Err(failure((Refusal::UriSan, "no SPIFFE id".to_owned())));
    };
    let info = ConnectionInfo {
        address: Some(peer),
        identity: Some(PeerIdentity {
            uris: vec![id.to_string()],
            is_forwarded: false,
        }),
    };
    Ok(Connection::new(io, info))
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
