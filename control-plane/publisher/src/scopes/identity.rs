//! The verified identity of a proxy, and the claims of its node that must agree with it.

use envoy_types::pb::google::protobuf::value::Kind;
use headgate_xds::{Peer, PermissionDenied, Refusal};
use spiffe::SpiffeId;

/// The key of node metadata with the namespace of the proxy's pod.
pub(super) const NAMESPACE: &str = "NAMESPACE";
/// The key of node metadata with its service account.
pub(super) const SERVICE_ACCOUNT: &str = "SERVICE_ACCOUNT";
/// The key of node metadata with the labels of its pod.
pub(super) const LABELS: &str = "LABELS";

/// A SPIFFE id and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(SpiffeId);

impl Identity {
    /// The identity of a peer; `None` if it has none.
    pub(super) fn of(peer: &Peer) -> Result<Option<Self>, PermissionDenied> {
        let Some(identity) = &peer.identity else {
            return Ok(None);
        };
        let invalid = |why: String| PermissionDenied {
            refusal: Refusal::UriSan,
            reason: format!("node {:?}: {why}", peer.id),
        };
        let [uri] = identity.uris.as_slice() else {
            let count = identity.uris.len();
            let why = format!("its certificate has {count} URIs; exactly one is allowed");
            return Err(invalid(why));
        };
        match SpiffeId::new(uri) {
            Ok(id) => Ok(Some(Self(id))),
            Err(error) => Err(invalid(format!("{uri:?} is not a SPIFFE id: {error}"))),
        }
    }

    pub(super) fn as_str(&self) -> String {
        self.0.to_string()
    }

    pub(super) fn trust_domain(&self) -> &str {
        self.0.trust_domain_name()
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.kubernetes().map(|(namespace, _)| namespace)
    }

    pub(super) fn service_account(&self) -> Option<&str> {
        self.kubernetes().map(|(_, account)| account)
    }

    /// Namespace and service account in a path `/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
    fn kubernetes(&self) -> Option<(&str, &str)> {
        let mut parts = self.0.path().strip_prefix("/ns/")?.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(namespace), Some("sa"), Some(account), None) => Some((namespace, account)),
            _ => None,
        }
    }

    /// Checks what the node says of its namespace and service account.
    ///
    /// # Errors
    /// [`PermissionDenied`] with the claim and the identity that contradict each other.
    pub(super) fn check_claims(&self, peer: &Peer) -> Result<(), PermissionDenied> {
        let Some((namespace, account)) = self.kubernetes() else {
            return Ok(());
        };
        let pod = istio_pod(&peer.id);
        let of_node = pod.map(|(_, namespace)| namespace);
        let of_cluster = pod.and_then(|(pod, _)| cluster_namespace(peer, pod));
        let claims = [
            ("metadata NAMESPACE", text(peer, NAMESPACE), namespace),
            (
                "metadata SERVICE_ACCOUNT",
                text(peer, SERVICE_ACCOUNT),
                account,
            ),
            ("node id", of_node, namespace),
            ("node cluster", of_cluster, namespace),
        ];
        for (claim, claimed, verified) in claims {
            if let Some(claimed) = claimed.filter(|claimed| *claimed != verified) {
                return Err(PermissionDenied {
                    refusal: Refusal::Claim,
                    reason: format!(
                        "node {:?} claims {claimed:?} ({claim}), but its identity {} says {verified:?}",
                        peer.id,
                        self.as_str()
                    ),
                });
            }
        }
        Ok(())
    }
}

/// The pod and the namespace in a node id of Istio: `TYPE~IP~POD.NAMESPACE~DNS-DOMAIN`.
fn istio_pod(id: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = id.split('~').collect();
    let [_, _, pod, _] = parts.as_slice() else {
        return None;
    };
    pod.rsplit_once('.')
}

/// The namespace that the cluster of a node of Istio claims: that of `NAME.NAMESPACE`, if NAME is one of the pod's names.
///
/// Only with `tracingServiceName: APP_LABEL_AND_NAMESPACE` (the default) or `CANONICAL_NAME_AND_NAMESPACE` the cluster has that form. With
/// `CANONICAL_NAME_ONLY` or `serviceCluster` it is a name, which may have a dot: `phi-3.5` claims nothing.
fn cluster_namespace<'p>(peer: &'p Peer, pod: &str) -> Option<&'p str> {
    let (name, namespace) = peer.cluster.rsplit_once('.')?;
    let names = NAME_LABELS.into_iter().filter_map(|key| label(peer, key));
    let names: Vec<&str> = names.collect();
    if names.contains(&peer.cluster.as_str()) {
        return None;
    }
    let of_pod = || {
        pod.strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let is_name = name == UNNAMED || names.contains(&name) || (names.is_empty() && of_pod());
    is_name.then_some(namespace)
}

/// The labels by which Istio names a workload.
const NAME_LABELS: [&str; 3] = [
    "service.istio.io/canonical-name",
    "app.kubernetes.io/name",
    "app",
];
/// Istio's name of a workload without a name.
const UNNAMED: &str = "istio-proxy";

/// A text in the node metadata.
pub(super) fn text<'a>(peer: &'a Peer, key: &str) -> Option<&'a str> {
    match peer.metadata.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A label in the node metadata.
pub(super) fn label<'a>(peer: &'a Peer, key: &str) -> Option<&'a str> {
    let labels = peer.metadata.fields.get(LABELS)?.kind.as_ref()?;
    let Kind::StructValue(labels) = labels else {
        return None;
    };
    match labels.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}
