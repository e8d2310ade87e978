//! API dialects: bytes → the facts of a request and the usage of an answer, and the wording of the filter's own answers.
//!
//! This crate is the first and the last stage of the data plane. A [`BodyScanner`] gives the facts of a request, a
//! [`UsageScanner`] gives what its settlement needs, a [`Dialect`] words refusals and the list of models. An [`Endpoint`]
//! connects the three, and travels with the request, so that an answer is read in the dialect of its request.
//!
//! Invariants: no input panics. Memory is bounded for every input: strings that are kept have a greatest length, and
//! everything else is only examined. *Chunking is invisible*: any split of the same bytes gives the same facts, the same
//! usage and the same error, and passes the same bytes on.
//!
//! # Modules
//!
//! - `json` and `sse` know syntax, and nothing of any API.
//! - `request` and `answer` read bodies. Each has a vocabulary (`field`) and one reader for all APIs.
//! - `openai` is a dialect: tables that map its keys to the vocabulary, and its wording.
//! - `operation` has the types of a row of the table, and `operations` the table of all methods and paths.
//! - `inference` reads and words the tensors and messages of the Open Inference Protocol.
//! - `schema` checks a body against a JSON schema, and `capture` reads chosen fields of it: each by a pass of its own.
//! - `form` has the forms of request bodies, and the scanner of each.
//! - `body`, `usage`, `endpoint` and `dialect` have the types that other crates see.
//!
//! # To add a dialect
//!
//! 1. Add `src/<name>.rs` with a static [`Dialect`] and a static [`Endpoint`] for each operation, as in `openai.rs`.
//! 2. Add `src/<name>/request.rs` and `src/<name>/answer.rs` with the keys of its bodies, and `src/<name>/wording.rs` with
//!    its errors and its list of models. If the API can say something that the vocabulary cannot, extend `request/field.rs`
//!    or `answer/field.rs`, and `reader.rs` in the same directory.
//! 3. Add the rows of its operations as `OPERATIONS` to its module, and the module to the tables in `operations.rs`. Routes match the
//!    prefixes in `SERVING_PREFIXES` of the crate `headgate-contract`: add a prefix there if the path has a new one.
//! 4. Add recorded requests and answers to `tests/golden`, as in `ollama.rs` there. The properties in `tests/native` cover every
//!    endpoint of the table.

mod answer;
mod anthropic;
mod body;
mod capture;
mod cohere;
mod dialect;
mod endpoint;
mod fingerprint;
mod form;
mod gemini;
mod inference;
mod json;
mod kserve;
mod llamacpp;
mod multipart;
mod ollama;
mod openai;
mod openinference;
mod operation;
mod operations;
mod plain;
mod request;
mod schema;
mod sglang;
mod sse;
mod tgi;
mod triton;
mod usage;
mod vllm;

pub use answer::UsageScanner;
pub use body::{Body, BodyError, BodyHeaders, Limits, Passed, SessionFields};
pub use capture::{Capture, FieldPath, FieldStep, MAX_FIELDS};
pub use dialect::{Dialect, Refusal};
pub use endpoint::{Costs, Endpoint, Price};
pub use form::BodyScanner;
pub use inference::grpc_status_details;
pub use json::Decimal;
pub use operation::{Access, Api, Apis, Operation};
pub use operations::{Captures, Found, endpoints, find, models_path, operations};
pub use request::Splice;
pub use schema::{BodySchema, Constant, Member, SchemaCheck, SchemaError, Types, Violation};
pub use usage::{Label, Observed, Output, Usage};
