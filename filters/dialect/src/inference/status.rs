//! The details of a gRPC error, which name the field at fault: `google.rpc.Status` with a `google.rpc.BadRequest`.

/// Type of the details, as in `google.protobuf.Any`.
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// The header `grpc-status-details-bin`: an error with this code and message, whose `field` must be as described by the message.
#[must_use]
pub fn grpc_status_details(code: u8, message: &str, field: &str) -> String {
    let violation = [text(1, field.as_bytes()), text(2, message.as_bytes())].concat();
    let bad_request = text(1, &violation);
    let detail = [text(1, BAD_REQUEST.as_bytes()), text(2, &bad_request)].concat();
    let code = vec![0x08, code];
    base64(&[code, text(2, message.as_bytes()), text(3, &detail)].concat())
}

/// A field with a length: a text or a message.
fn text(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7F {
        out.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// Base64 without padding, as gRPC sends binary headers.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..=chunk.len() {
            let value = word >> (18 - 6 * digit) & 63;
            out.push(char::from(DIGITS[value as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{base64, grpc_status_details};

    #[test]
    fn base64_is_that_of_rfc_4648_without_padding() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    /// Compared with what the package `googleapis-common-protos` of Python writes.
    #[test]
    fn details_are_a_status_with_a_bad_request() {
        assert_eq!(
            grpc_status_details(3, "`x` must be a number", "x"),
            "CAMSFGB4YCBtdXN0IGJlIGEgbnVtYmVyGkgKKXR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5CYWRSZXF1ZXN0EhsKGQoBeBIUYHhgIG11c3QgYmUgYSBudW1iZXI"
        );
    }
}
