//! The price of one input tensor, in JSON and in Protocol Buffers.

use crate::body::BodyError;

/// Longest name of a datatype, and one byte more.
const MAX_NAME: usize = 8;

/// The sizes of elements in bytes; 0 for text, whose bytes count.
const DATATYPES: &[(&[u8], u64)] = &[
    (b"BOOL", 1),
    (b"INT8", 1),
    (b"INT16", 2),
    (b"INT32", 4),
    (b"INT64", 8),
    (b"UINT8", 1),
    (b"UINT16", 2),
    (b"UINT32", 4),
    (b"UINT64", 8),
    (b"FP16", 2),
    (b"BF16", 2),
    (b"FP32", 4),
    (b"FP64", 8),
    (b"BYTES", 0),
];

/// One input so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Input {
    name: [u8; MAX_NAME],
    name_len: usize,
    /// The size of an element, if a datatype was read.
    size: Option<u64>,
    /// The product of the shape; `None` without a shape.
    shaped: Option<u64>,
    /// Elements that were sent, and bytes of text among them.
    pub(super) sent: u64,
    pub(super) text: u64,
    /// Bytes of its binary tensor, or of the shared memory that holds it.
    pub(super) outside: u64,
}

impl Input {
    /// The name of its datatype begins.
    pub(super) fn begin_datatype(&mut self) {
        self.name_len = 0;
    }

    /// More of the name.
    pub(super) fn datatype(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(letter) = self.name.get_mut(self.name_len) {
                *letter = *byte;
                self.name_len += 1;
            }
        }
    }

    /// The name is complete. Of several, the greatest size counts, because servers differ in which one they take.
    pub(super) fn end_datatype(&mut self) -> Result<(), BodyError> {
        let name = self.name.get(..self.name_len).unwrap_or_default();
        let known = DATATYPES.iter().find(|(datatype, _)| *datatype == name);
        let Some((_, size)) = known else {
            return Err(unknown_datatype());
        };
        self.size = self.size.max(Some(*size));
        Ok(())
    }

    /// The shape begins again.
    pub(super) fn begin_shape(&mut self) {
        self.shaped = None;
    }

    /// One more dimension of the shape.
    pub(super) fn dimension(&mut self, length: u64) {
        self.shaped = Some(self.shaped.unwrap_or(1).saturating_mul(length));
    }

    /// The bytes that it costs: what its shape says, or what was sent, if that is more.
    pub(super) fn bytes(&self) -> Result<u64, BodyError> {
        let size = self.size.ok_or_else(unknown_datatype)?;
        let elements = self.shaped.unwrap_or_default().max(self.sent);
        let bytes = elements.saturating_mul(size);
        Ok(bytes.max(self.text).max(self.outside))
    }
}

#[cold]
fn unknown_datatype() -> BodyError {
    BodyError::WrongType {
        field: "inputs[].datatype",
        expected: "one of BOOL, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FP16, BF16, FP32, FP64, BYTES",
    }
}

#[cold]
pub(super) fn not_a_shape() -> BodyError {
    BodyError::WrongType {
        field: "inputs[].shape",
        expected: "an array of whole numbers",
    }
}
