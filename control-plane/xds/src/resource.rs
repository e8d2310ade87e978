//! A resource: a named, encoded message of one kind, its content hash, what it requires, and its origin.
//!
//! Invariant: a resource's version is a function of its bytes alone, so equal content has equal versions on every replica (server
//! rule 8). A caller makes resources, a [`Snapshot`](crate::Snapshot) holds them, and every stream that sends one shares its
//! bytes.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use bytes::Bytes;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::origin::Origin;

/// The xDS resource types that this server delivers.
///
/// The derived order is only for maps; resources are pushed in [`Kind::PUSH_ORDER`].
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
    /// Every kind, in the order in which a stream pushes them (make before break): clusters, what they need to warm, then what
    /// routes to them, and the filter configuration last.
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

    /// The kind that a type URL names, if this server delivers it.
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

    /// Whether an empty first subscription is a wildcard (legacy wildcard), and a state-of-the-world response replaces all
    /// resources of the kind, so that a resource it leaves out is removed.
    #[must_use]
    pub fn is_full_state(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener)
    }

    /// Whether the server reports a resource that left the snapshot as removed (rule 4). For routes, filter configurations and
    /// secrets it does not: a removal hangs Envoy's warming, or causes an HTTP 500 on every request.
    #[must_use]
    pub fn reports_removal(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener | Kind::Endpoints)
    }

    /// Whether resources of this kind send traffic to the clusters they require. They wait until those clusters are warm, and
    /// the clusters stay as long as such a resource needs them.
    #[must_use]
    pub fn routes_to_clusters(self) -> bool {
        matches!(self, Kind::Listener | Kind::Route | Kind::Extension)
    }

    /// Whether a proxy without any resource of this kind serves nothing.
    pub(crate) fn is_essential(self) -> bool {
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
    /// Its kind.
    pub kind: Kind,
    /// Its xDS resource name, shared by everything that refers to the resource.
    pub name: Arc<str>,
}

impl ResourceKey {
    /// The key of the resource of `kind` called `name`.
    pub fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
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

/// The body of a rejected resource on its `n`-th retry (`n` ≥ 1).
///
/// Envoy does not apply a filter configuration whose bytes equal the ones it rejected (rule 9), so the bytes must differ.
pub type RetryBody = Arc<dyn Fn(u32) -> Bytes + Send + Sync>;

/// One version of a resource without its body, shared by every stream that has been sent it.
#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    pub(crate) version: Arc<str>,
    /// `None` only for a version that a client brought from an earlier stream and that this server does not know.
    pub(crate) requires: Option<Arc<[ResourceKey]>>,
    pub(crate) origin: Origin,
}

impl Descriptor {
    /// Whether both describe the same: the very same one, or unknown versions of the same name and origin.
    pub(crate) fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let both_unknown = self.requires.is_none() && other.requires.is_none();
        let equal = || self.version == other.version && self.origin == other.origin;
        Arc::ptr_eq(self, other) || (both_unknown && equal())
    }
}

/// One encoded xDS resource. Cheap to clone: the bytes are shared.
#[derive(Clone)]
pub struct Resource {
    key: ResourceKey,
    body: Bytes,
    descriptor: Arc<Descriptor>,
    after_routes: bool,
    retry_body: Option<RetryBody>,
}

impl Resource {
    /// A resource from its encoded message (the value of the `Any`). Its version is the hash of these bytes.
    pub fn new(kind: Kind, name: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let descriptor = Descriptor {
            version: content_hash([body.as_ref()]).into(),
            requires: Some(Arc::default()),
            origin: Origin::default(),
        };
        Self {
            key: ResourceKey::new(kind, name),
            body,
            descriptor: Arc::new(descriptor),
            after_routes: false,
            retry_body: None,
        }
    }

    /// A resource from its message.
    pub fn encode(kind: Kind, name: impl Into<Arc<str>>, message: &impl prost::Message) -> Self {
        Self::new(kind, name, message.encode_to_vec())
    }

    /// Sets the resources that must exist beside this one: the clusters that a route or a filter configuration sends traffic to
    /// (it then waits for them), or the endpoints of an EDS cluster (they then follow it). A cluster without any gets the
    /// endpoints of its own name.
    #[must_use]
    pub fn requiring(self, keys: impl IntoIterator<Item = ResourceKey>) -> Self {
        self.requiring_all(keys.into_iter().collect())
    }

    /// As [`Resource::requiring`], with a list that several resources share.
    #[must_use]
    pub fn requiring_all(mut self, keys: Arc<[ResourceKey]>) -> Self {
        Arc::make_mut(&mut self.descriptor).requires = Some(keys);
        self
    }

    /// Sets the objects that this resource was made from. They do not change its version.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        Arc::make_mut(&mut self.descriptor).origin = origin;
        self
    }

    /// Marks a version that removes something that routes or filters may still use, such as the last endpoint. A client
    /// that has another version keeps it until it has acknowledged the routes and filters of the same snapshot.
    #[must_use]
    pub fn after_routes(mut self) -> Self {
        self.after_routes = true;
        self
    }

    /// Sets the body of each retry after a NACK. Without it the server never offers a rejected version again.
    #[must_use]
    pub fn with_retry_body(
        mut self,
        retry_body: impl Fn(u32) -> Bytes + Send + Sync + 'static,
    ) -> Self {
        self.retry_body = Some(Arc::new(retry_body));
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
        &self.descriptor.version
    }

    /// The resources that must exist beside it.
    #[must_use]
    pub fn requires(&self) -> &[ResourceKey] {
        self.descriptor.requires.as_deref().unwrap_or_default()
    }

    /// The objects that it was made from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.descriptor.origin
    }

    /// Whether routes and filters go first. See [`Resource::after_routes`].
    #[must_use]
    pub fn is_after_routes(&self) -> bool {
        self.after_routes
    }

    /// Its body on a retry, if it may be retried.
    #[must_use]
    pub fn retry_body(&self) -> Option<&RetryBody> {
        self.retry_body.as_ref()
    }

    pub(crate) fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("key", &self.key)
            .field("version", &self.version())
            .field("bytes", &self.body.len())
            .field("requires", &self.requires())
            .field("origin", &self.origin())
            .field("after_routes", &self.after_routes)
            .field("retry_body", &self.retry_body.is_some())
            .finish()
    }
}

/// A 128-bit hash of `parts` as 32 hex digits. Each part enters with its length, so that two splits of the same bytes differ.
///
/// SipHash-1-3 under a fixed key: equal on every replica and in every run. It guards against accidental collisions, not against
/// an attacker, who could write the configuration itself.
#[must_use]
pub fn content_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = SipHasher13::new_with_keys(0x6865_6164_6761_7465, 0x7864_7376_6572_7331);
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part);
    }
    format!("{:032x}", hasher.finish128().as_u128())
}
