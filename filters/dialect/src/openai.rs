//! The OpenAI dialect, as OpenAI and the servers and hosts that follow it speak it.

pub(crate) mod answer;
pub(crate) mod request;
pub(crate) mod wording;

use crate::dialect::Dialect;
use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::multipart::Files;
use crate::operation::{Access, Api, Operation};

/// The wording of errors and of the list of models.
pub(crate) static DIALECT: Dialect = Dialect {
    error: wording::error,
    models: wording::models,
    model: wording::model,
};

/// `POST /v1/chat/completions`
pub(crate) static CHAT_COMPLETIONS: Endpoint = GENERATION;

/// `POST /v1/completions`
pub(crate) static COMPLETIONS: Endpoint = Endpoint {
    request: Form::Json(&request::COMPLETIONS),
    ..GENERATION
};

/// `POST /v1/embeddings`
pub(crate) static EMBEDDINGS: Endpoint = EMBEDDING;

const EMBEDDING: Endpoint = Endpoint {
    request: Form::Json(&request::EMBEDDINGS),
    answer: &answer::EMBEDDINGS,
    costs: Costs {
        param: "input",
        fix: "shorten `input`, or split it over several requests",
        alternative: "with a shorter `input`",
    },
    ..GENERATION
};

/// `POST /v1/responses`
pub(crate) static RESPONSES: Endpoint = Endpoint {
    request: Form::Json(&request::RESPONSES),
    answer: &answer::RESPONSES,
    costs: Costs {
        param: "max_output_tokens",
        fix: "lower `max_output_tokens`, or shorten the input",
        alternative: "with a lower `max_output_tokens`",
    },
    ..GENERATION
};

/// `POST /v1/rerank` and `POST /v1/score`
pub(crate) static RERANK: Endpoint = Endpoint {
    request: Form::Json(&request::RERANK),
    answer: &answer::SCORES,
    costs: Costs {
        param: "documents",
        fix: "send fewer or shorter `documents`",
        alternative: "with fewer or shorter `documents`",
    },
    ..GENERATION
};

/// Requests that are read for their model and cost nothing, such as vLLM's `POST /tokenize`.
pub(crate) static TOKENIZE: Endpoint = Endpoint {
    request: Form::Json(&request::MODEL_ONLY),
    ..GENERATION
};

/// `POST /v1/moderations`
static MODERATIONS: Endpoint = Endpoint {
    answer: &answer::SCORES,
    ..EMBEDDING
};

/// `POST /v1/images/generations`
static IMAGES: Endpoint = Endpoint {
    request: Form::Json(&request::IMAGES),
    answer: &answer::IMAGES,
    costs: Costs {
        param: "n",
        fix: "lower `n`, or shorten `prompt`",
        alternative: "with a lower `n`",
    },
    ..GENERATION
};

/// `POST /v1/images/edits` and `POST /v1/images/variations`
static IMAGE_EDITS: Endpoint = Endpoint {
    request: Form::Multipart(Files::Pictures),
    answer: &answer::IMAGES,
    costs: Costs {
        param: "image",
        fix: "send fewer pictures, or lower `n`",
        alternative: "with fewer pictures",
    },
    ..GENERATION
};

/// `POST /v1/audio/transcriptions` and `POST /v1/audio/translations`
static TRANSCRIPTIONS: Endpoint = Endpoint {
    request: Form::Multipart(Files::Sound),
    answer: &answer::TRANSCRIPTIONS,
    costs: Costs {
        param: "file",
        fix: "send a shorter recording",
        alternative: "with a shorter recording",
    },
    ..GENERATION
};

/// `POST /v1/audio/speech`
static SPEECH: Endpoint = Endpoint {
    request: Form::Json(&request::SPEECH),
    answer: &answer::SPEECH,
    costs: Costs {
        param: "input",
        fix: "shorten `input`",
        alternative: "with a shorter `input`",
    },
    ..GENERATION
};

