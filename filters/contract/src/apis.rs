//! The APIs that a namespace serves, and the treatment of paths that belong to no API.

use serde::{Deserialize, Serialize};

use crate::names::SERVING_PREFIXES;

/// Greatest price of a batch, in tokens.
const MAX_BATCH: u32 = 1_000_000_000;
/// Default price of a batch, in tokens.
const BATCH: u32 = 100_000;
/// Greatest values of [`Realtime`].
const MAX_PER_MINUTE: u32 = 1_000_000;
/// Most prefixes, and most allowed operations.
const MAX_ENTRIES: usize = 32;
/// Longest prefix, and longest name of an operation, bytes.
const MAX_LENGTH: usize = 128;

/// The APIs that a namespace serves. OpenAI (with Azure's paths), Anthropic, Gemini, Cohere, the Open Inference Protocol and KServe are
/// always served; these fields add to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "raw::Apis", into = "raw::Apis")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::Apis"))]
pub struct Apis {
    /// APIs whose paths are ordinary words.
    pub dialects: Vec<OptionalApi>,
    /// Path prefixes that stand for `/v1`, such as `/api/v3`: without a slash at their end.
    pub prefixes: Vec<PathPrefix>,
    /// The treatment of a path under a served prefix that no API knows. (GET and HEAD are free.)
    pub unknown_endpoints: UnknownEndpoints,
    /// Operations that change the server, by their names. All others are refused.
    pub allow: Vec<String>,
    /// Tokens that the creation of a batch costs. 0–1 000 000 000.
    pub batch_tokens: u32,
    /// The price of realtime sessions.
    pub realtime: Realtime,
}

/// The price of a realtime session: its time and its bytes, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Realtime {
    /// Tokens for each minute that begins. 0–1 000 000, default 1200: OpenAI's 20 tokens for a second of generated sound.
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = MAX_PER_MINUTE)))]
    pub tokens_per_minute: u32,
    /// Bytes for each token. 1–1 000 000, default 3200: 50 ms of sound (pcm16 at 24 kHz) in base64.
    #[cfg_attr(feature = "schema", schemars(extend("minimum" = 1, "maximum" = MAX_PER_MINUTE)))]
    pub bytes_per_token: u32,
}

impl Default for Realtime {
    fn default() -> Self {
        Self {
            tokens_per_minute: 1200,
            bytes_per_token: 3200,
        }
    }
}

/// An API whose paths are ordinary words, so that it must be enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OptionalApi {
    /// Ollama: `/api/`.
    Ollama,
    /// Text Generation Inference: `/generate`, `/generate_stream`, `/embed`, …
    Tgi,
    /// llama.cpp: `/completion`, `/infill`, `/embedding`, …
    LlamaCpp,
    /// SGLang: `/generate`.
    SgLang,
    /// vLLM without `/v1`: `/rerank`, `/score`, `/pooling`, …
    Vllm,
}

impl OptionalApi {
    /// The prefixes of its paths, as whole segments. `/` is the root alone.
    #[must_use]
    pub fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Ollama => &["/api/"],
            Self::Tgi => &[
                "/generate",
                "/generate_stream",
                "/",
                "/embed",
                "/rerank",
                "/tokenize",
                "/info",
            ],
            Self::LlamaCpp => &[
                "/completion",
                "/completions",
                "/infill",
                "/embedding",
                "/embeddings",
                "/tokenize",
                "/detokenize",
                "/apply-template",
                "/props",
                "/slots",
            ],
            Self::SgLang => &["/generate", "/get_model_info", "/get_server_info"],
            Self::Vllm => &[
                "/rerank",
                "/score",
                "/pooling",
                "/classify",
                "/tokenize",
                "/detokenize",
            ],
        }
    }
}

/// The treatment of a path under a served prefix that no API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum UnknownEndpoints {
    /// 404 that names the path.
    #[default]
    Deny,
    /// The bytes of request and answer are charged, by `bytesPerToken`.
    Bytes,
    /// The reservation is charged.
    Reservation,
    /// Nothing is charged.
    Free,
}

/// A path prefix that stands for `/v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(String);

impl PathPrefix {
    /// The prefix, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let segment = |segment: &str| {
            let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
        };
        let segments = text.strip_prefix('/').map(|rest| rest.split('/'));
        let valid = segments.is_some_and(|mut segments| segments.all(segment));
        match valid && text.len() <= MAX_LENGTH {
            true => Ok(Self(text)),
            false => Err(format!(
                "{text:?} is no path prefix: write `/` and segments of letters, digits, '-', '.', '_' and '~', such as /api/v3; without a slash at its end; at most 128 characters"
            )),
        }
    }
}

impl From<PathPrefix> for String {
    fn from(prefix: PathPrefix) -> Self {
        prefix.0
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for PathPrefix {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathPrefix".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "a path prefix that stands for /v1, without a slash at its end",
            "maxLength": MAX_LENGTH,
            "pattern": "^(/([a-zA-Z0-9_~-][a-zA-Z0-9._~-]*|\\.[a-zA-Z0-9_~-][a-zA-Z0-9._~-]*|\\.\\.[a-zA-Z0-9._~-]+))+$"
        })
    }
}

