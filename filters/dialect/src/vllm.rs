//! vLLM's paths without `/v1`. They are ordinary words, so a policy must enable them.

use crate::endpoint::Endpoint;
use crate::openai;
use crate::operation::{Access, Api, Operation};

const fn row(
    name: &'static str,
    pattern: &'static str,
    access: Access,
    endpoint: &'static Endpoint,
) -> Operation {
    Operation {
        name,
        api: Api::Vllm,
        method: "POST",
        pattern,
        access,
        endpoint,
    }
}

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    row("vllm.rerank", "/rerank", Access::Charged, &openai::RERANK),
    row("vllm.score", "/score", Access::Charged, &openai::RERANK),
    row("vllm.pooling", "/pooling", Access::Charged, &openai::EMBEDDINGS),
    row("vllm.classify", "/classify", Access::Charged, &openai::EMBEDDINGS),
    row("vllm.tokenize", "/tokenize", Access::Free, &openai::TOKENIZE),
    row("vllm.tokenize", "/detokenize", Access::Free, &openai::TOKENIZE),
];
