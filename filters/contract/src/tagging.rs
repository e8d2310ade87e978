//! Tagging of traffic: the source of the tenant, the keys of a session, own tags.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::tenant::default_sources;
use crate::{
    Apis, Attribute, Cors, HeaderName, OperationSchema, RequestRule, TrustedHop, request_rule,
    request_schema,
};

/// How the requests of a model are tagged, and how their version is picked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tagging {
    /// The sources of the tenant's name: the first one that a request has. Default `header:x-tenant-id`.
    #[serde(deserialize_with = "crate::tenant::sources")]
    #[cfg_attr(
        feature = "schema",
        schemars(schema_with = "crate::tenant::sources_schema")
    )]
    pub tenant_from: Vec<Attribute>,
    /// In the role `follow`: the previous hops from which the header `x-headgate-tenant` is accepted. Default none: the tenant comes from
    /// `tenantFrom`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_hops: Vec<TrustedHop>,
    /// The keys that keep a session on its version: the first one that a request has. Without any, the pick is random.
    /// The fingerprint changes when a client trims or compacts its history: such a client needs a header.
    pub session_keys: Vec<SessionKey>,
    /// The response to a pin to an unknown version.
    pub unknown_version: UnknownVersion,
    /// Whether the tags also travel as members of `baggage`. Default true.
    pub baggage: bool,
    /// Whether the tags are also filter state `wasm.headgate.<tag>`, for this proxy's access log and telemetry. Without it, read the headers of the tags there. Default true.
    pub filter_state: bool,
    /// Whether responses carry `x-model` and `x-model-version` of the version that served, and the balance of the buckets. Error responses always carry these headers. Default true.
    pub response_headers: bool,
    /// Own tags: header `x-headgate-<name>`, `baggage` member and filter state.
    #[serde(deserialize_with = "each_once")]
    pub tags: Vec<OwnTag>,
    /// Rules that tag requests or pin their version; the first one that matches applies.
    #[serde(
        deserialize_with = "checked_rules",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub rules: Vec<RequestRule>,
    /// Schemas of request bodies, each for some operations. A request that does not meet its schema is refused.
    #[serde(
        deserialize_with = "checked_schemas",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub schemas: Vec<OperationSchema>,
    /// The web pages that may call. Only in a policy for a whole namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// The APIs that the namespace serves. Only in a policy for a whole namespace. Absent: the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apis: Option<Apis>,
    /// Statistics by tenant. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_metrics: Option<TenantMetrics>,
}

/// Statistics labelled with the tenant: requests by outcome, and tokens used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantMetrics {
    /// How many tenants have statistics of their own in each proxy: the first ones with 100 requests, for the life of the
    /// process, because Envoy never removes a statistic. All others are counted as `other`. 1–1000.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 1, "maximum" = 1000)))]
    #[serde(deserialize_with = "up_to_1000")]
    pub max_tenants: u32,
}

fn up_to_1000<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(d)?;
    match number {
        1..=1000 => Ok(number),
        _ => Err(D::Error::custom(format!(
            "`maxTenants` is {number}: write 1 to 1000"
        ))),
    }
}

/// A source of a session's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SessionKey {
    /// A request header.
    Header(HeaderName),
    /// Body field `prompt_cache_key`.
    PromptCacheKey,
    /// Body field `conversation` (text, or an object with `id`).
    Conversation,
    /// Body field `user`.
    User,
    /// Body field `safety_identifier`.
    SafetyIdentifier,
    /// Body field `metadata.user_id`.
    MetadataUserId,
    /// Hash of tenant, model and the first user message: the same on every turn of a conversation.
    Fingerprint,
}

/// The response to a pin to an unknown version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum UnknownVersion {
    /// 404 with at most 20 similar versions.
    #[default]
    Refuse,
    /// A pick by weights, as if there were no pin.
    Weights,
}

