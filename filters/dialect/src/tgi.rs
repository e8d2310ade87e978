//! The dialect of Text Generation Inference and Text Embeddings Inference. Requests do not name their model. Its paths are ordinary
//! words, so a policy must enable it.

pub(crate) mod answer;
pub(crate) mod request;
mod wording;

use crate::dialect::Dialect;
use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::openai;
use crate::operation::{Access, Api, Operation};

/// The wording of errors and of the list of models.
static DIALECT: Dialect = Dialect {
    error: wording::error,
    models: openai::wording::models,
    model: openai::wording::model,
};

/// `POST /generate`, and `POST /`, which streams where `stream` is true.
static GENERATE: Endpoint = BASE;

/// `POST /generate_stream`
static GENERATE_STREAM: Endpoint = Endpoint {
    request: Form::Json(&request::GENERATE_STREAM),
    ..BASE
};

/// `POST /embed`
static EMBED: Endpoint = Endpoint {
    request: Form::Json(&request::EMBED),
    answer: &openai::answer::SCORES,
    costs: Costs {
        param: "inputs",
        fix: "shorten `inputs`, or split it over several requests",
        alternative: "with a shorter `inputs`",
    },
    ..BASE
};

/// `POST /rerank`
static RERANK: Endpoint = Endpoint {
    request: Form::Json(&request::RERANK),
    answer: &openai::answer::SCORES,
    costs: Costs {
        param: "texts",
        fix: "send fewer or shorter `texts`",
        alternative: "with fewer or shorter `texts`",
    },
    ..BASE
};

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = Endpoint {
    request: Form::Headers,
    ..BASE
};

const BASE: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Form::Json(&request::GENERATE),
    answer: &answer::GENERATED,
    price: Price::Facts,
    costs: Costs {
        param: "parameters.max_new_tokens",
        fix: "lower `parameters.max_new_tokens` or `parameters.best_of`, or shorten `inputs`",
        alternative: "with a lower `parameters.max_new_tokens`",
    },
};

/// The rows of the table of operations. A proxy answers `/health` or routes it by its headers.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::Tgi.row("tgi.generate", "POST", "/generate", Access::Charged, &GENERATE),
    Api::Tgi.row("tgi.generate", "POST", "/generate_stream", Access::Charged, &GENERATE_STREAM),
    Api::Tgi.row("tgi.generate", "POST", "/", Access::Charged, &GENERATE),
    Api::Tgi.row("tgi.embed", "POST", "/embed", Access::Charged, &EMBED),
    Api::Tgi.row("tgi.rerank", "POST", "/rerank", Access::Charged, &RERANK),
    Api::Tgi.row("tgi.tokenize", "POST", "/tokenize", Access::Free, &openai::TOKENIZE),
    Api::Tgi.row("tgi.info", "GET", "/info", Access::Free, &HEADERS_ONLY),
];
