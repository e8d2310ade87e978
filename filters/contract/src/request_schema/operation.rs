//! The schemas of a policy, each for the requests of some operations.

use serde::Serialize;

use super::RequestSchema;

/// Most schemas of a policy.
pub(crate) const MAX_SCHEMAS: usize = 16;

/// The operations whose request bodies are JSON. (A test compares them with the table of the dialects.)
pub const JSON_OPERATIONS: &[&str] = &[
    "anthropic.countTokens",
    "anthropic.messages",
    "azure.chat",
    "azure.completions",
    "azure.embeddings",
    "azure.images",
    "azure.responses",
    "azure.speech",
    "cohere.chat",
    "cohere.embed",
    "cohere.rerank",
    "gemini.batchEmbedContents",
    "gemini.embedContent",
    "gemini.generateContent",
    "gemini.streamGenerateContent",
    "kserve.explain",
    "kserve.predict",
    "llamacpp.completion",
    "llamacpp.embedding",
    "llamacpp.infill",
    "llamacpp.template",
    "llamacpp.tokenize",
    "ollama.chat",
    "ollama.embed",
    "ollama.generate",
    "ollama.show",
    "openai.chat",
    "openai.classify",
    "openai.completions",
    "openai.embeddings",
    "openai.images",
    "openai.moderations",
    "openai.pooling",
    "openai.rerank",
    "openai.responses",
    "openai.responses.compact",
    "openai.responses.countTokens",
    "openai.score",
    "openai.speech",
    "openai.tokenize",
    "openinference.infer",
    "sglang.generate",
    "tgi.embed",
    "tgi.generate",
    "tgi.rerank",
    "tgi.tokenize",
    "triton.generate",
    "vllm.classify",
    "vllm.pooling",
    "vllm.rerank",
    "vllm.score",
    "vllm.tokenize",
];

/// A schema, and the operations whose requests it checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct OperationSchema {
    /// The operations, such as `openai.chat`. Their bodies are JSON.
    #[cfg_attr(feature = "schema", schemars(schema_with = "operations_schema"))]
    pub operations: Vec<String>,
    /// The JSON schema of the whole body, with these keywords: `type` (one type or a list), `enum`, `const`, `minimum`, `maximum`,
    /// `exclusiveMinimum`, `exclusiveMaximum`, `minLength`, `maxLength` (code points), `minItems`, `maxItems`, `items`, `properties`,
    /// `required`, `additionalProperties` (true or false), and annotations (`title`, `description`, `default`, `examples`, `$schema`,
    /// `$comment`). At most 512 schemas in 16 levels, 64 names in `required`, names of 64 bytes, 256 values in `enum`. An unknown keyword is
    /// an error.
    pub schema: RequestSchema,
}

#[cfg(feature = "schema")]
fn operations_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": JSON_OPERATIONS.len(),
        "items": { "type": "string", "enum": JSON_OPERATIONS },
        "x-kubernetes-list-type": "set"
    })
}

/// For the list of schemas: the check of [`check`].
#[cfg(feature = "schema")]
pub(crate) const ONE_SCHEMA: (&str, &str) = (
    "self.all(a, a.operations.all(o, self.exists_one(b, o in b.operations)))",
    "an operation has two schemas: remove it from one",
);

/// Checks the number of schemas, and that no operation has two.
pub(crate) fn check(schemas: &[OperationSchema]) -> Result<(), String> {
    if schemas.len() > MAX_SCHEMAS {
        return Err(format!(
            "`schemas` has {} entries: give at most {MAX_SCHEMAS}",
            schemas.len()
        ));
    }
    for (i, one) in schemas.iter().enumerate() {
        let mut before = schemas[..i].iter().flat_map(|before| &before.operations);
        if let Some(name) = before.find(|name| one.operations.contains(name)) {
            return Err(format!(
                "operation {name:?} has two schemas: remove it from `schemas[{i}].operations`"
            ));
        }
    }
    Ok(())
}
