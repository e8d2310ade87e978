//! Names on the wire, which filters, control plane, bootstrap and scripts share.

/// Label that names the model of a workload.
pub const LABEL_MODEL: &str = "model-name";
/// Label that names the version of a workload.
pub const LABEL_VERSION: &str = "model-version";
/// Label with the carrier's share of new sessions, in percent.
pub const LABEL_WEIGHT: &str = "canary-weight";
/// Annotation: comma list of the names clients write for the model.
pub const ANNOTATION_MODEL_NAMES: &str = "headgate.dev/model-names";
/// Annotation: endpoints in place of the pods, as `ip:port,name:port,…`. In Kubernetes on Services only.
pub const ANNOTATION_ENDPOINTS: &str = "headgate.dev/endpoints";
/// Annotation of a pod or of its carrier, Kubernetes only: the number or name of the port that serves. It takes precedence over
/// Services and port names.
pub const ANNOTATION_PORT: &str = "headgate.dev/port";
/// Annotation of a pod or of its carrier, Kubernetes only: the Service whose `targetPort` is the port that serves.
pub const ANNOTATION_SERVICE: &str = "headgate.dev/service";
/// Annotation of a labelled Service: `owner` makes the labelled owner of its pods the carrier instead.
pub const ANNOTATION_CARRIER: &str = "headgate.dev/carrier";
/// Annotation: `share` lets a new unlabelled carrier take production traffic at once.
pub const ANNOTATION_JOIN: &str = "headgate.dev/join";
/// Annotation of a carrier: the `max_tokens` of a request that names none, a number of tokens or `context`.
pub const ANNOTATION_DEFAULT_MAX_TOKENS: &str = "headgate.dev/default-max-tokens";
/// Annotation of a carrier: the name that its servers want for the model. A request that names it otherwise is rewritten.
pub const ANNOTATION_SERVED_NAME: &str = "headgate.dev/served-name";
/// Annotation of a carrier: tokens of the model's context window.
pub const ANNOTATION_CONTEXT_LENGTH: &str = "headgate.dev/context-length";
/// Annotation of a carrier: the protocol of its endpoints, `http1`, `http2`, `grpc` or `client`.
pub const ANNOTATION_PROTOCOL: &str = "headgate.dev/protocol";
/// Annotation of a carrier: `true` sends requests to its endpoints over TLS.
pub const ANNOTATION_TLS: &str = "headgate.dev/tls";
/// Annotation of a carrier: the TLS server name (SNI). Default: the endpoint's name.
pub const ANNOTATION_TLS_SNI: &str = "headgate.dev/tls-sni";
/// Annotation of a carrier: the DNS name that the server's certificate must have. Default: the server name.
pub const ANNOTATION_TLS_SAN: &str = "headgate.dev/tls-san";
/// Annotation of a carrier: the path of an active HTTP health check, or `grpc`.
pub const ANNOTATION_HEALTH_CHECK: &str = "headgate.dev/health-check";
/// Annotation of a `ServedModel`: its base, as `kind/name=version+version,…`, for backups that drop `status`.
pub const ANNOTATION_BASE: &str = "headgate.dev/base";
/// Annotation of a `ServedModel`: the base before a promoted one, in the same form, for backups that drop `status`.
pub const ANNOTATION_PREVIOUS_BASE: &str = "headgate.dev/previous-base";

/// Prefix of every annotation.
pub const ANNOTATION_PREFIX: &str = "headgate.dev/";
/// All known annotations. Any other one with [`ANNOTATION_PREFIX`] has no effect and is reported as a finding.
pub const ANNOTATIONS: [&str; 16] = [
    ANNOTATION_MODEL_NAMES,
    ANNOTATION_ENDPOINTS,
    ANNOTATION_PORT,
    ANNOTATION_JOIN,
    ANNOTATION_DEFAULT_MAX_TOKENS,
    ANNOTATION_CONTEXT_LENGTH,
    ANNOTATION_SERVED_NAME,
    ANNOTATION_SERVICE,
    ANNOTATION_PROTOCOL,
    ANNOTATION_TLS,
    ANNOTATION_TLS_SNI,
    ANNOTATION_TLS_SAN,
    ANNOTATION_HEALTH_CHECK,
    ANNOTATION_CARRIER,
    ANNOTATION_BASE,
    ANNOTATION_PREVIOUS_BASE,
];

/// Default of `--controller-name`. The installation with this name writes `status.conditions` of policies, any other one its entry
/// in `status.controllers`.
pub const DEFAULT_CONTROLLER_NAME: &str = "headgate.dev/headgate";

/// API group and version of the policies.
pub const API_VERSION: &str = "headgate.dev/v1alpha1";

/// Prefixes of the paths under which models are served: whole segments.
pub const SERVING_PREFIXES: [&str; 6] = [
    "/v1/",
    "/v1beta/",
    "/v2",
    "/openai/",
    "/inference.GRPCInferenceService/",
    "/infer",
];

