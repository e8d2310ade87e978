//! The check of one body against a schema.

use super::BodySchema;
use super::reader::Reader;
use super::violation::Violation;
use crate::body::BodyError;
use crate::json::{Json, JsonError};

/// Deepest nesting that is read, as deep as a dialect reads.
const MAX_DEPTH: u8 = 128;

/// The reason why a body does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaError {
    /// It is not JSON.
    Body(BodyError),
    /// It does not meet the schema.
    Violation(Violation),
}

/// Checks one body, in portions of any size.
///
/// ```
/// use headgate_dialect::{BodySchema, SchemaCheck, SchemaError, Types};
///
/// let schema = BodySchema {
///     types: Types::OBJECT,
///     ..BodySchema::default()
/// };
/// let mut check = SchemaCheck::new(&schema);
/// check.push(b"[1");
/// check.push(b"]");
/// let Err(SchemaError::Violation(violation)) = check.finish() else {
///     panic!("a list is no object")
/// };
/// assert_eq!(violation.to_string(), "the request body must be an object (`type`)");
/// ```
#[derive(Debug)]
pub struct SchemaCheck<'s> {
    json: Json,
    reader: Reader<'s>,
    error: Option<SchemaError>,
}

impl<'s> SchemaCheck<'s> {
    /// A check at the start of a body.
    #[must_use]
    pub fn new(schema: &'s BodySchema) -> Self {
        Self {
            json: Json::new(MAX_DEPTH),
            reader: Reader::new(schema),
            error: None,
        }
    }

    /// Reads the next bytes. After an error the rest is ignored.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.error.is_none()
            && let Err(error) = self.json.push(bytes, &mut self.reader)
        {
            self.refuse(error);
        }
    }

    /// Whether it is known that the body does not pass.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// Ends the body.
    ///
    /// # Errors
    /// The first error in the body, in the order of its bytes.
    pub fn finish(mut self) -> Result<(), SchemaError> {
        if self.error.is_none()
            && let Err(error) = self.json.finish(&mut self.reader)
        {
            self.refuse(error);
        }
        self.error.map_or(Ok(()), Err)
    }

    #[cold]
    fn refuse(&mut self, error: JsonError) {
        let body = match error {
            JsonError::Malformed { offset, what } => BodyError::Malformed { offset, what },
            JsonError::TooDeep { max, .. } => BodyError::TooDeep { max },
            JsonError::Refused => BodyError::NotAnObject,
        };
        let violation = self.reader.violation();
        self.error = Some(violation.map_or(SchemaError::Body(body), SchemaError::Violation));
    }
}
