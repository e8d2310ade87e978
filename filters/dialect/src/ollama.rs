//! The Ollama dialect. Its paths are ordinary words, so a policy must enable it.

mod answer;
mod request;

use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::operation::{Access, Api, Operation};
use crate::plain;

/// `POST /api/chat`
static CHAT: Endpoint = BASE;

/// `POST /api/generate`
static GENERATE: Endpoint = Endpoint {
    request: Form::Json(&request::GENERATE),
    ..BASE
};

/// `POST /api/embed`
static EMBED: Endpoint = Endpoint {
    request: Form::Json(&request::EMBED),
    answer: &answer::EMBED,
    costs: Costs {
        param: "input",
        fix: "shorten `input`, or split it over several requests",
        alternative: "with a shorter `input`",
    },
    ..BASE
};

/// `POST /api/embeddings`
static EMBEDDINGS: Endpoint = Endpoint {
    request: Form::Json(&request::EMBEDDINGS),
    answer: &answer::EMBED,
    costs: Costs {
        param: "prompt",
        fix: "shorten `prompt`",
        alternative: "with a shorter `prompt`",
    },
    ..BASE
};

/// `POST /api/show`
static SHOW: Endpoint = Endpoint {
    request: Form::Json(&request::SHOW),
    ..BASE
};

/// Any request whose body is not read.
static HEADERS_ONLY: Endpoint = Endpoint {
    request: Form::Headers,
    ..BASE
};

const BASE: Endpoint = Endpoint {
    dialect: &plain::OLLAMA,
    request: Form::Json(&request::CHAT),
    answer: &answer::GENERATED,
    price: Price::Facts,
    costs: Costs {
        param: "options.num_predict",
        fix: "lower `options.num_predict`, or shorten the prompt",
        alternative: "with a lower `options.num_predict`",
    },
};

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::Ollama.row("ollama.chat", "POST", "/api/chat", Access::Charged, &CHAT),
    Api::Ollama.row("ollama.generate", "POST", "/api/generate", Access::Charged, &GENERATE),
    Api::Ollama.row("ollama.embed", "POST", "/api/embed", Access::Charged, &EMBED),
    Api::Ollama.row("ollama.embed", "POST", "/api/embeddings", Access::Charged, &EMBEDDINGS),
    Api::Ollama.row("ollama.show", "POST", "/api/show", Access::Free, &SHOW),
    Api::Ollama.row("ollama.models", "GET", "/api/tags", Access::Models, &HEADERS_ONLY),
    Api::Ollama.row("ollama.read", "GET", "/api/ps", Access::Free, &HEADERS_ONLY),
    Api::Ollama.row("ollama.read", "GET", "/api/version", Access::Free, &HEADERS_ONLY),
    Api::Ollama.row("ollama.pull", "POST", "/api/pull", Access::Management, &HEADERS_ONLY),
    Api::Ollama.row("ollama.push", "POST", "/api/push", Access::Management, &HEADERS_ONLY),
    Api::Ollama.row("ollama.create", "POST", "/api/create", Access::Management, &HEADERS_ONLY),
    Api::Ollama.row("ollama.create", "*", "/api/blobs/{id}", Access::Management, &HEADERS_ONLY),
    Api::Ollama.row("ollama.copy", "POST", "/api/copy", Access::Management, &HEADERS_ONLY),
    Api::Ollama.row("ollama.delete", "DELETE", "/api/delete", Access::Management, &HEADERS_ONLY),
];
