//! Scopes: the server's rules from a proxy's identity, node and address to the resources that it may have.
//!
//! - `identity`: the verified SPIFFE id, and the claims that must agree with it.
//! - `flags`, `file`: the rules, from flags or from the file of `--scopes`. `pattern`: patterns of ids.
//!
//! Default deny: a proxy that does not connect from loopback is refused unless a rule allows it. Once an identity is required,
//! every proxy without one is refused.

mod file;
mod flags;
mod identity;
mod pattern;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use headgate_contract::names;
use headgate_translate::ScopeSpec;
use headgate_xds::{Peer, PeerIdentity, PermissionDenied, Refusal, Scope};

use self::identity::Identity;

pub use self::file::{
    Match, MetadataMatch, RuleRole, ScopeRule, parse_scope_file, scope_file_schema,
};
pub use self::flags::FlagRules;
pub use self::pattern::Patterns;

/// The key of node metadata that every proxy of Istio has.
const ISTIO_VERSION: &str = "ISTIO_VERSION";

/// The keys of node metadata that scopes depend on.
pub(crate) const NODE_METADATA: [&str; 5] = [
    names::NODE_LISTEN,
    ISTIO_VERSION,
    identity::NAMESPACE,
    identity::SERVICE_ACCOUNT,
    identity::LABELS,
];

/// Where the rules come from.
#[derive(Debug, Clone)]
pub enum RuleSource {
    /// Flags.
    Flags(FlagRules),
    /// The file of `--scopes`; the first rule that matches decides.
    File(Vec<ScopeRule>),
}

/// Rules that assign scopes to proxies.
#[derive(Debug, Clone)]
pub struct ScopeRules {
    /// The rules.
    pub source: RuleSource,
    /// Whether the transport gives every proxy an identity, so that one without is refused.
    pub has_identities: bool,
    /// Trust domains whose identities are allowed; empty if the transport alone decides.
    pub trust_domains: Vec<String>,
    /// Every namespace that has a domain, sorted.
    pub namespaces: Vec<String>,
    /// Whether proxies of a mesh are served namespaces without a domain too, because Services are their hosts.
    pub mesh: bool,
    /// Listen address of proxies whose metadata has none.
    pub listen: SocketAddr,
}

/// What a rule gives a proxy.
struct Grant {
    follow: bool,
    namespaces: Vec<String>,
    /// Patterns of the namespaces that it sees as a proxy of a mesh.
    in_mesh: Vec<String>,
}

/// Whether a proxy can ask clients for certificates over QUIC, from the version in its user agent (`envoy/1.40.0`). A proxy without a
/// version is treated as new enough.
fn asks_over_quic(agent: &str) -> bool {
    let version = agent.rsplit_once('/').map(|(_, version)| version);
    let mut parts = version.into_iter().flat_map(|version| version.split('.'));
    let mut number = || parts.next()?.parse::<u32>().ok();
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) >= FIRST_TO_ASK_OVER_QUIC,
        _ => true,
    }
}

/// The first version of Envoy that accepts `require_client_certificate` on a QUIC listener.
const FIRST_TO_ASK_OVER_QUIC: (u32, u32) = (1, 40);

/// The pattern of every namespace.
fn every_namespace() -> Vec<String> {
    vec!["*".to_owned()]
}

impl ScopeRules {
    /// Rules that allow every proxy on loopback, and no other.
    #[must_use]
    pub fn loopback(namespaces: Vec<String>, listen: SocketAddr) -> Self {
        Self {
            source: RuleSource::Flags(FlagRules::default()),
            has_identities: false,
            trust_domains: Vec::new(),
            namespaces,
            mesh: false,
            listen,
        }
    }

    /// Patterns of the namespaces that proxies in a namespace of a mesh may see; `None`: proxies of any namespace.
    #[must_use]
    pub fn seen_in_mesh(&self, namespace: Option<&str>) -> Vec<String> {
        match &self.source {
            RuleSource::Flags(flags) => flags.seen_by_any(),
            RuleSource::File(rules) => {
                let fitting = rules
                    .iter()
                    .filter(|rule| rule.matches.may_fit_namespace(namespace));
                fitting.flat_map(ScopeRule::patterns).collect()
            }
        }
    }

    /// Whether a proxy with this identity may have a scope, whatever its node is.
    #[must_use]
    pub fn may_allow(&self, identity: &PeerIdentity) -> bool {
        let peer = Peer {
            identity: Some(identity.clone()),
            ..Peer::default()
        };
        let Ok(Some(identity)) = self.identity(&peer) else {
            return false;
        };
        match &self.source {
            RuleSource::Flags(flags) => flags.may_allow(&identity),
            RuleSource::File(rules) => {
                let mut rules = rules.iter();
                rules.any(|rule| fits_identity(&rule.matches, Some(&identity)))
            }
        }
    }

    /// The scope of a proxy.
    ///
    /// # Errors
    /// [`PermissionDenied`], with the flag or the rule that would allow the proxy.
    pub fn scope(&self, peer: &Peer) -> Result<ScopeSpec, PermissionDenied> {
        let identity = self.identity(peer)?;
        let identity = identity.as_ref();
        let grant = match &self.source {
            RuleSource::Flags(flags) => flags.grant(peer, identity, &self.namespaces)?,
            RuleSource::File(rules) => self.first_match(rules, peer, identity)?,
        };
        Ok(ScopeSpec {
            follow: grant.follow,
            mesh: (self.mesh && is_of_mesh(peer)).then_some(grant.in_mesh),
            namespaces: grant.namespaces,
            listen: self.listen(peer)?,
            asks_over_quic: asks_over_quic(&peer.agent),
        })
    }