/// `POST /v1/files` and the parts of uploads: charged by their bytes as they pass.
static UPLOAD: Endpoint = Endpoint {
    request: Form::Headers,
    answer: &answer::SCORES,
    price: Price::Bytes,
    costs: Costs {
        param: "file",
        fix: "send a smaller file",
        alternative: "with a smaller file",
    },
    ..GENERATION
};

/// `POST /v1/batches`
static BATCHES: Endpoint = Endpoint {
    request: Form::Headers,
    answer: &answer::SCORES,
    price: Price::Batch,
    ..GENERATION
};

/// `GET /v1/realtime`
static REALTIME: Endpoint = Endpoint {
    request: Form::Headers,
    answer: &answer::SCORES,
    price: Price::Session,
    ..GENERATION
};

/// Any request whose body is not read. Its answer is read for usage under every name that is known.
pub(crate) static HEADERS_ONLY: Endpoint = Endpoint {
    request: Form::Headers,
    ..GENERATION
};

const GENERATION: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Form::Json(&request::CHAT_COMPLETIONS),
    answer: &answer::GENERATED,
    price: Price::Facts,
    costs: Costs {
        param: "max_tokens",
        fix: "lower `max_tokens` or `n`, or shorten the prompt",
        alternative: "with a lower `max_tokens`",
    },
};