/// Health check paths. With the header of a model they go to the model, unmetered; without it, the proxy answers.
pub const HEALTH_PATHS: [&str; 3] = ["/health", "/healthz", "/ping"];

/// The listener's name.
pub const LISTENER: &str = "headgate";
/// The name of the listener of HTTP/3.
pub const LISTENER_HTTP3: &str = "headgate-http3";
/// SDS name of the listener's certificate.
pub const SECRET_CERTIFICATE: &str = "headgate-listener";
/// SDS name of the bundles that verify the certificates of clients.
pub const SECRET_CLIENTS: &str = "headgate-listener-clients";
/// Name of the cluster of a SPIRE agent, in the bootstrap of a proxy.
pub const AGENT_CLUSTER: &str = "spire-agent";
/// The route configuration's name.
pub const ROUTE_CONFIG: &str = "ai-model-route";
/// Prefix of a virtual host's name; the namespace follows.
pub const VIRTUAL_HOST_PREFIX: &str = "model-serving/";
/// Prefix of the virtual hosts in which Istio puts the requests that a pod receives: `inbound|http|8000`.
pub const INBOUND_PREFIX: &str = "inbound|";
/// Prefix of a cluster's name: `model/<namespace>/<model>[/<version>]`.
pub const CLUSTER_PREFIX: &str = "model/";
/// ECDS name of the filter with both stages.
pub const ECDS_FUSED: &str = "headgate";
/// ECDS name of the filter that only tags.
pub const ECDS_TRAFFIC_TAG: &str = "headgate.traffic-tag";
/// ECDS name of the filter that only limits.
pub const ECDS_TOKEN_BUCKET: &str = "headgate.token-bucket";
/// ECDS name of the filter with both stages, on a hop that follows.
pub const ECDS_FUSED_FOLLOW: &str = "headgate.follow";
/// ECDS name of the filter that only tags, on a hop that follows.
pub const ECDS_TRAFFIC_TAG_FOLLOW: &str = "headgate.traffic-tag.follow";
/// ECDS name of the filter that only limits, on a hop that follows.
pub const ECDS_TOKEN_BUCKET_FOLLOW: &str = "headgate.token-bucket.follow";
/// ECDS name of Envoy's `jwt_authn`, in front of the filter that decides; also the filter's name, which virtual hosts use.
pub const ECDS_JWT: &str = "headgate.jwt";
/// Prefix of the name of a cluster from which proxies fetch the keys of an issuer: `jwks/https/HOST:PORT`.
pub const JWKS_CLUSTER_PREFIX: &str = "jwks/";
/// Metadata key of `jwt_authn` with the payload of the verified token.
pub const JWT_PAYLOAD: &str = "headgate";
/// Constant `vm_id`: the table of buckets lives under it and outlives configuration and code swaps.
pub const VM_ID: &str = "headgate";
/// Node metadata key with the `ip:port` on which a proxy wants its listener.
pub const NODE_LISTEN: &str = "headgate.listen";

/// Metadata namespace of clusters and endpoints.
pub const METADATA: &str = "headgate";
/// Metadata key of the version, on every endpoint.
pub const METADATA_VERSION: &str = "version";
/// Metadata key of the model, on clusters.
pub const METADATA_MODEL: &str = "model";
/// Metadata key of the Kubernetes namespace, on clusters.
pub const METADATA_NAMESPACE: &str = "namespace";

/// Header with the model. From the client: the model it requests; to the upstream: the model id; in responses: the model that served.
pub const HEADER_MODEL: &str = "x-model";
/// Header with the version. From the client: a pin; to the upstream: the version picked; in responses: the version that served.
pub const HEADER_VERSION: &str = "x-model-version";
/// Header with `max_tokens`, for requests whose body does not have it.
pub const HEADER_MAX_TOKENS: &str = "x-max-tokens";
/// Header with `temperature`, for requests whose body does not have it.
pub const HEADER_TEMPERATURE: &str = "x-temperature";
/// Prefix of the header of every other tag (`x-headgate-tenant`, `x-headgate-lane`, own tags). Those that a client sends are stripped.
pub const TAG_HEADER_PREFIX: &str = "x-headgate-";
/// Prefix of the tags' members in `baggage`.
pub const BAGGAGE_PREFIX: &str = "headgate.";
/// Prefix of the tags' filter state; access logs read `%FILTER_STATE(wasm.headgate.model:PLAIN)%`.
pub const FILTER_STATE_PREFIX: &str = "headgate.";
/// Default header that names the tenant.
pub const DEFAULT_TENANT_HEADER: &str = "x-tenant-id";

/// Longest DNS name, in bytes.
pub const HOST_BYTES: usize = 253;

/// Whether a text is a DNS name, or one whose first label is `*`.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(inner)
    };
    text.len() <= HOST_BYTES && name.split('.').all(is_label)
}

