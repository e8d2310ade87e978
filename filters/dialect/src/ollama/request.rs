//! The keys of request bodies. An answer is streamed unless `stream` is false.
//!
//! ```text
//! text        messages[].content; prompt; input
//! verbatim    tools, system, template, suffix, context; messages[].{tool_calls, tool_name, tool_call_id, thinking}
//! media       images, messages[].images: each one
//! nothing     format, and the other options: they steer decoding
//! ```

use crate::openai::request as openai;
use crate::request::field::{Container, Field, Name, Number};
use crate::request::{Schema, Unlimited};

/// `POST /api/chat`. Servers take a `num_predict` of 0 or less as no limit.
pub(super) const CHAT: Schema = Schema {
    top: &[&[("messages", Field::Messages)], &GENERATION],
    keys,
    describe,
    least_max_tokens: 1,
    prompts_multiply: false,
    streams: true,
    unlimited: Unlimited::NotPositive,
    usage_is_optional: false,
    ..openai::CHAT_COMPLETIONS
};

/// `POST /api/generate`
pub(super) const GENERATE: Schema = Schema {
    top: &[
        &[
            ("prompt", Field::Prompt),
            ("system", Field::Verbatim),
            ("template", Field::Verbatim),
            ("suffix", Field::Verbatim),
            ("images", Field::MediaList),
            // The token ids of the conversation so far.
            ("context", Field::Verbatim),
        ],
        &GENERATION,
    ],
    ..CHAT
};

/// `POST /api/embed`
pub(super) const EMBED: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("input", Field::Prompt),
    ]],
    describe: describe_embed,
    streams: false,
    ..CHAT
};

/// `POST /api/embeddings`
pub(super) const EMBEDDINGS: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("prompt", Field::Prompt),
    ]],
    streams: false,
    ..CHAT
};

/// `POST /api/show`
pub(super) const SHOW: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("name", Field::Name(Name::FormerModel)),
    ]],
    streams: false,
    ..CHAT
};

const GENERATION: [(&str, Field); 4] = [
    ("model", Field::Name(Name::Model)),
    ("options", Field::Options),
    ("stream", Field::Stream),
    ("tools", Field::Verbatim),
];

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    match container {
        Container::Message => &[
            ("role", Field::Role),
            ("content", Field::Content),
            ("images", Field::MediaList),
            ("tool_calls", Field::Verbatim),
            ("tool_name", Field::Verbatim),
            ("tool_call_id", Field::Verbatim),
            ("thinking", Field::Verbatim),
        ],
        Container::Options => &[
            ("num_predict", Field::Number(Number::MaxTokens)),
            ("temperature", Field::Number(Number::Temperature)),
        ],
        _ => &[],
    }
}

fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Number(Number::MaxTokens) => ("options.num_predict", "a whole number"),
        Field::Number(Number::Temperature) => ("options.temperature", "a number"),
        _ => openai::describe(field),
    }
}

fn describe_embed(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Prompt | Field::PromptItem | Field::Token => ("input", openai::describe(field).1),
        _ => describe(field),
    }
}
