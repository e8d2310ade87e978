//! The bodies of errors.

use crate::dialect::Refusal;
use crate::json::fill;

/// `{"error","error_type"}`
pub(super) fn error(refusal: &Refusal<'_>) -> Vec<u8> {
    let kind = match refusal.status {
        429 | 503 => "overloaded",
        500.. => "generation",
        _ => "validation",
    };
    fill(r#"{"error":$,"error_type":$}"#, &[refusal.message, kind])
}
