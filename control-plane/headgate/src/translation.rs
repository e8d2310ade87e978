//! Settings of the translation, from the configuration.

use std::time::Duration;

use headgate_translate::{Code, ListenerTls, Options, ScopeSpec};

use crate::config::{Failure, InputConfig};
use crate::domains::domains;

/// The settings of the translation. A request must arrive completely within `linger`, because its route may lead to a cluster that is
/// about to be removed.
///
/// # Errors
/// Two namespaces have the same domain.
pub(crate) fn options(
    input: &InputConfig,
    module: Code,
    linger: Duration,
    listener_tls: Option<ListenerTls>,
) -> Result<Options, Failure> {
    Ok(Options {
        access_log: input.access_log.clone(),
        max_body_bytes: input.max_body_bytes,
        version_label: input.labels.version.clone(),
        request_timeout: linger * 5 / 6,
        idle_timeout: input.idle_timeout,
        upstream_ca: input.upstream_ca.clone(),
        listener_tls,
        ..Options::new(module, domains(input)?)
    })
}

/// The scope of a proxy without node metadata.
pub(crate) fn default_scope(input: &InputConfig, options: &Options) -> ScopeSpec {
    ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: options.domains.keys().cloned().collect(),
        listen: input.listen,
        asks_over_quic: true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::input;

    #[test]
    fn a_request_arrives_before_the_cluster_of_its_route_is_removed() {
        for linger in [2, 60, 3600].map(Duration::from_secs) {
            let module = Code::Inline(b"".as_slice().into());
            let options = options(&input(), module, linger, None).unwrap();
            assert!(options.request_timeout < linger, "{linger:?}");
        }
    }
}
