//! The `spec` of `ServedModel`: settings for a model as a whole.

use serde::{Deserialize, Serialize};

use crate::{Duration, ModelId};

/// Settings for a model as a whole. Every field is optional: labels alone are enough to serve a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::ServedModelSpec"))]
#[serde(try_from = "raw::ServedModelSpec", into = "raw::ServedModelSpec")]
pub struct ServedModelSpec {
    /// The model id: the value of the label `model-name`. Default: the object's name. Immutable.
    pub model_name: Option<ModelId>,
    /// Names that clients write for the model, besides its id: at most 32, each of 1–256 bytes.
    pub names: Vec<String>,
    /// Percent (0–100) of the desired replicas that must be ready before a carrier of the base takes its full share. Default 50.
    pub min_ready_percent: Option<u8>,
    /// How long the base is kept after the last object that declares it is gone. Default 5m.
    pub base_grace: Option<Duration>,
    /// How long a name is kept after all its carriers are deleted. Default 24h.
    pub alias_grace: Option<Duration>,
    /// The handling of traffic while no endpoint of the base is ready. Default `release`.
    pub on_base_lost: OnBaseLost,
    /// Tokens of the model's context window, 1–10 000 000.
    pub context_length: Option<u32>,
    /// The `max_tokens` of a request that names none: a number of tokens, 1–10 000 000, or `context`.
    pub default_max_tokens: Option<String>,
    /// Hosts whose requests are for the model, besides its Services: at most 32, each of 1–253 bytes. A host counts if a domain of the
    /// namespace (`--domain`) contains it.
    pub hosts: Vec<String>,
    /// `--controller-name` of the installation that manages this object. Default: the installation with the default name.
    pub controller_name: Option<String>,
}

/// The handling of traffic while no endpoint of the base is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnBaseLost {
    /// The oldest held version stands in until the base is ready again.
    #[default]
    Release,
    /// The model answers 503; pins still reach their version.
    Hold,
}

mod raw {
    use serde::{Deserialize, Serialize};

    use super::OnBaseLost;
    use crate::names::is_host;
    use crate::{Duration, MAX_TOKENS, ModelId};

    /// Most names of a model.
    const MAX_NAMES: usize = 32;
    /// Longest name, in bytes.
    const NAME_BYTES: usize = 256;
    /// Most hosts of a model.
    const MAX_HOSTS: usize = 32;
    /// Longest name of an installation, in bytes.
    const CONTROLLER_BYTES: usize = 253;

    /// CEL rule on `modelName`. It identifies the object's model, so it must not change.
    #[cfg(feature = "schema")]
    const IMMUTABLE: (&str, &str) = (
        "has(self.modelName) == has(oldSelf.modelName) && (!has(self.modelName) || self.modelName == oldSelf.modelName)",
        "`modelName` is immutable: delete the object and create another one",
    );

