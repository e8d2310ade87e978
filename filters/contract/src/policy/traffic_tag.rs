//! `TrafficTagPolicy`: tags of the requests for some models.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::checks::ONE_TARGET;
use super::checks::{at_most, is_false};
use super::target::Fields;
#[cfg(feature = "schema")]
use super::target::{MAX_MODELS, MAX_REFS};
use super::{PolicyKind, PolicySpec, PolicyStatus, Selector, Target, TargetRef};
#[cfg(feature = "schema")]
use crate::request_rule::MAX_RULES;
#[cfg(feature = "schema")]
use crate::request_schema::{MAX_SCHEMAS, ONE_SCHEMA};
use crate::tagging::{OwnTag, SessionKey, TenantMetrics, UnknownVersion, unique};
use crate::tenant::MAX_TENANT_RULES;
use crate::{
    Apis, Attribute, Cors, ModelId, OperationSchema, RequestRule, Tagging, TrustedHop,
    request_rule, request_schema,
};

/// Most session keys, and most own tags, in a policy.
const MAX_TAGGING: usize = 32;

/// Tagging of the requests for some models. One tagging applies per model, with the precedence of
/// `TokenBucketPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "Raw"))]
pub struct TrafficTagPolicySpec {
    /// The models to which it applies. No part of it has a version: a request is tagged before its version is known.
    pub target: Target,
    /// In the root namespace: policies of other namespaces do not take precedence over it.
    pub overrides: bool,
    /// The tagging.
    pub tagging: Tagging,
}

impl PolicySpec for TrafficTagPolicySpec {
    const KIND: PolicyKind = PolicyKind::new("TrafficTagPolicy");
    const PLURAL: &'static str = "traffictagpolicies";
    const SHORT_NAME: &'static str = "ttp";
    const DESCRIPTION: &'static str =
        "Tags of the requests for models, and the choice of their version.";
    const SPEC_DESCRIPTION: &'static str = "Models and the tags of their requests.";
    type Status = PolicyStatus;

    fn target(&self) -> &Target {
        &self.target
    }

    fn overrides(&self) -> bool {
        self.overrides
    }
}

/// Tagging of the requests for some models.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[ONE_TARGET, (
    "!has(self.targetRefs) || !self.targetRefs.exists(t, has(t.sectionName))",
    "`targetRefs[].sectionName`: the tagging decides the version, so it cannot be for one: remove it",
), CORS_OF_NAMESPACE, APIS_OF_NAMESPACE]))))]
#[cfg_attr(feature = "schema", schemars(rename = "TrafficTagPolicySpec"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    /// The objects whose models the policy applies to. Excludes `models` and `selector`. Without any of the three: every model of the
    /// namespace; in the root namespace, every model of every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_REFS)))]
    target_refs: Option<Vec<TargetRef>>,
    /// Model ids. Excludes `targetRefs` and `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MODELS)))]
    models: Option<Vec<ModelId>>,
    /// Models one of whose carriers has these labels. Excludes `targetRefs` and `models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<Selector>,
    /// In the root namespace: policies of other namespaces do not take precedence over this one. No effect elsewhere. Default false.
    #[serde(default, rename = "override", skip_serializing_if = "is_false")]
    overrides: bool,
    /// The sources of the tenant's name: the first one that a request has applies. `peerSpiffeId` is the SPIFFE id in the client's
    /// certificate, which the listener verified. `jwtClaim:NAME` is a claim of the JSON Web Token that `jwt_authn` verified: text or a whole
    /// number. `apiKeySha256` is the SHA-256, in hexadecimal digits, of the key in `authorization: Bearer`, `x-api-key` or `api-key`.
    /// `header:NAME` is what a header says: a client can write anything in it. Default `[header:x-tenant-id]`.
    #[serde(
        default,
        deserialize_with = "crate::tenant::some_sources",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::tenant::sources_schema", length(min = 1, max = MAX_TENANT_RULES), extend("x-kubernetes-validations" = crate::rules::of(&[crate::rules::EACH_ONCE]))))]
    tenant_from: Option<Vec<Attribute>>,
    /// For proxies with the role `follow`: patterns of the SPIFFE ids of previous hops. The header `x-headgate-tenant` is accepted only from
    /// these hops. `*` matches any characters; `any` accepts the header from every client. For all others, the tenant comes from
    /// `tenantFrom`. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_TENANT_RULES)))]
    trusted_hops: Vec<TrustedHop>,
    /// The keys that keep a session on its version: the first one that is present applies. Default: the headers that name a conversation
    /// (`x-conversation-id`, `x-session-id`, `x-claude-code-session-id`, `session-id`, `session_id`, `x-session-affinity`,
    /// `x-opencode-session`, `x-openwebui-chat-id`, `x-litellm-session-id`, `helicone-session-id`,
    /// `x-grok-conv-id`, `x-dynamo-session-id`), those that name a user (`x-user-id`, `x-openwebui-user-id`), the body fields,
    /// the fingerprint. The fingerprint changes when a client trims or compacts its history: such a client needs a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_TAGGING)))]
    session_keys: Option<Vec<SessionKey>>,
    /// The response to a pin to an unknown version. Default `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown_version: Option<UnknownVersion>,
    /// Whether the tags are also members of `baggage`. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    baggage: Option<bool>,
    /// Whether the tags are also filter state `wasm.headgate.<tag>`, for this proxy's access log and telemetry. Without it, those read the headers of the tags. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter_state: Option<bool>,
    /// Whether responses carry `x-model` and `x-model-version` of the model that served, and the balance of the buckets. Error responses always carry these headers. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_headers: Option<bool>,
    /// Own tags: header `x-headgate-<name>`, `baggage` member and filter state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_TAGGING), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
    )))]
    tags: Vec<OwnTag>,
    /// Rules that tag requests or pin their version, by the request's attributes. The first rule that matches applies. If it names no version,
    /// weights pick the version. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_RULES), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
    )))]
    rules: Vec<RequestRule>,
    /// JSON schemas of request bodies, each for some operations. The proxy that decides refuses a request that does not meet the schema of its
    /// operation with 400, which names the field and the rule. At most one schema for an operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_SCHEMAS), extend("x-kubernetes-validations" = crate::rules::of(&[ONE_SCHEMA]))))]
    schemas: Vec<OperationSchema>,
    /// The web pages that may call the models from a browser. Only in a policy without `targetRefs`, `models` and `selector`, because a
    /// preflight request names no model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cors: Option<Cors>,
    /// The APIs that the namespace serves. Only in a policy without `targetRefs`, `models` and `selector`, because the API is known before
    /// the model. Default: OpenAI's (with Azure's paths), Anthropic's, Gemini's, Cohere's, the Open Inference Protocol and KServe's; unknown
    /// paths and operations that change the server are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    apis: Option<Apis>,
    /// Statistics by tenant. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant_metrics: Option<TenantMetrics>,
}

