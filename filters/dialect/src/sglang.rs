//! The dialect of SGLang's own paths. Requests do not name their model, and errors are worded as OpenAI words them. Its paths are
//! ordinary words, so a policy must enable it.

use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::openai;
use crate::operation::{Access, Api, Operation};
use crate::request::Schema;
use crate::request::field::{Field, Number};
use crate::tgi;

/// `POST /generate`, a path of Text Generation Inference too, whose keys are also read.
static GENERATE: Endpoint = BASE;

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = Endpoint {
    request: Form::Headers,
    ..BASE
};

const BASE: Endpoint = Endpoint {
    dialect: &openai::DIALECT,
    request: Form::Json(&REQUEST),
    answer: &tgi::answer::GENERATED,
    price: Price::Facts,
    costs: Costs {
        param: "sampling_params.max_new_tokens",
        fix: "lower `sampling_params.max_new_tokens` or `sampling_params.n`, or shorten the prompt",
        alternative: "with a lower `sampling_params.max_new_tokens`",
    },
};

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::SgLang.row("sglang.generate", "POST", "/generate", Access::Charged, &GENERATE),
    Api::SgLang.row("sglang.info", "GET", "/get_model_info", Access::Free, &HEADERS_ONLY),
    Api::SgLang.row("sglang.info", "GET", "/get_server_info", Access::Free, &HEADERS_ONLY),
];

const REQUEST: Schema = Schema {
    describe,
    ..tgi::request::GENERATE
};

fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Number(Number::MaxTokens) => ("sampling_params.max_new_tokens", "a whole number"),
        Field::Number(Number::Temperature) => ("sampling_params.temperature", "a number"),
        Field::Number(Number::BestOf) => ("sampling_params.best_of", "a whole number"),
        Field::Number(Number::N) => ("sampling_params.n", "a whole number"),
        Field::Options => ("sampling_params", "an object, or one for each prompt"),
        Field::Prompt | Field::PromptItem | Field::Token => (
            "text",
            "a string, or an array of strings; or `input_ids` an array of token ids",
        ),
        _ => openai::request::describe(field),
    }
}