impl Default for Apis {
    fn default() -> Self {
        Self {
            dialects: Vec::new(),
            prefixes: Vec::new(),
            unknown_endpoints: UnknownEndpoints::default(),
            allow: Vec::new(),
            batch_tokens: BATCH,
            realtime: Realtime::default(),
        }
    }
}

impl Apis {
    /// The prefixes of all paths that are served, by whole segments. A prefix without a slash at its end is a path too; `/` is the root alone.
    #[must_use]
    pub fn serving_prefixes(&self) -> Vec<String> {
        let mut prefixes: Vec<String> = SERVING_PREFIXES.map(str::to_owned).into();
        let words = self.dialects.iter().flat_map(|api| api.prefixes());
        let own = self
            .prefixes
            .iter()
            .map(|prefix| format!("{}/", prefix.as_str()));
        for prefix in words.map(|prefix| (*prefix).to_owned()).chain(own) {
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        prefixes
    }
}

mod raw {
    use serde::{Deserialize, Serialize};

    use super::{
        BATCH, MAX_BATCH, MAX_ENTRIES, MAX_LENGTH, MAX_PER_MINUTE, OptionalApi, PathPrefix,
        Realtime, UnknownEndpoints,
    };

    /// The APIs that a namespace serves, beside those that are always served: OpenAI's (with Azure's paths), Anthropic's, Gemini's,
    /// Cohere's, the Open Inference Protocol and KServe's.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "Apis"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct Apis {
        /// APIs whose paths are ordinary words, so that they count only where they are listed. Default none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = 5), extend("x-kubernetes-list-type" = "set")))]
        dialects: Vec<OptionalApi>,
        /// Path prefixes that stand for `/v1`, such as `/api/v3`. `/openai/v1` always does. Default none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_ENTRIES), extend("x-kubernetes-list-type" = "set")))]
        prefixes: Vec<PathPrefix>,
        /// The treatment of a path under a served prefix that no API knows. `deny`: 404 that names the path. `bytes`: the bytes of
        /// request and answer are charged. `reservation`: the reservation is charged. `free`: nothing is. GET and HEAD are free in any
        /// case. Default `deny`.
        #[serde(default, skip_serializing_if = "is_deny")]
        unknown_endpoints: UnknownEndpoints,
        /// Operations that change the server, by their names, such as `openai.files.delete`. All others are refused. Default none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_ENTRIES), inner(length(min = 1, max = MAX_LENGTH)), extend("x-kubernetes-list-type" = "set")))]
        allow: Vec<String>,
        /// Tokens that the creation of a batch costs. (Its file costs its bytes when it is uploaded.) Default 100000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(extend("maximum" = MAX_BATCH)))]
        batch_tokens: Option<u32>,
        /// The price of realtime sessions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        realtime: Option<Realtime>,
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_deny(unknown: &UnknownEndpoints) -> bool {
        *unknown == UnknownEndpoints::Deny
    }

    fn each_once<T: PartialEq>(field: &str, list: &[T], most: usize) -> Result<(), String> {
        if list.len() > most {
            return Err(format!(
                "`{field}` has more than {most} entries: remove some"
            ));
        }
        let again = list
            .iter()
            .enumerate()
            .find(|(i, one)| list[..*i].contains(one));
        match again {
            Some((i, _)) => Err(format!("`{field}[{i}]` is given twice: remove one")),
            None => Ok(()),
        }
    }

    fn within(field: &str, value: u32, least: u32, most: u32) -> Result<(), String> {
        match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(format!("`{field}` is {value}: write {least} to {most}")),
        }
    }

    impl TryFrom<Apis> for super::Apis {
        type Error = String;
        fn try_from(raw: Apis) -> Result<Self, String> {
            each_once("dialects", &raw.dialects, MAX_ENTRIES)?;
            each_once("prefixes", &raw.prefixes, MAX_ENTRIES)?;
            each_once("allow", &raw.allow, MAX_ENTRIES)?;
            if let Some(i) = raw
                .allow
                .iter()
                .position(|name| !(1..=MAX_LENGTH).contains(&name.len()))
            {
                return Err(format!(
                    "`allow[{i}]` must be the name of an operation, such as openai.files.delete"
                ));
            }
            let batch_tokens = raw.batch_tokens.unwrap_or(BATCH);
            let realtime = raw.realtime.unwrap_or_default();
            within("batchTokens", batch_tokens, 0, MAX_BATCH)?;
            let per_minute = realtime.tokens_per_minute;
            within("realtime.tokensPerMinute", per_minute, 0, MAX_PER_MINUTE)?;
            let per_token = realtime.bytes_per_token;
            within("realtime.bytesPerToken", per_token, 1, MAX_PER_MINUTE)?;
            Ok(Self {
                batch_tokens,
                realtime,
                dialects: raw.dialects,
                prefixes: raw.prefixes,
                unknown_endpoints: raw.unknown_endpoints,
                allow: raw.allow,
            })
        }
    }

    impl From<super::Apis> for Apis {
        fn from(apis: super::Apis) -> Self {
            Self {
                dialects: apis.dialects,
                prefixes: apis.prefixes,
                unknown_endpoints: apis.unknown_endpoints,
                allow: apis.allow,
                batch_tokens: Some(apis.batch_tokens).filter(|tokens| *tokens != BATCH),
                realtime: Some(apis.realtime).filter(|price| *price != Realtime::default()),
            }
        }
    }
}
