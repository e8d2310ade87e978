//! KServe's first protocol. The path names the model. What a body holds is known only to the model, so every value at its top is prompt
//! and counts as sent.

use crate::endpoint::{Costs, Endpoint, Price};
use crate::form::Form;
use crate::openai;
use crate::operation::{Access, Api, Operation};
use crate::plain;
use crate::request::Schema;
use crate::request::field::Field;

/// `:predict` and `:explain`
static PREDICT: Endpoint = Endpoint {
    dialect: &plain::DIALECT,
    request: Form::Json(&REQUEST),
    answer: &openai::answer::SCORES,
    price: Price::Facts,
    costs: Costs {
        param: "instances",
        fix: "send fewer `instances`",
        alternative: "with fewer `instances`",
    },
};

/// The rows of the table of operations.
#[rustfmt::skip]
pub(crate) static OPERATIONS: &[Operation] = &[
    Api::KServe.row("kserve.predict", "POST", "/v1/models/{model}:predict", Access::Charged, &PREDICT),
    Api::KServe.row("kserve.explain", "POST", "/v1/models/{model}:explain", Access::Charged, &PREDICT),
];

/// `instances` or `inputs`, and what else the model has.
const REQUEST: Schema = Schema {
    top: &[],
    others: Field::Verbatim,
    usage_is_optional: false,
    ..openai::request::CHAT_COMPLETIONS
};
