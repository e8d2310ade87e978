//! The keys of request bodies. `/generate` is also a path of SGLang. The keys tell which server a body is for, so both are read.
//!
//! ```text
//! text        inputs; text (SGLang)
//! tokens      ids in input_ids (SGLang), and in inputs of embeddings; image_data, audio_data, video_data (SGLang): each one
//! verbatim    query, texts
//! nothing     the other parameters: they steer decoding
//! ```

use crate::openai::request as openai;
use crate::request::field::{Container, Field, Name, Number};
use crate::request::{Schema, Unlimited};

/// `POST /generate`. SGLang generates nothing where `max_new_tokens` is 0.
pub(crate) const GENERATE: Schema = Schema {
    top: &[&[
        ("inputs", Field::Prompt),
        ("parameters", Field::Options),
        ("stream", Field::Stream),
        ("text", Field::Prompt),
        ("input_ids", Field::Prompt),
        ("sampling_params", Field::Options),
        ("image_data", Field::MediaList),
        ("audio_data", Field::MediaList),
        ("video_data", Field::MediaList),
    ]],
    keys,
    describe,
    least_max_tokens: 0,
    prompts_multiply: true,
    unlimited: Unlimited::MinusOne,
    usage_is_optional: false,
    ..openai::CHAT_COMPLETIONS
};

/// `POST /generate_stream`
pub(super) const GENERATE_STREAM: Schema = Schema {
    streams: true,
    ..GENERATE
};

/// `POST /embed`
pub(super) const EMBED: Schema = Schema {
    top: &[&[("inputs", Field::Prompt)]],
    prompts_multiply: false,
    ..GENERATE
};

/// `POST /rerank`, a path of vLLM too, whose keys are also read.
pub(super) const RERANK: Schema = Schema {
    top: &[&[
        ("query", Field::Verbatim),
        ("texts", Field::Verbatim),
        ("documents", Field::Verbatim),
        ("model", Field::Name(Name::Model)),
    ]],
    ..EMBED
};

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    match container {
        Container::Options => &[
            ("max_new_tokens", Field::Number(Number::MaxTokens)),
            ("temperature", Field::Number(Number::Temperature)),
            ("best_of", Field::Number(Number::BestOf)),
            ("n", Field::Number(Number::N)),
        ],
        _ => &[],
    }
}

fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Number(Number::MaxTokens) => ("parameters.max_new_tokens", "a whole number"),
        Field::Number(Number::Temperature) => ("parameters.temperature", "a number"),
        Field::Number(Number::BestOf) => ("parameters.best_of", "a whole number"),
        Field::Number(Number::N) => ("parameters.n", "a whole number"),
        Field::Options => ("parameters", "an object"),
        Field::Prompt | Field::PromptItem | Field::Token => ("inputs", openai::describe(field).1),
        _ => openai::describe(field),
    }
}
