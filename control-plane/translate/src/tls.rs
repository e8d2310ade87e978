//! TLS to endpoints: the SNI, and the names that a certificate must have.
//!
//! Invariant: every certificate is verified against a name or an address, never against the CA alone.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use headgate_model::{Address, Tls};

/// The TLS context for these endpoints. `ca`: path of the CA file on the proxy.
pub(crate) fn context(
    tls: &Tls,
    endpoints: &BTreeSet<Address>,
    alpn: &[&str],
    ca: &str,
) -> UpstreamTlsContext {
    let only_names = endpoints.iter().all(|a| matches!(a, Address::Name { .. }));
    let names: Vec<SubjectAltNameMatcher> = match tls.san.as_ref().or(tls.sni.as_ref()) {
        Some(name) => vec![san(SanType::Dns, name)],
        None => own_names(endpoints),
    };
    // Envoy verifies each endpoint against its own name: with a list, one server of a version could impersonate another.
    let verify_own_name = tls.sni.is_none() && tls.san.is_none() && only_names;
    UpstreamTlsContext {
        sni: tls.sni.clone().unwrap_or_default(),
        auto_host_sni: tls.sni.is_none(),
        auto_sni_san_validation: verify_own_name,
        common_tls_context: Some(CommonTlsContext {
            alpn_protocols: alpn.iter().map(|name| (*name).to_owned()).collect(),
            validation_context_type: Some(ValidationContextType::ValidationContext(
                CertificateValidationContext {
                    trusted_ca: Some(DataSource {
                        specifier: Some(Specifier::Filename(ca.to_owned())),
                        ..DataSource::default()
                    }),
                    match_typed_subject_alt_names: names,
                    ..CertificateValidationContext::default()
                },
            )),
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    }
}

/// The names and addresses of the endpoints, each once.
fn own_names(endpoints: &BTreeSet<Address>) -> Vec<SubjectAltNameMatcher> {
    let named: BTreeSet<(SanType, String)> = endpoints
        .iter()
        .map(|address| match address {
            Address::Name { host, .. } => (SanType::Dns, host.clone()),
            Address::Ip(address) => (SanType::IpAddress, address.ip().to_string()),
        })
        .collect();
    named.iter().map(|(kind, name)| san(*kind, name)).collect()
}

fn san(kind: SanType, name: &str) -> SubjectAltNameMatcher {
    SubjectAltNameMatcher {
        san_type: kind as i32,
        matcher: Some(exactly(name)),
        ..SubjectAltNameMatcher::default()
    }
}

fn exactly(name: &str) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(MatchPattern::Exact(name.to_owned())),
        ..StringMatcher::default()
    }
}
