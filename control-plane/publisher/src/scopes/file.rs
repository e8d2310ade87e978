//! The file of `--scopes`: rules that say which proxies may connect and what they get.
//!
//! The first rule that matches a proxy decides. A proxy that no rule matches may have nothing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use headgate_contract::pattern::matches;

use super::every_namespace;
use super::pattern::Patterns;

/// Scope rules. The first rule that matches a proxy decides; a proxy that no rule matches is refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ScopeFile")]
struct RawFile {
    /// The rules, in order.
    rules: Vec<ScopeRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeRule {
    /// Name of the rule, for people.
    pub name: String,
    /// What a proxy must have for the rule to match: all of these. An empty `match` matches every proxy.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// The role of its filters.
    #[serde(default)]
    pub role: RuleRole,
    /// Namespaces that the proxy sees: names, or patterns in which `*` matches any characters. Each name needs a domain. By
    /// default all namespaces that have a domain.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub namespaces: Option<Vec<Spanned<String>>>,
}

/// The role of a proxy's filters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleRole {
    /// They pick the version, tag and charge.
    #[default]
    Decide,
    /// They follow the decision of an earlier proxy.
    Follow,
}

/// The conditions of a rule. A rule applies to a proxy if all of its conditions hold. A condition is a pattern or a list of patterns; it
/// holds if the value matches at least one pattern. In a pattern, `*` matches any characters.
///
/// `trustDomain`, `namespace`, `serviceAccount` and `spiffeId` are of the verified identity: a proxy without one does not
/// match. The others are what the proxy says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Match {
    /// Trust domain of the SPIFFE id.
    pub trust_domain: Patterns,
    /// Namespace in a SPIFFE id of the form `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
    pub namespace: Patterns,
    /// Service account in a SPIFFE id of that form.
    pub service_account: Patterns,
    /// The whole SPIFFE id.
    pub spiffe_id: Patterns,
    /// Node id, as claimed.
    pub node_id: Patterns,
    /// Node cluster, as claimed.
    pub node_cluster: Patterns,
    /// Node metadata, as claimed.
    pub node_metadata: MetadataMatch,
}

/// Conditions on the node metadata that Istio's proxies have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "SCREAMING_SNAKE_CASE")]
pub struct MetadataMatch {
    /// Namespace of the pod.
    pub namespace: Patterns,
    /// Service account of the pod.
    pub service_account: Patterns,
    /// Labels of the pod, by key.
    pub labels: BTreeMap<String, Patterns>,
}

impl Match {
    /// Whether a proxy in a namespace may match; `None`: in any namespace.
    pub(super) fn may_fit_namespace(&self, namespace: Option<&str>) -> bool {
        let Some(namespace) = namespace else {
            return true;
        };
        let places = [&self.namespace, &self.node_metadata.namespace];
        places.iter().all(|patterns| patterns.fit(Some(namespace)))
    }

    /// Whether only a proxy with an identity can match.
    pub(super) fn requires_identity(&self) -> bool {
        let of_identity = [
            &self.trust_domain,
            &self.namespace,
            &self.service_account,
            &self.spiffe_id,
        ];
        of_identity.iter().any(|patterns| !patterns.is_absent())
    }
}

/// Parses a file. `served` are the namespaces that have a domain; `None` if a namespace needs none.
///
/// # Errors
/// A message with the line, the field and the fix.
pub fn parse_scope_file(text: &str, served: Option<&[String]>) -> Result<Vec<ScopeRule>, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    if text.trim().is_empty() {
        return Err("the file is empty, so no proxy would be allowed: write `rules:` with at least one rule".to_owned());
    }
    let file: RawFile =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| match error {
            serde_saphyr::Error::MultipleDocuments { .. } => {
                "the file has several YAML documents: write one, with all rules in one list `rules`"
                    .to_owned()
            }
            error => error.to_string(),
        })?;
    if file.rules.is_empty() {
        return Err("`rules` is empty, so no proxy would be allowed: add a rule".to_owned());
    }
    for (rule, served) in file.rules.iter().zip(std::iter::repeat(served)) {
        if let Some(served) = served {
            rule.check(served)?;
        }
    }
    Ok(file.rules)
}

/// The JSON schema of the file.
#[must_use]
pub fn scope_file_schema() -> schemars::Schema {
    schemars::SchemaGenerator::default().into_root_schema_for::<RawFile>()
}

impl ScopeRule {
    fn check(&self, served: &[String]) -> Result<(), String> {
        for namespace in self.namespaces.iter().flatten() {
            let name = &namespace.value;
            let is_name = !name.contains('*');
            if is_name && !served.contains(name) {
                return Err(format!(
                    "line {}: rule {:?}: namespaces: {name:?} has no domain, so no proxy serves it: set --domain {name}=…, or remove it",
                    namespace.referenced.line(),
                    self.name,
                ));
            }
        }
        Ok(())
    }

    /// Patterns of the namespaces that its proxies see.
    pub(super) fn patterns(&self) -> Vec<String> {
        let Some(patterns) = &self.namespaces else {
            return every_namespace();
        };
        patterns
            .iter()
            .map(|pattern| pattern.value.clone())
            .collect()
    }

    /// The namespaces that its proxies see, sorted.
    pub(super) fn seen(&self, served: &[String]) -> Vec<String> {
        let Some(patterns) = &self.namespaces else {
            return served.to_vec();
        };
        let is_seen = |name: &&String| patterns.iter().any(|p| matches(&p.value, name));
        served.iter().filter(is_seen).cloned().collect()
    }
}
