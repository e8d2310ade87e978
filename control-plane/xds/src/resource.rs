//! What is delivered: a named, encoded message of one kind, its content hash, and what it needs.
//!
//! Invariant: a resource's version is a function of its bytes alone, so equal content has equal
//! versions on every replica (server rule 8). It is made by `translate`, held by a
//! [`Snapshot`](crate::Snapshot), and its bytes are shared by every stream that sends it.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use bytes::Bytes;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// The xDS resource types this server delivers.
///
/// The derived order is only for maps; what is pushed first is [`Kind::PUSH_ORDER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CDS: `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// EDS: `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    Endpoints,
    /// LDS: `envoy.config.listener.v3.Listener`.
    Listener,
    /// RDS: `envoy.config.route.v3.RouteConfiguration`.
    Route,
    /// ECDS: `envoy.config.core.v3.TypedExtensionConfig`.
    Extension,
    /// SDS: `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
}

impl Kind {
    /// Every kind, in the order in which a stream pushes what is due (make before break): clusters,
    /// what they need to warm, then what routes to them, and the filter configuration last.
    pub const PUSH_ORDER: [Kind; 6] = [
        Kind::Cluster,
        Kind::Endpoints,
        Kind::Secret,
        Kind::Listener,
        Kind::Route,
        Kind::Extension,
    ];

    /// The type URL of the resources of this kind.
    #[must_use]
    pub fn type_url(self) -> &'static str {
        match self {
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Kind::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Kind::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The kind a type URL names, if it is one of ours.
    #[must_use]
    pub fn from_type_url(url: &str) -> Option<Kind> {
        Kind::PUSH_ORDER
            .into_iter()
            .find(|kind| kind.type_url() == url)
    }

    /// The short name: `cds`, `eds`, `lds`, `rds`, `ecds`, `sds`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Cluster => "cds",
            Kind::Endpoints => "eds",
            Kind::Listener => "lds",
            Kind::Route => "rds",
            Kind::Extension => "ecds",
            Kind::Secret => "sds",
        }
    }

    /// Whether an empty first subscription means everything (legacy wildcard), and a
    /// state-of-the-world response must hold everything because what is absent is removed.
    #[must_use]
    pub fn is_full_state(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener)
    }

    /// Whether a vanished resource is reported as removed (rule 4: for routes, filter configurations
    /// and secrets a removal hangs Envoy's warming, or is an HTTP 500 on every request).
    #[must_use]
    pub fn reports_removal(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener | Kind::Endpoints)
    }

    /// Whether resources of this kind send traffic to the clusters they require, and so wait for
    /// them to be warm and keep them alive.
    #[must_use]
    pub fn routes_to_clusters(self) -> bool {
        matches!(self, Kind::Listener | Kind::Route | Kind::Extension)
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The identity of a resource: its kind and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// What it is.
    pub kind: Kind,
    /// Its xDS resource name.
    pub name: String,
}

impl ResourceKey {
    /// The key of the resource of `kind` called `name`.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// How the body of a refused resource looks when it is offered for the `n`-th time again (`n` ≥ 1).
///
/// Envoy does not apply a filter configuration whose bytes equal the ones it refused (rule 9).
pub type Rearm = Arc<dyn Fn(u32) -> Bytes + Send + Sync>;

/// One encoded xDS resource. Cheap to clone: the bytes are shared.
#[derive(Clone)]
pub struct Resource {
    key: ResourceKey,
    body: Bytes,
    version: Arc<str>,
    requires: Arc<[ResourceKey]>,
    yields: bool,
    rearm: Option<Rearm>,
}

impl Resource {
    /// A resource from its encoded message (the value of the `Any`). Its version is the hash of
    /// those bytes.
    pub fn new(kind: Kind, name: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            key: ResourceKey::new(kind, name),
            version: content_hash([body.as_ref()]).into(),
            body,
            requires: Arc::from([]),
            yields: false,
            rearm: None,
        }
    }

    /// A resource from its message.
    pub fn encode(kind: Kind, name: impl Into<String>, message: &impl prost::Message) -> Self {
        Self::new(kind, name, message.encode_to_vec())
    }

    /// Says what must exist beside this resource: the clusters that a route or a filter
    /// configuration sends traffic to (it then waits for them), the endpoints of an EDS cluster
    /// (they then follow it; without any, endpoints of the cluster's own name are taken).
    #[must_use]
    pub fn requiring(mut self, keys: impl IntoIterator<Item = ResourceKey>) -> Self {
        self.requires = keys.into_iter().collect();
        self
    }

    /// As [`Resource::requiring`], with a list that several resources share.
    #[must_use]
    pub fn requiring_all(mut self, keys: Arc<[ResourceKey]>) -> Self {
        self.requires = keys;
        self
    }

    /// Says that it takes away what routes or filters may still use, as endpoints of which none is left do: a client that has
    /// other endpoints keeps them until it has acknowledged the routes and filters that go with these.
    #[must_use]
    pub fn yielding(mut self) -> Self {
        self.yields = true;
        self
    }

    /// Says how the body looks on retry `n` after a NACK; without it a refused version is never
    /// offered again.
    #[must_use]
    pub fn rearmed_by(mut self, rearm: impl Fn(u32) -> Bytes + Send + Sync + 'static) -> Self {
        self.rearm = Some(Arc::new(rearm));
        self
    }

    /// Kind and name.
    #[must_use]
    pub fn key(&self) -> &ResourceKey {
        &self.key
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// Its xDS resource name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The encoded message, the value of the `Any`.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The content hash of the body: 32 hex digits.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What must exist beside it.
    #[must_use]
    pub fn requires(&self) -> &[ResourceKey] {
        &self.requires
    }

    /// Whether routes and filters go first.
    #[must_use]
    pub fn yields(&self) -> bool {
        self.yields
    }

    /// How its body looks on a retry, if it may be retried.
    #[must_use]
    pub fn rearm(&self) -> Option<&Rearm> {
        self.rearm.as_ref()
    }

    pub(crate) fn shared_version(&self) -> Arc<str> {
        self.version.clone()
    }

    pub(crate) fn shared_requires(&self) -> Arc<[ResourceKey]> {
        self.requires.clone()
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("key", &self.key)
            .field("version", &self.version)
            .field("bytes", &self.body.len())
            .field("requires", &self.requires)
            .field("yields", &self.yields)
            .field("rearm", &self.rearm.is_some())
            .finish()
    }
}

/// A 128-bit hash of `parts`, each with its length so that borders count, as 32 hex digits.
///
/// SipHash-1-3 under a fixed key: equal on every replica and every run. It guards against accident,
/// not against somebody who may write the configuration anyway.
#[must_use]
pub fn content_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = SipHasher13::new_with_keys(0x6865_6164_6761_7465, 0x7864_7376_6572_7331);
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part);
    }
    format!("{:032x}", hasher.finish128().as_u128())
}
