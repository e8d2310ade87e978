//! Triton's extension of the Open Inference Protocol for generation. The path names the model.
//!
//! A key that is not known here is an input of the model, so it counts as prompt:
//!
//! ```text
//! text        text_input
//! verbatim    every other key; its numbers count nothing
//! nothing     parameters
//! ```

use crate::answer;
use crate::answer::field::{Container, Field as Answer};
use crate::answer::text::TextKind;
use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::json::lookup;
use crate::openai;
use crate::plain;
use crate::request::Schema;
use crate::request::field::{Container as Place, Field, Number};

/// `…/generate`
pub(crate) static GENERATE: Endpoint = BASE;

/// `…/generate_stream`
pub(crate) static GENERATE_STREAM: Endpoint = Endpoint {
    request: Form::Json(&STREAM_REQUEST),
    ..BASE
};

const BASE: Endpoint = Endpoint {
    dialect: &plain::DIALECT,
    request: Form::Json(&REQUEST),
    answer: &GENERATED,
    price: Price::Facts,
    costs: Costs {
        param: "max_tokens",
        fix: "lower `max_tokens`, or shorten `text_input`",
        alternative: "with a lower `max_tokens`",
    },
};

/// Parameters stand in an object of their own, or beside the text where the model has them as inputs.
const REQUEST: Schema = Schema {
    top: &[
        &[
            ("text_input", Field::Prompt),
            ("parameters", Field::Options),
            ("id", Field::Ignored),
        ],
        &PARAMETERS,
    ],
    keys,
    describe,
    least_max_tokens: 0,
    prompts_multiply: true,
    others: Field::Verbatim,
    usage_is_optional: false,
    ..openai::request::CHAT_COMPLETIONS
};

const STREAM_REQUEST: Schema = Schema {
    streams: true,
    ..REQUEST
};

const PARAMETERS: [(&str, Field); 3] = [
    ("max_tokens", Field::Number(Number::MaxTokens)),
    ("temperature", Field::Number(Number::Temperature)),
    ("stream", Field::Stream),
];

fn keys(container: Place) -> &'static [(&'static str, Field)] {
    match container {
        Place::Options => &PARAMETERS,
        _ => &[],
    }
}

fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Options => ("parameters", "an object"),
        Field::Prompt | Field::PromptItem | Field::Token => {
            ("text_input", "a string, or an array of strings")
        }
        _ => openai::request::describe(field),
    }
}

/// Answers report no usage.
const GENERATED: answer::Schema = answer::Schema {
    field: answer_field,
    by_sequence: true,
    ..openai::answer::GENERATED
};

fn answer_field(container: Container, key: &[u8]) -> Answer {
    let keys: &[(&str, Answer)] = match container {
        Container::Top => &[
            ("text_output", Answer::Text(TextKind::Content)),
            ("error", Answer::Error),
        ],
        _ => &[],
    };
    lookup(keys, key).unwrap_or(Answer::Ignored)
}
