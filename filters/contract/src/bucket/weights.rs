//! The price of a token, by its class.

use serde::{Deserialize, Serialize};

use super::{Decimal, is_one, one};

/// The price of one token of each class. The classes are disjoint: a cached token of the prompt costs `cachedInput` and not `input`
/// too. Each 0–1000; a class that is not given costs as much as the class that contains it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[(
    "!(has(self.input) && self.input == 0.0 && has(self.output) && self.output == 0.0)",
    "`input` and `output` are both 0, so most requests would be free: set one of them above 0",
)]))))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Weights {
    /// A token of the prompt. Default 1.
    #[serde(skip_serializing_if = "is_one")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub input: Decimal,
    /// A token of the prompt that came from a cache. Default: as `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub cached_input: Option<Decimal>,
    /// A token of the prompt that was written to a cache. Default: as `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub cache_write: Option<Decimal>,
    /// A generated token. Default 1.
    #[serde(skip_serializing_if = "is_one")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub output: Decimal,
    /// A generated token of reasoning. Default: as `output`. Before usage is known, a request is priced as if all of its output
    /// cost the greater of `output` and `reasoning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub reasoning: Option<Decimal>,
    /// A token of audio, in the prompt or generated. Default: as `input` or as `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub audio: Option<Decimal>,
    /// A token of an image, in the prompt or generated. Default: as `input` or as `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("maximum" = 1000)))]
    pub image: Option<Decimal>,
}

impl Weights {
    /// Each weight with its name; `None` if it is not given.
    pub(super) fn all(&self) -> [(&'static str, Option<Decimal>); 7] {
        [
            ("input", Some(self.input)),
            ("cachedInput", self.cached_input),
            ("cacheWrite", self.cache_write),
            ("output", Some(self.output)),
            ("reasoning", self.reasoning),
            ("audio", self.audio),
            ("image", self.image),
        ]
    }

    /// Whether every token costs 1.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            input: one(),
            cached_input: None,
            cache_write: None,
            output: one(),
            reasoning: None,
            audio: None,
            image: None,
        }
    }
}
