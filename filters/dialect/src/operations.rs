//! The table of all operations: a method and a path lead to an endpoint, to the list of the models, or to nothing.
//!
//! Each dialect has the rows of its own API in its module. This module searches them.

mod pattern;

use crate::dialect::Dialect;
use crate::endpoint::Endpoint;
use crate::operation::{Access, Api, Apis, Operation};
use crate::{
    anthropic, cohere, gemini, kserve, llamacpp, ollama, openai, openinference, sglang, tgi, vllm,
};

pub use pattern::Captures;

/// The rows of all dialects. The most frequent ones come first.
static TABLES: [&[Operation]; 11] = [
    openai::OPERATIONS,
    anthropic::OPERATIONS,
    gemini::OPERATIONS,
    cohere::OPERATIONS,
    ollama::OPERATIONS,
    openinference::OPERATIONS,
    kserve::OPERATIONS,
    tgi::OPERATIONS,
    sglang::OPERATIONS,
    llamacpp::OPERATIONS,
    vllm::OPERATIONS,
];

/// The result of a search in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'p> {
    /// An operation, and the parts of the path that it names.
    Operation(&'static Operation, Captures<'p>),
    /// A known path that accepts other methods: these.
    OtherMethods(&'static str),
    /// No path of the table.
    Nothing,
}

/// Every operation.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// Searches the operations of these APIs. Several APIs list their models at `/v1/models`; `lists` is the API of the client, which decides
/// between them.
///
/// The path is plain: without a query and without a slash at its end, decoded, with each segment once.
#[must_use]
pub fn find<'p>(method: &[u8], path: &'p [u8], apis: Apis, lists: Api) -> Found<'p> {
    let mut others = None;
    for operation in operations().filter(|operation| apis.has(operation.api)) {
        let Some(captures) = pattern::captures(operation.pattern, path) else {
            continue;
        };
        let shared = operation.access == Access::Models && operation.pattern.starts_with("/v1/");
        if shared && operation.api != lists {
            continue;
        }
        if operation.accepts(method) {
            return Found::Operation(operation, captures);
        }
        others = others.or(Some(operation.allow()));
    }
    others.map_or(Found::Nothing, Found::OtherMethods)
}

impl Endpoint {
    /// The endpoint of requests that are posted to a path, of any API; `None` if none is known there. The path is plain, as for
    /// [`find`].
    #[must_use]
    pub fn of_path(path: &[u8]) -> Option<&'static Self> {
        match find(b"POST", path, Apis::ALL, Api::OpenAi) {
            Found::Operation(operation, _) => Some(operation.endpoint),
            _ => None,
        }
    }

    /// The endpoint of a request under a path that is not known. Its body is not read.
    #[must_use]
    pub fn unknown() -> &'static Self {
        &openai::HEADERS_ONLY
    }
}

/// Every pattern that is posted to, with its endpoint.
pub fn endpoints() -> impl Iterator<Item = (&'static str, &'static Endpoint)> {
    operations()
        .filter(|operation| operation.method == "POST")
        .map(|operation| (operation.pattern, operation.endpoint))
}

/// The dialect in which a path is answered with the list of the models, and the name of the one model that the path asks for
/// (empty: all of them); `None` for every other path. The path is plain, as for [`find`].
#[must_use]
pub fn models_path(path: &[u8]) -> Option<(&'static Dialect, &[u8])> {
    match find(b"GET", path, Apis::ALL, Api::OpenAi) {
        Found::Operation(operation, captures) if operation.access == Access::Models => Some((
            operation.endpoint.dialect(),
            captures.model.unwrap_or_default(),
        )),
        _ => None,
    }
}
