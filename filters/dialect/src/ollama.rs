//! Ollama's own API. An answer is streamed as lines of JSON unless the request says otherwise.

use crate::answer;
use crate::answer::field::{Container, Field as Answer};
use crate::answer::report::Count;
use crate::answer::text::TextKind;
use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::json::{Kind, lookup};
use crate::openai;
use crate::operations::{Access, Api, Operation};
use crate::plain;
use crate::request::field::{Container as Place, Field, Name, Number};
use crate::request::{Schema, Unlimited};

/// `POST /api/chat`
static CHAT: Endpoint = Endpoint {
    request: Form::Json(&CHAT_REQUEST),
    ..BASE
};

/// `POST /api/generate`
static GENERATE: Endpoint = Endpoint {
    request: Form::Json(&GENERATE_REQUEST),
    ..BASE
};

/// `POST /api/embed` and `POST /api/embeddings`
static EMBED: Endpoint = Endpoint {
    request: Form::Json(&EMBED_REQUEST),
    answer: &EMBED_ANSWER,
    costs: Costs {
        param: "input",
        fix: "shorten `input`, or split it over several requests",
        alternative: "with a shorter `input`",
    },
    ..BASE
};

/// `POST /api/show`
static SHOW: Endpoint = Endpoint {
    request: Form::Json(&SHOW_REQUEST),
    ..BASE
};

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = BASE;

const BASE: Endpoint = Endpoint {
    dialect: &plain::OLLAMA,
    request: Form::Headers,
    answer: &ANSWER,
    price: Price::Facts,
    costs: Costs {
        param: "options.num_predict",
        fix: "lower `options.num_predict`, or shorten the prompt",
        alternative: "with a lower `options.num_predict`",
    },
};

const fn row(
    name: &'static str,
    method: &'static str,
    pattern: &'static str,
    access: Access,
    endpoint: &'static Endpoint,
) -> Operation {
    Operation {
        name,
        api: Api::Ollama,
        method,
        pattern,
        access,
        endpoint,
    }
}

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    row("ollama.chat", "POST", "/api/chat", Access::Charged, &CHAT),
    row("ollama.generate", "POST", "/api/generate", Access::Charged, &GENERATE),
    row("ollama.embed", "POST", "/api/embed", Access::Charged, &EMBED),
    row("ollama.embed", "POST", "/api/embeddings", Access::Charged, &EMBED),
    row("ollama.show", "POST", "/api/show", Access::Free, &SHOW),
    row("ollama.models", "GET", "/api/tags", Access::Models, &HEADERS_ONLY),
    row("ollama.read", "GET", "/api/ps", Access::Free, &HEADERS_ONLY),
    row("ollama.read", "GET", "/api/version", Access::Free, &HEADERS_ONLY),
    row("ollama.pull", "POST", "/api/pull", Access::Management, &HEADERS_ONLY),
    row("ollama.push", "POST", "/api/push", Access::Management, &HEADERS_ONLY),
    row("ollama.create", "POST", "/api/create", Access::Management, &HEADERS_ONLY),
    row("ollama.create", "*", "/api/blobs/{id}", Access::Management, &HEADERS_ONLY),
    row("ollama.copy", "POST", "/api/copy", Access::Management, &HEADERS_ONLY),
    row("ollama.delete", "DELETE", "/api/delete", Access::Management, &HEADERS_ONLY),
];

const CHAT_REQUEST: Schema = Schema {
    top: &[&[("messages", Field::Messages)], GENERATION],
    keys,
    describe,
    least_max_tokens: 0,
    prompts_multiply: false,
    streams: true,
    unlimited: Unlimited::Negative,
    usage_is_optional: false,
    ..openai::request::CHAT_COMPLETIONS
};

const GENERATE_REQUEST: Schema = Schema {
    top: &[
        &[
            ("prompt", Field::Prompt),
            ("suffix", Field::Verbatim),
            ("system", Field::Verbatim),
            ("images", Field::Media),
        ],
        GENERATION,
    ],
    ..CHAT_REQUEST
};

const EMBED_REQUEST: Schema = Schema {
    top: &[&[
        ("input", Field::Prompt),
        ("prompt", Field::Verbatim),
        ("model", Field::Name(Name::Model)),
    ]],
    streams: false,
    ..CHAT_REQUEST
};

const SHOW_REQUEST: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("name", Field::Name(Name::Model)),
    ]],
    streams: false,
    ..CHAT_REQUEST
};

/// The keys of a request that generates.
const GENERATION: &[(&str, Field)] = &[
    ("model", Field::Name(Name::Model)),
    ("stream", Field::Stream),
    ("options", Field::Options),
    ("tools", Field::Verbatim),
    ("format", Field::Verbatim),
    ("template", Field::Verbatim),
];

fn keys(container: Place) -> &'static [(&'static str, Field)] {
    match container {
        Place::Message => &[
            ("role", Field::Role),
            ("content", Field::Content),
            ("images", Field::Media),
            ("tool_calls", Field::Verbatim),
            ("tool_name", Field::Verbatim),
            ("thinking", Field::Verbatim),
        ],
        Place::Options => &[
            ("num_predict", Field::Number(Number::MaxTokens)),
            ("temperature", Field::Number(Number::Temperature)),
        ],
        _ => openai::request::keys(container),
    }
}

fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Number(Number::MaxTokens) => ("options.num_predict", "a whole number"),
        Field::Number(Number::Temperature) => ("options.temperature", "a number"),
        _ => openai::request::describe(field),
    }
}

/// Usage stands on the line with `done: true`. `prompt_eval_count` may be absent there: the estimate then stands.
const ANSWER: answer::Schema = answer::Schema {
    field: answer_field,
    ..openai::answer::GENERATED
};

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
            ("message", Inside(Container::Message, Object)),
            ("response", Text(TextKind::Content)),
            ("thinking", Text(TextKind::Thinking)),
            ("done", Answer::Done),
            ("prompt_eval_count", Value(Count::Input)),
            ("eval_count", Value(Count::Output)),
            ("error", Answer::Error),
            ("embedding", Inside(Container::Vectors, Array)),
            ("embeddings", Inside(Container::Vectors, Array)),
        ],
        Container::Message => &[
            ("content", Text(TextKind::Content)),
            ("thinking", Text(TextKind::Thinking)),
            ("tool_calls", Inside(Container::ToolCalls, Array)),
        ],
        Container::ToolCall => &[("function", Inside(Container::Function, Object))],
        Container::Function => &[
            ("name", Text(TextKind::ToolName)),
            ("arguments", Verbatim(TextKind::ToolArguments)),
        ],
        _ => &[],
    }
}
