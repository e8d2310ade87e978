//! `AuthenticationPolicy`: the tokens that requests for the models of a namespace must have.

use serde::{Deserialize, Serialize};

use super::checks::at_most;
use super::{PolicyKind, PolicySpec, PolicyStatus, Target};
use crate::jwt::JwtProvider;

/// Most issuers in a policy.
const MAX_PROVIDERS: usize = 16;

/// Authentication of the requests for all models of a namespace by JSON Web Tokens. The providers of all policies of a namespace apply
/// together: a token of one of them is enough. For one issuer, the policy of the namespace itself takes precedence over that of the root
/// namespace; among equals the oldest, then the first by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "Raw"))]
pub struct AuthenticationPolicySpec {
    /// Whether a request without a token is refused. A namespace requires one if any of its policies does.
    pub required: bool,
    /// The issuers. 1–16, each once; none in the spec that stands for an invalid one.
    pub jwt: Vec<JwtProvider>,
}

/// The target of every policy: a request is authenticated before its model is known.
static TARGET: Target = Target::All;

impl PolicySpec for AuthenticationPolicySpec {
    const KIND: PolicyKind = PolicyKind::new("AuthenticationPolicy");
    const PLURAL: &'static str = "authenticationpolicies";
    const SHORT_NAME: &'static str = "ap";
    const DESCRIPTION: &'static str = "The tokens that requests for the models of its namespace or, from the root namespace, of all namespaces must have.";
    const SPEC_DESCRIPTION: &'static str = "Issuers of tokens, and whether a token is required.";
    type Status = PolicyStatus;

    fn target(&self) -> &Target {
        &TARGET
    }

    fn overrides(&self) -> bool {
        false
    }

    /// A token is required and none is accepted. A typing error must not open a namespace.
    fn if_invalid() -> Option<Self> {
        Some(Self {
            required: true,
            jwt: Vec::new(),
        })
    }
}

/// The tokens that requests for the models of a namespace must have, for the listener that Headgate renders. In a mesh of Istio:
/// `RequestAuthentication`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "AuthenticationPolicySpec"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    /// Whether a request without a token is refused with 401. An invalid token always is. A namespace requires a token if any of its
    /// policies does. Default true.
    #[serde(default = "yes")]
    required: bool,
    /// The issuers of tokens; a token of one of them is enough. Each issuer once.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_PROVIDERS), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["issuer"],
    )))]
    jwt: Vec<JwtProvider>,
}

const fn yes() -> bool {
    true
}

impl TryFrom<Raw> for AuthenticationPolicySpec {
    type Error = String;
    fn try_from(raw: Raw) -> Result<Self, String> {
        if raw.jwt.is_empty() {
            return Err("`jwt` is empty: give at least one issuer".into());
        }
        at_most("jwt", raw.jwt.len(), MAX_PROVIDERS)?;
        for (i, provider) in raw.jwt.iter().enumerate() {
            let issuer = &provider.issuer;
            if raw.jwt[..i].iter().any(|other| other.issuer == *issuer) {
                return Err(format!(
                    "issuer {issuer:?} is given twice: merge `jwt[{i}]` into the other"
                ));
            }
        }
        Ok(Self {
            required: raw.required,
            jwt: raw.jwt,
        })
    }
}

impl From<AuthenticationPolicySpec> for Raw {
    fn from(spec: AuthenticationPolicySpec) -> Self {
        Self {
            required: spec.required,
            jwt: spec.jwt,
        }
    }
}
