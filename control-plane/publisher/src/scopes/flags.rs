//! Scope rules from flags, for the simple case.

use std::collections::BTreeSet;

use headgate_contract::pattern::{matches, matches_any};
use headgate_xds::{Peer, PermissionDenied, Refusal};

use super::identity::Identity;
use super::{Grant, every_namespace};

/// The flags. Patterns may have a `*` anywhere.
#[derive(Debug, Clone, Default)]
pub struct FlagRules {
    /// Patterns of node ids that may connect from other machines.
    pub allow: Vec<String>,
    /// Patterns of SPIFFE ids that may connect. If there are any, all others may not.
    pub allow_identities: Vec<String>,
    /// Patterns of node ids whose filters follow the decision of an earlier proxy.
    pub follow: Vec<String>,
    /// Patterns of node ids, with the namespaces that they see. Without any, every proxy sees all namespaces.
    pub node_namespaces: Vec<(String, Vec<String>)>,
}

impl FlagRules {
    /// What a proxy gets.
    pub(super) fn grant(
        &self,
        peer: &Peer,
        identity: Option<&Identity>,
        served: &[String],
    ) -> Result<Grant, PermissionDenied> {
        self.check_allowed(peer, identity)?;
        let namespaces = self.seen_by(&peer.id, served)?;
        Ok(Grant {
            follow: matches_any(&self.follow, &peer.id),
            in_mesh: match self.node_namespaces.is_empty() {
                true => every_namespace(),
                false => namespaces.clone(),
            },
            namespaces,
        })
    }

    /// Whether an identity may be allowed. Without --allow-identity, the node decides.
    pub(super) fn may_allow(&self, identity: &Identity) -> bool {
        self.allow_identities.is_empty() || matches_any(&self.allow_identities, &identity.as_str())
    }

    fn check_allowed(
        &self,
        peer: &Peer,
        identity: Option<&Identity>,
    ) -> Result<(), PermissionDenied> {
        let refuse = |reason| {
            let refusal = Refusal::NoRule;
            Err(PermissionDenied { refusal, reason })
        };
        if let Some(identity) = identity
            && !self.allow_identities.is_empty()
        {
            let id = identity.as_str();
            if self.may_allow(identity) {
                return Ok(());
            }
            return refuse(format!(
                "no --allow-identity pattern matches {id}: start Headgate with --allow-identity {id}"
            ));
        }
        // A transport without an address is in this process. The address of a forwarded identity is the one of the proxy in front.
        let is_forwarded = peer.identity.as_ref().is_some_and(|i| i.is_forwarded);
        let is_local = !is_forwarded && peer.address.is_none_or(|a| a.ip().is_loopback());
        if is_local || matches_any(&self.allow, &peer.id) {
            return Ok(());
        }
        let id = &peer.id;
        match identity.map(Identity::as_str) {
            Some(identity) => refuse(format!(
                "node {id:?} has the identity {identity}, and no rule allows it: start Headgate with --allow-identity {identity}"
            )),
            None => refuse(format!(
                "node {id:?} connects from another machine, and no --allow-node pattern matches it: start Headgate with --allow-node {id:?}"
            )),
        }
    }

    /// The namespaces that a node id sees, sorted, so that equal sets are one scope.
    fn seen_by(&self, id: &str, served: &[String]) -> Result<Vec<String>, PermissionDenied> {
        if self.node_namespaces.is_empty() {
            return Ok(served.to_vec());
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
            let refusal = Refusal::NoRule;
            return Err(PermissionDenied { refusal, reason });
        }
        Ok(seen.into_iter().cloned().collect())
    }

    /// Patterns of the namespaces that any proxy sees in a mesh.
    pub(super) fn seen_by_any(&self) -> Vec<String> {
        if self.node_namespaces.is_empty() {
            return every_namespace();
        }
        let lists = self
            .node_namespaces
            .iter()
            .map(|(_, namespaces)| namespaces);
        lists.flatten().cloned().collect()
    }

    /// Checks that every namespace of [`Self::node_namespaces`] is served.
    pub(super) fn check(&self, served: &[String]) -> Result<(), String> {
        for (pattern, namespaces) in &self.node_namespaces {
            if let Some(unknown) = namespaces.iter().find(|n| !served.contains(n)) {
                return Err(format!(
                    "--node-namespaces {pattern}: {unknown} has no domain, so no proxy serves it: \
                     set --domain {unknown}=…"
                ));
            }
        }
        Ok(())
    }
}
