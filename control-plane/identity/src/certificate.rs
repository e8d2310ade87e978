//! The SPIFFE id in a certificate: the only URI among its subject alternative names.

use spiffe::SpiffeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Characters of a URI that a message shows.
const MAX_SHOWN: usize = 200;

/// Why a certificate has no SPIFFE id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSpiffeId {
    /// It is not an X.509 certificate.
    #[error("the certificate cannot be parsed: {0}")]
    Unreadable(String),
    /// It has none, or several.
    #[error(
        "the certificate has {0} URI subject alternative names; exactly one is allowed, with a SPIFFE id"
    )]
    Count(usize),
    /// The URI is none of the scheme `spiffe`, or not a valid id.
    #[error("the URI {uri} is not a SPIFFE id of a workload: {why}")]
    Invalid {
        /// The URI, escaped.
        uri: String,
        /// Why.
        why: String,
    },
}

/// The SPIFFE id of a workload in a DER certificate.
///
/// # Errors
/// [`NoSpiffeId`].
pub fn spiffe_id(der: &[u8]) -> Result<SpiffeId, NoSpiffeId> {
    let uris = uris(&parse(der)?)?;
    let [uri] = uris.as_slice() else {
        return Err(NoSpiffeId::Count(uris.len()));
    };
    let invalid = |why: String| NoSpiffeId::Invalid {
        uri: shown(uri),
        why,
    };
    let id = SpiffeId::new(uri).map_err(|error| invalid(error.to_string()))?;
    if id.path().is_empty() {
        return Err(invalid("it has no path".to_owned()));
    }
    Ok(id)
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, NoSpiffeId> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(NoSpiffeId::Unreadable("bytes follow it".to_owned())),
        Err(error) => Err(NoSpiffeId::Unreadable(error.to_string())),
    }
}

/// Every URI among the subject alternative names.
fn uris(certificate: &X509Certificate<'_>) -> Result<Vec<String>, NoSpiffeId> {
    let names = certificate.subject_alternative_name();
    let names = names.map_err(|error| NoSpiffeId::Unreadable(error.to_string()))?;
    let names = names.map(|extension| extension.value.general_names.as_slice());
    let uris = names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
    Ok(uris.collect())
}

/// A text of a client for a message: escaped, and not too long.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(MAX_SHOWN).collect();
    format!("{short:?}")
}
