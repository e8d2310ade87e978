//! An API dialect: the wording of the answers that the filter itself gives.

use std::fmt;

/// The answers of one API. There is one static for each dialect, in the dialect's module.
pub struct Dialect {
    /// The body of an error answer.
    pub(crate) error: fn(&Refusal<'_>) -> Vec<u8>,
    /// The body of the list of models.
    pub(crate) models: fn(&mut dyn Iterator<Item = &str>) -> Vec<u8>,
    /// The body that describes one model.
    pub(crate) model: fn(&str) -> Vec<u8>,
}

/// A refusal before a dialect words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// HTTP status.
    pub status: u16,
    /// The machine-readable reason: `rate_limit_exceeded`, `model_not_found`, …
    pub code: &'a str,
    /// The reason and the fix, for people.
    pub message: &'a str,
    /// The request field or header at fault, if there is one.
    pub param: Option<&'a str>,
    /// The unit of the budget that is exceeded: `tokens` or `requests`. `None` unless a budget is the reason.
    pub unit: Option<&'a str>,
}

impl Dialect {
    /// The body of an error answer, as JSON.
    #[must_use]
    pub fn error_body(&self, refusal: &Refusal<'_>) -> Vec<u8> {
        (self.error)(refusal)
    }

    /// The list of models with these names, as JSON.
    #[must_use]
    pub fn model_list(&self, names: &mut dyn Iterator<Item = &str>) -> Vec<u8> {
        (self.models)(names)
    }

    /// The model with this name, as JSON.
    #[must_use]
    pub fn model(&self, name: &str) -> Vec<u8> {
        (self.model)(name)
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialect")
    }
}

/// Statics, so one dialect has one address.
impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Dialect {}
