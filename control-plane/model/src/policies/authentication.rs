//! `AuthenticationPolicy` → the authentication of namespaces.
//!
//! The providers of all policies of a namespace apply together. The item on which policies conflict is an issuer.

use headgate_contract::{AuthenticationPolicySpec, ModelId, NamespaceConfig};

use super::effective_items::EffectiveItems;
use super::kind::{RulePolicy, Rules};
use super::list::list;
use super::resolved::ResolvedPolicy;
use super::typed::TypedPolicy;
use crate::{Authentication, Finding, Severity, TokenProvider, reason};

impl RulePolicy for AuthenticationPolicySpec {
    const CONFLICT_FIX: &'static str = "An issuer has one provider: merge both into one";

    fn items(&self) -> Vec<String> {
        let issuers = self.jwt.iter().map(|provider| provider.issuer.clone());
        issuers.collect()
    }

    fn describe(index: usize, name: &str) -> String {
        format!("spec.jwt[{index}]: issuer {name:?}")
    }

    fn conflict(tie: bool) -> (Severity, &'static str) {
        let severity = match tie {
            true => Severity::Error,
            false => Severity::Warning,
        };
        (severity, reason::DUPLICATE_ISSUER)
    }

    const NOT_IN_MESH: Option<&'static str> = Some(
        "proxies of Istio do not apply this policy, only the listeners that Headgate renders do. For the mesh, write a RequestAuthentication \
         and an AuthorizationPolicy (security.istio.io)",
    );

    /// Remarks on issuers without audiences, because a public issuer also makes tokens for other people's applications, and on proxies of a
    /// mesh, which authenticate requests by other objects.
    fn advice(policy: &TypedPolicy<'_, Self>, in_mesh: bool) -> Vec<Finding> {
        let mut remarks = Vec::new();
        let open = policy.spec.jwt.iter().filter(|p| p.audiences.is_empty());
        let open: Vec<&str> = open.map(|provider| provider.issuer.as_str()).collect();
        if !open.is_empty() {
            let message = format!(
                "spec.jwt: these issuers have no `audiences`, so every token of theirs is accepted, also one for another application: {}. \
                 Write the `aud` of the tokens that are meant for this namespace",
                list(open.into_iter())
            );
            remarks.push(policy.finding(Severity::Info, reason::ANY_AUDIENCE, message));
        }
        if let (true, Some(instead)) = (in_mesh, Self::NOT_IN_MESH) {
            let message = format!("spec: {instead}");
            remarks.push(policy.finding(Severity::Warning, reason::NOT_IN_MESH, message));
        }
        remarks
    }

    fn add_rules(
        namespace: &str,
        policies: &[TypedPolicy<'_, Self>],
        resolved: &[ResolvedPolicy],
        effective: &mut [EffectiveItems],
        rules: &mut Rules,
    ) {
        let mut required = false;
        let mut providers = Vec::new();
        for ((policy, resolved), effective) in policies.iter().zip(resolved).zip(effective) {
            let all = policy.spec.jwt.iter().zip(&effective.items);
            let active = all.filter(|(_, models)| !models.is_empty());
            providers.extend(active.map(|(jwt, _)| TokenProvider {
                policy: policy.policy.id().in_rules(),
                jwt: jwt.clone(),
            }));
            // Also of a policy whose issuers are those of others: a namespace cannot lift what the root namespace requires.
            let applies = resolved.rank(namespace, true).is_some();
            required |= policy.spec.required && applies;
        }
        let applies = required || !providers.is_empty();
        rules.authentication = applies.then_some(Authentication {
            required,
            providers,
        });
    }

    fn models_of_rules<'c>(
        _config: &'c NamespaceConfig,
        authentication: Option<&'c Authentication>,
        policy: &str,
    ) -> Vec<Option<&'c [ModelId]>> {
        let providers = authentication.into_iter().flat_map(|a| &a.providers);
        let own = providers.filter(|provider| provider.policy == policy);
        own.map(|_| None).collect()
    }
}
