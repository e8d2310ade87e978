//! The keys of request bodies, and their names and types in error messages.
//!
//! The parts that count as prompt (see [`crate::request`] for how):
//!
//! ```text
//! text        messages[].content and the text of its parts; prompt; input
//! verbatim    tools, functions, tool_choice, function_call, response_format, prediction, documents, chat_template,
//!             chat_template_kwargs, suffix; content beside input;
//!             messages[].{tool_calls, function_call, tool_call_id, name, refusal, reasoning_content, reasoning};
//!             refusal and thinking of a part
//! tokens      ids in prompt and input; media: parts with image_url, image, input_audio, file, video_url, audio_url, a
//!             source that is an object, or no key that is known here; messages[].audio
//! nothing     what steers decoding: stop, guided_json, logit_bias, dimensions, encoding_format, …
//! ```

use crate::request::field::{Container, Field, Name, Number};
use crate::request::{Schema, Unlimited};

/// `POST /v1/chat/completions`
pub(crate) const CHAT_COMPLETIONS: Schema = Schema {
    top: &[&[("messages", Field::Messages)], SHARED, GENERATION],
    keys,
    describe,
    least_max_tokens: 1,
    prompts_multiply: false,
    messages_are_users: false,
    streams: false,
    unlimited: Unlimited::MinusOne,
    mixed_prompts: false,
    others: Field::Ignored,
    numbers_are_strings: false,
    usage_is_optional: true,
};

/// `POST /v1/completions`. With `max_tokens: 0` servers generate nothing and only score the prompt.
pub(super) const COMPLETIONS: Schema = Schema {
    top: &[&[("prompt", Field::Prompt)], SHARED, GENERATION],
    least_max_tokens: 0,
    prompts_multiply: true,
    ..CHAT_COMPLETIONS
};

/// `POST /v1/embeddings`. There is neither output nor a stream. `messages` is of vLLM, objects in `input` are of Jina, and
/// llama.cpp reads `content` where there is no `input`.
pub(super) const EMBEDDINGS: Schema = Schema {
    top: &[&[
        ("input", Field::Prompt),
        ("model", Field::Name(Name::Model)),
        ("user", Field::Name(Name::User)),
        ("messages", Field::Messages),
        ("content", Field::Verbatim),
        ("chat_template", Field::Verbatim),
        ("chat_template_kwargs", Field::Verbatim),
    ]],
    keys: embedding_keys,
    describe: describe_embeddings,
    least_max_tokens: 0,
    prompts_multiply: false,
    usage_is_optional: false,
    ..CHAT_COMPLETIONS
};

/// `POST /v1/rerank` and `POST /v1/score`, as Jina and vLLM have them.
pub(super) const RERANK: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("query", Field::Verbatim),
        ("documents", Field::Verbatim),
        ("text_1", Field::Verbatim),
        ("text_2", Field::Verbatim),
        ("queries", Field::Verbatim),
        ("data_1", Field::Verbatim),
        ("data_2", Field::Verbatim),
        ("user", Field::Name(Name::User)),
    ]],
    ..EMBEDDINGS
};

/// Requests of which only the model is read.
pub(super) const MODEL_ONLY: Schema = Schema {
    top: &[&[("model", Field::Name(Name::Model))]],
    ..EMBEDDINGS
};

/// `POST /v1/images/generations`
pub(super) const IMAGES: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("prompt", Field::Verbatim),
        ("n", Field::Number(Number::N)),
        ("user", Field::Name(Name::User)),
        ("stream", Field::Stream),
    ]],
    ..EMBEDDINGS
};

/// `POST /v1/audio/speech`
pub(super) const SPEECH: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("input", Field::Verbatim),
        ("instructions", Field::Verbatim),
    ]],
    ..EMBEDDINGS
};

