//! The stages of a filter: tag, limit, or both.

use serde::{Deserialize, Serialize};

/// One stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Picks the version, and tags request and answer.
    Tag,
    /// Reserves budget before the upstream, and settles it on the usage.
    Limit,
}

/// The stages of a filter. At least one; a list of [`Stage`]s in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Stage>", into = "Vec<Stage>")]
pub struct Stages {
    /// Whether [`Stage::Tag`] is one of them.
    pub tag: bool,
    /// Whether [`Stage::Limit`] is one of them.
    pub limit: bool,
}

impl Stages {
    /// Both stages: the default of `headgate.wasm`.
    pub const ALL: Self = Self {
        tag: true,
        limit: true,
    };
    /// Tagging alone: the default of `traffic-tag.wasm`.
    pub const TAG: Self = Self {
        tag: true,
        limit: false,
    };
    /// Limits alone: the default of `token-bucket.wasm`.
    pub const LIMIT: Self = Self {
        tag: false,
        limit: true,
    };
}

impl TryFrom<Vec<Stage>> for Stages {
    type Error = String;
    fn try_from(list: Vec<Stage>) -> Result<Self, String> {
        let mut stages = Self {
            tag: false,
            limit: false,
        };
        for stage in &list {
            let (seen, name) = match stage {
                Stage::Tag => (&mut stages.tag, "tag"),
                Stage::Limit => (&mut stages.limit, "limit"),
            };
            if std::mem::replace(seen, true) {
                return Err(format!("lists `{name}` twice: remove one"));
            }
        }
        if list.is_empty() {
            return Err("is empty: list `tag`, `limit` or both, or remove it".into());
        }
        Ok(stages)
    }
}

impl From<Stages> for Vec<Stage> {
    fn from(stages: Stages) -> Self {
        let tag = stages.tag.then_some(Stage::Tag);
        let limit = stages.limit.then_some(Stage::Limit);
        tag.into_iter().chain(limit).collect()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Stages {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Stages".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "array",
            "items": generator.subschema_for::<Stage>(),
            "minItems": 1,
            "uniqueItems": true,
        })
    }
}
