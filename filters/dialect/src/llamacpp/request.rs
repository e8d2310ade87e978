//! The keys of request bodies.
//!
//! ```text
//! text        prompt; content and input of embeddings
//! tokens      ids in them, with texts among the ids; multimodal_data of a prompt that is an object, image_data: each one
//! verbatim    input_prefix, input_suffix, input_extra
//! nothing     grammar, json_schema, and what else steers decoding
//! ```

use crate::openai::request as openai;
use crate::request::field::{Container, Field, Name, Number};
use crate::request::{Schema, Unlimited};

/// `POST /completion`. With `n_predict: 0` servers only read the prompt. `model` is read by servers of several models.
pub(super) const COMPLETION: Schema = Schema {
    top: &[&[("prompt", Field::Prompt)], &GENERATION],
    keys,
    describe,
    least_max_tokens: 0,
    prompts_multiply: true,
    unlimited: Unlimited::Negative,
    mixed_prompts: true,
    usage_is_optional: false,
    ..openai::CHAT_COMPLETIONS
};

/// `POST /infill`
pub(super) const INFILL: Schema = Schema {
    top: &[
        &[
            ("prompt", Field::Prompt),
            ("input_prefix", Field::Verbatim),
            ("input_suffix", Field::Verbatim),
            ("input_extra", Field::Verbatim),
        ],
        &GENERATION,
    ],
    ..COMPLETION
};

/// `POST /embedding`
pub(super) const EMBEDDING: Schema = Schema {
    top: &[&[
        ("content", Field::Prompt),
        ("input", Field::Prompt),
        ("model", Field::Name(Name::Model)),
    ]],
    describe: describe_embedding,
    prompts_multiply: false,
    ..COMPLETION
};

/// `n_predict` precedes the name that it has with OpenAI.
const GENERATION: [(&str, Field); 8] = [
    ("n_predict", Field::Number(Number::MaxCompletionTokens)),
    ("max_tokens", Field::Number(Number::MaxTokens)),
    ("temperature", Field::Number(Number::Temperature)),
    ("stream", Field::Stream),
    ("model", Field::Name(Name::Model)),
    ("n", Field::Number(Number::N)),
    ("n_cmpl", Field::Number(Number::N)),
    ("image_data", Field::MediaList),
];

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    match container {
        Container::PromptPart => &[
            ("prompt_string", Field::PartText),
            ("multimodal_data", Field::MediaList),
        ],
        _ => &[],
    }
}

fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Number(Number::MaxCompletionTokens) => ("n_predict", "a whole number"),
        Field::PartText => ("prompt.prompt_string", "a string"),
        Field::Prompt | Field::PromptItem => (
            "prompt",
            "a string, an array of token ids and strings, an object with a `prompt_string`, or an array of these",
        ),
        Field::Token => (
            "prompt",
            "an array of token ids (whole numbers) and strings",
        ),
        _ => openai::describe(field),
    }
}

fn describe_embedding(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::PartText => ("content.prompt_string", "a string"),
        Field::Prompt | Field::PromptItem | Field::Token => ("content", describe(field).1),
        _ => describe(field),
    }
}
