//! Anthropic, Gemini and Cohere: requests as their SDKs and agents send them, and answers as the platforms give them.

mod anthropic;
mod cohere;
mod gemini;

use super::bad;
use super::case::Case;
use super::requests::Request;

/// Tokens of a picture or a file.
const PICTURE: u64 = 765;

pub(crate) fn requests() -> Vec<Request> {
    let mut cases = anthropic::requests();
    cases.extend(gemini::requests());
    cases.extend(cohere::requests());
    cases
}

pub(crate) fn bad() -> Vec<bad::Case> {
    let mut cases = anthropic::bad();
    cases.extend(gemini::bad());
    cases
}

pub(crate) fn answers() -> Vec<Case> {
    let mut cases = anthropic::answers();
    cases.extend(gemini::answers());
    cases.extend(cohere::answers());
    cases
}
