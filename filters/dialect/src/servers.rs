//! The own paths of model servers: Text Generation Inference, SGLang, llama.cpp, vLLM, Triton and KServe.
//!
//! Their requests have prompts and options, and their answers a text, so that one table of keys reads them all. Most name no model.

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
use crate::request::Schema;
use crate::request::field::{Container as Place, Field, Name, Number};

/// `POST …/generate` and `POST …/generate_stream` of Triton.
pub(crate) static TRITON_GENERATE: Endpoint = Endpoint {
    request: Form::Json(&TRITON_REQUEST),
    costs: Costs {
        param: "max_tokens",
        fix: "lower `max_tokens`, or shorten the prompt",
        alternative: "with a lower `max_tokens`",
    },
    ..BASE
};

/// Requests whose whole body is a prompt, and whose answer is not generated: embeddings, reranking, predictions.
static WHOLE_BODY: Endpoint = Endpoint {
    request: Form::Json(&WHOLE_BODY_REQUEST),
    answer: &SCORES,
    costs: Costs {
        param: "input",
        fix: "send less input, or split it over several requests",
        alternative: "with less input",
    },
    ..BASE
};

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = BASE;

const BASE: Endpoint = Endpoint {
    dialect: &plain::DIALECT,
    request: Form::Headers,
    answer: &ANSWER,
    price: Price::Facts,
    costs: Costs {
        param: "max_new_tokens",
        fix: "lower `max_new_tokens`, or shorten the prompt",
        alternative: "with a lower `max_new_tokens`",
    },
};

const fn row(
    name: &'static str,
    api: Api,
    method: &'static str,
    pattern: &'static str,
    access: Access,
    endpoint: &'static Endpoint,
) -> Operation {
    Operation {
        name,
        api,
        method,
        pattern,
        access,
        endpoint,
    }
}

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    row("kserve.predict", Api::KServe, "POST", "/v1/models/{model}:predict", Access::Charged, &WHOLE_BODY),
    row("kserve.explain", Api::KServe, "POST", "/v1/models/{model}:explain", Access::Charged, &WHOLE_BODY),
    row("vllm.rerank", Api::Vllm, "POST", "/rerank", Access::Charged, &openai::RERANK),
    row("vllm.score", Api::Vllm, "POST", "/score", Access::Charged, &openai::RERANK),
    row("vllm.pooling", Api::Vllm, "POST", "/pooling", Access::Charged, &openai::EMBEDDINGS),
    row("vllm.classify", Api::Vllm, "POST", "/classify", Access::Charged, &openai::EMBEDDINGS),
    row("vllm.tokenize", Api::Vllm, "POST", "/tokenize", Access::Free, &openai::TOKENIZE),
    row("vllm.tokenize", Api::Vllm, "POST", "/detokenize", Access::Free, &openai::TOKENIZE),
];

/// Of TGI: `inputs` and `parameters`. Of SGLang: `text` or `input_ids`, and `sampling_params`.
const GENERATE_REQUEST: Schema = Schema {
    top: &[&[
        ("inputs", Field::Prompt),
        ("text", Field::Prompt),
        ("input_ids", Field::Prompt),
        ("parameters", Field::Options),
        ("sampling_params", Field::Options),
        ("stream", Field::Stream),
        ("image_data", Field::Media),
    ]],
    keys,
    describe,
    least_max_tokens: 0,
    prompts_multiply: true,
    usage_is_optional: false,
    ..openai::request::CHAT_COMPLETIONS
};

const TRITON_REQUEST: Schema = Schema {
    top: &[&[
        ("text_input", Field::Prompt),
        ("max_tokens", Field::Number(Number::MaxTokens)),
        ("temperature", Field::Number(Number::Temperature)),
        ("stream", Field::Stream),
        ("parameters", Field::Options),
        ("sampling_parameters", Field::Verbatim),
    ]],
    ..GENERATE_REQUEST
};

/// Everything but the name of the model is prompt.
const WHOLE_BODY_REQUEST: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("instances", Field::Verbatim),
        ("inputs", Field::Verbatim),
        ("input", Field::Verbatim),
        ("content", Field::Verbatim),
        ("query", Field::Verbatim),
        ("texts", Field::Verbatim),
    ]],
    ..GENERATE_REQUEST
};

fn keys(container: Place) -> &'static [(&'static str, Field)] {
    match container {
        Place::Options => &[
            ("max_new_tokens", Field::Number(Number::MaxTokens)),
            ("max_tokens", Field::Number(Number::MaxTokens)),
            ("best_of", Field::Number(Number::BestOf)),
            ("n", Field::Number(Number::N)),
            ("temperature", Field::Number(Number::Temperature)),
        ],
        _ => openai::request::keys(container),
    }
}

fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Number(Number::MaxTokens) => ("max_new_tokens", "a whole number"),
        Field::Prompt | Field::PromptItem => ("inputs", "a string or an array"),
        Field::Options => ("parameters", "an object"),
        _ => openai::request::describe(field),
    }
}

/// Answers with a text. SGLang's text is cumulative; TGI's last event repeats all tokens.
const ANSWER: answer::Schema = answer::Schema {
    field: answer_field,
    ..openai::answer::GENERATED
};

/// Answers with numbers.
const SCORES: answer::Schema = answer::Schema {
    field: answer_field,
    generates: false,
    ..openai::answer::GENERATED
};

fn answer_field(container: Container, key: &[u8]) -> Answer {
    lookup(answer_keys(container), key).unwrap_or(Answer::Ignored)
}

fn answer_keys(container: Container) -> &'static [(&'static str, Answer)] {
    use Answer::{Count as Value, Inside, Text};
    use Kind::{Array, Object};
    match container {
        Container::Top => &[
            ("content", Text(TextKind::Content)),
            ("text", Text(TextKind::Content)),
            ("text_output", Text(TextKind::Content)),
            ("generated_text", Text(TextKind::Content)),
            ("token", Inside(Container::Message, Object)),
            ("details", Inside(Container::Usage, Object)),
            ("meta_info", Inside(Container::Usage, Object)),
            ("stop", Answer::Done),
            ("tokens_evaluated", Value(Count::Input)),
            ("tokens_predicted", Value(Count::Output)),
            ("timings", Inside(Container::Timings, Object)),
            ("error", Answer::Error),
            ("predictions", Inside(Container::Vectors, Array)),
            ("explanations", Inside(Container::Vectors, Array)),
            ("embedding", Inside(Container::Vectors, Array)),
            ("results", Inside(Container::Vectors, Array)),
            ("data", Inside(Container::Vectors, Array)),
        ],
        Container::Message => &[("text", Text(TextKind::Content))],
        Container::Usage => &[
            ("generated_tokens", Value(Count::Output)),
            ("input_length", Value(Count::Input)),
            ("prompt_tokens", Value(Count::Input)),
            ("completion_tokens", Value(Count::Output)),
            ("cached_tokens", Value(Count::Cached)),
        ],
        Container::Timings => &[
            ("prompt_n", Value(Count::Input)),
            ("predicted_n", Value(Count::Output)),
            ("cache_n", Value(Count::Beside)),
        ],
        _ => &[],
    }
}
