//! vLLM's paths without `/v1`. They are ordinary words, so a policy must enable them.

use crate::openai;
use crate::operation::{Access, Api, Operation};

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::Vllm.row("vllm.rerank", "POST", "/rerank", Access::Charged, &openai::RERANK),
    Api::Vllm.row("vllm.score", "POST", "/score", Access::Charged, &openai::RERANK),
    Api::Vllm.row("vllm.pooling", "POST", "/pooling", Access::Charged, &openai::EMBEDDINGS),
    Api::Vllm.row("vllm.classify", "POST", "/classify", Access::Charged, &openai::EMBEDDINGS),
    Api::Vllm.row("vllm.tokenize", "POST", "/tokenize", Access::Free, &openai::TOKENIZE),
    Api::Vllm.row("vllm.tokenize", "POST", "/detokenize", Access::Free, &openai::TOKENIZE),
];