    /// Checks that every namespace of the flags is served. A file is checked when it is parsed.
    ///
    /// # Errors
    /// A message that names the flag and the fix.
    pub fn check(&self) -> Result<(), String> {
        match &self.source {
            RuleSource::Flags(flags) if !self.mesh => flags.check(&self.namespaces),
            RuleSource::Flags(_) | RuleSource::File(_) => Ok(()),
        }
    }

    /// Whether a proxy without an identity is refused.
    fn requires_identity(&self) -> bool {
        self.has_identities
            || match &self.source {
                RuleSource::Flags(flags) => !flags.allow_identities.is_empty(),
                RuleSource::File(rules) => rules.iter().any(|r| r.matches.requires_identity()),
            }
    }

    /// The identity of a proxy, with which its claims agree.
    fn identity(&self, peer: &Peer) -> Result<Option<Identity>, PermissionDenied> {
        let Some(identity) = Identity::of(peer)? else {
            if !self.requires_identity() {
                return Ok(None);
            }
            return Err(PermissionDenied {
                refusal: Refusal::NoIdentity,
                reason: format!(
                    "node {:?} has no identity, and the rules require one: connect with a client certificate to a port with --xds-tls or \
                     --spiffe-socket, or through a proxy in --trust-xfcc-from",
                    peer.id
                ),
            });
        };
        let domain = identity.trust_domain();
        if !self.trust_domains.is_empty() && !self.trust_domains.iter().any(|d| d == domain) {
            return Err(PermissionDenied {
                refusal: Refusal::TrustDomain,
                reason: format!(
                    "trust domain {domain} of {} is not allowed: add it to --trust-domains",
                    identity.as_str()
                ),
            });
        }
        identity.check_claims(peer)?;
        Ok(Some(identity))
    }

    fn first_match(
        &self,
        rules: &[ScopeRule],
        peer: &Peer,
        identity: Option<&Identity>,
    ) -> Result<Grant, PermissionDenied> {
        let rule = rules
            .iter()
            .find(|rule| fits(&rule.matches, peer, identity));
        let Some(rule) = rule else {
            let identity = identity.map_or("no identity".to_owned(), Identity::as_str);
            return Err(PermissionDenied {
                refusal: Refusal::NoRule,
                reason: format!(
                    "no rule of --scopes matches node {:?} with {identity}: add a rule for it",
                    peer.id
                ),
            });
        };
        Ok(Grant {
            follow: rule.role == RuleRole::Follow,
            namespaces: rule.seen(&self.namespaces),
            in_mesh: rule.patterns(),
        })
    }

    fn listen(&self, peer: &Peer) -> Result<SocketAddr, PermissionDenied> {
        let key = names::NODE_LISTEN;
        let invalid = |reason| {
            let refusal = Refusal::NodeMetadata;
            Err(PermissionDenied { refusal, reason })
        };
        if !peer.metadata.fields.contains_key(key) {
            return Ok(self.listen);
        }
        let Some(text) = identity::text(peer, key) else {
            return invalid(format!("node metadata `{key}` must be a string IP:PORT"));
        };
        text.parse().or_else(|_| {
            invalid(format!(
                "node metadata `{key}` is {text:?}: write IP:PORT, such as 127.0.0.1:10001"
            ))
        })
    }
}

/// Whether an identity meets the conditions on it.
fn fits_identity(conditions: &Match, identity: Option<&Identity>) -> bool {
    let id = identity.map(Identity::as_str);
    conditions.spiffe_id.fit(id.as_deref())
        && conditions
            .trust_domain
            .fit(identity.map(Identity::trust_domain))
        && conditions
            .namespace
            .fit(identity.and_then(Identity::namespace))
        && conditions
            .service_account
            .fit(identity.and_then(Identity::service_account))
}

/// Whether a proxy meets all conditions.
fn fits(conditions: &Match, peer: &Peer, identity: Option<&Identity>) -> bool {
    let metadata = &conditions.node_metadata;
    fits_identity(conditions, identity)
        && conditions.node_id.fit(Some(&peer.id))
        && conditions.node_cluster.fit(Some(&peer.cluster))
        && metadata
            .namespace
            .fit(identity::text(peer, identity::NAMESPACE))
        && metadata
            .service_account
            .fit(identity::text(peer, identity::SERVICE_ACCOUNT))
        && metadata
            .labels
            .iter()
            .all(|(key, patterns)| patterns.fit(identity::label(peer, key)))
}

/// Whether a proxy is configured by Istio, which its node metadata shows.
fn is_of_mesh(peer: &Peer) -> bool {
    peer.metadata.fields.contains_key(ISTIO_VERSION)
}

/// The name of a scope. Equal scopes have equal names.
pub(crate) fn key(spec: &ScopeSpec) -> Scope {
    let role = if spec.follow { "follow" } else { "decide" };
    let mesh = match &spec.mesh {
        Some(patterns) => format!(" in mesh {}", patterns.join(",")),
        None => String::new(),
    };
    Scope(format!(
        "{role}{mesh} {} {}",
        spec.namespaces.join(","),
        spec.listen
    ))
}
