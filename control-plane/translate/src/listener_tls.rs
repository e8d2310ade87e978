//! TLS of the listener: its certificate, the demands on client certificates, and the secrets that go to proxies over SDS.
//!
//! Invariant: a certificate of a client counts only against the bundle of its own trust domain, and only with exactly one URI.
//! Private keys are in secrets alone: no listener, log or dump has one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, ConfigSource, DataSource, GrpcService, TypedExtensionConfig,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::downstream_tls_context::SessionTicketKeysType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::spiffe_cert_validator_config::TrustDomain;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret,
    SpiffeCertValidatorConfig, TlsCertificate,
};
use envoy_types::pb::google::protobuf::BoolValue;
use envoy_types::util::pack_any;
use headgate_contract::names;
use headgate_xds::{Kind, Resource};

use crate::proto::ads;

/// How the listener authenticates itself and its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Where the certificate and the bundles come from.
    pub source: ListenerCertificateSource,
    /// Whether clients present certificates.
    pub clients: ClientCertificates,
    /// Trust domains whose client certificates are allowed; not empty if clients are asked for one, and exactly one with
    /// [`ClientCertificates::Request`].
    pub trust_domains: Vec<String>,
    /// HTTP/3 on the UDP port with the same number; `None` if it is not offered.
    pub http3: Option<Http3>,
}

/// Where the certificate and the bundles of the listener come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerCertificateSource {
    /// This server.
    Ads(Arc<ListenerSecrets>),
    /// The SPIRE agent of the proxy, by the cluster [`names::AGENT_CLUSTER`] of its bootstrap.
    Agent,
}

/// Whether clients present certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Clients are not asked for one.
    None,
    /// A client may have one; a bad one is refused.
    Request,
    /// A client without one is refused.
    Require,
}

/// HTTP/3 on the UDP port with the number of the listener's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http3 {
    /// The port that clients reach, in `alt-svc`; `None` if it is the listener's.
    pub advertised_port: Option<u16>,
}

/// A certificate with its key, and the bundles of trust domains, all in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ListenerSecrets {
    /// The certificate and those of intermediate authorities.
    pub chain: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
    /// The certificates of the authorities of each trust domain.
    pub bundles: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for ListenerSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domains: Vec<_> = self.bundles.keys().collect();
        f.debug_struct("ListenerSecrets")
            .field("bundles", &domains)
            .finish_non_exhaustive()
    }
}

impl ListenerTls {
    /// Whether clients may present a certificate.
    pub(crate) fn asks(&self) -> bool {
        self.clients != ClientCertificates::None
    }
}

/// The secrets that a listener needs of this server.
pub(crate) fn secrets(tls: &ListenerTls) -> Vec<Resource> {
    let ListenerCertificateSource::Ads(secrets) = &tls.source else {
        return Vec::new();
    };
    let certificate = Type::TlsCertificate(TlsCertificate {
        certificate_chain: Some(inline(&secrets.chain)),
        private_key: Some(inline(&secrets.key)),
        ..TlsCertificate::default()
    });
    let mut resources = vec![secret(names::SECRET_CERTIFICATE, certificate)];
    if tls.asks() {
        let clients = Type::ValidationContext(validation(tls, secrets));
        resources.push(secret(names::SECRET_CLIENTS, clients));
    }
    resources
}

/// The check of client certificates. Envoy's validator for SPIFFE binds each trust domain to its bundle, but refuses clients
/// without a certificate, so certificates that are optional are of one trust domain, which the filter `client-certificates` checks.
fn validation(tls: &ListenerTls, secrets: &ListenerSecrets) -> CertificateValidationContext {
    let bundles = tls.trust_domains.iter().filter_map(|domain| {
        let bundle = secrets.bundles.get(domain)?;
        Some((domain.clone(), inline(bundle)))
    });
    match tls.clients {
        ClientCertificates::Require => CertificateValidationContext {
            custom_validator_config: Some(TypedExtensionConfig {
                name: "envoy.tls.cert_validator.spiffe".to_owned(),
                typed_config: Some(pack_any(SpiffeCertValidatorConfig {
                    trust_domains: bundles
                        .map(|(name, bundle)| TrustDomain {
                            name,
                            trust_bundle: Some(bundle),
                            ..TrustDomain::default()
                        })
                        .collect(),
                    ..SpiffeCertValidatorConfig::default()
                })),
            }),
            ..CertificateValidationContext::default()
        },
        _ => CertificateValidationContext {
            trusted_ca: bundles.map(|(_, bundle)| bundle).next(),
            ..CertificateValidationContext::default()
        },
    }
}

/// The TLS context of the listener. `alpn`: its protocols; none for QUIC, which names its own.
pub(crate) fn context(tls: &ListenerTls, alpn: &[&str]) -> DownstreamTlsContext {
    let (certificate, clients) = match &tls.source {
        ListenerCertificateSource::Ads(_) => (
            sds(names::SECRET_CERTIFICATE, ads()),
            sds(names::SECRET_CLIENTS, ads()),
        ),
        ListenerCertificateSource::Agent => {
            (sds("default", agent()), sds(&agent_bundle(tls), agent()))
        }
    };
    DownstreamTlsContext {
        require_client_certificate: Some(BoolValue {
            value: tls.clients == ClientCertificates::Require,
        }),
        // A resumed session skips the check of the client's certificate.
        disable_stateful_session_resumption: tls.asks(),
        session_ticket_keys_type: tls.asks().then_some(
            SessionTicketKeysType::DisableStatelessSessionResumption(true),
        ),
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: alpn.iter().map(|name| (*name).to_owned()).collect(),
            tls_certificate_sds_secret_configs: vec![certificate],
            validation_context_type: tls.asks().then_some(
                ValidationContextType::ValidationContextSdsSecretConfig(clients),
            ),
            ..CommonTlsContext::default()
        }),
        ..DownstreamTlsContext::default()
    }
}

/// The bundle's name at the agent: that of the trust domain, or `ALL`, which comes with Envoy's validator for SPIFFE.
fn agent_bundle(tls: &ListenerTls) -> String {
    match (tls.clients, tls.trust_domains.first()) {
        (ClientCertificates::Request, Some(domain)) => format!("spiffe://{domain}"),
        _ => "ALL".to_owned(),
    }
}

fn agent() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3 as i32,
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(ApiConfigSource {
            api_type: ApiType::Grpc as i32,
            transport_api_version: ApiVersion::V3 as i32,
            grpc_services: vec![GrpcService {
                target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
                    cluster_name: names::AGENT_CLUSTER.to_owned(),
                    ..EnvoyGrpc::default()
                })),
                ..GrpcService::default()
            }],
            ..ApiConfigSource::default()
        })),
        ..ConfigSource::default()
    }
}

fn sds(name: &str, source: ConfigSource) -> SdsSecretConfig {
    SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(source),
    }
}

fn secret(name: &str, content: Type) -> Resource {
    let message = Secret {
        name: name.to_owned(),
        r#type: Some(content),
    };
    Resource::encode(Kind::Secret, name, &message)
}

fn inline(pem: &[u8]) -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineBytes(pem.to_vec())),
        ..DataSource::default()
    }
}
