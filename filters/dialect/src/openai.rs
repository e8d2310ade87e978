//! The OpenAI dialect, as OpenAI and the servers and hosts that follow it speak it.

mod answer;
mod request;
mod wording;

use crate::dialect::Dialect;
use crate::endpoint::{Costs, Endpoint};

/// The wording of errors and of the list of models.
pub(crate) static DIALECT: Dialect = Dialect {
    error: wording::error,
    models: wording::models,
    model: wording::model,
};

/// `POST /v1/chat/completions`
pub(crate) static CHAT_COMPLETIONS: Endpoint = GENERATION;

/// `POST /v1/completions`
pub(crate) static COMPLETIONS: Endpoint = Endpoint {
    request: Some(&request::COMPLETIONS),
    ..GENERATION
};

/// `POST /v1/embeddings`
pub(crate) static EMBEDDINGS: Endpoint = Endpoint {
    request: Some(&request::EMBEDDINGS),
    answer: &answer::EMBEDDINGS,
    costs: Costs {
        param: "input",
        fix: "shorten `input`, or split it over several requests",
        alternative: "with a shorter `input`",
    },
    ..GENERATION
};

/// Any request whose body is not read. Its answer is read for usage under every name that is known.
pub(crate) static HEADERS_ONLY: Endpoint = Endpoint {
    request: None,
    ..GENERATION
};

const GENERATION: Endpoint = Endpoint {
    dialect: &DIALECT,
    request: Some(&request::CHAT_COMPLETIONS),
    answer: &answer::GENERATED,
    costs: Costs {
        param: "max_tokens",
        fix: "lower `max_tokens` or `n`, or shorten the prompt",
        alternative: "with a lower `max_tokens`",
    },
};
