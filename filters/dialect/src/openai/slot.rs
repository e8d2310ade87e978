//! A field's value, which may be given again only if it stays the same.

use super::fields::Field;
use crate::body::BodyError;

/// What a field holds. `null` is a value here: of `5` and `null` the upstream takes one, and nobody
/// knows which.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    given: bool,
    value: Option<T>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            given: false,
            value: None,
        }
    }
}

impl<T: PartialEq> Slot<T> {
    /// The value of `field` at one place in the document; an error if another place said otherwise.
    pub(crate) fn put(&mut self, value: Option<T>, field: Field) -> Result<(), BodyError> {
        if self.given && self.value != value {
            return Err(BodyError::Disagree {
                field: field.name(),
            });
        }
        self.given = true;
        self.value = value;
        Ok(())
    }

    /// The value, if any so far.
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The value; the slot is as new.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.given = false;
        self.value.take()
    }
}