/// `POST /v1/responses`. An item is read as a message; a function's call and its result count as sent.
pub(super) const RESPONSES: Schema = Schema {
    top: &[
        &[
            ("input", Field::Input),
            ("instructions", Field::Verbatim),
            ("max_output_tokens", Field::Number(Number::MaxTokens)),
            ("background", Field::Background),
            ("previous_response_id", Field::Name(Name::PreviousResponse)),
            ("text", Field::Verbatim),
            ("prompt", Field::Verbatim),
        ],
        SHARED,
    ],
    keys: response_keys,
    describe: describe_responses,
    least_max_tokens: 1,
    prompts_multiply: false,
    usage_is_optional: false,
    ..CHAT_COMPLETIONS
};

fn response_keys(container: Container) -> &'static [(&'static str, Field)] {
    match container {
        Container::Message => &[
            ("role", Field::Role),
            ("content", Field::Content),
            ("name", Field::Verbatim),
            ("arguments", Field::Verbatim),
            ("input", Field::Verbatim),
            ("output", Field::InnerContent),
            ("summary", Field::Verbatim),
            ("encrypted_content", Field::Verbatim),
            ("action", Field::Verbatim),
            // What the tools of a host did in earlier turns.
            ("queries", Field::Verbatim),
            ("results", Field::Verbatim),
            ("code", Field::Verbatim),
            ("outputs", Field::InnerContent),
            ("result", Field::Media),
            ("operation", Field::Verbatim),
            ("tools", Field::Verbatim),
        ],
        // A file is a part without a key that is known here.
        Container::Part => &[
            ("text", Field::PartText),
            ("image_url", Field::Media),
            ("refusal", Field::Verbatim),
        ],
        Container::InnerPart => &[
            ("text", Field::Verbatim),
            ("image_url", Field::Media),
            ("file_data", Field::Media),
            ("file_id", Field::Media),
            ("file_url", Field::Media),
            ("url", Field::Media),
        ],
        _ => keys(container),
    }
}

fn describe_responses(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Number(Number::MaxTokens) => ("max_output_tokens", "a whole number"),
        Field::Message => ("input[]", "an object"),
        Field::Role => ("input[].role", "a string"),
        Field::Content => ("input[].content", "a string or an array of parts"),
        Field::Part => ("input[].content[]", "an object with a `type`"),
        Field::PartText => ("input[].content[].text", "a string"),
        _ => describe(field),
    }
}

/// The fields of chat, completions and responses.
const SHARED: &[(&str, Field)] = &[
    ("model", Field::Name(Name::Model)),
    ("temperature", Field::Number(Number::Temperature)),
    ("stream", Field::Stream),
    ("prompt_cache_key", Field::Name(Name::PromptCacheKey)),
    ("conversation", Field::Name(Name::Conversation)),
    ("user", Field::Name(Name::User)),
    ("safety_identifier", Field::Name(Name::SafetyIdentifier)),
    ("metadata", Field::Metadata),
    ("tools", Field::Verbatim),
    ("tool_choice", Field::Verbatim),
];

/// The other fields of chat and completions.
const GENERATION: &[(&str, Field)] = &[
    ("max_tokens", Field::Number(Number::MaxTokens)),
    (
        "max_completion_tokens",
        Field::Number(Number::MaxCompletionTokens),
    ),
    ("n", Field::Number(Number::N)),
    ("best_of", Field::Number(Number::BestOf)),
    ("stream_options", Field::StreamOptions),
    ("functions", Field::Verbatim),
    ("function_call", Field::Verbatim),
    ("response_format", Field::Verbatim),
    ("prediction", Field::Verbatim),
    ("documents", Field::Verbatim),
    ("chat_template", Field::Verbatim),
    ("chat_template_kwargs", Field::Verbatim),
    ("suffix", Field::Verbatim),
];