/// A preflight request names no model, so its response belongs to the namespace.
#[cfg(feature = "schema")]
const CORS_OF_NAMESPACE: (&str, &str) = (
    "!has(self.cors) || !(has(self.targetRefs) || has(self.models) || has(self.selector))",
    "`cors` is for a whole namespace, as a preflight request names no model: remove `targetRefs`, `models` and `selector`, or move `cors` into a policy without them",
);

/// The API of a request is known before its model, so it belongs to the namespace.
#[cfg(feature = "schema")]
const APIS_OF_NAMESPACE: (&str, &str) = (
    "!has(self.apis) || !(has(self.targetRefs) || has(self.models) || has(self.selector))",
    "`apis` is for a whole namespace, as the API of a request is known before its model: remove `targetRefs`, `models` and `selector`, or move `apis` into a policy without them",
);

impl TryFrom<Raw> for TrafficTagPolicySpec {
    type Error = String;
    fn try_from(raw: Raw) -> Result<Self, String> {
        unique(&raw.tags)?;
        request_rule::check(&raw.rules)?;
        request_schema::check(&raw.schemas)?;
        let keys = raw.session_keys.as_ref().map_or(0, Vec::len);
        at_most("sessionKeys", keys, MAX_TAGGING)?;
        at_most("tags", raw.tags.len(), MAX_TAGGING)?;
        let target = Target::try_from(Fields {
            refs: raw.target_refs,
            models: raw.models,
            selector: raw.selector,
        })?;
        if let Target::Refs(refs) = &target
            && let Some(i) = refs.iter().position(|r| r.version.is_some())
        {
            return Err(format!(
                "`targetRefs[{i}].sectionName`: the tagging decides the version, so it cannot be for one: remove it"
            ));
        }
        if raw.cors.is_some() && target != Target::All {
            return Err(
                "`cors` is for a whole namespace, as a preflight request names no model: remove `targetRefs`, `models` and `selector`, or move `cors` into a policy without them"
                    .into(),
            );
        }
        if raw.apis.is_some() && target != Target::All {
            return Err(
                "`apis` is for a whole namespace, as the API of a request is known before its model: remove `targetRefs`, `models` and `selector`, or move `apis` into a policy without them"
                    .into(),
            );
        }
        at_most("trustedHops", raw.trusted_hops.len(), MAX_TENANT_RULES)?;
        let default = Tagging::default();
        let tenant_from = raw.tenant_from.unwrap_or(default.tenant_from);
        Ok(Self {
            target,
            overrides: raw.overrides,
            tagging: Tagging {
                tenant_from,
                trusted_hops: raw.trusted_hops,
                session_keys: raw.session_keys.unwrap_or(default.session_keys),
                unknown_version: raw.unknown_version.unwrap_or(default.unknown_version),
                baggage: raw.baggage.unwrap_or(default.baggage),
                filter_state: raw.filter_state.unwrap_or(default.filter_state),
                response_headers: raw.response_headers.unwrap_or(default.response_headers),
                tags: raw.tags,
                rules: raw.rules,
                schemas: raw.schemas,
                cors: raw.cors,
                apis: raw.apis,
                tenant_metrics: raw.tenant_metrics,
            },
        })
    }
}

impl From<TrafficTagPolicySpec> for Raw {
    fn from(spec: TrafficTagPolicySpec) -> Self {
        let target = Fields::from(spec.target);
        Self {
            target_refs: target.refs,
            models: target.models,
            selector: target.selector,
            overrides: spec.overrides,
            tenant_from: Some(spec.tagging.tenant_from),
            trusted_hops: spec.tagging.trusted_hops,
            session_keys: Some(spec.tagging.session_keys),
            unknown_version: Some(spec.tagging.unknown_version),
            baggage: Some(spec.tagging.baggage),
            filter_state: Some(spec.tagging.filter_state),
            response_headers: Some(spec.tagging.response_headers),
            tags: spec.tagging.tags,
            rules: spec.tagging.rules,
            schemas: spec.tagging.schemas,
            cors: spec.tagging.cors,
            apis: spec.tagging.apis,
            tenant_metrics: spec.tagging.tenant_metrics,
        }
    }
}
