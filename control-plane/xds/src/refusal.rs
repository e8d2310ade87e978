//! Refused connections and streams, counted by reason.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a connection or a stream was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The TLS handshake did not end in time.
    HandshakeTimeout,
    /// The TLS handshake failed for another reason than the client's certificate.
    HandshakeFailed,
    /// Too many TLS handshakes were under way.
    HandshakeLimit,
    /// This server has no certificate yet.
    NotReady,
    /// The client sent no certificate.
    NoCertificate,
    /// The client's certificate, or one of its chain, is expired or not yet valid.
    CertificateExpired,
    /// The client's certificate is not signed by the bundle of its trust domain.
    CertificateUntrusted,
    /// The client's certificate cannot be parsed, or is not one of a client.
    CertificateInvalid,
    /// The client's certificate has no URI, several URIs, or one that is not a SPIFFE id.
    UriSan,
    /// The trust domain of the client's certificate is not allowed.
    TrustDomain,
    /// The header with the identity of the client is malformed.
    ForwardedHeader,
    /// The client has no identity, and one is required.
    NoIdentity,
    /// The node claims something that the identity contradicts.
    Claim,
    /// No rule allows the proxy.
    NoRule,
    /// A setting in the node metadata is invalid.
    NodeMetadata,
    /// The node is too large.
    NodeSize,
    /// Too many connections are open.
    ConnectionLimit,
    /// Too many connections of this identity, or this address, are open.
    PeerConnectionLimit,
    /// Too many streams of this identity are open.
    IdentityStreamLimit,
    /// The client sent no request in time.
    NoRequest,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::HandshakeLimit,
        Self::NotReady,
        Self::NoCertificate,
        Self::CertificateExpired,
        Self::CertificateUntrusted,
        Self::CertificateInvalid,
        Self::UriSan,
        Self::TrustDomain,
        Self::ForwardedHeader,
        Self::NoIdentity,
        Self::Claim,
        Self::NoRule,
        Self::NodeMetadata,
        Self::NodeSize,
        Self::ConnectionLimit,
        Self::PeerConnectionLimit,
        Self::IdentityStreamLimit,
        Self::NoRequest,
    ];

    /// Whether it ends a connection during its TLS handshake.
    #[must_use]
    pub fn is_of_handshake(self) -> bool {
        matches!(
            self,
            Self::HandshakeTimeout
                | Self::HandshakeFailed
                | Self::HandshakeLimit
                | Self::NotReady
                | Self::NoCertificate
                | Self::CertificateExpired
                | Self::CertificateUntrusted
                | Self::CertificateInvalid
                | Self::UriSan
                | Self::TrustDomain
        )
    }

    /// The value of the label `reason` and of the log field `refusal`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeLimit => "handshake_limit",
            Self::NotReady => "not_ready",
            Self::NoCertificate => "no_certificate",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateUntrusted => "certificate_untrusted",
            Self::CertificateInvalid => "certificate_invalid",
            Self::UriSan => "uri_san",
            Self::TrustDomain => "trust_domain",
            Self::ForwardedHeader => "forwarded_header",
            Self::NoIdentity => "no_identity",
            Self::Claim => "claim",
            Self::NoRule => "no_rule",
            Self::NodeMetadata => "node_metadata",
            Self::NodeSize => "node_size",
            Self::ConnectionLimit => "connection_limit",
            Self::PeerConnectionLimit => "peer_connection_limit",
            Self::IdentityStreamLimit => "identity_stream_limit",
            Self::NoRequest => "no_request",
        }
    }
}

/// The number of refusals since the start, by reason. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<Refusal, u64>>>);

impl Refusals {
    /// Counts one.
    pub fn count(&self, refusal: Refusal) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(refusal).or_default() += 1;
    }

    /// The number for each reason, also if it is 0.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Refusal, u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Refusal::ALL
            .iter()
            .map(|refusal| (*refusal, counts.get(refusal).copied().unwrap_or(0)))
            .collect()
    }
}
