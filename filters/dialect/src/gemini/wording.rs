//! The bodies of errors and of the list of models.

use crate::dialect::Refusal;
use crate::json::{fill, fill_list};

/// `{"error":{"code","message","status"}}`
pub(super) fn error(refusal: &Refusal<'_>) -> Vec<u8> {
    let status = match refusal.status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        405 => "UNIMPLEMENTED",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let mut out = format!("{{\"error\":{{\"code\":{}", refusal.status).into_bytes();
    out.extend(fill(
        r#","message":$,"status":$}}"#,
        &[refusal.message, status],
    ));
    out
}

/// Clients write the name with and without `models/`.
const MODEL: &str =
    r#"{"name":$,"displayName":$,"supportedGenerationMethods":["generateContent","countTokens"]}"#;

/// `{"models":[…]}`
pub(super) fn models(names: &mut dyn Iterator<Item = &str>) -> Vec<u8> {
    let names: Vec<String> = names.map(resource).collect();
    fill_list(
        r#"{"models":[$]}"#,
        MODEL,
        &mut names.iter().map(String::as_str),
    )
}

pub(super) fn model(name: &str) -> Vec<u8> {
    let name = resource(name);
    fill(MODEL, &[&name, &name])
}

/// The resource name of a model.
fn resource(name: &str) -> String {
    format!("models/{name}")
}
