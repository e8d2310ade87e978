//! Issuers that several policies of a scope name, with different settings.
//!
//! Envoy finds the provider of a requirement by its name, so namespaces do not see each other's. Only where a token is optional it looks for
//! the issuer among all providers of the filter: then a namespace could accept a token with the keys or the audiences of another one.
//!
//! Invariant: if a namespace of a scope has `required: false`, each of its issuers has the same settings in the whole scope. Of
//! providers that differ, the one of the oldest policy stays; the other namespaces refuse its tokens.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{Authentication, Plan, TokenProvider};

use crate::scope::ScopeSpec;
use crate::view::AcceptedTokens;

/// The provider that stays, for each issuer with a conflict.
pub(crate) struct Conflicts<'a>(BTreeMap<&'a str, &'a TokenProvider>);

/// Finds the conflicts among the namespaces of a scope.
pub(crate) fn conflicts<'a>(plan: &'a Plan, scope: &ScopeSpec) -> Conflicts<'a> {
    let reach = scope.reach(plan);
    let namespaces = plan.namespaces.iter();
    let reached = namespaces.filter(|(name, _)| reach.contains(name));
    let all: Vec<&Authentication> = reached
        .filter_map(|(_, namespace)| namespace.authentication.as_ref())
        .collect();
    let optional: BTreeSet<&str> = all
        .iter()
        .filter(|authentication| !authentication.required)
        .flat_map(|authentication| &authentication.providers)
        .map(|provider| provider.jwt.issuer.as_str())
        .collect();
    let mut by_issuer: BTreeMap<&str, Vec<&TokenProvider>> = BTreeMap::new();
    for provider in all
        .iter()
        .flat_map(|authentication| &authentication.providers)
    {
        let issuer = provider.jwt.issuer.as_str();
        if optional.contains(issuer) {
            by_issuer.entry(issuer).or_default().push(provider);
        }
    }
    let stays = by_issuer.into_iter().filter_map(|(issuer, providers)| {
        let oldest = providers.iter().min_by_key(|p| (p.created, &p.policy))?;
        let differs = providers.iter().any(|other| other.jwt != oldest.jwt);
        differs.then_some((issuer, *oldest))
    });
    Conflicts(stays.collect())
}

impl Conflicts<'_> {
    /// The accepted providers of a namespace, and the others with the reason and the fix.
    pub(crate) fn accept<'a>(
        &self,
        authentication: &'a Authentication,
    ) -> (AcceptedTokens<'a>, Vec<(&'a TokenProvider, String)>) {
        let mut conflicting = Vec::new();
        let mut providers = Vec::new();
        for provider in &authentication.providers {
            match self.0.get(provider.jwt.issuer.as_str()) {
                Some(stays) if stays.jwt != provider.jwt => {
                    let reason = format!(
                        "AuthenticationPolicy {} gives this issuer other settings, and a namespace with the issuer has `required: false`, where \
                         Envoy does not tell the two apart: tokens of this issuer are refused here. Give both the same settings, or remove \
                         `required: false`",
                        stays.policy
                    );
                    conflicting.push((provider, reason));
                }
                _ => providers.push(provider),
            }
        }
        let tokens = AcceptedTokens {
            required: authentication.required,
            providers,
        };
        (tokens, conflicting)
    }
}
