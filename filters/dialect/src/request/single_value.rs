//! The value of a field that may be given again only with an equal value.

/// A field's value. `null` is a value: of `5` and `null`, nobody knows which one the upstream takes.
#[derive(Debug)]
pub(super) struct SingleValue<T> {
    given: bool,
    value: Option<T>,
}

impl<T> Default for SingleValue<T> {
    fn default() -> Self {
        Self {
            given: false,
            value: None,
        }
    }
}

impl<T: PartialEq> SingleValue<T> {
    /// Takes the value from one place of the document. Returns false if another place gave a different one.
    #[must_use]
    pub(super) fn set(&mut self, value: Option<T>) -> bool {
        if self.given && self.value != value {
            return false;
        }
        self.given = true;
        self.value = value;
        true
    }

    /// Takes the value if it is greater.
    pub(super) fn raise(&mut self, value: Option<T>)
    where
        T: Ord,
    {
        if !self.given || value > self.value {
            self.given = true;
            self.value = value;
        }
    }

    /// The value so far.
    pub(super) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Takes the value out, as if the field had not been given.
    pub(super) fn take(&mut self) -> Option<T> {
        self.given = false;
        self.value.take()
    }
}
