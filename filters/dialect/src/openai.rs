//! The OpenAI dialect, as OpenAI and the servers and hosts that follow it speak it.

pub(crate) mod answer;
pub(crate) mod request;
mod wording;

use crate::dialect::Dialect;
use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::operations::{Access, Api, Operation};

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
pub(crate) static EMBEDDINGS: Endpoint = Endpoint {
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
pub(crate) static OPERATIONS: &[Operation] = &[
    Operation {
        name: "openai.chat",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/chat/completions",
        access: Access::Charged,
        endpoint: &CHAT_COMPLETIONS,
    },
    Operation {
        name: "openai.completions",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/completions",
        access: Access::Charged,
        endpoint: &COMPLETIONS,
    },
    Operation {
        name: "openai.embeddings",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/embeddings",
        access: Access::Charged,
        endpoint: &EMBEDDINGS,
    },
    Operation {
        name: "openai.models",
        api: Api::OpenAi,
        method: "GET",
        pattern: "/v1/models",
        access: Access::Models,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.models",
        api: Api::OpenAi,
        method: "GET",
        pattern: "/v1/models/{model}",
        access: Access::Models,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.responses",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/responses",
        access: Access::Charged,
        endpoint: &RESPONSES,
    },
    Operation {
        name: "openai.rerank",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/rerank",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.score",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/score",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.moderations",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/moderations",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.speech",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/audio/speech",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.transcriptions",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/audio/transcriptions",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.translations",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/audio/translations",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.images",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/images/generations",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.imageEdits",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/images/edits",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openai.imageVariations",
        api: Api::OpenAi,
        method: "POST",
        pattern: "/v1/images/variations",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openinference.infer",
        api: Api::OpenInference,
        method: "*",
        pattern: "/v2/models/{rest}",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "openinference.grpc",
        api: Api::OpenInference,
        method: "*",
        pattern: "/inference.GRPCInferenceService/{rest}",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "infer",
        api: Api::Infer,
        method: "*",
        pattern: "/infer",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
    Operation {
        name: "infer",
        api: Api::Infer,
        method: "*",
        pattern: "/infer/{rest}",
        access: Access::Charged,
        endpoint: &HEADERS_ONLY,
    },
];