/// A tag of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "raw::OwnTag", into = "raw::OwnTag")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::OwnTag"))]
pub struct OwnTag {
    /// The tag's key: not `model`, `version`, `tenant`, `lane`, `rule` or `reason`, and without `_`.
    pub name: HeaderName,
    /// Where its value comes from.
    pub source: TagSource,
}

/// Where an own tag's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagSource {
    /// A request header, as the client sent it; without it, no tag.
    Header(HeaderName),
    /// Always this value.
    Value(String),
}

fn each_once<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<OwnTag>, D::Error> {
    let tags = Vec::deserialize(d)?;
    unique(&tags).map_err(D::Error::custom)?;
    Ok(tags)
}

fn checked_rules<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<RequestRule>, D::Error> {
    let rules = Vec::deserialize(d)?;
    request_rule::check(&rules).map_err(D::Error::custom)?;
    Ok(rules)
}

fn checked_schemas<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<OperationSchema>, D::Error> {
    let schemas = Vec::deserialize(d)?;
    request_schema::check(&schemas).map_err(D::Error::custom)?;
    Ok(schemas)
}

/// Checks that no two own tags have the same name.
pub(crate) fn unique(tags: &[OwnTag]) -> Result<(), String> {
    for (i, tag) in tags.iter().enumerate() {
        if tags[..i].iter().any(|before| before.name == tag.name) {
            let name = tag.name.as_str();
            return Err(format!("tag {name:?} is given twice: remove `tags[{i}]`"));
        }
    }
    Ok(())
}

fn header(name: &'static str) -> Option<HeaderName> {
    HeaderName::try_from(name).ok()
}

/// Headers that name a conversation, as chat front ends, agents and gateways send them.
const CONVERSATION_HEADERS: [&str; 12] = [
    // A convention: LibreChat's example, OpenRouter, semantic routers.
    "x-conversation-id",
    "x-session-id",
    // Claude Code.
    "x-claude-code-session-id",
    // Codex CLI, today and before 2026.
    "session-id",
    "session_id",
    // opencode with other providers and with its own; Cloudflare and Fireworks read the first, too.
    "x-session-affinity",
    "x-opencode-session",
    // Open WebUI with ENABLE_FORWARD_USER_INFO_HEADERS.
    "x-openwebui-chat-id",
    // LiteLLM's clients.
    "x-litellm-session-id",
    // Clients of Helicone, xAI and Dynamo.
    "helicone-session-id",
    "x-grok-conv-id",
    "x-dynamo-session-id",
];

/// Headers that name a user: all conversations of a user are one session.
const USER_HEADERS: [&str; 2] = ["x-user-id", "x-openwebui-user-id"];

impl Default for Tagging {
    fn default() -> Self {
        let mut session_keys: Vec<_> = CONVERSATION_HEADERS
            .into_iter()
            .chain(USER_HEADERS)
            .filter_map(header)
            .map(SessionKey::Header)
            .collect();
        session_keys.extend([
            SessionKey::PromptCacheKey,
            SessionKey::Conversation,
            SessionKey::User,
            SessionKey::SafetyIdentifier,
            SessionKey::MetadataUserId,
            SessionKey::Fingerprint,
        ]);
        Self {
            tenant_from: default_sources(),
            trusted_hops: Vec::new(),
            session_keys,
            unknown_version: UnknownVersion::default(),
            baggage: true,
            filter_state: true,
            response_headers: true,
            tags: Vec::new(),
            rules: Vec::new(),
            schemas: Vec::new(),
            cors: None,
            apis: None,
            tenant_metrics: None,
        }
    }
}

const BODY_KEYS: [(&str, SessionKey); 6] = [
    ("body:prompt_cache_key", SessionKey::PromptCacheKey),
    ("body:conversation", SessionKey::Conversation),
    ("body:user", SessionKey::User),
    ("body:safety_identifier", SessionKey::SafetyIdentifier),
    ("body:metadata.user_id", SessionKey::MetadataUserId),
    ("fingerprint", SessionKey::Fingerprint),
];

