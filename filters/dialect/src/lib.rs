//! Bytes → facts and usage: what a client asked for and what an upstream answered, read from the
//! wire without keeping it.
//!
//! First and last stage of the data plane: [`RequestScanner`] feeds the facts of `core`,
//! [`UsageScanner`] feeds its settlement, [`openai_error_body`] words its refusals.
//!
//! Invariants: no input panics; memory is bounded whatever arrives (strings of interest have a
//! greatest length, everything else is only looked at); and *chunking is invisible*: any split of
//! the same bytes gives the same facts, the same usage, the same error, and passes the same bytes on.
//!
//! Rooms: `json`, `sse` know syntax and nothing of any API; `openai` knows one API dialect each
//! for requests and answers; `body`, `usage`, `refusal` hold what is told to the outside. A further
//! dialect is a further file beside `openai`.

mod body;
mod fingerprint;
mod json;
mod openai;
mod refusal;
mod sse;
mod usage;

pub use body::{Body, BodyError, Limits, SessionFields};
pub use openai::Endpoint;
pub use openai::answer::UsageScanner;
pub use openai::ask::Splice;
pub use openai::request::RequestScanner;
pub use refusal::{Refusal, openai_error_body, push_json_string};
pub use usage::{Label, Observed, Output, Usage};
