//! The Anthropic dialect: Messages.

mod answer;
mod request;
mod wording;

use crate::dialect::Dialect;
use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::openai;
use crate::operation::{Access, Api, Operation};

/// The wording of errors and of the list of models.
static DIALECT: Dialect = Dialect {
    error: wording::error,
    models: wording::models,
    model: wording::model,
};

/// `POST /v1/messages`, and the count of its tokens.
static MESSAGES: Endpoint = BASE;

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = Endpoint {
    request: Form::Headers,
    ..BASE
};

/// `POST /v1/messages/batches`
static BATCHES: Endpoint = Endpoint {
    request: Form::Headers,
    answer: &openai::answer::SCORES,
    price: Price::Batch,
    ..BASE
};

const BASE: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Form::Json(&request::MESSAGES),
    answer: &answer::MESSAGES,
    price: Price::Facts,
    costs: Costs {
        param: "max_tokens",
        fix: "lower `max_tokens`, or shorten the prompt",
        alternative: "with a lower `max_tokens`",
    },
};

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::Anthropic.row("anthropic.messages", "POST", "/v1/messages", Access::Charged, &MESSAGES),
    Api::Anthropic.row("anthropic.countTokens", "POST", "/v1/messages/count_tokens", Access::Free, &MESSAGES),
    Api::Anthropic.row("anthropic.models", "GET", "/v1/models", Access::Models, &HEADERS_ONLY),
    Api::Anthropic.row("anthropic.models", "GET", "/v1/models/{model}", Access::Models, &HEADERS_ONLY),
    Api::Anthropic.row("anthropic.batches", "POST", "/v1/messages/batches", Access::Charged, &BATCHES),
    Api::Anthropic.row("anthropic.batches.read", "GET", "/v1/messages/batches", Access::Free, &HEADERS_ONLY),
    Api::Anthropic.row("anthropic.batches.read", "GET", "/v1/messages/batches/{rest}", Access::Free, &HEADERS_ONLY),
    Api::Anthropic.row("anthropic.batches.change", "POST", "/v1/messages/batches/{rest}", Access::Management, &HEADERS_ONLY),
    Api::Anthropic.row("anthropic.batches.change", "DELETE", "/v1/messages/batches/{id}", Access::Management, &HEADERS_ONLY),
];