impl TryFrom<String> for SessionKey {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        if let Some(name) = s.strip_prefix("header:") {
            return HeaderName::try_from(name)
                .map(Self::Header)
                .map_err(|e| e.to_string());
        }
        BODY_KEYS
            .into_iter()
            .find_map(|(text, key)| (text == s).then_some(key))
            .ok_or_else(|| {
                let known = BODY_KEYS.map(|(text, _)| text).join(", ");
                format!("unknown session key {s:?}: write header:NAME, {known}")
            })
    }
}

impl From<SessionKey> for String {
    fn from(key: SessionKey) -> Self {
        if let SessionKey::Header(name) = &key {
            return format!("header:{name}");
        }
        BODY_KEYS
            .into_iter()
            .find_map(|(text, k)| (k == key).then(|| text.to_owned()))
            .unwrap_or_default()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SessionKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SessionKey".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "header:NAME, body:prompt_cache_key, body:conversation, body:user, body:safety_identifier, body:metadata.user_id or fingerprint",
            "pattern": "^(header:[a-z0-9_-]{1,128}|body:(prompt_cache_key|conversation|user|safety_identifier|metadata\\.user_id)|fingerprint)$"
        })
    }
}

mod raw {
    use serde::{Deserialize, Serialize};

    use super::{HeaderName, TagSource};
    use crate::ids::not_a_tag;
    use crate::tag_text::{tag_name, tag_value};

    /// A tag of the operator's own: `header` or `value`, one of them.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[
        ("has(self.header) != has(self.value)", "needs `header` or `value`, one of them"),
        ("!(self.name in ['model', 'version', 'tenant', 'lane', 'rule', 'reason'])", "`name` is one of Headgate's own: choose another name"),
        ("!self.name.contains('_')", "`name` must not contain '_', which some servers read as '-'"),
    ]))))]
    #[cfg_attr(feature = "schema", schemars(rename = "OwnTag"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct OwnTag {
        /// The tag's key: not `model`, `version`, `tenant`, `lane`, `rule` or `reason`, and without `_`.
        // The API server bounds the cost of a rule by the length of what it looks at.
        #[cfg_attr(feature = "schema", schemars(extend("maxLength" = 128)))]
        name: HeaderName,
        /// The request header with its value; a request without it has no such tag.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[crate::rules::NOT_A_TAG]))))]
        header: Option<HeaderName>,
        /// A fixed value: 1-128 visible ASCII characters without `,`, `;` and `"`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(
            feature = "schema",
            schemars(regex(pattern = r"^[!#-+\--:<-~]{1,128}$"))
        )]
        value: Option<String>,
    }

    impl TryFrom<OwnTag> for super::OwnTag {
        type Error = String;
        fn try_from(raw: OwnTag) -> Result<Self, String> {
            tag_name(raw.name.as_str())?;
            let source = match (raw.header, raw.value) {
                (Some(h), None) => TagSource::Header(not_a_tag(h)?),
                (None, Some(v)) => {
                    if !tag_value(v.as_bytes()) {
                        return Err(format!(
                            "`value` of tag {:?} must be 1-128 visible ASCII characters without ',', ';' and '\"'",
                            raw.name.as_str()
                        ));
                    }
                    TagSource::Value(v)
                }
                _ => {
                    return Err(format!(
                        "tag {:?} needs `header` or `value`, one of them",
                        raw.name.as_str()
                    ));
                }
            };
            Ok(Self {
                name: raw.name,
                source,
            })
        }
    }

    impl From<super::OwnTag> for OwnTag {
        fn from(tag: super::OwnTag) -> Self {
            let (header, value) = match tag.source {
                TagSource::Header(h) => (Some(h), None),
                TagSource::Value(v) => (None, Some(v)),
            };
            Self {
                name: tag.name,
                header,
                value,
            }
        }
    }
}