pub(crate) fn keys(container: Container) -> &'static [(&'static str, Field)] {
    match container {
        Container::Message => &[
            ("role", Field::Role),
            ("content", Field::Content),
            ("tool_calls", Field::Verbatim),
            ("tool_call_id", Field::Verbatim),
            ("name", Field::Verbatim),
            ("refusal", Field::Verbatim),
            ("reasoning_content", Field::Verbatim),
            ("reasoning", Field::Verbatim),
            ("function_call", Field::Verbatim),
            ("audio", Field::Media),
        ],
        Container::Part => &[
            ("text", Field::PartText),
            ("image_url", Field::Media),
            ("input_audio", Field::Media),
            ("file", Field::Media),
            ("image", Field::Media),
            ("source", Field::MediaSource),
            ("video_url", Field::Media),
            ("audio_url", Field::Media),
            ("refusal", Field::Verbatim),
            ("thinking", Field::Verbatim),
        ],
        Container::Media => &[
            ("url", Field::MediaReference),
            ("data", Field::MediaReference),
            ("file_data", Field::MediaReference),
            ("file_id", Field::MediaReference),
        ],
        Container::StreamOptions => &[
            ("include_usage", Field::IncludeUsage),
            // vLLM.
            ("continuous_usage_stats", Field::UsageOption),
        ],
        Container::Conversation => &[("id", Field::InnerName(Name::Conversation))],
        Container::Metadata => &[("user_id", Field::InnerName(Name::MetadataUserId))],
        _ => &[],
    }
}

fn embedding_keys(container: Container) -> &'static [(&'static str, Field)] {
    match container {
        Container::PromptPart => keys(Container::Part),
        _ => keys(container),
    }
}

pub(crate) fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Name(Name::Conversation) => ("conversation", "a string or an object with an `id`"),
        Field::Name(name) | Field::InnerName(name) => {
            let key = match name {
                Name::Model => "model",
                Name::FormerModel => "name",
                Name::PromptCacheKey => "prompt_cache_key",
                Name::Conversation => "conversation.id",
                Name::User => "user",
                Name::SafetyIdentifier => "safety_identifier",
                Name::MetadataUserId => "metadata.user_id",
                Name::PreviousResponse => "previous_response_id",
            };
            (key, "a string")
        }
        Field::Number(number) => match number {
            Number::MaxTokens => ("max_tokens", "a whole number"),
            Number::MaxCompletionTokens => ("max_completion_tokens", "a whole number"),
            Number::N => ("n", "a whole number"),
            Number::BestOf => ("best_of", "a whole number"),
            Number::Temperature => ("temperature", "a number"),
        },
        Field::Stream => ("stream", "true or false"),
        Field::Background => ("background", "true or false"),
        Field::Options => ("options", "an object"),
        Field::Messages => ("messages", "an array of messages"),
        Field::Input => ("input", "a string or an array of items"),
        Field::Message => ("messages[]", "an object with `role` and `content`"),
        Field::Role => ("messages[].role", "a string"),
        Field::Content => ("messages[].content", "a string or an array of parts"),
        Field::Part => ("messages[].content[]", "an object with a `type`"),
        Field::PartText => ("messages[].content[].text", "a string"),
        Field::Prompt | Field::PromptItem => {
            ("prompt", "a string, or an array of strings or token ids")
        }
        Field::Token => ("prompt", "an array of token ids (whole numbers)"),
        Field::Metadata => ("metadata", "an object"),
        // A value of any type is accepted.
        Field::Document
        | Field::Ignored
        | Field::Verbatim
        | Field::InnerContent
        | Field::InnerPart
        | Field::Media
        | Field::MediaList
        | Field::MediaSource
        | Field::MediaReference
        | Field::MediaKind
        | Field::StreamOptions
        | Field::IncludeUsage
        | Field::UsageOption => ("", "a JSON value"),
    }
}

fn describe_embeddings(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Prompt | Field::PromptItem | Field::Token => ("input", describe(field).1),
        Field::PartText => ("text", "a string"),
        _ => describe(field),
    }
}
