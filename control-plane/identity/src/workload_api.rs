//! Certificates from a SPIFFE Workload API, such as that of a SPIRE agent: the X.509-SVID of this server, and the bundles of its
//! trust domain and of those that it federates with.
//!
//! Invariant: the stream is opened again after each end, and the last identity stays meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use spiffe::{TrustDomain, WorkloadApiClient, X509Context};
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::server_identity::{
    Credentials, IdentityError, PortTls, ServerIdentity, TrustBundles, publish,
};

/// First and longest time before the stream is opened again. It doubles with each failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Time for the first certificate. Beyond it an agent that says nothing is a problem.
const FIRST: Duration = Duration::from_secs(5);

/// A Workload API and the identity that it gives this server.
#[derive(Debug)]
pub struct WorkloadApi {
    /// Such as `unix:///run/spire/agent.sock`.
    endpoint: String,
    trust_domains: Vec<TrustDomain>,
    tls: PortTls,
    identity: watch::Sender<ServerIdentity>,
}

impl WorkloadApi {
    /// The Workload API at a socket (a path, or `unix:PATH`), for the certificate of a port. Certificates of `trust_domains` are
    /// allowed; if there are none, those of the trust domain of this server.
    ///
    /// # Errors
    /// [`IdentityError`]: the socket is not an absolute path.
    pub fn new(
        socket: &str,
        trust_domains: Vec<TrustDomain>,
        tls: PortTls,
    ) -> Result<Self, IdentityError> {
        let path = socket.strip_prefix("unix:").unwrap_or(socket);
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.len() < 2 {
            return Err(IdentityError(format!(
                "--spiffe-socket {socket}: write the absolute path of the socket, or unix:PATH"
            )));
        }
        Ok(Self {
            endpoint: format!("unix://{path}"),
            trust_domains,
            tls,
            identity: watch::Sender::default(),
        })
    }

    /// The identity, now and later.
    pub fn identity(&self) -> watch::Receiver<ServerIdentity> {
        self.identity.subscribe()
    }

    /// Follows the Workload API until the last subscriber is dropped.
    pub async fn run(self) {
        tokio::select! {
            () = self.identity.closed() => {}
            () = self.follow() => {}
            () = self.expect_first() => {}
        }
    }

    /// Reports that nothing has come, neither a certificate nor an error. Never ends.
    async fn expect_first(&self) {
        tokio::time::sleep(FIRST).await;
        let is_silent = {
            let identity = self.identity.borrow();
            identity.config.is_none() && identity.problem.is_none()
        };
        if is_silent {
            let endpoint = &self.endpoint;
            let message = format!(
                "--spiffe-socket: no certificate has come from {endpoint}; check that the agent runs"
            );
            publish(&self.identity, self.tls, Err(message));
        }
        std::future::pending().await
    }

    async fn follow(&self) {
        let mut pause = BACKOFF.0;
        loop {
            let (has_answered, why) = self.stream().await;
            if has_answered {
                pause = BACKOFF.0;
            }
            let message = format!(
                "--spiffe-socket: the SPIFFE Workload API at {} gives no certificate: {why}; check that the agent runs and that \
                 this workload is registered",
                self.endpoint
            );
            publish(&self.identity, self.tls, Err(message));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Follows one stream to its end. Returns whether it gave an identity, and why it ended.
    async fn stream(&self) -> (bool, String) {
        let mut has_answered = false;
        let client = match WorkloadApiClient::connect_to(&self.endpoint).await {
            Ok(client) => client,
            Err(error) => return (false, chain(&error)),
        };
        let stream = match client.stream_x509_contexts().await {
            Ok(stream) => stream,
            Err(error) => return (false, chain(&error)),
        };
        let mut stream = std::pin::pin!(stream);
        while let Some(update) = stream.next().await {
            match update {
                Ok(context) => {
                    let read = self.read(&context);
                    has_answered |= read.is_ok();
                    let read =
                        read.map_err(|why| format!("--spiffe-socket {}: {why}", self.endpoint));
                    publish(&self.identity, self.tls, read);
                }
                Err(error) => return (has_answered, chain(&error)),
            }
        }
        (has_answered, "the agent closed the stream".to_owned())
    }

    fn read(&self, context: &X509Context) -> Result<ServerIdentity, String> {
        let svid = context
            .default_svid()
            .ok_or("it has no X.509-SVID for this workload")?;
        let bundles = context.bundle_set().iter().map(|(domain, bundle)| {
            let authorities = bundle.authorities().iter();
            let authorities = authorities.map(|a| CertificateDer::from(a.as_bytes().to_vec()));
            (domain.clone(), authorities.collect())
        });
        let allowed: BTreeSet<TrustDomain> = if self.trust_domains.is_empty() {
            BTreeSet::from([svid.spiffe_id().trust_domain().clone()])
        } else {
            self.trust_domains.iter().cloned().collect()
        };
        let key = svid.private_key().as_bytes().to_vec();
        let credentials = Credentials {
            chain: svid
                .cert_chain()
                .iter()
                .map(|c| CertificateDer::from(c.as_bytes().to_vec()))
                .collect(),
            key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)),
            bundles: bundles.collect::<TrustBundles>(),
        };
        ServerIdentity::new(credentials, &allowed, self.tls)
    }
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let message = next.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = next.source();
    }
    text
}