    /// Settings for a model as a whole. Every field is optional: labels alone are enough to serve a model.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[IMMUTABLE]))))]
    #[cfg_attr(feature = "schema", schemars(rename = "ServedModelSpec"))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct ServedModelSpec {
        /// The model id: the value of the label `model-name`. Default: the object's name. Immutable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model_name: Option<ModelId>,
        /// Names that clients write for the model, besides its id: at most 32, each of 1–256 bytes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_NAMES), inner(length(min = 1, max = NAME_BYTES))))]
        names: Vec<String>,
        /// Percent (0–100) of the desired replicas that must be ready before a carrier of the base takes its full share.
        /// Default 50.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(extend("maximum" = 100)))]
        min_ready_percent: Option<u8>,
        /// How long the base is kept after the last object that declares it is gone. Default 5m.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_grace: Option<Duration>,
        /// How long a name is kept after all its carriers are deleted. Default 24h.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alias_grace: Option<Duration>,
        /// The handling of traffic while no endpoint of the base is ready. Default `release`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_base_lost: Option<OnBaseLost>,
        /// Tokens of the model's context window, 1–10 000 000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(extend("minimum" = 1, "maximum" = MAX_TOKENS)))]
        context_length: Option<u32>,
        /// The `max_tokens` of a request that names none: a number of tokens, 1–10 000 000, or `context`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default_max_tokens: Option<MaxTokens>,
        /// Hosts whose requests are for the model, besides its Services: at most 32, each of 1–253 bytes. A host counts if a domain of the
        /// namespace (`--domain`) contains it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(length(max = MAX_HOSTS), inner(length(min = 1, max = crate::names::HOST_BYTES))))]
        hosts: Vec<String>,
        /// `--controller-name` of the installation that manages this object. Default: the installation with the default name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(length(min = 1, max = CONTROLLER_BYTES)))]
        controller_name: Option<String>,
    }

    /// A number of tokens, written as a number or as text, or `context`.
    #[derive(Serialize)]
    #[serde(untagged)]
    enum MaxTokens {
        Number(u64),
        Text(String),
    }

    impl<'de> Deserialize<'de> for MaxTokens {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(MaxTokensVisitor)
        }
    }

    struct MaxTokensVisitor;

    impl serde::de::Visitor<'_> for MaxTokensVisitor {
        type Value = MaxTokens;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number of tokens, or `context`")
        }

        fn visit_u64<E: serde::de::Error>(self, tokens: u64) -> Result<MaxTokens, E> {
            Ok(MaxTokens::Number(tokens))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MaxTokens, E> {
            Ok(MaxTokens::Text(text.to_owned()))
        }
    }

    #[cfg(feature = "schema")]
    impl schemars::JsonSchema for MaxTokens {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "MaxTokens".into()
        }
        fn inline_schema() -> bool {
            true
        }
        fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({
                "x-kubernetes-int-or-string": true,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "maxLength": 10,
                "x-kubernetes-validations": crate::rules::of(&[(
                    "type(self) == int ? int(self) >= 1 && int(self) <= 10000000 : \
                     string(self) == 'context' || (string(self).matches('^[0-9]{1,8}$') && int(string(self)) >= 1 && int(string(self)) <= 10000000)",
                    "write `context`, or 1 to 10000000",
                )]),
            })
        }
    }

    impl MaxTokens {
        fn text(self) -> Result<String, String> {
            let text = match self {
                Self::Number(tokens) => tokens.to_string(),
                Self::Text(text) => text,
            };
            let digits = text.bytes().all(|c| c.is_ascii_digit());
            let tokens = text.parse::<u32>().ok().filter(|_| digits);
            let fits = tokens.is_some_and(|tokens| (1..=MAX_TOKENS).contains(&tokens));
            if fits || text == "context" {
                return Ok(text);
            }
            Err(format!(
                "`defaultMaxTokens` is {text}: write `context`, or 1 to {MAX_TOKENS}"
            ))
        }
    }

    impl TryFrom<ServedModelSpec> for super::ServedModelSpec {
        type Error = String;
        fn try_from(raw: ServedModelSpec) -> Result<Self, String> {
            if raw.names.len() > MAX_NAMES {
                let given = raw.names.len();
                return Err(format!(
                    "`names` has {given} entries: give at most {MAX_NAMES}"
                ));
            }
            let fits = |name: &String| (1..=NAME_BYTES).contains(&name.len());
            if let Some(i) = raw.names.iter().position(|name| !fits(name)) {
                let bytes = raw.names[i].len();
                return Err(format!(
                    "`names[{i}]` has {bytes} bytes: write 1 to {NAME_BYTES}"
                ));
            }
            if raw.hosts.len() > MAX_HOSTS {
                let given = raw.hosts.len();
                return Err(format!(
                    "`hosts` has {given} entries: give at most {MAX_HOSTS}"
                ));
            }
            if let Some(i) = raw.hosts.iter().position(|host| !is_host(host)) {
                return Err(format!(
                    "`hosts[{i}]` is {:?}: write a DNS name without a port, such as ai.example.com or *.example.com",
                    raw.hosts[i]
                ));
            }
            if let Some(percent) = raw.min_ready_percent.filter(|percent| *percent > 100) {
                return Err(format!("`minReadyPercent` is {percent}: write 0 to 100"));
            }
            let bad = |tokens: &u32| !(1..=MAX_TOKENS).contains(tokens);
            if let Some(tokens) = raw.context_length.filter(bad) {
                return Err(format!(
                    "`contextLength` is {tokens}: write 1 to {MAX_TOKENS}"
                ));
            }
            let fits = |name: &String| (1..=CONTROLLER_BYTES).contains(&name.len());
            if raw.controller_name.as_ref().is_some_and(|name| !fits(name)) {
                return Err(format!(
                    "`controllerName` must have 1 to {CONTROLLER_BYTES} bytes"
                ));
            }
            Ok(Self {
                model_name: raw.model_name,
                names: raw.names,
                hosts: raw.hosts,
                min_ready_percent: raw.min_ready_percent,
                base_grace: raw.base_grace,
                alias_grace: raw.alias_grace,
                on_base_lost: raw.on_base_lost.unwrap_or_default(),
                context_length: raw.context_length,
                default_max_tokens: raw.default_max_tokens.map(MaxTokens::text).transpose()?,
                controller_name: raw.controller_name,
            })
        }
    }

    impl From<super::ServedModelSpec> for ServedModelSpec {
        fn from(spec: super::ServedModelSpec) -> Self {
            let default = OnBaseLost::default();
            Self {
                model_name: spec.model_name,
                names: spec.names,
                hosts: spec.hosts,
                min_ready_percent: spec.min_ready_percent,
                base_grace: spec.base_grace,
                alias_grace: spec.alias_grace,
                on_base_lost: Some(spec.on_base_lost).filter(|given| *given != default),
                context_length: spec.context_length,
                default_max_tokens: spec.default_max_tokens.map(MaxTokens::Text),
                controller_name: spec.controller_name,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_json;

    fn read(text: &str) -> Result<ServedModelSpec, String> {
        parse_json(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_written_spec_is_read_back_and_a_value_out_of_range_is_refused_with_its_field() {
        let whole = r#"{"modelName":"Llama_3","names":["gpt-x"],"minReadyPercent":0,"baseGrace":"5m","aliasGrace":"24h","onBaseLost":"hold",
            "contextLength":131072,"defaultMaxTokens":"context","hosts":["ai.example.com","*.example.com"],"controllerName":"example.com/own"}"#;
        let spec = read(whole).unwrap();
        let again = serde_json::to_string(&spec).unwrap();
        assert_eq!(read(&again).unwrap(), spec);
        assert_eq!(serde_json::to_string(&read("{}").unwrap()).unwrap(), "{}");
        for tokens in ["1024", "\"1024\""] {
            let spec = read(&format!("{{\"defaultMaxTokens\":{tokens}}}")).unwrap();
            assert_eq!(spec.default_max_tokens.as_deref(), Some("1024"));
        }
        let long = format!("{{\"names\":[\"{}\"]}}", "x".repeat(257));
        let many = format!("{{\"names\":[{}\"x\"]}}", "\"x\",".repeat(32));
        for (bad, field) in [
            (long.as_str(), "names[0]"),
            (many.as_str(), "names"),
            (r#"{"names":[""]}"#, "names[0]"),
            (r#"{"hosts":["a.example:8080"]}"#, "hosts[0]"),
            (r#"{"hosts":["a.example","https://b"]}"#, "hosts[1]"),
            (r#"{"minReadyPercent":101}"#, "minReadyPercent"),
            (r#"{"contextLength":0}"#, "contextLength"),
            (r#"{"contextLength":10000001}"#, "contextLength"),
            (r#"{"defaultMaxTokens":0}"#, "defaultMaxTokens"),
            (r#"{"defaultMaxTokens":"+5"}"#, "defaultMaxTokens"),
            (r#"{"defaultMaxTokens":"window"}"#, "defaultMaxTokens"),
            (r#"{"baseGrace":"5"}"#, "duration"),
            (r#"{"modelName":"a b"}"#, "model id"),
            (r#"{"onBaseLost":"panic"}"#, "onBaseLost"),
            (r#"{"controllerName":""}"#, "controllerName"),
            (r#"{"weight":10}"#, "weight"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(field), "{bad}: {error}");
        }
    }
}
