//! An endpoint: how one kind of request to a model is read, settled and refused.

use crate::answer::{self, UsageScanner};
use crate::body::Limits;
use crate::dialect::Dialect;
use crate::form::{BodyScanner, Form};
use crate::usage::Label;

/// One kind of request to a model: how its bodies and its answers are read, and how it is refused. It is data, and there is
/// one static for each.
#[derive(Debug)]
pub struct Endpoint {
    /// The API that its clients speak.
    pub(crate) dialect: &'static Dialect,
    /// The form of its request bodies.
    pub(crate) request: Form,
    /// The format of its answers.
    pub(crate) answer: &'static answer::Schema,
    /// How its requests are priced.
    pub(crate) price: Price,
    /// For the error of a request that costs too much.
    pub(crate) costs: Costs,
}

/// How the requests of an endpoint are priced before the answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// By the facts of their bodies, or of their headers.
    Facts,
    /// By the bytes of their bodies, which are not read.
    Bytes,
    /// By a number of tokens that a policy sets: a batch.
    Batch,
    /// By minutes and bytes, for as long as the session lasts: a realtime session.
    Session,
}

/// The part of a request that decides its cost, and how a client lowers it: for error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// The field.
    pub param: &'static str,
    /// As an instruction: "lower …".
    pub fix: &'static str,
    /// As an alternative: "with a lower …".
    pub alternative: &'static str,
}

impl Endpoint {
    /// The API that its clients speak.
    #[must_use]
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// A scanner for a request body; `None` if bodies are not read.
    #[must_use]
    pub fn request_scanner(&self, limits: Limits) -> Option<BodyScanner> {
        self.request.scanner(limits)
    }

    /// Whether request bodies are read.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        !matches!(self.request, Form::Headers)
    }

    /// A scanner for an answer with this label. `sequences`: the number of sequences (choices) that the request asked for; it
    /// bounds the counts that are believed.
    #[must_use]
    pub fn usage_scanner(&self, label: Label, sequences: u64) -> UsageScanner {
        UsageScanner::new(self.answer, label, sequences)
    }

    /// Whether answers hold generated tokens. If not, only the input of a request costs.
    #[must_use]
    pub fn generates(&self) -> bool {
        self.answer.generates
    }

    /// How its requests are priced before the answer is known.
    #[must_use]
    pub fn price(&self) -> Price {
        self.price
    }

    /// Whether later requests can continue its answers, so that these have an id.
    #[must_use]
    pub fn continues(&self) -> bool {
        self.answer.continues
    }

    /// The part of a request that decides its cost.
    #[must_use]
    pub fn costs(&self) -> Costs {
        self.costs
    }
}

/// Statics, so one endpoint has one address.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Endpoint {}