/// The rows of the table of operations. The most frequent ones come first.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::OpenAi.row("openai.chat", "POST", "/v1/chat/completions", Access::Charged, &CHAT_COMPLETIONS),
    Api::OpenAi.row("openai.completions", "POST", "/v1/completions", Access::Charged, &COMPLETIONS),
    Api::OpenAi.row("openai.embeddings", "POST", "/v1/embeddings", Access::Charged, &EMBEDDINGS),
    Api::OpenAi.row("openai.responses", "POST", "/v1/responses", Access::Charged, &RESPONSES),
    Api::OpenAi.row("openai.models", "GET", "/v1/models", Access::Models, &HEADERS_ONLY),
    Api::OpenAi.row("openai.models", "GET", "/v1/models/{model}", Access::Models, &HEADERS_ONLY),
    Api::OpenAi.row("openai.models.delete", "DELETE", "/v1/models/{model}", Access::Management, &HEADERS_ONLY),
    Api::OpenAi.row("openai.responses.countTokens", "POST", "/v1/responses/input_tokens", Access::Free, &RESPONSES),
    Api::OpenAi.row("openai.responses.compact", "POST", "/v1/responses/compact", Access::Charged, &RESPONSES),
    Api::OpenAi.row("openai.responses.read", "GET", "/v1/responses/{rest}", Access::Free, &HEADERS_ONLY),
    Api::OpenAi.row("openai.responses.cancel", "POST", "/v1/responses/{id}/cancel", Access::Free, &HEADERS_ONLY),
    Api::OpenAi.row("openai.responses.delete", "DELETE", "/v1/responses/{id}", Access::Management, &HEADERS_ONLY),
    Api::OpenAi.row("openai.chat.read", "GET", "/v1/chat/completions/{rest}", Access::Free, &HEADERS_ONLY),
    Api::OpenAi.row("openai.rerank", "POST", "/v1/rerank", Access::Charged, &RERANK),
    Api::OpenAi.row("openai.score", "POST", "/v1/score", Access::Charged, &RERANK),
    Api::OpenAi.row("openai.pooling", "POST", "/v1/pooling", Access::Charged, &EMBEDDINGS),
    Api::OpenAi.row("openai.classify", "POST", "/v1/classify", Access::Charged, &EMBEDDINGS),
    Api::OpenAi.row("openai.moderations", "POST", "/v1/moderations", Access::Charged, &MODERATIONS),
    Api::OpenAi.row("openai.tokenize", "POST", "/v1/tokenize", Access::Free, &TOKENIZE),
    Api::OpenAi.row("openai.tokenize", "POST", "/v1/detokenize", Access::Free, &TOKENIZE),
    Api::OpenAi.row("openai.transcriptions", "POST", "/v1/audio/transcriptions", Access::Charged, &TRANSCRIPTIONS),
    Api::OpenAi.row("openai.translations", "POST", "/v1/audio/translations", Access::Charged, &TRANSCRIPTIONS),
    Api::OpenAi.row("openai.imageEdits", "POST", "/v1/images/edits", Access::Charged, &IMAGE_EDITS),
    Api::OpenAi.row("openai.imageVariations", "POST", "/v1/images/variations", Access::Charged, &IMAGE_EDITS),
    Api::OpenAi.row("openai.speech", "POST", "/v1/audio/speech", Access::Charged, &SPEECH),
    Api::OpenAi.row("openai.images", "POST", "/v1/images/generations", Access::Charged, &IMAGES),
    Api::OpenAi.row("openai.realtime", "GET", "/v1/realtime", Access::Charged, &REALTIME),
    Api::OpenAi.row("azure.realtime", "GET", "/openai/realtime", Access::Charged, &REALTIME),
    Api::OpenAi.row("openai.files", "POST", "/v1/files", Access::Charged, &UPLOAD),
    Api::OpenAi.row("openai.files.read", "GET", "/v1/files", Access::Free, &HEADERS_ONLY),
    Api::OpenAi.row("openai.files.read", "GET", "/v1/files/{rest}", Access::Free, &HEADERS_ONLY),
    Api::OpenAi.row("openai.files.delete", "DELETE", "/v1/files/{id}", Access::Management, &HEADERS_ONLY),
    Api::OpenAi.row("openai.uploads", "POST", "/v1/uploads/{id}/parts", Access::Charged, &UPLOAD),
    Api::OpenAi.row("openai.uploads.change", "POST", "/v1/uploads", Access::Management, &HEADERS_ONLY),
    Api::OpenAi.row("openai.uploads.change", "POST", "/v1/uploads/{rest}", Access::Management, &HEADERS_ONLY),
    Api::OpenAi.row("openai.batches", "POST", "/v1/batches", Access::Charged, &BATCHES),
    Api::OpenAi.row("openai.batches.read", "GET", "/v1/batches", Access::Free, &HEADERS_ONLY),
    Api::OpenAi.row("openai.batches.read", "GET", "/v1/batches/{id}", Access::Free, &HEADERS_ONLY),
    Api::OpenAi.row("openai.batches.cancel", "POST", "/v1/batches/{id}/cancel", Access::Management, &HEADERS_ONLY),
    Api::OpenAi.row("vllm.loraAdapters", "POST", "/v1/load_lora_adapter", Access::Management, &HEADERS_ONLY),
    Api::OpenAi.row("vllm.loraAdapters", "POST", "/v1/unload_lora_adapter", Access::Management, &HEADERS_ONLY),
    Api::OpenAi.row("azure.chat", "POST", "/openai/deployments/{model}/chat/completions", Access::Charged, &CHAT_COMPLETIONS),
    Api::OpenAi.row("azure.completions", "POST", "/openai/deployments/{model}/completions", Access::Charged, &COMPLETIONS),
    Api::OpenAi.row("azure.embeddings", "POST", "/openai/deployments/{model}/embeddings", Access::Charged, &EMBEDDINGS),
    Api::OpenAi.row("azure.images", "POST", "/openai/deployments/{model}/images/generations", Access::Charged, &IMAGES),
    Api::OpenAi.row("azure.transcriptions", "POST", "/openai/deployments/{model}/audio/transcriptions", Access::Charged, &TRANSCRIPTIONS),
    Api::OpenAi.row("azure.translations", "POST", "/openai/deployments/{model}/audio/translations", Access::Charged, &TRANSCRIPTIONS),
    Api::OpenAi.row("azure.imageEdits", "POST", "/openai/deployments/{model}/images/edits", Access::Charged, &IMAGE_EDITS),
    Api::OpenAi.row("azure.speech", "POST", "/openai/deployments/{model}/audio/speech", Access::Charged, &SPEECH),
    Api::OpenAi.row("azure.responses", "POST", "/openai/responses", Access::Charged, &RESPONSES),
    Api::Infer.row("infer", "*", "/infer", Access::Charged, &HEADERS_ONLY),
    Api::Infer.row("infer", "*", "/infer/{rest}", Access::Charged, &HEADERS_ONLY),
];
