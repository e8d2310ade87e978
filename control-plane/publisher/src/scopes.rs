//! Scopes: the server's rules from a proxy's node id, metadata and address to the resources that it may have.
//!
//! Default deny: a proxy that does not connect from loopback is refused unless a rule allows its node id.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use envoy_types::pb::google::protobuf::value::Kind;
use headgate_contract::names;
use headgate_translate::ScopeSpec;
use headgate_xds::{Peer, PermissionDenied, Scope};

/// Rules that assign scopes to proxies.
#[derive(Debug, Clone)]
pub struct ScopeRules {
    /// Patterns of node ids that may connect from other machines.
    pub allow: Vec<String>,
    /// Patterns of node ids whose filters follow the decision of an earlier proxy.
    pub follow: Vec<String>,
    /// Patterns of node ids, with the namespaces that they see. Without any, every proxy sees all namespaces.
    pub node_namespaces: Vec<(String, Vec<String>)>,
    /// Every namespace that has a domain, sorted.
    pub namespaces: Vec<String>,
    /// Listen address of proxies whose metadata has none.
    pub listen: SocketAddr,
}

impl ScopeRules {
    /// The scope of a proxy.
    ///
    /// # Errors
    /// [`PermissionDenied`], with the flag that would allow the proxy.
    pub fn scope(&self, peer: &Peer) -> Result<ScopeSpec, PermissionDenied> {
        // A transport without an address is in this process.
        let is_local = peer.address.is_none_or(|a| a.ip().is_loopback());
        if !is_local && !matches_any(&self.allow, &peer.id) {
            return Err(PermissionDenied {
                reason: format!(
                    "node {id:?} connects from another machine, and no --allow-node pattern matches it: start Headgate with --allow-node {id:?}",
                    id = peer.id
                ),
            });
        }
        Ok(ScopeSpec {
            follow: matches_any(&self.follow, &peer.id),
            namespaces: self.seen_by(&peer.id)?,
            listen: self.listen(peer)?,
        })
    }

    /// Checks that every namespace of [`Self::node_namespaces`] is served.
    ///
    /// # Errors
    /// A message that names the flag and the fix.
    pub fn check(&self) -> Result<(), String> {
        for (pattern, namespaces) in &self.node_namespaces {
            if let Some(unknown) = namespaces.iter().find(|n| !self.namespaces.contains(n)) {
                return Err(format!(
                    "--node-namespaces {pattern}: {unknown} has no domain, so no proxy serves it: \
                     set --domain {unknown}=…"
                ));
            }
        }
        Ok(())
    }

    /// The namespaces that a node id sees, sorted, so that equal sets are one scope.
    fn seen_by(&self, id: &str) -> Result<Vec<String>, PermissionDenied> {
        if self.node_namespaces.is_empty() {
            return Ok(self.namespaces.clone());
        }
        let matching = self
            .node_namespaces
            .iter()
            .filter(|(pattern, _)| matches(pattern, id));
        let seen: BTreeSet<&String> = matching.flat_map(|(_, namespaces)| namespaces).collect();
        if seen.is_empty() {
            let reason = format!(
                "no --node-namespaces pattern matches node {id:?}: start Headgate with --node-namespaces {id:?}=NAMESPACE"
            );
            return Err(PermissionDenied { reason });
        }
        Ok(seen.into_iter().cloned().collect())
    }

    fn listen(&self, peer: &Peer) -> Result<SocketAddr, PermissionDenied> {
        match peer
            .metadata
            .fields
            .get(names::NODE_LISTEN)
            .and_then(|v| v.kind.as_ref())
        {
            None => Ok(self.listen),
            Some(Kind::StringValue(text)) => text.parse().map_err(|_| PermissionDenied {
                reason: format!(
                    "node metadata `{}` is {text:?}: write IP:PORT, such as 127.0.0.1:10001",
                    names::NODE_LISTEN
                ),
            }),
            Some(_) => Err(PermissionDenied {
                reason: format!(
                    "node metadata `{}` must be a string IP:PORT",
                    names::NODE_LISTEN
                ),
            }),
        }
    }
}

