//! The Cohere dialect, version 2.

use crate::answer;
use crate::answer::field::{Container, Field as Answer};
use crate::answer::report::Count;
use crate::answer::text::TextKind;
use crate::dialect::{Dialect, Refusal};
use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::json::{Kind, fill, fill_list, lookup};
use crate::openai;
use crate::operation::{Access, Api, Operation};
use crate::request::Schema;
use crate::request::field::{Container as Place, Field, Name, Number};

/// The wording of errors and of the list of models.
static DIALECT: Dialect = Dialect {
    error,
    models,
    model,
};

fn error(refusal: &Refusal<'_>) -> Vec<u8> {
    fill(r#"{"message":$}"#, &[refusal.message])
}

const MODEL: &str = r#"{"name":$,"endpoints":["chat"]}"#;

fn models(names: &mut dyn Iterator<Item = &str>) -> Vec<u8> {
    fill_list(r#"{"models":[$]}"#, MODEL, names)
}

fn model(name: &str) -> Vec<u8> {
    fill(MODEL, &[name])
}

/// `POST /v2/chat`
static CHAT: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Form::Json(&CHAT_REQUEST),
    answer: &CHAT_ANSWER,
    price: Price::Facts,
    costs: Costs {
        param: "max_tokens",
        fix: "lower `max_tokens`, or shorten the prompt",
        alternative: "with a lower `max_tokens`",
    },
};

/// `POST /v2/embed`
static EMBED: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Form::Json(&EMBED_REQUEST),
    answer: &EMBED_ANSWER,
    price: Price::Facts,
    costs: Costs {
        param: "texts",
        fix: "send fewer or shorter `texts`",
        alternative: "with fewer or shorter `texts`",
    },
};

/// `POST /v2/rerank`
static RERANK: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Form::Json(&RERANK_REQUEST),
    answer: &EMBED_ANSWER,
    price: Price::Facts,
    costs: Costs {
        param: "documents",
        fix: "send fewer or shorter `documents`",
        alternative: "with fewer or shorter `documents`",
    },
};

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Form::Headers,
    answer: &CHAT_ANSWER,
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
    Api::Cohere.row("cohere.chat", "POST", "/v2/chat", Access::Charged, &CHAT),
    Api::Cohere.row("cohere.embed", "POST", "/v2/embed", Access::Charged, &EMBED),
    Api::Cohere.row("cohere.rerank", "POST", "/v2/rerank", Access::Charged, &RERANK),
    Api::Cohere.row("cohere.models", "GET", "/v1/models", Access::Models, &HEADERS_ONLY),
    Api::Cohere.row("cohere.models", "GET", "/v1/models/{model}", Access::Models, &HEADERS_ONLY),
];

const CHAT_REQUEST: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("messages", Field::Messages),
        ("max_tokens", Field::Number(Number::MaxTokens)),
        ("temperature", Field::Number(Number::Temperature)),
        ("stream", Field::Stream),
        ("tools", Field::Verbatim),
        ("documents", Field::Verbatim),
        ("response_format", Field::Verbatim),
    ]],
    keys,
    usage_is_optional: false,
    ..openai::request::CHAT_COMPLETIONS
};

const EMBED_REQUEST: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("texts", Field::Verbatim),
        ("images", Field::MediaList),
        ("inputs", Field::Messages),
    ]],
    ..CHAT_REQUEST
};

const RERANK_REQUEST: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("query", Field::Verbatim),
        ("documents", Field::Verbatim),
    ]],
    ..CHAT_REQUEST
};

fn keys(container: Place) -> &'static [(&'static str, Field)] {
    match container {
        Place::Message => &[
            ("role", Field::Role),
            ("content", Field::Content),
            ("tool_calls", Field::Verbatim),
            ("tool_plan", Field::Verbatim),
            ("tool_call_id", Field::Verbatim),
        ],
        Place::Part => &[
            ("text", Field::PartText),
            ("thinking", Field::Verbatim),
            ("image_url", Field::Media),
            ("document", Field::Verbatim),
        ],
        _ => openai::request::keys(container),
    }
}

/// Answers of chats: `message` whole, and `delta.message` in events.
const CHAT_ANSWER: answer::Schema = answer::Schema {
    field: answer_field,
    last_events: &["message-end"],
    ..openai::answer::GENERATED
};

/// Answers of embeddings and of reranking. `meta` reports tokens or searches.
const EMBED_ANSWER: answer::Schema = answer::Schema {
    field: answer_field,
    generates: false,
    ..openai::answer::GENERATED
};

fn answer_field(container: Container, key: &[u8]) -> Answer {
    lookup(answer_keys(container), key).unwrap_or(Answer::Ignored)
}

fn answer_keys(container: Container) -> &'static [(&'static str, Answer)] {
    use Answer::{Count as Value, Inside, Text, Verbatim};
    use Kind::{Array, Object};
    match container {
        Container::Top => &[
            ("type", Answer::Keyword(crate::answer::field::Keyword::Kind)),
            ("delta", Inside(Container::Envelope, Object)),
            ("message", Inside(Container::Message, Object)),
            ("usage", Inside(Container::Usage, Object)),
            ("meta", Inside(Container::Usage, Object)),
            ("embeddings", Inside(Container::Vectors, Object)),
            ("results", Inside(Container::Vectors, Array)),
        ],
        Container::Envelope => &[
            ("message", Inside(Container::Message, Object)),
            ("usage", Inside(Container::Usage, Object)),
            ("error", Answer::Error),
        ],
        Container::Message => &[
            ("content", Text(TextKind::Content)),
            ("tool_plan", Text(TextKind::Reasoning)),
            ("tool_calls", Inside(Container::ToolCalls, Array)),
        ],
        Container::Block(_) => &[
            ("text", Text(TextKind::Content)),
            ("thinking", Text(TextKind::Thinking)),
        ],
        Container::ToolCall => &[("function", Inside(Container::Function, Object))],
        Container::Function => &[
            ("name", Text(TextKind::ToolName)),
            ("arguments", Verbatim(TextKind::ToolArguments)),
        ],
        Container::Usage => &[
            ("tokens", Inside(Container::InputDetails, Object)),
            ("billed_units", Inside(Container::OutputDetails, Object)),
            ("cached_tokens", Value(Count::Cached)),
        ],
        // `tokens`
        Container::InputDetails => &[
            ("input_tokens", Value(Count::Input)),
            ("output_tokens", Value(Count::Output)),
            ("cached_tokens", Value(Count::Cached)),
        ],
        // `billed_units` leaves out what Cohere adds to a prompt. It counts where `tokens` is absent.
        Container::OutputDetails => &[
            ("input_tokens", Value(Count::OtherInput)),
            ("output_tokens", Value(Count::OtherOutput)),
        ],
        _ => &[],
    }
}