/// The host of a virtual host's name (`llama3-70b.models.svc.cluster.local:8000`, `[::1]:8000`): without its port, without a final
/// dot, and an IPv6 address without its brackets. Its case is as it was.
#[must_use]
pub fn host_of(name: &str) -> &str {
    let mut host = name.as_bytes();
    let colons = host.iter().filter(|b| **b == b':').count();
    if let [b'[', address @ ..] = host
        && let Some(end) = address.iter().position(|b| *b == b']')
    {
        return name.get(1..=end).unwrap_or(name);
    }
    // Without brackets, an address with several colons has no port.
    if colons == 1 {
        while let [rest @ .., b'0'..=b'9'] = host {
            host = rest;
        }
        match host {
            [rest @ .., b':'] => host = rest,
            _ => host = name.as_bytes(),
        }
    }
    if let [rest @ .., b'.'] = host {
        host = rest;
    }
    name.get(..host.len()).unwrap_or(name)
}

/// Largest length of a DNS label, in bytes.
const DNS_LABEL: usize = 63;
/// Length of the suffix of a [`subset`] that is not the version itself: `-` and 8 hex digits.
const HASH_SUFFIX: usize = 9;

/// The DNS label that names a version's subset in a `DestinationRule`. Different versions have different labels, unless their
/// hashes collide.
///
/// It is the version itself if that is a DNS label without the form of a hashed one. Otherwise it is the version in lower case,
/// with `-` for every other character, cut to 54 bytes, then `-` and the FNV-1a hash of the version (32 bits) in hex.
///
/// ```
/// use headgate_contract::names::subset;
/// assert_eq!(subset("v2"), "v2");
/// assert_eq!(subset("v2.3.1-cuda118"), "v2-3-1-cuda118-7128d30d");
/// ```
#[must_use]
pub fn subset(version: &str) -> String {
    if is_plain_subset(version) {
        return version.to_owned();
    }
    let replace = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    };
    let replaced: String = version.chars().map(replace).collect();
    let mut label = replaced.trim_matches('-').to_owned();
    label.truncate(DNS_LABEL - HASH_SUFFIX);
    let label = label.trim_end_matches('-');
    format!("{label}-{:08x}", fnv1a(version.as_bytes()))
}

/// Whether a version has this [`subset`], without a look at the readable part of a hashed label.
#[must_use]
pub fn is_subset(version: &str, subset: &str) -> bool {
    match hash_suffix(subset.as_bytes()) {
        Some(hash) => !is_plain_subset(version) && hash == fnv1a(version.as_bytes()),
        None => subset == version,
    }
}

/// The [`subset`] of a version behind a Service in front of several models, whose versions may have equal names.
#[must_use]
pub fn shared_subset(model: &str, version: &str) -> String {
    subset(&format!("{model}.{version}"))
}

/// Whether a model's version has this [`shared_subset`], without a look at the readable part of the label.
#[must_use]
pub fn is_shared_subset(model: &str, version: &str, subset: &str) -> bool {
    let hash = hash_suffix(subset.as_bytes());
    // A name with a dot is no DNS label, so its subset is always hashed.
    hash.is_some_and(|hash| hash == fnv1a_of([model, ".", version]))
}

/// Whether a version is its own subset.
fn is_plain_subset(version: &str) -> bool {
    let is_part = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = version.as_bytes();
    bytes.len() <= DNS_LABEL
        && bytes.iter().all(|b| is_part(b) || *b == b'-')
        && bytes.first().is_some_and(is_part)
        && bytes.last().is_some_and(is_part)
        && hash_suffix(bytes).is_none()
}

/// The hash at the end of a label: `-` and 8 hex digits.
fn hash_suffix(label: &[u8]) -> Option<u32> {
    let [b'-', digits @ ..] = label.last_chunk::<HASH_SUFFIX>()? else {
        return None;
    };
    digits.iter().try_fold(0, |hash, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(hash << 4 | u32::from(digit))
    })
}

/// FNV-1a with 32 bits. The hashes of the standard library may change between releases.
fn fnv1a(bytes: &[u8]) -> u32 {
    fnv1a_after(0x811c_9dc5, bytes)
}

/// The hash of the parts in one.
fn fnv1a_of(parts: [&str; 3]) -> u32 {
    let parts = parts.into_iter().map(str::as_bytes);
    parts.fold(fnv1a(&[]), fnv1a_after)
}

fn fnv1a_after(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// The virtual host of a namespace.
#[must_use]
pub fn virtual_host(namespace: &str) -> String {
    format!("{VIRTUAL_HOST_PREFIX}{namespace}")
}

/// The model's own cluster: every version in it, weighted by locality.
#[must_use]
pub fn model_cluster(namespace: &str, model: &str) -> String {
    format!("{CLUSTER_PREFIX}{namespace}/{model}")
}

/// The cluster of one variant.
#[must_use]
pub fn variant_cluster(namespace: &str, model: &str, version: &str) -> String {
    format!("{CLUSTER_PREFIX}{namespace}/{model}/{version}")
}
