//! The table of all paths: each leads to an endpoint, or to the list of the models.

use crate::dialect::Dialect;
use crate::endpoint::Endpoint;
use crate::openai;
use Operation::{Inference, Models};

/// An operation that clients call.
#[derive(Debug)]
enum Operation {
    /// A request to a model, with POST.
    Inference(&'static Endpoint),
    /// The list of the models, or one of them, with GET.
    Models(&'static Dialect),
}

/// Every path that is known, the most frequent ones first. `{model}` stands for the rest of a path: a model's name.
static PATHS: [(&str, Operation); 17] = [
    ("/v1/chat/completions", Inference(&openai::CHAT_COMPLETIONS)),
    ("/v1/completions", Inference(&openai::COMPLETIONS)),
    ("/v1/embeddings", Inference(&openai::EMBEDDINGS)),
    ("/v1/models", Models(&openai::DIALECT)),
    ("/v1/models/{model}", Models(&openai::DIALECT)),
    ("/v1/responses", Inference(&openai::HEADERS_ONLY)),
    ("/v1/messages", Inference(&openai::HEADERS_ONLY)),
    (
        "/v1/messages/count_tokens",
        Inference(&openai::HEADERS_ONLY),
    ),
    ("/v1/rerank", Inference(&openai::HEADERS_ONLY)),
    ("/v1/score", Inference(&openai::HEADERS_ONLY)),
    ("/v1/moderations", Inference(&openai::HEADERS_ONLY)),
    ("/v1/audio/speech", Inference(&openai::HEADERS_ONLY)),
    ("/v1/audio/transcriptions", Inference(&openai::HEADERS_ONLY)),
    ("/v1/audio/translations", Inference(&openai::HEADERS_ONLY)),
    ("/v1/images/generations", Inference(&openai::HEADERS_ONLY)),
    ("/v1/images/edits", Inference(&openai::HEADERS_ONLY)),
    ("/v1/images/variations", Inference(&openai::HEADERS_ONLY)),
];

impl Endpoint {
    /// The endpoint of a path; `None` if none is known there.
    ///
    /// The path is plain: without a query and without a slash at its end, decoded, with each segment once.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Option<&'static Self> {
        let mut endpoints = endpoints();
        let found = endpoints.find(|(pattern, _)| model_in(path, pattern).is_some());
        found.map(|(_, endpoint)| endpoint)
    }

    /// The endpoint of a request under a path that is not known. Its body is not read.
    #[must_use]
    pub fn unknown() -> &'static Self {
        &openai::HEADERS_ONLY
    }
}

/// Every path of the table that is posted to, with its endpoint.
pub fn endpoints() -> impl Iterator<Item = (&'static str, &'static Endpoint)> {
    PATHS
        .iter()
        .filter_map(|(path, operation)| match operation {
            Inference(endpoint) => Some((*path, *endpoint)),
            Models(_) => None,
        })
}

/// The dialect of a path that lists the models, and the name of the one model that the path asks for (empty: all of them);
/// `None` for every other path. The path is plain, as for [`Endpoint::of_path`].
#[must_use]
pub fn models_path(path: &[u8]) -> Option<(&'static Dialect, &[u8])> {
    PATHS.iter().find_map(|(pattern, operation)| {
        let Models(dialect) = operation else {
            return None;
        };
        model_in(path, pattern).map(|model| (*dialect, model))
    })
}

/// The model's name in a path, empty if the pattern has none; `None` if the path does not match.
fn model_in<'p>(path: &'p [u8], pattern: &str) -> Option<&'p [u8]> {
    match pattern.as_bytes() {
        [prefix @ .., b'{', b'm', b'o', b'd', b'e', b'l', b'}'] => path.strip_prefix(prefix),
        pattern => (path == pattern).then_some(b""),
    }
}
