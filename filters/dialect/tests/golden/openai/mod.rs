//! OpenAI's further operations: requests as clients send them, and answers as hosts and servers give them.

mod media;
mod responses;
mod scores;
mod streams;

use super::bad;
use super::case::Case;
use super::requests::{Request, request};

const PICTURE: u64 = 765;

pub(crate) fn requests() -> Vec<Request> {
    let mut cases = responses::requests();
    cases.extend(media::requests());
    cases.extend(scores::requests());
    cases
}

pub(crate) fn bad() -> Vec<bad::Case> {
    let mut cases = responses::bad();
    cases.extend(media::bad());
    cases
}

pub(crate) fn answers() -> Vec<Case> {
    let mut cases = streams::answers();
    cases.extend(media::answers());
    cases.extend(scores::answers());
    cases
}
