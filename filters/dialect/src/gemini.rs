//! The Gemini dialect. The path names the model.

mod answer;
mod request;
mod wording;

use crate::dialect::Dialect;
use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::operation::{Access, Api, Operation};

/// The wording of errors and of the list of models.
static DIALECT: Dialect = Dialect {
    error: wording::error,
    models: wording::models,
    model: wording::model,
};

/// `:generateContent` and `:streamGenerateContent`
static GENERATE: Endpoint = Endpoint {
    request: Form::Json(&request::GENERATE),
    ..BASE
};

/// `:embedContent` and `:batchEmbedContents`
static EMBED: Endpoint = Endpoint {
    request: Form::Json(&request::EMBED),
    answer: &answer::EMBED,
    costs: Costs {
        param: "content",
        fix: "shorten `content`, or split it over several requests",
        alternative: "with a shorter `content`",
    },
    ..BASE
};

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = BASE;

const BASE: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Form::Headers,
    answer: &answer::GENERATE,
    price: Price::Facts,
    costs: Costs {
        param: "generationConfig.maxOutputTokens",
        fix: "lower `generationConfig.maxOutputTokens`, or shorten the prompt",
        alternative: "with a lower `generationConfig.maxOutputTokens`",
    },
};

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::Gemini.row("gemini.generateContent", "POST", "/v1beta/models/{model}:generateContent", Access::Charged, &GENERATE),
    Api::Gemini.row("gemini.streamGenerateContent", "POST", "/v1beta/models/{model}:streamGenerateContent", Access::Charged, &GENERATE),
    Api::Gemini.row("gemini.embedContent", "POST", "/v1beta/models/{model}:embedContent", Access::Charged, &EMBED),
    Api::Gemini.row("gemini.batchEmbedContents", "POST", "/v1beta/models/{model}:batchEmbedContents", Access::Charged, &EMBED),
    Api::Gemini.row("gemini.countTokens", "POST", "/v1beta/models/{model}:countTokens", Access::Free, &HEADERS_ONLY),
    Api::Gemini.row("gemini.generateContent", "POST", "/v1/models/{model}:generateContent", Access::Charged, &GENERATE),
    Api::Gemini.row("gemini.streamGenerateContent", "POST", "/v1/models/{model}:streamGenerateContent", Access::Charged, &GENERATE),
    Api::Gemini.row("gemini.embedContent", "POST", "/v1/models/{model}:embedContent", Access::Charged, &EMBED),
    Api::Gemini.row("gemini.batchEmbedContents", "POST", "/v1/models/{model}:batchEmbedContents", Access::Charged, &EMBED),
    Api::Gemini.row("gemini.countTokens", "POST", "/v1/models/{model}:countTokens", Access::Free, &HEADERS_ONLY),
    Api::Gemini.row("gemini.models", "GET", "/v1/models", Access::Models, &HEADERS_ONLY),
    Api::Gemini.row("gemini.models", "GET", "/v1/models/{model}", Access::Models, &HEADERS_ONLY),
    Api::Gemini.row("gemini.models", "GET", "/v1beta/models", Access::Models, &HEADERS_ONLY),
    Api::Gemini.row("gemini.models", "GET", "/v1beta/models/{model}", Access::Models, &HEADERS_ONLY),
];
