//! Refusals as a client of the API understands them.
//!
//! Last step of a refused request: `core` decides status, type and code; here they become bytes.

/// A refusal, before it has a wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// HTTP status; not part of the body.
    pub status: u16,
    /// Error type: `tokens`, `requests`, `invalid_request_error`, …
    pub kind: &'a str,
    /// Error code: `rate_limit_exceeded`, `model_not_found`, …
    pub code: &'a str,
    /// For a human, naming the fix.
    pub message: &'a str,
    /// The request field at fault, if it is one.
    pub param: Option<&'a str>,
}

/// The body of an OpenAI error: `{"error":{"message","type","param","code"}}`.
#[must_use]
pub fn openai_error_body(refusal: &Refusal<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(96 + refusal.message.len());
    out.extend_from_slice(b"{\"error\":{\"message\":");
    push_json_string(&mut out, refusal.message);
    out.extend_from_slice(b",\"type\":");
    push_json_string(&mut out, refusal.kind);
    out.extend_from_slice(b",\"param\":");
    match refusal.param {
        Some(param) => push_json_string(&mut out, param),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"code\":");
    push_json_string(&mut out, refusal.code);
    out.extend_from_slice(b"}}");
    out
}

/// Appends `text` as a JSON string, whatever it holds.
pub fn push_json_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