/// The name of a scope. Equal scopes have equal names.
pub(crate) fn key(spec: &ScopeSpec) -> Scope {
    let role = if spec.follow { "follow" } else { "decide" };
    Scope(format!(
        "{role} {} {}",
        spec.namespaces.join(","),
        spec.listen
    ))
}

fn matches_any(patterns: &[String], id: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, id))
}

fn matches(pattern: &str, id: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => id.starts_with(prefix),
        None => pattern == id,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rules() -> ScopeRules {
        ScopeRules {
            allow: vec!["edge-*".to_owned()],
            follow: vec!["sidecar-*".to_owned()],
            node_namespaces: Vec::new(),
            namespaces: vec!["default".to_owned()],
            listen: "127.0.0.1:10000".parse().unwrap(),
        }
    }

    #[test]
    fn a_proxy_sees_the_namespaces_of_all_patterns_that_match_it_and_an_unknown_proxy_none() {
        let own = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let mut rules = ScopeRules {
            namespaces: own(&["a", "b", "c"]),
            ..rules()
        };
        let seen = |rules: &ScopeRules, id: &str| {
            let spec = rules.scope(&peer(id, "127.0.0.1:1"));
            spec.map(|spec| spec.namespaces).map_err(|r| r.reason)
        };
        assert_eq!(seen(&rules, "any").unwrap(), ["a", "b", "c"]);
        rules.node_namespaces = vec![
            ("edge-*".to_owned(), own(&["c", "a"])),
            ("edge-1".to_owned(), own(&["b", "a"])),
        ];
        rules.check().unwrap();
        assert_eq!(seen(&rules, "edge-1").unwrap(), ["a", "b", "c"]);
        assert_eq!(seen(&rules, "edge-2").unwrap(), ["a", "c"]);
        let refused = seen(&rules, "other").unwrap_err();
        assert!(refused.contains("--node-namespaces"), "{refused}");
        rules
            .node_namespaces
            .push(("x".to_owned(), own(&["nowhere"])));
        let error = rules.check().unwrap_err();
        assert!(error.contains("--domain nowhere="), "{error}");
    }

    fn peer(id: &str, address: &str) -> Peer {
        Peer {
            id: id.to_owned(),
            address: Some(address.parse().unwrap()),
            ..Peer::default()
        }
    }

    #[test]
    fn an_unknown_proxy_on_another_machine_is_refused_with_the_flag_to_set() {
        let refused = rules().scope(&peer("thief", "10.0.0.9:1")).unwrap_err();
        assert!(
            refused.reason.contains("--allow-node"),
            "{}",
            refused.reason
        );
        assert!(rules().scope(&peer("edge-1", "10.0.0.9:1")).is_ok());
        assert!(rules().scope(&peer("thief", "127.0.0.1:1")).is_ok());
    }

    #[test]
    fn metadata_moves_the_listener_and_the_rules_choose_the_role() {
        let mut asks = peer("sidecar-1", "127.0.0.1:1");
        asks.metadata.fields.insert(
            names::NODE_LISTEN.to_owned(),
            envoy_types::pb::google::protobuf::Value {
                kind: Some(Kind::StringValue("127.0.0.1:10077".to_owned())),
            },
        );
        let spec = rules().scope(&asks).unwrap();
        assert!(spec.follow);
        assert_eq!(spec.listen.port(), 10077);
        asks.metadata.fields.insert(
            names::NODE_LISTEN.to_owned(),
            envoy_types::pb::google::protobuf::Value {
                kind: Some(Kind::StringValue("nonsense".to_owned())),
            },
        );
        assert!(rules().scope(&asks).unwrap_err().reason.contains("IP:PORT"));
    }
}
