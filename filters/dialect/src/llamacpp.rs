//! The dialect of llama.cpp's own paths. Errors are worded as OpenAI words them. Its paths are ordinary words, so a policy must enable it.

mod answer;
mod request;

use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::openai;
use crate::operation::{Access, Api, Operation};

/// `POST /completion`
static COMPLETION: Endpoint = BASE;

/// `POST /infill`
static INFILL: Endpoint = Endpoint {
    request: Form::Json(&request::INFILL),
    ..BASE
};

/// `POST /embedding`
static EMBEDDING: Endpoint = Endpoint {
    request: Form::Json(&request::EMBEDDING),
    answer: &openai::answer::SCORES,
    costs: Costs {
        param: "content",
        fix: "shorten `content`, or split it over several requests",
        alternative: "with a shorter `content`",
    },
    ..BASE
};

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = Endpoint {
    request: Form::Headers,
    ..BASE
};

const BASE: Endpoint = Endpoint {
    dialect: &openai::DIALECT,
    request: Form::Json(&request::COMPLETION),
    answer: &answer::GENERATED,
    price: Price::Facts,
    costs: Costs {
        param: "n_predict",
        fix: "lower `n_predict`, or shorten the prompt",
        alternative: "with a lower `n_predict`",
    },
};

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::LlamaCpp.row("llamacpp.completion", "POST", "/completion", Access::Charged, &COMPLETION),
    Api::LlamaCpp.row("llamacpp.completion", "POST", "/completions", Access::Charged, &COMPLETION),
    Api::LlamaCpp.row("llamacpp.infill", "POST", "/infill", Access::Charged, &INFILL),
    Api::LlamaCpp.row("llamacpp.embedding", "POST", "/embedding", Access::Charged, &EMBEDDING),
    Api::LlamaCpp.row("llamacpp.embedding", "POST", "/embeddings", Access::Charged, &EMBEDDING),
    Api::LlamaCpp.row("llamacpp.tokenize", "POST", "/tokenize", Access::Free, &openai::TOKENIZE),
    Api::LlamaCpp.row("llamacpp.tokenize", "POST", "/detokenize", Access::Free, &openai::TOKENIZE),
    Api::LlamaCpp.row("llamacpp.template", "POST", "/apply-template", Access::Free, &openai::TOKENIZE),
    Api::LlamaCpp.row("llamacpp.props", "GET", "/props", Access::Free, &HEADERS_ONLY),
    Api::LlamaCpp.row("llamacpp.props.change", "POST", "/props", Access::Management, &HEADERS_ONLY),
    Api::LlamaCpp.row("llamacpp.slots", "GET", "/slots", Access::Free, &HEADERS_ONLY),
    Api::LlamaCpp.row("llamacpp.slots.change", "POST", "/slots/{id}", Access::Management, &HEADERS_ONLY),
];
